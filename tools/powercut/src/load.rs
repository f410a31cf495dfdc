//! Concurrent writers that record which writes were acknowledged, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use faultdisk::random::split_mix;
use hayloft::commands::client::{Answer, Body, Client};
use hayloft::http::head::Method;

use crate::daemon::Setup;
use crate::history::{Moment, Version, WriteGroup, content};
use crate::http::{ask, client};

/// Number of connections.
const CLIENTS: u64 = 12;
/// Objects per connection: few, so that most writes replace or delete.
const PHOTOS: u64 = 16;
/// Batches per connection.
const BATCHES: u64 = 2;
/// Objects per batch.
const BATCH: u64 = 4;
/// Failed writes after which a connection ends.
const FAILURES_MAX: usize = 20;

const COOKIE: &str = "0123456789abcdef";

/// Source of logical time.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// State shared by the connections.
struct Shared {
    stop: AtomicBool,
    /// For each volume, whether a write has failed.
    failed: BTreeMap<u32, AtomicBool>,
    /// Whether writers go on when their volume is full: a compaction makes room.
    outlasts_full: bool,
    clock: Clock,
}

/// Result of a load.
#[derive(Debug, Default)]
pub struct LoadResult {
    /// Groups of objects with their writes.
    pub groups: Vec<WriteGroup>,
    /// Number of acknowledged writes.
    pub acknowledged: u64,
    /// By volume: number of writes answered with 500, and the moment of the first.
    pub failed: BTreeMap<u32, (u64, Moment)>,
    /// Volumes that answered 507.
    pub full: BTreeSet<u32>,
    /// Violations: acknowledgements of a volume after a failed write, and unexpected answers.
    pub trouble: Vec<String>,
}

/// A running load.
pub struct Load {
    threads: Vec<JoinHandle<LoadResult>>,
    shared: Arc<Shared>,
}

/// URL path of an object.
pub fn path(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

impl Load {
    /// Starts the connections, distributed over the volumes.
    pub fn start(address: SocketAddr, setup: &Setup, seed: u64, clock: Clock) -> Self {
        let volumes = setup.volumes();
        let failed = volumes.iter().map(|&volume| (volume, AtomicBool::new(false))).collect();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            failed,
            outlasts_full: setup.compacts,
            clock,
        });
        let mut seed = seed;
        let threads = (0..CLIENTS).zip(volumes.iter().cycle()).map(|(n, &volume)| {
            let (shared, seed) = (Arc::clone(&shared), split_mix(&mut seed));
            std::thread::spawn(move || Writer::new(volume, n, seed, shared).run(address))
        });
        Self { threads: threads.collect(), shared }
    }

    /// Stops the load and returns its result.
    pub fn finish(self) -> LoadResult {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = LoadResult::default();
        for thread in self.threads {
            let one = thread.join().expect("a client panicked");
            all.groups.extend(one.groups);
            all.acknowledged += one.acknowledged;
            all.trouble.extend(one.trouble);
            all.full.extend(one.full);
            for (volume, (count, first)) in one.failed {
                let failed = all.failed.entry(volume).or_insert((0, first));
                *failed = (failed.0 + count, failed.1.min(first));
            }
        }
        all
    }
}

/// A connection and its writes.
struct Writer {
    volume: u32,
    seed: u64,
    shared: Arc<Shared>,
    /// Groups in this order: single objects, batches, objects with keys assigned by the store.
    written: LoadResult,
}

/// Effect of a write, by its answer.
enum Effect {
    /// Acknowledged.
    Acknowledged(Answer),
    /// Unknown; the connection continues.
    Unknown,
    /// Unknown; the connection ends.
    Gone,
}

/// Whether an answer is right even after a failed write to the volume: nothing was there to be deleted.
fn needed_no_write(reply: &Answer) -> bool {
    match reply.status {
        404 => true,
        // The reply to a multi-delete has a status for each photo.
        200 => serde_json::from_slice::<Vec<serde_json::Value>>(&reply.body)
            .is_ok_and(|photos| photos.iter().all(|photo| photo["status"] == 404)),
        _ => false,
    }
}

