//! The part `pulls`: a copy of a volume in another daemon, while both, and the command, are killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::outcome::{Figure, Outcome, Verdict};
use super::scene::Scene;
use crate::node::{Node, number};
use crate::photos::{self, Batches};
use crate::process::Failed;
use crate::record::cannot;

/// Photos at the start.
const PHOTOS: u64 = 4000;
/// Photos that are stored, and deleted, before each kill.
const STORED: u64 = 1500;
const DELETED: usize = 200;
/// Size of the volumes (MiB).
const MIB: u64 = 1800;
/// Longest time of one pull.
const PULL_WITHIN: Duration = Duration::from_secs(120);
/// What happens in the middle of a pull, in turn.
const EVENTS: [Event; 6] = [
    Event::Kill(Victim::Source),
    Event::Kill(Victim::Copy),
    Event::Kill(Victim::Command),
    Event::Compact(Victim::Source),
    Event::Kill(Victim::Copy),
    Event::Compact(Victim::Copy),
];

#[derive(Clone, Copy, Debug)]
enum Victim {
    Source,
    Copy,
    Command,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Kill(Victim),
    Compact(Victim),
}

/// The two daemons.
struct Pair<'a> {
    scene: &'a Scene,
    source: Node,
    copy: Node,
    /// For how long they keep deletions.
    tombstones: &'static str,
}

/// Starts a daemon on its directory.
fn node(scene: &Scene, name: &str, tombstones: &str) -> Result<Node, Failed> {
    let dir = scene.dir().join(name);
    std::fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
    let settings = format!("tombstone_keep = \"{tombstones}\"\n");
    scene.node(&dir, "0", 64, &["--shard-ports", "off"], &settings)
}

/// Pulls a volume again and again, and compares the copy with it.
///
/// # Errors
/// When a request fails.
pub fn pulls(scene: &Scene) -> Result<Outcome, Failed> {
    let kills = scene.choose(20, 3);
    let mut outcome = Outcome::measured(format!(
        "A volume of {PHOTOS} photos of up to 60,000 bytes is pulled into another daemon. Before each \
         further pull {STORED} photos are stored and {DELETED} deleted. In its middle a daemon or the \
         command is killed with SIGKILL and started again, or one of the volumes is compacted; then the \
         command runs until it ends with 0, and `hayloft volume diff` compares the digests of all photos. \
         At last the copy is cut off, and the source, which keeps no deletions, is compacted meanwhile."
    ));
    let mut pair = Pair::start(scene, "30d")?;
    let began = Instant::now();
    pair.pull()?;
    let seconds = began.elapsed().as_secs_f64();
    let mib = number(&pair.source.admin("/volumes/2")?, "live") / f64::from(1 << 20);
    outcome.show("the first pull", format!("{:.0} MiB/s, {mib:.0} MiB", mib / seconds));
    let (mut killed, mut compacted, mut equal, mut key) = (0, 0, 0, PHOTOS);
    for event in EVENTS.iter().cycle() {
        if killed == kills {
            break;
        }
        pair.change(&mut key)?;
        let while_running = pair.disturb(*event)?;
        match event {
            Event::Kill(_) => killed += 1,
            Event::Compact(_) => compacted += 1,
        }
        pair.pull()?;
        let is_equal = pair.is_equal()?;
        equal += u64::from(is_equal);
        let event = format!("{event:?}");
        outcome
            .rounds
            .push(json!({"event": event, "in the middle": while_running, "equal": is_equal}));
    }
    let all = killed + compacted;
    let what =
        format!("equal after {killed} kills and {compacted} compactions, each during a pull");
    count(&mut outcome, what, equal, all);
    pair.stop()?;
    let pair = Pair::start(scene, "0s")?;
    pair.pull()?;
    key = PHOTOS;
    pair.change(&mut key)?;
    pair.hayloft(pair.source.admin, &["volume", "compact", "2", "--wait"])?;
    let said = pair.pull()?;
    let was_behind = said.contains("compared");
    let is_equal = u64::from(was_behind && pair.is_equal()?);
    count(&mut outcome, "equal after being cut off beyond the horizon".to_owned(), is_equal, 1);
    pair.stop()?;
    Ok(outcome)
}

fn count(outcome: &mut Outcome, what: String, value: u64, goal: u64) {
    let verdict = if value == goal { Verdict::Met } else { Verdict::Missed };
    let (goal, value) = (format!("{goal} of {goal}"), format!("{value} of {goal}"));
    outcome.add(Figure { what, goal, value, verdict });
}

