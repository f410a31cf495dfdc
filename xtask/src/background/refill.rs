//! The part `refill`: a small disk that is filled, half emptied and compacted again and again.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use super::admin::Admin;
use super::counters::space;
use super::outcome::Outcome;
use super::scene::{Scene, unmount_leftover};
use crate::photos::{Batches, check_deleted, delete};
use crate::process::{Failed, run};
use crate::record::cannot;
use crate::xfs::Xfs;

/// Size of the volume (MiB).
const MIB: u64 = 256;
/// Room of the file system, in volumes.
const VOLUMES: f64 = 1.6;
/// Length of the image beyond its room (bytes): the log and other metadata of XFS.
const METADATA: u64 = 160 << 20;
/// Number of loops.
const LOOPS: (u64, u64) = (50, 2);
/// Part of the volume that is filled.
const FILLED: f64 = 0.9;
/// Growth that does not count (bytes): a step of 64 MiB in which blocks are reserved ahead of the log, which
/// is as long as the photos that are left make it, and blocks of the file system's trees.
const GROWTH: u64 = 65 << 20;
/// Time in which the steps ahead of the log are taken.
const STEPS_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of polling, and time for which the used space must not change.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time for which writes may find no room although the disk has some.
const PATIENCE: Duration = Duration::from_secs(60);
/// Photos that are stored at a time.
const BATCH: u64 = 20;
/// Photos that are read after each loop.
const SAMPLE: usize = 200;

fn photo(key: u64) -> usize {
    usize::try_from((32 << 10) + key.wrapping_mul(0x9E37_79B9) % (448 << 10)).expect("below 2^19")
}

/// Fills and compacts a volume on a file system that holds little more than that.
///
/// # Errors
/// When a write or a compaction fails, the file system gets fuller, or a photo is lost or returns.
pub fn refill(scene: &Scene) -> Result<Outcome, Failed> {
    let loops = scene.choose(LOOPS.0, LOOPS.1);
    let mut outcome = Outcome::measured(format!(
        "A volume of {MIB} MiB on an XFS with room for {VOLUMES} of these. In each loop it is filled to {} % \
         of its size with photos of 32 to 480 KiB, a random half of its photos is deleted, and it is \
         compacted. Then all its needles must be there (as counted by the daemon, and {SAMPLE} photos byte \
         for byte), and the used space must not exceed that after the first loop by more than a step of 64 \
         MiB, in which blocks are reserved ahead of the log.",
        FILLED * 100.0
    ));
    let work = scene.work.join("refill");
    unmount_leftover(&work);
    let room = ((MIB << 20) as f64 * VOLUMES) as u64;
    let fs = Xfs::mount(&work, (room + METADATA).next_multiple_of(4 << 20))?;
    take_excess(fs.path(), room)?;
    let dir = fs.path().join("node");
    std::fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
    let node = scene.node(&dir, "0", MIB, &["--shard-ports", "off"], "")?;
    let admin = Admin::of(&node);
    let photos = Batches { volume: 1, each: 100, len_of: photo };
    let (mut live, mut next, mut random) = (Vec::<u64>::new(), 0, Rng::with_seed(5));
    let mut refusals = Vec::new();
    let (mut first_used, mut most, mut least_free) = (None, 0, u64::MAX);
    for number in 1..=loops {
        let in_loop = |Failed(why): Failed| Failed(format!("loop {number} of {loops}: {why}"));
        let began = Instant::now();
        let mut refused = Duration::ZERO;
        let full = ((MIB << 20) as f64 * FILLED) as u64;
        while admin.volume(1)?.used < full {
            let keys: Vec<u64> = (next..next + BATCH).collect();
            next += BATCH;
            refused += photos.put_within(node.data, &keys, PATIENCE).map_err(in_loop)?;
            live.extend(keys);
        }
        let (mut dead, mut kept) = (Vec::new(), Vec::new());
        for key in live {
            if random.bool() { dead.push(key) } else { kept.push(key) }
        }
        live = kept;
        delete(node.data, 1, &dead).map_err(in_loop)?;
        let ended = admin
            .compact_watched(1, POLL_INTERVAL / 5, |_| {
                least_free = least_free.min(space(fs.path())?.1);
                Ok(())
            })
            .map_err(in_loop)?;
        let used = settled(fs.path())?;
        let volume = admin.volume(1)?;
        if volume.needles != live.len() as u64 {
            let (found, wanted) = (volume.needles, live.len());
            return Err(in_loop(Failed(format!("LOST: {found} needles live, not {wanted}"))));
        }
        photos.check(node.data, &sample(&live)).map_err(in_loop)?;
        check_deleted(node.data, 1, &sample(&dead)).map_err(in_loop)?;
        let first = *first_used.get_or_insert(used);
        most = most.max(used);
        outcome.rounds.push(json!({
            "loop": number, "fs_used": used, "needles": volume.needles, "log": volume.used,
            "compaction": ended, "refused_seconds": refused.as_secs_f64(),
            "seconds": began.elapsed().as_secs_f64(),
        }));
        if used > first + GROWTH {
            let why = format!("GREW: {used} bytes are used, {first} after the first loop");
            return Err(in_loop(Failed(why)));
        }
        refusals.push(refused.as_secs_f64());
        eprintln!(
            "  loop {number} of {loops}: {} photos, {} bytes used, refused for {:.1} s, {:.1} s",
            live.len(),
            used,
            refused.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
    }
    let grown = most.saturating_sub(first_used.unwrap_or(0));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    outcome.at_most(
        &format!("growth of the used space over {loops} loops"),
        (mib(grown), mib(GROWTH)),
        (2, " MiB"),
    );
    outcome.show("loops that failed", "0".to_owned());
    let hit = refusals.iter().filter(|seconds| **seconds > 0.0).count();
    let longest = refusals.iter().copied().fold(0.0, f64::max);
    let what =
        format!("time in which writes found no room, longest of {hit} loops with such writes");
    outcome.at_most(&what, (longest, 0.0), (2, " s"));
    outcome.show("least free space during a compaction", format!("{:.0} MiB", mib(least_free)));
    node.stop()?;
    Ok(outcome)
}

fn sample(keys: &[u64]) -> Vec<u64> {
    keys.iter().copied().step_by(keys.len() / SAMPLE + 1).collect()
}

/// Reserves what is free beyond `room`.
fn take_excess(dir: &Path, room: u64) -> Result<(), Failed> {
    let (_, free) = space(dir)?;
    let Some(excess) = free.checked_sub(room).filter(|excess| *excess > 0) else {
        return Err(Failed(format!("{free} bytes are free, not {room}")));
    };
    let mut reserve = Command::new("fallocate");
    run(reserve.args(["-l", &excess.to_string()]).arg(dir.join("excess")))
}

/// Used space of the file system, once it no longer changes: the steps ahead of the log are taken, and the
/// space of the old file has come back.
fn settled(dir: &Path) -> Result<u64, Failed> {
    let began = Instant::now();
    let mut used = space(dir)?.0;
    let mut same = 0;
    while same < 8 {
        if began.elapsed() > STEPS_TIMEOUT {
            return Err(Failed(format!("the used space still changes after {STEPS_TIMEOUT:?}")));
        }
        sleep(POLL_INTERVAL);
        let now = space(dir)?.0;
        same = if now == used { same + 1 } else { 0 };
        used = now;
    }
    Ok(used)
}
