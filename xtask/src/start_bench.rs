//! Start time of a daemon: after a clean stop, after a kill, and without a checkpoint.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::node::{Node, needles, number};
use crate::photos::Batches;
use crate::process::{Failed, run};
use crate::project::{cargo, target};
use crate::record::{Record, cannot};

/// Default number of needles.
const NEEDLES: u64 = 1_000_000;
/// Needles per batch put.
const BATCH: usize = 1000;

/// Fills a volume with needles (`--needles N`), measures start times and records them.
///
/// # Errors
/// When the daemon cannot be built, started or filled.
pub fn start_bench(flags: &[&str]) -> Result<(), Failed> {
    let needles = needles(flags, NEEDLES)?;
    let build = ["build", "--release", "--locked", "--package", "hayloft", "--bin", "hayloft"];
    run(&mut cargo(&build))?;
    let dir = target().join("start-bench");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
    let text = measure(&dir, needles);
    let _ = std::fs::remove_dir_all(&dir);
    let text = text?;
    print!("{text}");
    let command = format!("cargo xtask start-bench --needles {needles}");
    let name = if needles == NEEDLES { "start".to_owned() } else { format!("start-{needles}") };
    Record { name: &name, title: "Starts", command: &command, text: &text }.keep()
}

fn measure(dir: &Path, needles: u64) -> Result<String, Failed> {
    let mib = needles * 1600 / (1 << 20) + 256;
    let checkpoint = dir.join("data/1.0.ckpt");
    let (daemon, _) = Node::start(dir, mib)?;
    let began = Instant::now();
    fill(&daemon, 0..needles)?;
    let filled = began.elapsed();
    daemon.stop()?;
    let len =
        std::fs::metadata(&checkpoint).map_err(cannot("read the length of", &checkpoint))?.len();
    let mut text = format!(
        "\nOne volume with {needles} photos of 512 to 1023 bytes, one shard, direct I/O. Filled in \
         {:.0} s. The checkpoint has {:.1} MB, {:.2} bytes per photo.\n\n\
         | start | ready after | opening the volume | log read |\n| --- | --- | --- | --- |\n",
        filled.as_secs_f64(),
        len as f64 / 1e6,
        len as f64 / needles as f64,
    );
    let mut row = |what: &str, daemon: &Node, ready: Duration| -> Result<(), Failed> {
        let status = daemon.admin("/volumes/1")?;
        let [open, read] = ["open_ms", "open_read"].map(|name| number(&status, name));
        let _ = writeln!(
            text,
            "| {what} | {:.2} s | {:.2} s | {:.1} MB |",
            ready.as_secs_f64(),
            open / 1e3,
            read / 1e6
        );
        Ok(())
    };
    let (daemon, ready) = Node::start(dir, mib)?;
    row("after a stop in order", &daemon, ready)?;
    // More than a tenth of the checkpoint interval.
    let more = needles..needles + (needles / 50 / 1000).max(1) * 1000;
    fill(&daemon, more)?;
    daemon.kill();
    let (daemon, ready) = Node::start(dir, mib)?;
    row("after kill -9, with a tail", &daemon, ready)?;
    daemon.stop()?;
    std::fs::remove_file(&checkpoint).map_err(cannot("remove", &checkpoint))?;
    let (daemon, ready) = Node::start(dir, mib)?;
    row("after a stop in order, without a checkpoint", &daemon, ready)?;
    daemon.kill();
    Ok(text)
}

/// Stores photos with these keys in batches.
fn fill(node: &Node, keys: std::ops::Range<u64>) -> Result<(), Failed> {
    let keys: Vec<u64> = keys.collect();
    Batches { volume: 1, each: BATCH, len_of: short }.put(node.data, &keys)
}

/// Length of a photo: 512 to 1023 bytes.
fn short(key: u64) -> usize {
    512 + usize::try_from(key * 2_654_435_761 % 512).expect("below 512")
}
