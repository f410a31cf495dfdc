//! Interface to the load generator: command lines and JSON results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::process::{Placement, output};

/// Seed of keys, sizes and contents: the same for all servers.
const SEED: &str = "1";

/// Objects stored in a server.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Number of objects.
    pub count: u64,
    /// Sizes, in the syntax of the generator.
    pub sizes: &'static str,
    /// Volumes that they are distributed over.
    pub volumes: &'static str,
}

/// A server to load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Value of `--target`.
    pub kind: &'static str,
    /// Values of `--url`.
    pub urls: Vec<String>,
    /// Directory for files, if the target is one.
    pub dir: Option<PathBuf>,
    /// Whether writes request `fsync`.
    pub fsync: bool,
    /// Admin API of a daemon whose requests are routed to the shards of their volumes.
    pub by_shard: Option<String>,
}

/// Options of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Measured time (seconds).
    pub seconds: f64,
    /// Warm-up on the same connections (seconds).
    pub warmup: f64,
    /// Connections; in an open loop, the maximum.
    pub connections: u32,
    /// Arrivals per second of an open loop.
    pub rate: Option<f64>,
    /// Weights of the operations, for instance `get=95,put=5`.
    pub mix: &'static str,
    /// `uniform` or `zipf:EXPONENT`.
    pub popularity: &'static str,
    /// Fraction of GETs for objects that do not exist.
    pub missing: f64,
    /// Length of range reads.
    pub range_len: Option<&'static str>,
    /// Part of each answer that is compared.
    pub verify: &'static str,
    /// Seed of the request stream.
    pub stream: u64,
}

/// Latency of one kind of operation (microseconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
}

/// Results of one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Number of answers of any status.
    pub count: u64,
    /// Number of successful answers.
    pub ok: u64,
    /// Latency of the successful answers.
    pub latency_us: Latency,
}

/// Schedule of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Requests due.
    pub intended: u64,
    /// Whether the generator followed the schedule.
    pub kept: bool,
}

/// Cost of the generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time per request (microseconds).
    pub cpu_us_per_request: f64,
}

/// JSON result of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Measured time (seconds).
    pub seconds: f64,
    /// Requests answered in the measured time (closed loop), or due in it (open loop).
    pub requests: u64,
    /// All answers, including warm-up.
    pub answers: u64,
    /// Answers in the measured time, per second.
    pub requests_per_second: f64,
    /// Answers in the measured time without refusals, per second.
    pub served_per_second: f64,
    /// Body bytes per second, in both directions.
    pub payload_bytes_per_second: f64,
    /// Results by kind of operation.
    pub operations: BTreeMap<String, Operation>,
    /// Schedule of an open loop.
    pub schedule: Option<Schedule>,
    /// Cost of the generator.
    pub generator: Generator,
}

impl Report {
    /// Number of objects answered correctly: found, stored (`each` per batch put), or not found as expected.
    pub fn answered(&self, each: u32) -> u64 {
        let of = |name: &str| self.operations.get(name).copied().unwrap_or_default();
        let done: u64 = ["get", "put", "delete", "range"].map(|name| of(name).ok).iter().sum();
        done + of("missing").count + u64::from(each) * of("batch").ok
    }

    /// Results of the most frequent kind of operation.
    pub fn main_operation(&self) -> Operation {
        let kinds = ["get", "put", "range", "missing", "batch"].into_iter();
        let found = kinds.filter_map(|name| self.operations.get(name));
        found.max_by_key(|operation| operation.ok.max(operation.count)).copied().unwrap_or_default()
    }
}

/// Program of the generator, and where it runs.
pub struct Loadgen {
    /// Path of the program.
    pub program: PathBuf,
    /// Core that it is pinned to.
    pub core: usize,
    /// File for its JSON result.
    pub json: PathBuf,
}

impl Loadgen {
    /// Runs a load.
    ///
    /// # Errors
    /// When the generator fails, also because of a wrong answer.
    pub fn run(&self, target: &Target, objects: &Objects, run: &Run) -> Result<Report, Error> {
        self.report(&mut self.run_command(target, objects, run))
    }

    fn run_command(&self, target: &Target, objects: &Objects, run: &Run) -> Command {
        let mut command = self.command("run", None);
        describe(&mut command, target, objects);
        let number = |value: f64| format!("{value}");
        command.args(["--seconds", &number(run.seconds), "--warmup", &number(run.warmup)]);
        command.args(["--connections", &run.connections.to_string()]);
        if let Some(rate) = run.rate {
            command.args(["--rate", &number(rate.round()), "--arrivals", "poisson"]);
        }
        command.args(["--mix", run.mix, "--popularity", run.popularity]);
        if run.missing > 0.0 {
            command.args(["--missing", &number(run.missing)]);
        }
        if let Some(len) = run.range_len {
            command.args(["--range-len", len]);
        }
        command.args(["--verify", run.verify, "--stream-seed", &run.stream.to_string()]);
        command
    }

