//! What a daemon takes of memory for each photo while it is filled, what growing costs those who read
//! meanwhile, and how long its turns are.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::node::{Node, needles, number};
use crate::process::{Failed, run};
use crate::project::{cargo, target};
use crate::record::{Record, cannot};

/// Needles when nobody says how many.
const NEEDLES: u64 = 5_000_000;
/// Smaller indexes are not judged: what a process has besides would count for too much.
const JUDGED_FROM: f64 = 2e6;
/// Between looks at the memory.
const LOOK: Duration = Duration::from_millis(100);
/// Comparisons of readers beside growth with readers beside overwriting.
const ROUNDS: usize = 5;
/// Seconds of one.
const SECONDS: u64 = 4;

/// Orders of names: what the table calls it, and what the load generator does.
const ORDERS: [(&str, &[&str]); 3] = [
    ("sequential", &["--keys", "sequential"]),
    ("4 alternates of each", &["--keys", "sequential", "--alts", "4"]),
    ("random", &["--keys", "random"]),
];

/// Fills volumes with so many needles (`--needles N`), each with names of another order, and records what
/// that took.
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
         checkpoint after every 256 MiB. Index: from `/volumes/1`, at every look from 2 million photos on \
         (or from half of them on). Resident: the slope of the least squares line through `VmRSS`.\n\n\
         | names | index, worst (bytes a photo) | index, mean | resident | PUT/s | turns of 400 us up |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for (order, flags) in ORDERS {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(cannot("make", &dir))?;
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

/// A look at a daemon that is being filled.
struct Look {
    needles: f64,
    /// Of its index, for each needle (bytes).
    index: f64,
    resident: f64,
}

/// A daemon that was filled.
struct Filled {
    node: Node,
    looks: Vec<Look>,
    rate: f64,
}

impl Filled {
    fn measure(dir: &Path, needles: u64, flags: &[&str]) -> Result<Self, Failed> {
        // A needle of 512 bytes takes 1 KiB, a commit a little more; and there is more to come.
        let mib = needles * 1400 / (1 << 20) + 4096;
        let (node, _) = Node::start(dir, mib)?;
        let result = dir.join("fill.json");
        let mut fill = loadgen(&node, "fill", flags);
        fill.args(["--connections", "64", "--objects", &needles.to_string(), "--json"]);
        let (done, is_done) = mpsc::channel();
        let mut looks = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| done.send(run(fill.arg(&result))));
            loop {
                let ended = is_done.recv_timeout(LOOK);
                let status = node.admin("/volumes/1")?;
                looks.push(Look {
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
        looks.retain(|look| look.needles >= from);
        Ok(Self { node, looks, rate: number(&json, "requests_per_second") })
    }

    fn row(&self) -> String {
        let index = || self.looks.iter().map(|look| look.index);
        let worst = index().fold(0.0, f64::max);
        let mean = index().sum::<f64>() / self.looks.len() as f64;
        let (slope, rate) = (slope(&self.looks), self.rate);
        let turns =
            self.node.admin("/metrics").map_or_else(|_| String::new(), |text| long_turns(&text));
        format!("{worst:.2} | {mean:.2} | {slope:.2} | {rate:.0} | {turns} |")
    }
}

/// How much more memory there is for each needle more: the least squares line.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (needles, resident) = (mean(|look| look.needles), mean(|look| look.resident));
    let (mut up, mut down) = (0.0, 0.0);
    for look in looks {
        up += (look.needles - needles) * (look.resident - resident);
        down += (look.needles - needles) * (look.needles - needles);
    }
    up / down
}

/// The value of a metric; 0 when there is none.
fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split(' ').nth(1)?.parse().ok()).unwrap_or(0.0)
}

/// How many turns took 400 us or more, of how many.
fn long_turns(metrics: &str) -> String {
    let all = metric(metrics, "hayloft_turn_duration_seconds_count{shard=\"0\"}");
    let short = metric(metrics, "hayloft_turn_duration_seconds_bucket{le=\"0.0004\",shard=\"0\"}");
    format!("{} of {all} ({:.4} %)", all - short, (all - short) / all * 100.0)
}

/// What GETs read, half of them of what is not there.
fn reads(node: &Node, needles: u64, flags: &[&str]) -> Result<String, Failed> {
    let names = ["gets_found", "gets_missing", "device_reads", "false_candidates"];
    let figures = || -> Result<[f64; 4], Failed> {
        let metrics = node.admin("/metrics")?;
        Ok(names.map(|name| metric(&metrics, &format!("hayloft_{name}_total{{shard=\"0\"}}"))))
    };
    // What the shard did last is made known within this time.
    std::thread::sleep(LOOK);
    let before = figures()?;
    let mut gets = loadgen(node, "run", flags);
    gets.args(["--objects", &needles.to_string(), "--seconds", "10", "--connections", "64"]);
    run(gets.args(["--mix", "get=100", "--missing", "0.5"]))?;
    std::thread::sleep(LOOK);
    let after = figures()?;
    let [found, missing, reads, false_candidates] =
        std::array::from_fn(|number| after[number] - before[number]);
    let gets = found + missing;
    Ok(format!(
        "Of {gets:.0} GETs {found:.0} found their photo and {missing:.0} had none to find. Beyond one \
         read of the device for each found photo there were {:.0}, {:.6} for each GET; false \
         candidates {:.6} for each.",
        reads - found,
        (reads - found) / gets,
        false_candidates / gets,
    ))
}

/// What readers notice of growth: the same reads beside as many PUTs of new photos and of old ones.
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
         connections): {old:.0} us while they replace photos (which reads the old one first), {new:.0} us \
         while they add some and the index grows; median of the ratios {ratio:.2}."
    ))
}