impl<'a> Pair<'a> {
    /// Starts both on empty directories, and stores the photos.
    fn start(scene: &'a Scene, tombstones: &'static str) -> Result<Self, Failed> {
        scene.clear();
        let [source, copy] = [node(scene, "source", tombstones)?, node(scene, "copy", tombstones)?];
        let pair = Self { scene, source, copy, tombstones };
        let size = format!("{MIB}MiB");
        pair.hayloft(pair.source.admin, &["volume", "create", "2", "--size", &size])?;
        pair.store(0..PHOTOS)?;
        Ok(pair)
    }

    fn store(&self, keys: std::ops::Range<u64>) -> Result<(), Failed> {
        let len_of = |key| usize::try_from(key * 7919 % 60_000).unwrap_or_default();
        let keys: Vec<u64> = keys.collect();
        Batches { volume: 2, each: 50, len_of }.put(self.source.data, &keys)
    }

    /// Stores and deletes photos at the source. `key` is the next one.
    fn change(&self, key: &mut u64) -> Result<(), Failed> {
        self.store(*key..*key + STORED)?;
        *key += STORED;
        // Every seventh of the photos before, which no round has deleted yet.
        let deleted = (*key - 2 * STORED..*key - STORED).step_by(7).take(DELETED);
        photos::delete(self.source.data, 2, &deleted.collect::<Vec<_>>())
    }

    fn begin_pull(&self) -> Result<Child, Failed> {
        let (from, admin) = (self.source.admin.to_string(), self.copy.admin.to_string());
        let mut command = Command::new(self.program());
        command.args(["volume", "pull", "--from", &from, "--volume", "2", "--admin", &admin]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let program = self.program();
        command.spawn().map_err(cannot("start", &program))
    }

    /// Begins a pull, and lets something happen in its middle. Returns whether it was still running.
    fn disturb(&mut self, event: Event) -> Result<bool, Failed> {
        let needles = |node: &Node| -> Result<f64, Failed> {
            Ok(number(&node.admin("/volumes/2")?, "needles"))
        };
        let before = needles(&self.copy)?;
        let mut pull = self.begin_pull()?;
        let deadline = Instant::now() + PULL_WITHIN;
        let ended = |pull: &mut Child| pull.try_wait().is_ok_and(|status| status.is_some());
        while needles(&self.copy)? <= before && !ended(&mut pull) {
            if Instant::now() > deadline {
                return Err(Failed("the pull stores nothing".to_owned()));
            }
        }
        let is_running = !ended(&mut pull);
        match event {
            Event::Kill(Victim::Source) => {
                self.source.kill_now()?;
                self.source = node(self.scene, "source", self.tombstones)?;
            }
            Event::Kill(Victim::Copy) => {
                self.copy.kill_now()?;
                self.copy = node(self.scene, "copy", self.tombstones)?;
            }
            Event::Compact(Victim::Source) => {
                self.hayloft(self.source.admin, &["volume", "compact", "2", "--wait"])?;
            }
            Event::Compact(_) => {
                self.hayloft(self.copy.admin, &["volume", "compact", "2", "--wait"])?;
            }
            Event::Kill(Victim::Command) => {}
        }
        // A daemon that was started again has another address.
        let _ = pull.kill();
        let _ = pull.wait();
        Ok(is_running)
    }

    /// Pulls until the copy is up to date. Returns what the command has said.
    fn pull(&self) -> Result<String, Failed> {
        let from = self.source.admin.to_string();
        let arguments = ["volume", "pull", "--from", &from, "--volume", "2"];
        self.hayloft(self.copy.admin, &arguments)
    }

    /// Whether both have the same photos, by their digests.
    fn is_equal(&self) -> Result<bool, Failed> {
        let with = self.source.admin.to_string();
        let mut command = Command::new(self.program());
        command.args(["volume", "diff", "--volume", "2", "--with", &with, "--admin"]);
        let program = self.program();
        let output = command.arg(self.copy.admin.to_string()).output();
        let output = output.map_err(cannot("start", &program))?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Failed(format!("hayloft volume diff: {output:?}"))),
        }
    }

    /// Runs a command at the daemon with this admin API, which must succeed. Returns what it has said.
    fn hayloft(&self, admin: SocketAddr, arguments: &[&str]) -> Result<String, Failed> {
        let program = self.program();
        let mut command = Command::new(&program);
        let output = command.args(arguments).args(["--admin", &admin.to_string()]).output();
        let output = output.map_err(cannot("start", &program))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(Failed(format!("hayloft {}: {said}", arguments.join(" ")))),
        }
    }

    fn program(&self) -> PathBuf {
        self.scene.work.join("programs/hayloft")
    }

    fn stop(self) -> Result<(), Failed> {
        self.source.stop()?;
        self.copy.stop()
    }
}