    /// Stores all objects before a measurement.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn fill(
        &self,
        target: &Target,
        objects: &Objects,
        connections: u32,
        procs: Option<&Path>,
    ) -> Result<(), Error> {
        let mut command = self.command("fill", procs);
        describe(&mut command, target, objects);
        command.args(["--connections", &connections.to_string()]);
        if let Some(dir) = &target.dir {
            command.arg("--dir").arg(dir);
        }
        self.run_for_json(&mut command).map(drop)
    }

    /// Stores all objects, `each` per request, and measures it.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn batch_put(
        &self,
        target: &Target,
        objects: &Objects,
        connections: u32,
        each: u32,
    ) -> Result<Report, Error> {
        let mut command = self.command("fill", None);
        describe(&mut command, target, objects);
        command.args(["--connections", &connections.to_string()]);
        if each > 1 {
            command.args(["--batch", &each.to_string()]);
        }
        self.report(&mut command)
    }

    fn command(&self, what: &str, procs: Option<&Path>) -> Command {
        let cores = self.core.to_string();
        let placement = Placement { cores: cores.clone(), procs: procs.map(Path::to_owned) };
        let mut command = placement.command(&self.program);
        command.args([what, "--quiet", "--seed", SEED, "--cores", &cores]);
        command
    }

    fn report(&self, command: &mut Command) -> Result<Report, Error> {
        serde_json::from_value(self.run_for_json(command)?)
            .map_err(|error| Error::Figure { from: "hayloft-loadgen", what: error.to_string() })
    }

    /// Runs the generator; returns its JSON result, null if it writes none.
    fn run_for_json(&self, command: &mut Command) -> Result<Value, Error> {
        // Makes sure that a result is of this run.
        drop(std::fs::remove_file(&self.json));
        let done = output(command.arg("--json").arg(&self.json));
        let text = std::fs::read_to_string(&self.json).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        match done {
            Ok(_) => Ok(value),
            Err(error) => Err(with_notes(error, &value)),
        }
    }
}

/// Adds the descriptions of wrong answers to the error of a failed generator.
fn with_notes(error: Error, report: &Value) -> Error {
    let notes = report.get("notes").and_then(Value::as_array);
    let notes: Vec<&str> = notes.into_iter().flatten().filter_map(Value::as_str).collect();
    match error {
        Error::Failed { command, status, output } if !notes.is_empty() => {
            Error::Failed { command, status, output: output + &notes.join("\n") }
        }
        error => error,
    }
}

fn describe(command: &mut Command, target: &Target, objects: &Objects) {
    command.args(["--target", target.kind]);
    for url in &target.urls {
        command.args(["--url", url]);
    }
    command.args(["--volumes", objects.volumes, "--objects", &objects.count.to_string()]);
    command.args(["--sizes", objects.sizes]);
    if let Some(admin) = &target.by_shard {
        command.args(["--by-shard", admin]);
    }
    if target.fsync {
        command.arg("--fsync");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"tool": "hayloft-loadgen", "seconds": 2.0, "requests": 100, "answers": 120,
        "requests_per_second": 50.0, "served_per_second": 45.0, "payload_bytes_per_second": 409600.0,
        "wrong": 0, "errors": 0,
        "statuses": {"200": 60},
        "operations": {
          "get": {"count": 90, "ok": 60, "rejected": 10, "latency_us":
            {"mean": 3.0, "p50": 2.0, "p90": 4.0, "p99": 9.0, "p99_9": 10.0, "p99_99": 11.0, "max": 12}},
          "missing": {"count": 20, "ok": 20, "latency_us": {"mean": 1, "p50": 1, "p99": 2, "p99_9": 3}},
          "put": {"count": 10, "ok": 10, "latency_us": {"mean": 7, "p50": 6, "p99": 8, "p99_9": 9}}},
        "schedule": null, "generator": {"threads": 1, "cpu_us_per_request": 5.5}}"#;

    #[test]
    fn a_report_is_parsed_and_refusals_do_not_count_as_answered() {
        let report: Report = serde_json::from_str(REPORT).unwrap();
        assert_eq!(report.answered(1), 90);
        assert_eq!(report.main_operation().latency_us.p99, 9.0);
        assert_eq!((report.generator.cpu_us_per_request, report.schedule), (5.5, None));
    }

    #[test]
    fn batch_puts_count_by_their_objects() {
        let text = REPORT.replace("\"put\"", "\"batch\"");
        let report: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(report.answered(16), 60 + 20 + 10 * 16);
    }

    #[test]
    fn the_stream_seed_is_the_only_difference_between_runs() {
        let loadgen = Loadgen { program: "g".into(), core: 3, json: "j".into() };
        let target =
            Target { kind: "nginx", urls: Vec::new(), dir: None, fsync: false, by_shard: None };
        let objects = Objects { count: 7, sizes: "8KiB", volumes: "1" };
        let words = |stream| {
            let run = Run {
                seconds: 1.0,
                warmup: 0.0,
                connections: 1,
                rate: None,
                mix: "get=100",
                popularity: "uniform",
                missing: 0.0,
                range_len: None,
                verify: "head",
                stream,
            };
            let command = loadgen.run_command(&target, &objects, &run);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let (one, other) = (words(11), words(12));
        let differs: Vec<_> = one.iter().zip(&other).filter(|(one, other)| one != other).collect();
        assert_eq!(differs, [(&"11".to_owned(), &"12".to_owned())]);
        let before = |word: &str| one[one.iter().position(|it| it == word).unwrap() - 1].clone();
        assert_eq!((before("11").as_str(), before(SEED).as_str()), ("--stream-seed", "--seed"));
    }

    #[test]
    fn a_target_is_passed_completely() {
        let target = Target {
            kind: "hayloft",
            urls: vec!["http://a".to_owned(), "http://b".to_owned()],
            dir: None,
            fsync: false,
            by_shard: Some("http://c".to_owned()),
        };
        let objects = Objects { count: 7, sizes: "8KiB", volumes: "1,2" };
        let mut command = Command::new("x");
        describe(&mut command, &target, &objects);
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        let wanted = "--target hayloft --url http://a --url http://b --volumes 1,2 --objects 7 \
                      --sizes 8KiB --by-shard http://c";
        assert_eq!(words.join(" "), wanted);
    }
}
