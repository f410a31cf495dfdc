//! The part `idle`: the rate of a compaction without requests, compared with a sequential copy.

use std::path::{Path, PathBuf};

use hayloft_bench_stats::estimate;
use serde_json::json;

use super::admin::{Admin, Ended};
use super::amounts::half;
use super::copy::copy;
use super::outcome::Outcome;
use super::scene::Scene;
use crate::photos::{Batches, delete};
use crate::process::Failed;
use crate::record::cannot;

/// Number of photos of 64 KiB, half of them deleted: 4 GiB of log.
const PHOTOS: (u64, u64) = (64_000, 6000);
/// Size of the volume (MiB).
const MIB: (u64, u64) = (4352, 512);
/// Number of rounds.
const ROUNDS: (u64, u64) = (5, 3);
/// Pace without a ceiling.
const LIFTED: &str = "[background]\nrate_max = \"64GiB\"\n";

/// Names of the two paces.
const PACES: [(&str, &str); 2] = [("default pace", ""), ("no ceiling", LIFTED)];

fn photo(_key: u64) -> usize {
    64 << 10
}

/// Measures the rate of compactions of an idle daemon.
///
/// # Errors
/// When a compaction or a copy fails, or a photo is lost.
pub fn idle(scene: &Scene) -> Result<Outcome, Failed> {
    let (count, mib) = (scene.choose(PHOTOS.0, PHOTOS.1), scene.choose(MIB.0, MIB.1));
    let mut outcome = Outcome::measured(format!(
        "One idle shard and a volume with {count} photos of 64 KiB, of which a random half is deleted. Each \
         compaction begins with the same file, of which a hard link is kept. The copy reads as many bytes as \
         the log has and writes as many as live, in blocks of 1 MiB with direct I/O, one read and one write \
         in flight, and flushes once. The compaction also reads back what it wrote (`compaction.verify`). In \
         alternating rounds; the default ceiling is `background.rate_max` = 4 GiB/s, which is shown apart \
         from a pace without a ceiling."
    ));
    let photos = Batches { volume: 1, each: 1000, len_of: photo };
    let keys: Vec<u64> = (0..count).collect();
    let dead = half(&keys, 11);
    let node = scene.new_node("0", mib, &["--shard-ports", "off"])?;
    photos.put(node.data, &keys)?;
    delete(node.data, 1, &dead)?;
    let volume = Admin::of(&node).volume(1)?;
    node.stop()?;
    let (dir, original) = (scene.dir(), scene.dir().join("original"));
    rename(&dir.join("data"), &original)?;
    let source = volume_file(&original)?;
    let live: Vec<u64> =
        keys.iter().copied().filter(|key| dead.binary_search(key).is_err()).collect();
    let sample: Vec<u64> = live.iter().copied().step_by(live.len() / 50 + 1).collect();
    let compact = |settings: &str| -> Result<Ended, Failed> {
        let data = dir.join("data");
        let _ = std::fs::remove_dir_all(&data);
        restore(&original, &data)?;
        let node = scene.node(&dir, "0", mib, &["--shard-ports", "off"], settings)?;
        let ended = Admin::of(&node).compact(1)?;
        photos.check(node.data, &sample)?;
        node.stop()?;
        let _ = std::fs::remove_dir_all(&data);
        Ok(ended)
    };
    let mut ratios = [Vec::new(), Vec::new()];
    let rounds = scene.choose(ROUNDS.0, ROUNDS.1);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        let copied = || copy(&source, &dir.join("copy"), (volume.used, volume.live));
        let (copied, ended) = if round % 2 == 0 {
            let copied = copied()?;
            (copied, [compact(PACES[0].1)?, compact(PACES[1].1)?])
        } else {
            let lifted = compact(PACES[1].1)?;
            let ended = [compact(PACES[0].1)?, lifted];
            (copied()?, ended)
        };
        let copied = copied.as_secs_f64();
        let rate = |seconds: f64| volume.used as f64 / f64::from(1 << 20) / seconds;
        rates[2].push(rate(copied));
        for (number, ended) in ended.iter().enumerate() {
            ratios[number].push(copied / ended.seconds);
            rates[number].push(rate(ended.seconds));
        }
        let seconds = ended.each_ref().map(|it| it.seconds);
        eprintln!(
            "  round {} of {rounds}: copy {copied:.1} s, compaction {:.1} s, without ceiling {:.1} s",
            round + 1,
            seconds[0],
            seconds[1]
        );
        outcome.rounds.push(json!({
            "used": volume.used, "live": volume.live, "copy_seconds": copied,
            "default": &ended[0], "lifted": &ended[1],
        }));
    }
    let none = || Failed("there are no rounds".to_owned());
    for (number, (pace, _)) in PACES.iter().enumerate() {
        let ratio = estimate(&ratios[number]).ok_or_else(none)?;
        outcome.ratio_at_least(&format!("rate / that of a copy, {pace}"), &ratio, 0.6);
    }
    let median = |values: &Vec<f64>| estimate(values).map_or(0.0, |it| it.median);
    let [paced, lifted, copied] = rates.each_ref().map(median);
    outcome.show(
        "log read per second, medians",
        format!("{paced:.0} MiB/s at the default pace, {lifted:.0} without ceiling, {copied:.0} the copy"),
    );
    Ok(outcome)
}

/// Makes a copy of a data directory whose volume files are hard links: compactions do not change old files.
fn restore(original: &Path, copy: &Path) -> Result<(), Failed> {
    std::fs::create_dir(copy).map_err(cannot("create", copy))?;
    for entry in std::fs::read_dir(original).map_err(cannot("read", original))? {
        let from = entry.map_err(cannot("read", original))?.path();
        let to = copy.join(from.file_name().unwrap_or_default());
        match from.extension().is_some_and(|it| it == "vol") {
            true => std::fs::hard_link(&from, &to).map_err(cannot("link", &from))?,
            // Not std::fs::copy, which shares extents: the daemon refuses files with shared extents, because
            // they need direct I/O in whole blocks of the file system.
            false => {
                let bytes = std::fs::read(&from).map_err(cannot("read", &from))?;
                std::fs::write(&to, bytes).map_err(cannot("write", &to))?;
            }
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), Failed> {
    std::fs::rename(from, to).map_err(cannot("rename", from))
}

fn volume_file(dir: &Path) -> Result<PathBuf, Failed> {
    let entries = std::fs::read_dir(dir).map_err(cannot("read", dir))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.extension().is_some_and(|it| it == "vol"));
    found.ok_or_else(|| Failed(format!("no volume is in {}", dir.display())))
}
