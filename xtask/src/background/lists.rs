//! The part `lists`: a list of a volume with many photos.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::outcome::Outcome;
use super::scene::Scene;
use crate::http::Client;
use crate::node::resident;
use crate::photos::Batches;
use crate::process::Failed;

/// Photos that are listed; in a trial run.
const LISTED: (u64, u64) = (10_000_000, 100_000);
/// Length of a photo (bytes).
const SHORT: usize = 100;
/// Size of the volume (MiB); in a trial run.
const LIST_MIB: (u64, u64) = (13 << 10, 1024);
/// Longest time until the first line (seconds).
const FIRST_LINE_GOAL_S: f64 = 1.0;

/// Lists a volume with many photos.
///
/// # Errors
/// When a request fails.
pub fn lists(scene: &Scene) -> Result<Outcome, Failed> {
    let listed = scene.choose(LISTED.0, LISTED.1);
    let mut outcome = Outcome::measured(format!(
        "`hayloft list` lists a volume of {listed} photos of {SHORT} bytes of an idle daemon."
    ));
    let node =
        scene.new_node("0", scene.choose(LIST_MIB.0, LIST_MIB.1), &["--shard-ports", "off"])?;
    let keys: Vec<u64> = (0..listed).collect();
    Batches { volume: 1, each: 200, len_of: |_| SHORT }.put(node.data, &keys)?;
    let before = node.resident()?;
    let began = Instant::now();
    let mut command = Command::new(scene.work.join("programs/hayloft"));
    command.args(["list", "--volume", "1", "--admin", &node.admin.to_string()]);
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| Failed(format!("cannot run hayloft list: {error}")))?;
    let output = child.stdout.take().ok_or_else(|| Failed("no output".to_owned()))?;
    let (mut first, mut count, mut client) = (None, 0_u64, 0.0_f64);
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| Failed(format!("hayloft list: {error}")))?;
        if line.starts_with('#') {
            continue;
        }
        first.get_or_insert_with(|| began.elapsed().as_secs_f64());
        count += 1;
        if count.is_multiple_of(50_000) {
            client = client.max(resident(child.id()).unwrap_or(0.0));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let status = child.wait().map_err(|error| Failed(format!("hayloft list: {error}")))?;
    if count != listed || !status.success() {
        return Err(Failed(format!("{count} of {listed} photos were listed: {status}")));
    }
    let first = first.unwrap_or(seconds);
    outcome.at_most("first line of the list", (first, FIRST_LINE_GOAL_S), (3, " s"));
    let mib = f64::from(1 << 20);
    let grown = (node.resident()? - before) / mib;
    outcome
        .show("the whole list", format!("{seconds:.1} s, {:.0} photos/s", count as f64 / seconds));
    outcome.show("memory of `hayloft list` at most", format!("{:.0} MiB", client / mib));
    outcome.show("growth of the daemon's memory", format!("{grown:.0} MiB"));
    // The daemon serves meanwhile.
    let reply = Client::new(node.data).ask("GET", &crate::photos::path(1, 7))?;
    if reply.status != 200 {
        return Err(Failed(format!("GET: {}", reply.status)));
    }
    node.stop()?;
    Ok(outcome)
}
