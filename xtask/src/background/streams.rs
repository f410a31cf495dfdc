//! The part `streams`: record streams of a running daemon.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hayloft_bench_stats::estimate;
use serde_json::json;

use super::outcome::{Figure, Outcome, Verdict};
use super::scene::Scene;
use crate::node::{Node, number};
use crate::photos::Batches;
use crate::process::Failed;

/// Photos whose records are streamed, and their length (bytes).
const STREAMED: u64 = 10_000;
const LEN: usize = 100_000;
/// Size of the volume (MiB).
const STREAM_MIB: u64 = 1280;
/// Least part of the rate of the device that a stream must make.
const RATE_GOAL: f64 = 0.6;
/// Longest 99th percentile of `/healthz` meanwhile (milliseconds).
const HEALTH_GOAL_MS: f64 = 100.0;
/// Time for which a reader that does not read is watched.
const STALLED: Duration = Duration::from_secs(3);

/// Measures the rate of record streams.
///
/// # Errors
/// When a request fails.
pub fn streams(scene: &Scene) -> Result<Outcome, Failed> {
    let rounds = scene.choose(9, 2);
    let mut outcome = Outcome::measured(format!(
        "One idle shard with a volume of {STREAMED} photos of {LEN} bytes. In pairs, curl reads the records \
         of the volume in the exchange format, and dd reads as many bytes of the volume file with direct I/O \
         and 1 MiB a request. Meanwhile `/healthz` is asked every 5 ms. Then a client asks for the records \
         and reads none."
    ));
    let node = scene.new_node("0", STREAM_MIB, &["--shard-ports", "off"])?;
    let keys: Vec<u64> = (0..STREAMED).collect();
    Batches { volume: 1, each: 50, len_of: |_| LEN }.put(node.data, &keys)?;
    let (mut ratios, mut health) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let device = device_rate(scene)?;
        let stream = stream_rate(&node, &mut health)?;
        ratios.push(stream / device);
        outcome.rounds.push(json!({"stream_mib_s": stream, "device_mib_s": device}));
    }
    let ratio = estimate(&ratios).ok_or_else(|| Failed("no rounds".to_owned()))?;
    outcome.ratio_at_least("rate of a stream / sequential rate of the device", &ratio, RATE_GOAL);
    health.sort_by(f64::total_cmp);
    let p99 = health[(health.len() * 99 / 100).min(health.len() - 1)];
    outcome.at_most("99th percentile of `/healthz` meanwhile", (p99, HEALTH_GOAL_MS), (1, " ms"));
    stalled(&node, &mut outcome)?;
    node.stop()?;
    Ok(outcome)
}

/// Returns the rate at which the volume file is read (MiB/s).
fn device_rate(scene: &Scene) -> Result<f64, Failed> {
    let file = scene.dir().join("data/1.0.vol");
    let mib = (STREAMED * LEN as u64) >> 20;
    let began = Instant::now();
    let mut dd = Command::new("dd");
    dd.args(["of=/dev/null", "bs=1M", "iflag=direct", "status=none", &format!("count={mib}")]);
    let status = dd.arg(format!("if={}", file.display())).status();
    match status {
        Ok(status) if status.success() => Ok(mib as f64 / began.elapsed().as_secs_f64()),
        other => Err(Failed(format!("dd: {other:?}"))),
    }
}

/// Returns the rate of a stream of records (MiB/s). Adds the times of `/healthz` (milliseconds).
fn stream_rate(node: &Node, health: &mut Vec<f64>) -> Result<f64, Failed> {
    let url = format!("http://{}/volumes/1/records", node.admin);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                if node.admin("/healthz").is_ok() {
                    times.push(began.elapsed().as_secs_f64() * 1000.0);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            times
        });
        let began = Instant::now();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", &url]);
        let output = curl.output();
        let seconds = began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        health.extend(asking.join().map_err(|_| Failed("a thread panicked".to_owned()))?);
        let output = output.map_err(|error| Failed(format!("cannot run curl: {error}")))?;
        let bytes: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0.0);
        if !output.status.success() || bytes < (STREAMED * LEN as u64) as f64 {
            return Err(Failed(format!("{bytes} bytes of records arrived: {output:?}")));
        }
        Ok(bytes / seconds / f64::from(1 << 20))
    })
}

/// A reader that stops reading must not hold a buffer of the shard.
fn stalled(node: &Node, outcome: &mut Outcome) -> Result<(), Failed> {
    let used = || Ok::<f64, Failed>(number(&node.admin("/status")?, "buffer_bytes_used"));
    let before = used()?;
    let connected = TcpStream::connect(node.admin).and_then(|mut connection| {
        connection.write_all(b"GET /volumes/1/records HTTP/1.1\r\nHost: x\r\n\r\n")?;
        Ok(connection)
    });
    let connection = connected.map_err(|error| Failed(format!("cannot connect: {error}")))?;
    std::thread::sleep(STALLED);
    let held = used()? - before;
    drop(connection);
    let verdict = if held <= 0.0 { Verdict::Met } else { Verdict::Missed };
    let value = format!("{held:.0} bytes");
    let what = "buffers of the shard held by a reader that stops reading".to_owned();
    outcome.add(Figure { what, goal: "none".to_owned(), value, verdict });
    Ok(())
}
