//! Memory per photo of a daemon while it is filled, the effect of index growth on concurrent reads, and the
//! length of event loop iterations.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::node::{Node, needles, number};
use crate::process::{Failed, run};
use crate::project::{cargo, target};
use crate::record::{Record, cannot};

/// Default number of needles.
const NEEDLES: u64 = 5_000_000;
/// Minimum size of an index to be evaluated (needles): with less, other memory of the process dominates.
const JUDGED_FROM: f64 = 2e6;
/// Sampling interval of the memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Rounds that compare reads beside growth with reads beside overwrites.
const ROUNDS: usize = 5;
/// Length of a round (seconds).
const SECONDS: u64 = 4;

/// Orders of keys: name in the table, and flags of the load generator.
const ORDERS: [(&str, &[&str]); 3] = [
    ("sequential", &["--keys", "sequential"]),
    ("4 alternates of each", &["--keys", "sequential", "--alts", "4"]),
    ("random", &["--keys", "random"]),
];

/// Fills volumes with needles (`--needles N`) in several orders of keys, and records memory and timing.
///
/// # Errors
/// When the daemon cannot be built, started or filled.
pub fn growth_bench(flags: &[&str]) -> Result<(), Failed> {
    let needles = needles(flags, NEEDLES)?;
    let packages = ["--package", "hayloft", "--package", "hayloft-loadgen"];
    run(cargo(&["build", "--release", "--locked", "--bins"]).args(packages))?;
    let dir = target().join("growth-bench");
    let mut text = format!(
        "\n{needles} photos of 512 bytes for each order of names, one shard, 64 connections, direct I/O, a \
         checkpoint after every 256 MiB. Index: from `/volumes/1`, sampled from 2 million photos on (or \
         from half of them on). Resident: the slope of the least squares line through `VmRSS`.\n\n\
         | names | index, worst (bytes a photo) | index, mean | resident | PUT/s | iterations >= 400 us |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for (order, flags) in ORDERS {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
        let filled = Filled::measure(&dir, needles, flags)?;
        let _ = writeln!(text, "| {order} | {}", filled.row());
        if order == "random" {
            let _ = writeln!(text, "\n{}", beside_growth(&filled.node, needles, flags)?);
            let _ = writeln!(text, "\n{}", reads(&filled.node, needles, flags)?);
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
    print!("{text}");
    let command = format!("cargo xtask growth-bench --needles {needles}");
    let name = if needles == NEEDLES { "growth".to_owned() } else { format!("growth-{needles}") };
    Record { name: &name, title: "Growth", command: &command, text: &text }.keep()
}

fn loadgen(node: &Node, command: &str, flags: &[&str]) -> Command {
    let mut loadgen = Command::new(target().join("release/hayloft-loadgen"));
    loadgen.args([command, "--quiet", "--cores", "1", "--sizes", "512B"]).args(flags);
    loadgen.args(["--url", &format!("http://{}", node.data)]);
    loadgen
}

/// Sample of a daemon that is being filled.
struct Sample {
    needles: f64,
    /// Index memory per needle (bytes).
    index: f64,
    /// Resident memory (bytes).
    resident: f64,
}

/// A filled daemon, with the samples taken meanwhile.
struct Filled {
    node: Node,
    samples: Vec<Sample>,
    /// PUTs per second.
    rate: f64,
}

impl Filled {
    fn measure(dir: &Path, needles: u64, flags: &[&str]) -> Result<Self, Failed> {
        // A needle of 512 bytes takes 1 KiB, its commit record a little more; plus space for the later
        // rounds.
        let mib = needles * 1400 / (1 << 20) + 4096;
        let (node, _) = Node::start(dir, mib)?;
        let result = dir.join("fill.json");
        let mut fill = loadgen(&node, "fill", flags);
        fill.args(["--connections", "64", "--objects", &needles.to_string(), "--json"]);
        let (done, is_done) = mpsc::channel();
        let mut samples = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| done.send(run(fill.arg(&result))));
            loop {
                let ended = is_done.recv_timeout(SAMPLE_INTERVAL);
                let status = node.admin("/volumes/1")?;
                samples.push(Sample {
                    needles: number(&status, "needles"),
                    index: number(&status, "index_bytes_per_needle"),
                    resident: node.resident()?,
                });
                if let Ok(ended) = ended {
                    return ended;
                }
            }
        })?;
        let json = std::fs::read_to_string(&result).map_err(cannot("read", &result))?;
        let from = JUDGED_FROM.min(needles as f64 / 2.0);
        samples.retain(|sample| sample.needles >= from);
        Ok(Self { node, samples, rate: number(&json, "requests_per_second") })
    }

    fn row(&self) -> String {
        let index = || self.samples.iter().map(|sample| sample.index);
        let worst = index().fold(0.0, f64::max);
        let mean = index().sum::<f64>() / self.samples.len() as f64;
        let (slope, rate) = (slope(&self.samples), self.rate);
        let iterations = self
            .node
            .admin("/metrics")
            .map_or_else(|_| String::new(), |text| long_iterations(&text));
        format!("{worst:.2} | {mean:.2} | {slope:.2} | {rate:.0} | {iterations} |")
    }
}

