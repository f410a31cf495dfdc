//! Runs of the load generator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::scene::Scene;
use crate::node::Node;
use crate::process::Failed;
use crate::record::cannot;

/// Connections of a load; of a fill.
const CONNECTIONS: (&str, &str) = ("16", "4");
/// Photos per batch put of a fill.
const BATCH: &str = "100";
/// Size of the photos.
const SIZES: &str = "8KiB";
/// Seconds of a closed loop that finds the peak.
const PEAK_SECONDS: f64 = 2.0;

/// Objects that loads read and write: in one volume, through the port of its shard.
pub struct Load<'a> {
    scene: &'a Scene,
    /// Value of `--url` and `--by-shard`.
    url: String,
    admin: String,
    /// Core of the generator.
    core: &'a str,
    volume: String,
    objects: String,
}

/// Latencies of the successful answers of one kind (microseconds).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

#[derive(Debug, Default, Deserialize)]
struct Operation {
    ok: u64,
    latency_us: Latency,
}

/// Result of a run.
#[derive(Debug, Deserialize)]
pub struct Report {
    requests_per_second: f64,
    operations: BTreeMap<String, Operation>,
}

impl Report {
    /// Latencies of one kind of operation.
    ///
    /// # Errors
    /// When none succeeded.
    pub fn latency(&self, kind: &str) -> Result<Latency, Failed> {
        let found = self.operations.get(kind).filter(|operation| operation.ok > 0);
        found.map(|it| it.latency_us).ok_or_else(|| Failed(format!("no {kind} succeeded")))
    }
}

/// Options of a run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Kinds of operations and their weights.
    pub mix: &'a str,
    /// Measured seconds.
    pub seconds: f64,
    /// Requests per second; a closed loop without.
    pub rate: Option<f64>,
    /// Seed of the requests.
    pub stream: u64,
    /// Histogram log.
    pub log: Option<&'a Path>,
}

impl<'a> Load<'a> {
    /// Objects in a volume.
    #[must_use]
    pub fn new(
        scene: &'a Scene,
        node: &Node,
        core: &'a str,
        (volume, objects): (u32, u64),
    ) -> Self {
        let (volume, objects) = (volume.to_string(), objects.to_string());
        let (url, admin) = (format!("http://{}", node.data), format!("http://{}", node.admin));
        Self { scene, url, admin, core, volume, objects }
    }

    fn command(&self, what: &str, connections: &str) -> Command {
        let mut command = Command::new(&self.scene.loadgen);
        command.args([what, "--quiet", "--cores", self.core, "--url", &self.url]);
        command.args(["--volumes", &self.volume, "--objects", &self.objects, "--sizes", SIZES]);
        command.args(["--connections", connections]);
        command
    }

    /// Stores all objects.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn fill(&self) -> Result<(), Failed> {
        finish(self.command("fill", CONNECTIONS.1).args(["--batch", BATCH]))
    }

    /// Runs a load; every byte of each answer is compared. Writes are to stored objects.
    ///
    /// # Errors
    /// When the generator fails, or an answer is wrong.
    pub fn run(&self, run: &Run<'_>) -> Result<Report, Failed> {
        let json: PathBuf = self.scene.work.join("loadgen.json");
        let mut command = self.command("run", CONNECTIONS.0);
        command.args(["--by-shard", &self.admin, "--mix", run.mix, "--overwrite"]);
        command.args(["--seconds", &run.seconds.to_string(), "--warmup", "0.5"]);
        command.args(["--stream-seed", &run.stream.to_string(), "--json"]).arg(&json);
        if let Some(rate) = run.rate {
            command.args(["--rate", &format!("{rate:.0}")]);
        }
        if let Some(log) = run.log {
            command.arg("--hlog").arg(log);
        }
        finish(&mut command)?;
        let text = std::fs::read_to_string(&json).map_err(cannot("read", &json))?;
        serde_json::from_str(&text).map_err(|error| Failed(format!("loadgen's result: {error}")))
    }

    /// A share of the rate of a closed loop.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn share_of_peak(&self, mix: &str, share: f64) -> Result<f64, Failed> {
        let peak =
            self.run(&Run { mix, seconds: PEAK_SECONDS, rate: None, stream: 0, log: None })?;
        let rate = (peak.requests_per_second * share).max(1.0);
        eprintln!("  {mix}: {rate:.0} requests/s, {share} of the peak");
        Ok(rate)
    }
}

fn finish(command: &mut Command) -> Result<(), Failed> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| Failed(format!("the load generator: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let said =
        [&done.stdout[..], &done.stderr[..]].map(|text| String::from_utf8_lossy(text).into_owned());
    Err(Failed(format!("the load generator failed ({}): {}", done.status, said.concat().trim())))
}
