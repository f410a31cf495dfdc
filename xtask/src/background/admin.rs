//! Requests to the admin API of a daemon about its volumes and their compactions.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::http::{Answer, Client};
use crate::node::Node;
use crate::process::Failed;

/// Longest time of a compaction: that of 20 million needles.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// Longest time without progress: the verification of 20 million needles shows none.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest time of a cancellation.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A volume, as far as the measurement needs it. Bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Volume {
    /// Shard that owns it.
    pub shard: Option<u32>,
    /// Size of its file.
    pub size: u64,
    /// From the start of the file to the end of the log.
    pub used: u64,
    /// Needles that can be read.
    pub live: u64,
    /// Number of needles that can be read.
    pub needles: u64,
    /// Memory of its index.
    pub index_bytes: u64,
    /// The same for each needle.
    pub index_bytes_per_needle: f64,
    /// Compaction that waits or runs.
    pub compaction: Option<Running>,
    /// Number of compactions that have ended.
    pub compactions: u64,
    /// The last of these.
    pub last_compaction: Option<Ended>,
    /// Scrub that waits or runs.
    pub scrub: Option<RunningScrub>,
    /// Number of scrubs that were completed.
    pub scrubs: u64,
    /// Number of places that scrubs have found damaged.
    pub found_damage: u64,
}

/// A scrub that waits or runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunningScrub {
    /// Its phase.
    pub phase: String,
    /// Bytes of the log that it has verified.
    pub done: u64,
}

/// A damaged place.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DamagedPlace {
    /// Offset in the volume file (bytes).
    pub offset: u64,
    /// The photo, where that is known.
    pub key: Option<u64>,
    /// What is damaged.
    pub what: String,
}

/// A compaction that waits or runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Running {
    /// Its phase.
    pub phase: String,
    /// Bytes read so far.
    pub read: u64,
    /// Bytes written so far.
    pub written: u64,
}

/// A compaction that has ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ended {
    /// `done`, `cancelled` or `failed`.
    pub outcome: String,
    /// Why it was not done.
    pub reason: String,
    /// Bytes read from the old file.
    pub read: u64,
    /// Bytes written to the new file.
    pub written: u64,
    /// Duration (seconds).
    pub seconds: f64,
    /// Longest time that writes waited (milliseconds).
    pub gate_closed_ms: f64,
}

/// The admin API of a daemon. Each request has a connection of its own: the daemon closes idle ones.
#[derive(Clone, Copy)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// The admin API of `node`.
    #[must_use]
    pub const fn of(node: &Node) -> Self {
        Self { address: node.admin }
    }

    fn get(self, path: &str) -> Result<Answer, Failed> {
        expect(&[200], path, Client::new(self.address).ask("GET", path)?)
    }

    fn post(self, path: &str, body: &str, fine: &[u16]) -> Result<Answer, Failed> {
        let answer = Client::new(self.address).send("POST", path, body.as_bytes())?;
        expect(fine, path, answer)
    }

    /// A volume.
    ///
    /// # Errors
    /// When there is no such volume.
    pub fn volume(self, id: u32) -> Result<Volume, Failed> {
        let reply = self.get(&format!("/volumes/{id}"))?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| Failed(format!("the state of volume {id}: {error}")))
    }

    /// Creates a volume and returns it.
    ///
    /// # Errors
    /// When that is refused.
    pub fn create(self, id: u32, mib: u64) -> Result<Volume, Failed> {
        let body = format!("{{\"id\": {id}, \"size\": \"{mib}MiB\"}}");
        self.post("/volumes", &body, &[201])?;
        self.volume(id)
    }

    /// Begins a compaction.
    ///
    /// # Errors
    /// When that is refused.
    pub fn begin(self, id: u32) -> Result<(), Failed> {
        self.post(&format!("/volumes/{id}/compact"), "", &[202]).map(drop)
    }

    /// Asks for a scrub.
    ///
    /// # Errors
    /// When that is refused.
    pub fn begin_scrub(self, id: u32) -> Result<(), Failed> {
        self.post(&format!("/volumes/{id}/scrub"), "", &[202]).map(drop)
    }

    /// Waits until no scrub of a volume waits or runs.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait_for_scrub(self, id: u32) -> Result<(), Failed> {
        let began = Instant::now();
        while self.volume(id)?.scrub.is_some() {
            if began.elapsed() > TIMEOUT {
                return Err(Failed(format!("a scrub did not end within {TIMEOUT:?}")));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The damage that scrubs have found in a volume.
    ///
    /// # Errors
    /// When that is refused.
    pub fn damage(self, id: u32) -> Result<Vec<DamagedPlace>, Failed> {
        let reply = self.get(&format!("/volumes/{id}/damage"))?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| Failed(format!("the damage of volume {id}: {error}")))
    }

    /// Cancels the compaction of a volume, if one waits or runs, and waits for its end.
    ///
    /// # Errors
    /// When that is refused.
    pub fn cancel(self, id: u32) -> Result<(), Failed> {
        self.post(&format!("/volumes/{id}/cancel-compaction"), "", &[200, 409])?;
        let began = Instant::now();
        while self.volume(id)?.compaction.is_some() {
            if began.elapsed() > CANCEL_TIMEOUT {
                let why = format!("a compaction was not cancelled within {CANCEL_TIMEOUT:?}");
                return Err(Failed(why));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Compacts a volume; returns how that ended.
    ///
    /// # Errors
    /// When it is refused or fails.
    pub fn compact(self, id: u32) -> Result<Ended, Failed> {
        self.compact_watched(id, POLL_INTERVAL, |_| Ok(()))
    }

    /// Like [`Self::compact`]; shows each state of the volume meanwhile, every `interval`.
    ///
    /// # Errors
    /// When it is refused or fails.
    pub fn compact_watched(
        self,
        id: u32,
        interval: Duration,
        mut watch: impl FnMut(&Volume) -> Result<(), Failed>,
    ) -> Result<Ended, Failed> {
        let before = self.volume(id)?.compactions;
        self.begin(id)?;
        let began = Instant::now();
        let (mut seen, mut seen_at) = (None, began);
        loop {
            let volume = self.volume(id)?;
            watch(&volume)?;
            if volume.compaction.is_none() && volume.compactions > before {
                return done(volume.last_compaction);
            }
            let progress = volume.compaction.map(|it| (it.phase, it.read, it.written));
            if seen != progress {
                (seen, seen_at) = (progress, Instant::now());
            }
            if began.elapsed() > TIMEOUT || seen_at.elapsed() > STALL_TIMEOUT {
                let seconds = began.elapsed().as_secs();
                return Err(Failed(format!(
                    "a compaction has not ended after {seconds} s: {seen:?}"
                )));
            }
            sleep(interval);
        }
    }
}

/// An answer, whose status must be one of `fine`.
fn expect(fine: &[u16], path: &str, reply: Answer) -> Result<Answer, Failed> {
    if fine.contains(&reply.status) {
        return Ok(reply);
    }
    Err(Failed(format!("{path} was answered {}: {}", reply.status, reply.text())))
}

/// The end of a compaction, which must be done.
///
/// # Errors
/// When it was cancelled or failed.
pub fn done(ended: Option<Ended>) -> Result<Ended, Failed> {
    match ended {
        Some(ended) if ended.outcome == "done" => Ok(ended),
        Some(ended) => Err(Failed(format!("a compaction {}: {}", ended.outcome, ended.reason))),
        None => Err(Failed("a compaction has no end".to_owned())),
    }
}