impl Writer {
    fn new(volume: u32, n: u64, seed: u64, shared: Arc<Shared>) -> Self {
        let photos = (0..PHOTOS).map(|k| vec![path(volume, 1 + n * PHOTOS + k)]);
        let batches = (0..BATCHES).map(|b| {
            let first = 1_000_000 + (n * BATCHES + b) * BATCH;
            (first..first + BATCH).map(|key| path(volume, key)).collect()
        });
        let groups = photos.chain(batches).map(|paths| WriteGroup { paths, versions: Vec::new() });
        let written = LoadResult { groups: groups.collect(), ..LoadResult::default() };
        Self { volume, seed, shared, written }
    }

    fn run(mut self, address: SocketAddr) -> LoadResult {
        let client = client(address);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let chosen = split_mix(&mut self.seed);
            let version = split_mix(&mut self.seed);
            let goes_on = match split_mix(&mut self.seed) % 32 {
                0..=2 if version.is_multiple_of(4) => {
                    self.delete_all(&client, PHOTOS + chosen % BATCHES)
                }
                0..=2 => self.batch(&client, PHOTOS + chosen % BATCHES, version),
                3 => self.post(&client, version),
                4..=7 => self.one(&client, chosen % PHOTOS, None),
                _ => self.one(&client, chosen % PHOTOS, Some(version)),
            };
            let failures: u64 = self.written.failed.values().map(|(count, _)| count).sum();
            if !goes_on || failures >= FAILURES_MAX as u64 {
                break;
            }
        }
        self.written
    }

    /// Sends one request. `right` are the statuses that acknowledge it.
    fn send(
        &mut self,
        client: &Client,
        (method, path, body): (Method, &str, Body<'_>),
        right: &[u16],
    ) -> Effect {
        let had_failed = self.shared.failed[&self.volume].load(Ordering::SeqCst);
        let Ok(reply) = ask(client, method, path, body) else { return Effect::Gone };
        let method = method.token().escape_ascii();
        match reply.status {
            status if right.contains(&status) => {
                if had_failed && !needed_no_write(&reply) {
                    let late =
                        format!("{method} {path}: {status} after a failed write to the volume");
                    self.written.trouble.push(late);
                }
                self.written.acknowledged += 1;
                Effect::Acknowledged(reply)
            }
            500 => {
                self.shared.failed[&self.volume].store(true, Ordering::SeqCst);
                let now = (self.shared.clock)();
                self.written.failed.entry(self.volume).or_insert((0, now)).0 += 1;
                Effect::Unknown
            }
            503 => {
                std::thread::sleep(Duration::from_millis(20));
                Effect::Unknown
            }
            507 if self.shared.outlasts_full => {
                std::thread::sleep(Duration::from_millis(20));
                Effect::Unknown
            }
            507 => {
                self.written.full.insert(self.volume);
                Effect::Gone
            }
            status => {
                let text = format!("{method} {path}: {status} {}", reply.text().trim());
                self.written.trouble.push(text);
                Effect::Gone
            }
        }
    }

    /// Records a write that is about to be sent.
    fn begin(&mut self, group: u64, seed: Option<u64>) -> usize {
        let index = usize::try_from(group).expect("usize has 64 bits");
        let version = Version { seed, sent: (self.shared.clock)(), acknowledged: None };
        self.written.groups[index].versions.push(version);
        index
    }

    fn end(&mut self, group: usize, effect: &Effect) -> bool {
        if matches!(effect, Effect::Acknowledged(_)) {
            let now = (self.shared.clock)();
            let last = self.written.groups[group].versions.last_mut();
            last.expect("begin() added a version").acknowledged = Some(now);
        }
        !matches!(effect, Effect::Gone)
    }

    /// PUT, or DELETE if `seed` is `None`.
    fn one(&mut self, client: &Client, group: u64, seed: Option<u64>) -> bool {
        let versions =
            &self.written.groups[usize::try_from(group).expect("usize has 64 bits")].versions;
        let right: &[u16] = match (versions.last(), seed) {
            // The current state is unknown.
            (Some(Version { acknowledged: None, .. }), Some(_)) => &[201, 204],
            (Some(Version { acknowledged: None, .. }), None) => &[204, 404],
            (None | Some(Version { seed: None, .. }), Some(_)) => &[201],
            (None | Some(Version { seed: None, .. }), None) => &[404],
            _ => &[204],
        };
        let index = self.begin(group, seed);
        let path = self.written.groups[index].paths[0].clone();
        let body = seed.map(|seed| content(seed, 0));
        let (method, body) = match &body {
            Some(body) => (Method::Put, Body::Bytes(body)),
            None => (Method::Delete, Body::None),
        };
        let effect = self.send(client, (method, &path, body), right);
        self.end(index, &effect)
    }

    fn batch(&mut self, client: &Client, group: u64, seed: u64) -> bool {
        let index = self.begin(group, Some(seed));
        let mut tar = tar::Builder::new(Vec::new());
        for (n, path) in self.written.groups[index].paths.iter().enumerate() {
            let data = content(seed, n);
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o600);
            let name = path.splitn(3, '/').nth(2).expect("a path has a volume and a name");
            tar.append_data(&mut header, name, &data[..]).expect("writing to memory cannot fail");
        }
        let tar = tar.into_inner().expect("writing to memory cannot fail");
        let path = format!("/{}/batch", self.volume);
        let effect = self.send(client, (Method::Post, &path, Body::Bytes(&tar)), &[201]);
        self.end(index, &effect)
    }

    /// Deletes the objects of a batch with one multi-delete, whether they exist or not.
    fn delete_all(&mut self, client: &Client, group: u64) -> bool {
        let index = self.begin(group, None);
        let name = |path: &String| {
            let name = path.splitn(3, '/').nth(2).expect("a path has a volume and a name");
            format!("{name}\n")
        };
        let names: String = self.written.groups[index].paths.iter().map(name).collect();
        let path = format!("/{}/delete", self.volume);
        let body = Body::Bytes(names.as_bytes());
        let effect = self.send(client, (Method::Post, &path, body), &[200]);
        self.end(index, &effect)
    }

    /// The key is only known from the answer, so only acknowledged writes are recorded.
    fn post(&mut self, client: &Client, seed: u64) -> bool {
        let sent = (self.shared.clock)();
        let path = format!("/{}", self.volume);
        let body = content(seed, 0);
        match self.send(client, (Method::Post, &path, Body::Bytes(&body)), &[201]) {
            Effect::Acknowledged(reply) => {
                let Some(path) = reply.header("location") else {
                    self.written.trouble.push(format!("POST {path}: 201 without Location"));
                    return false;
                };
                let acknowledged = Some((self.shared.clock)());
                let versions = vec![Version { seed: Some(seed), sent, acknowledged }];
                self.written.groups.push(WriteGroup { paths: vec![path.to_owned()], versions });
                true
            }
            Effect::Unknown => true,
            Effect::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_needed_no_write_is_right_after_a_failed_one() {
        let answer = |status, body: &str| Answer { status, headers: Vec::new(), body: body.into() };
        let absent = r#"{"key":1,"alt":0,"status":404}"#;
        let deleted = r#"{"key":2,"alt":0,"status":204}"#;
        assert!(needed_no_write(&answer(404, "")));
        assert!(needed_no_write(&answer(200, &format!("[{absent},{absent}]"))));
        assert!(!needed_no_write(&answer(200, &format!("[{absent},{deleted}]"))));
        assert!(!needed_no_write(&answer(200, "no list")));
        assert!(!needed_no_write(&answer(204, "")));
        assert!(!needed_no_write(&answer(201, "")));
    }
}
