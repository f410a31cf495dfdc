//! The load generator: what it is asked to do, and what it measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::process::{Seat, output};

/// Decides keys, sizes and contents: the same for all servers.
const SEED: &str = "1";

/// What a server holds and how it is asked.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Number of objects.
    pub count: u64,
    /// Their sizes, as the generator has them.
    pub sizes: &'static str,
    /// Volumes they are spread over.
    pub volumes: &'static str,
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// How it is asked.
    pub kind: &'static str,
    /// Where.
    pub urls: Vec<String>,
    /// Where files are put, when it is a directory.
    pub dir: Option<PathBuf>,
    /// Whether a write asks for `fsync`.
    pub fsync: bool,
    /// The admin API of a daemon whose shards are to be asked for their own volumes only.
    pub by_shard: Option<String>,
}

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Run {
    /// Seconds that are measured.
    pub seconds: f64,
    /// Seconds that go before, on the same connections.
    pub warmup: f64,
    /// Connections; in an open loop the most there may be.
    pub connections: u32,
    /// Arrivals a second, in an open loop.
    pub rate: Option<f64>,
    /// `get=95,put=5`.
    pub mix: &'static str,
    /// `uniform` or `zipf:EXPONENT`.
    pub popularity: &'static str,
    /// Share of GETs for what does not exist.
    pub missing: f64,
    /// Length of a range.
    pub range_len: Option<&'static str>,
    /// How much of each answer is compared.
    pub verify: &'static str,
    /// Which requests are drawn, and when they arrive.
    pub stream: u64,
}

/// Times of one kind of operation (microseconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99 of 100 are at least as quick.
    pub p99: f64,
    /// 999 of 1000 are at least as quick.
    pub p99_9: f64,
}

/// One kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// How many were answered, with whatever.
    pub count: u64,
    /// How many did what they were asked to.
    pub ok: u64,
    /// Their times.
    pub latency_us: Latency,
}

/// Proof that an open loop was one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Arrivals that were due.
    pub intended: u64,
    /// Whether the generator was never late by its own fault.
    pub kept: bool,
}

/// What the generator cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Processor time for each request (microseconds).
    pub cpu_us_per_request: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Time measured (seconds).
    pub seconds: f64,
    /// Requests answered in the measured time, or due in it.
    pub requests: u64,
    /// All that were answered.
    pub answers: u64,
    /// Of them each second.
    pub requests_per_second: f64,
    /// Answers of the measured time that were no refusals, each second.
    pub served_per_second: f64,
    /// Bytes of bodies each second, in both directions.
    pub payload_bytes_per_second: f64,
    /// By kind.
    pub operations: BTreeMap<String, Operation>,
    /// In an open loop.
    pub schedule: Option<Schedule>,
    /// Its own cost.
    pub generator: Generator,
}

impl Report {
    /// Objects that were answered as they should be: found, stored (`each` with one multi-write), or rightly
    /// not found.
    pub fn answered(&self, each: u32) -> u64 {
        let of = |name: &str| self.operations.get(name).copied().unwrap_or_default();
        let done: u64 = ["get", "put", "delete", "range"].map(|name| of(name).ok).iter().sum();
        done + of("missing").count + u64::from(each) * of("batch").ok
    }

    /// The kind of operation that most requests were.
    pub fn main_operation(&self) -> Operation {
        let kinds = ["get", "put", "range", "missing", "batch"].into_iter();
        let found = kinds.filter_map(|name| self.operations.get(name));
        found.max_by_key(|operation| operation.ok.max(operation.count)).copied().unwrap_or_default()
    }
}

/// The generator's program, and where it runs.
pub struct Loadgen {
    /// The program.
    pub program: PathBuf,
    /// Its core.
    pub core: usize,
    /// Where it leaves its figures.
    pub json: PathBuf,
}

impl Loadgen {
    /// Asks for a while.
    ///
    /// # Errors
    /// When the generator fails.
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

    /// Writes all objects, before anything is measured.
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
        self.asked(&mut command).map(drop)
    }

    /// Writes all objects, `each` in a request, and measures that.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn multi_write(
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
        let seat = Seat { cores: cores.clone(), procs: procs.map(Path::to_owned) };
        let mut command = seat.command(&self.program);
        command.args([what, "--quiet", "--seed", SEED, "--cores", &cores]);
        command
    }

    fn report(&self, command: &mut Command) -> Result<Report, Error> {
        serde_json::from_value(self.asked(command)?)
            .map_err(|error| Error::Figure { from: "hayloft-loadgen", what: error.to_string() })
    }

    /// What it left in its file; nothing when it leaves none.
    fn asked(&self, command: &mut Command) -> Result<Value, Error> {
        // What is there afterwards is of this run.
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

/// The error of a generator that failed, with the answers that it did not like.
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
    fn a_report_is_read_and_refusals_do_not_count_as_answered() {
        let report: Report = serde_json::from_str(REPORT).unwrap();
        assert_eq!(report.answered(1), 90);
        assert_eq!(report.main_operation().latency_us.p99, 9.0);
        assert_eq!((report.generator.cpu_us_per_request, report.schedule), (5.5, None));
    }

    #[test]
    fn multi_writes_count_by_their_objects() {
        let text = REPORT.replace("\"put\"", "\"batch\"");
        let report: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(report.answered(16), 60 + 20 + 10 * 16);
    }

    #[test]
    fn another_stream_is_asked_of_the_same_objects() {
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
    fn a_target_is_described_once_and_whole() {
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