/// Memory per additional needle (bytes): slope of the least squares line.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (needles, resident) = (mean(|it| it.needles), mean(|it| it.resident));
    let (mut up, mut down) = (0.0, 0.0);
    for sample in samples {
        up += (sample.needles - needles) * (sample.resident - resident);
        down += (sample.needles - needles) * (sample.needles - needles);
    }
    up / down
}

/// Value of a metric; 0 when it does not exist.
fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split(' ').nth(1)?.parse().ok()).unwrap_or(0.0)
}

/// Number of event loop iterations of 400 us or more, and of all.
fn long_iterations(metrics: &str) -> String {
    let all = metric(metrics, "hayloft_turn_duration_seconds_count{shard=\"0\"}");
    let short = metric(metrics, "hayloft_turn_duration_seconds_bucket{le=\"0.0004\",shard=\"0\"}");
    format!("{} of {all} ({:.4} %)", all - short, (all - short) / all * 100.0)
}

/// Device reads of GETs, half of them for objects that do not exist.
fn reads(node: &Node, needles: u64, flags: &[&str]) -> Result<String, Failed> {
    let names = ["gets_found", "gets_missing", "device_reads", "false_candidates"];
    let figures = || -> Result<[f64; 4], Failed> {
        let metrics = node.admin("/metrics")?;
        Ok(names.map(|name| metric(&metrics, &format!("hayloft_{name}_total{{shard=\"0\"}}"))))
    };
    // The shard publishes its counters within this time.
    std::thread::sleep(SAMPLE_INTERVAL);
    let before = figures()?;
    let mut gets = loadgen(node, "run", flags);
    gets.args(["--objects", &needles.to_string(), "--seconds", "10", "--connections", "64"]);
    run(gets.args(["--mix", "get=100", "--missing", "0.5"]))?;
    std::thread::sleep(SAMPLE_INTERVAL);
    let after = figures()?;
    let [found, missing, reads, false_candidates] =
        std::array::from_fn(|number| after[number] - before[number]);
    let gets = found + missing;
    Ok(format!(
        "Of {gets:.0} GETs {found:.0} found their photo and {missing:.0} asked for one that does not \
         exist. Beyond one device read for each photo found there were {:.0}, {:.6} per GET; false \
         candidates {:.6} per GET.",
        reads - found,
        (reads - found) / gets,
        false_candidates / gets,
    ))
}

/// Effect of index growth on reads: the same reads beside PUTs of new photos and beside overwrites.
fn beside_growth(node: &Node, needles: u64, flags: &[&str]) -> Result<String, Failed> {
    let result = std::env::temp_dir().join(format!("hayloft-growth-{}.json", std::process::id()));
    let (objects, seconds) = (needles.to_string(), SECONDS.to_string());
    let common = ["--objects", &objects, "--seconds", &seconds, "--warmup", "1"];
    let mixed = ["--connections", "32", "--mix", "get=80,put=20"];
    let p99 = |how: &[&str]| -> Result<f64, Failed> {
        let mut reads = loadgen(node, "run", flags);
        run(reads.args(common).args(mixed).args(how).arg("--json").arg(&result))?;
        let json = std::fs::read_to_string(&result).map_err(cannot("read", &result))?;
        Ok(number(json.split("\"get\":").nth(1).unwrap_or_default(), "p99"))
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((p99(&["--overwrite"])?, p99(&[])?));
    }
    let _ = std::fs::remove_file(&result);
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratio = median(rounds.iter().map(|(old, new)| new / old).collect());
    let old = median(rounds.iter().map(|round| round.0).collect());
    let new = median(rounds.iter().map(|round| round.1).collect());
    Ok(format!(
        "GET, 99th percentile, beside a quarter as many PUTs ({ROUNDS} alternating rounds of {SECONDS} s, 32 \
              connections): {old:.0} us with PUTs that overwrite photos (which reads the old one first), \
         {new:.0} us with PUTs of new photos, which grow the index; median of the ratios {ratio:.2}."
    ))
}
