//! Clients that write at once and note what was acknowledged, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::history::{Moment, Subject, Version, content, roll};
use crate::http::{Client, Reply};

/// Connections.
const CLIENTS: u64 = 12;
/// Photos of each connection: few, so that most writes replace or delete.
const PHOTOS: u64 = 16;
/// Batches of each connection, and photos of each.
const BATCHES: u64 = 2;
const BATCH: u64 = 4;
/// A connection gives up after so many writes that failed.
const FAILURES_MAX: usize = 20;

const COOKIE: &str = "0123456789abcdef";

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// What all connections share.
struct Shared {
    stop: AtomicBool,
    /// Volumes of which a write failed.
    failed: BTreeMap<u32, AtomicBool>,
    clock: Clock,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Written {
    pub subjects: Vec<Subject>,
    pub acknowledged: u64,
    /// Writes that were answered with 500, by volume, and when the first of them was.
    pub failed: BTreeMap<u32, (u64, Moment)>,
    /// Volumes that were written full.
    pub full: BTreeSet<u32>,
    /// What must not happen: acknowledgements of a volume of which a write had failed, and answers
    /// that do not fit.
    pub trouble: Vec<String>,
}

/// Clients at work.
pub struct Load {
    threads: Vec<JoinHandle<Written>>,
    shared: Arc<Shared>,
}

/// The path of a photo.
pub fn path(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

impl Load {
    /// Starts them, spread over the volumes.
    pub fn start(address: SocketAddr, volumes: &[u32], seed: u64, clock: Clock) -> Self {
        let failed = volumes.iter().map(|&volume| (volume, AtomicBool::new(false))).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), failed, clock });
        let mut seed = seed;
        let threads = (0..CLIENTS).zip(volumes.iter().cycle()).map(|(n, &volume)| {
            let (shared, seed) = (Arc::clone(&shared), roll(&mut seed));
            std::thread::spawn(move || Writer::new(volume, n, seed, shared).run(address))
        });
        Self { threads: threads.collect(), shared }
    }

    /// Ends it.
    pub fn finish(self) -> Written {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for thread in self.threads {
            let one = thread.join().expect("a client panicked");
            all.subjects.extend(one.subjects);
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

/// One connection and what it writes.
struct Writer {
    volume: u32,
    seed: u64,
    shared: Arc<Shared>,
    /// First the photos, then the batches, then what was stored under names the store picked.
    written: Written,
}

/// What an answer says of a write.
enum Answer {
    Acknowledged(Reply),
    /// Not known; go on.
    Unknown,
    /// Not known; there is nobody to go on with.
    Gone,
}

impl Writer {
    fn new(volume: u32, n: u64, seed: u64, shared: Arc<Shared>) -> Self {
        let photos = (0..PHOTOS).map(|k| vec![path(volume, 1 + n * PHOTOS + k)]);
        let batches = (0..BATCHES).map(|b| {
            let first = 1_000_000 + (n * BATCHES + b) * BATCH;
            (first..first + BATCH).map(|key| path(volume, key)).collect()
        });
        let subjects = photos.chain(batches).map(|paths| Subject { paths, versions: Vec::new() });
        let written = Written { subjects: subjects.collect(), ..Written::default() };
        Self { volume, seed, shared, written }
    }

    fn run(mut self, address: SocketAddr) -> Written {
        let Ok(mut client) = Client::connect(address) else { return self.written };
        while !self.shared.stop.load(Ordering::Relaxed) {
            let chosen = roll(&mut self.seed);
            let version = roll(&mut self.seed);
            let goes_on = match roll(&mut self.seed) % 32 {
                0..=2 => self.batch(&mut client, PHOTOS + chosen % BATCHES, version),
                3 => self.post(&mut client, version),
                4..=7 => self.one(&mut client, chosen % PHOTOS, None),
                _ => self.one(&mut client, chosen % PHOTOS, Some(version)),
            };
            let failures: u64 = self.written.failed.values().map(|(count, _)| count).sum();
            if !goes_on || failures >= FAILURES_MAX as u64 {
                break;
            }
        }
        self.written
    }

    /// Sends one request. `right` says which statuses acknowledge it.
    fn send(
        &mut self,
        client: &mut Client,
        (method, path, body): (&str, &str, Option<&[u8]>),
        right: &[u16],
    ) -> Answer {
        let had_failed = self.shared.failed[&self.volume].load(Ordering::SeqCst);
        let Ok(reply) = client.request(method, path, body) else { return Answer::Gone };
        match reply.status {
            status if right.contains(&status) => {
                // That there is nothing to delete may still be said.
                if had_failed && status != 404 {
                    let late = format!("{method} {path}: {status}, after a write there had failed");
                    self.written.trouble.push(late);
                }
                self.written.acknowledged += 1;
                Answer::Acknowledged(reply)
            }
            500 => {
                self.shared.failed[&self.volume].store(true, Ordering::SeqCst);
                let now = (self.shared.clock)();
                self.written.failed.entry(self.volume).or_insert((0, now)).0 += 1;
                Answer::Unknown
            }
            503 => {
                std::thread::sleep(Duration::from_millis(20));
                Answer::Unknown
            }
            507 => {
                self.written.full.insert(self.volume);
                Answer::Gone
            }
            status => {
                let text = format!("{method} {path}: {status} {}", reply.text());
                self.written.trouble.push(text);
                Answer::Gone
            }
        }
    }

    /// Notes a write to a subject that is about to be sent.
    fn begin(&mut self, subject: u64, seed: Option<u64>) -> usize {
        let index = usize::try_from(subject).expect("few");
        let version = Version { seed, sent: (self.shared.clock)(), acknowledged: None };
        self.written.subjects[index].versions.push(version);
        index
    }

    fn end(&mut self, subject: usize, answer: &Answer) -> bool {
        if matches!(answer, Answer::Acknowledged(_)) {
            let now = (self.shared.clock)();
            let last = self.written.subjects[subject].versions.last_mut();
            last.expect("it was begun").acknowledged = Some(now);
        }
        !matches!(answer, Answer::Gone)
    }

    /// A PUT, or a DELETE for no version.
    fn one(&mut self, client: &mut Client, subject: u64, seed: Option<u64>) -> bool {
        let versions = &self.written.subjects[usize::try_from(subject).expect("few")].versions;
        let right: &[u16] = match (versions.last(), seed) {
            // What holds now is not known.
            (Some(Version { acknowledged: None, .. }), Some(_)) => &[201, 204],
            (Some(Version { acknowledged: None, .. }), None) => &[204, 404],
            (None | Some(Version { seed: None, .. }), Some(_)) => &[201],
            (None | Some(Version { seed: None, .. }), None) => &[404],
            _ => &[204],
        };
        let index = self.begin(subject, seed);
        let path = self.written.subjects[index].paths[0].clone();
        let body = seed.map(|seed| content(seed, 0));
        let method = if seed.is_some() { "PUT" } else { "DELETE" };
        let answer = self.send(client, (method, &path, body.as_deref()), right);
        self.end(index, &answer)
    }

    fn batch(&mut self, client: &mut Client, subject: u64, seed: u64) -> bool {
        let index = self.begin(subject, Some(seed));
        let mut tar = tar::Builder::new(Vec::new());
        for (n, path) in self.written.subjects[index].paths.iter().enumerate() {
            let data = content(seed, n);
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o600);
            let name = path.splitn(3, '/').nth(2).expect("a volume and a name");
            tar.append_data(&mut header, name, &data[..]).expect("in memory");
        }
        let tar = tar.into_inner().expect("in memory");
        let path = format!("/{}/batch", self.volume);
        let answer = self.send(client, ("POST", &path, Some(&tar)), &[201]);
        self.end(index, &answer)
    }

    /// Without an answer nobody knows the name: only what was acknowledged is noted.
    fn post(&mut self, client: &mut Client, seed: u64) -> bool {
        let sent = (self.shared.clock)();
        let path = format!("/{}", self.volume);
        match self.send(client, ("POST", &path, Some(&content(seed, 0))), &[201]) {
            Answer::Acknowledged(reply) => {
                let Some(path) = reply.header("location") else {
                    self.written.trouble.push(format!("POST {path}: 201 without Location"));
                    return false;
                };
                let acknowledged = Some((self.shared.clock)());
                let versions = vec![Version { seed: Some(seed), sent, acknowledged }];
                self.written.subjects.push(Subject { paths: vec![path.to_owned()], versions });
                true
            }
            Answer::Unknown => true,
            Answer::Gone => false,
        }
    }
}
