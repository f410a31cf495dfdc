//! Start time of a daemon: after a clean stop, after a kill, and without a checkpoint.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::node::{Node, needles, number};
use crate::process::{Failed, run};
use crate::project::{cargo, target};
use crate::record::{Record, cannot};

/// Default number of needles.
const NEEDLES: u64 = 1_000_000;
/// Needles per batch put.
const BATCH: u64 = 1000;
const COOKIE: &str = "0123456789abcdef";

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
    let more = needles..needles + (needles / 50 / BATCH).max(1) * BATCH;
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
    let failed = |error: std::io::Error| Failed(format!("cannot write to the daemon: {error}"));
    let mut stream = TcpStream::connect(node.data).map_err(failed)?;
    let mut reply = vec![0; 1 << 20];
    for first in keys.step_by(usize::try_from(BATCH).expect("usize has 64 bits")) {
        let tar = tar(first);
        let head =
            format!("POST /1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", tar.len());
        stream.write_all(head.as_bytes()).map_err(failed)?;
        stream.write_all(&tar).map_err(failed)?;
        let mut got = 0;
        loop {
            let more = stream.read(&mut reply[got..]).map_err(failed)?;
            got += more;
            let text = String::from_utf8_lossy(&reply[..got]);
            if more == 0 || (got > 12 && !text.starts_with("HTTP/1.1 201")) {
                return Err(Failed(format!("a batch was refused: {text}")));
            }
            if text.ends_with(']') || text.ends_with("]\n") {
                break;
            }
        }
    }
    Ok(())
}

/// A tar of [`BATCH`] photos of 512 to 1023 bytes, with keys from `first` on.
fn tar(first: u64) -> Vec<u8> {
    let mut tar = Vec::new();
    for key in first..first + BATCH {
        let len = 512 + usize::try_from(key * 2_654_435_761 % 512).expect("below 512");
        let mut head = [0_u8; 512];
        let name = format!("{key}/0/{COOKIE}");
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[124..135].copy_from_slice(format!("{len:011o}").as_bytes());
        head[136..147].copy_from_slice(b"00000000000");
        head[148..156].fill(b' ');
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&head);
        let end = tar.len() + len.next_multiple_of(512);
        tar.extend(std::iter::repeat_n(key.to_le_bytes()[0], len));
        tar.resize(end, 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}
