//! SIGKILL under load: after each restart every acknowledged needle is present, byte for byte, and
//! writes are accepted without any operator step. A batch is present completely or not at all, and so is what
//! a multi-delete leaves of it.

mod daemon_harness;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, bytes, data_dir, path};
use hayloft::runtime::split_mix;

const KILLS: u64 = 10;
/// Longest wait for the acknowledgements of one round.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 16;
/// Needle ids per connection: few, so that overwrites and deletes are frequent.
const IDS: u64 = 40;

/// Permitted values of an id: the last acknowledged one (0: absent), and one without an answer yet.
#[derive(Clone, Copy, Default)]
struct Expected {
    acknowledged: u64,
    unknown: Option<u64>,
}

type ExpectedById = HashMap<u64, Expected>;

fn value(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let len = match split_mix(&mut state) % 10 {
        0 => split_mix(&mut state) % (1 << 20),
        1..=3 => split_mix(&mut state) % 100_000,
        _ => split_mix(&mut state) % 5000,
    };
    bytes(seed, usize::try_from(len).unwrap() + 8)
}

/// Writes and deletes the ids of one connection until the daemon is killed.
fn write(
    address: std::net::SocketAddr,
    first: u64,
    mut expected: ExpectedById,
    mut seed: u64,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> ExpectedById {
    let mut client = Client::new(address);
    while !stop.load(Ordering::Relaxed) {
        let id = first + split_mix(&mut seed) % IDS;
        let is_delete = split_mix(&mut seed).is_multiple_of(8);
        let next = if is_delete { 0 } else { split_mix(&mut seed) | 1 };
        let entry = expected.entry(id).or_default();
        entry.unknown = Some(next);
        let reply = if is_delete {
            client.request("DELETE", &path(id), &[], None)
        } else {
            client.put(&path(id), &value(next))
        };
        let Ok(reply) = reply else { break };
        let allowed: &[u16] = match (is_delete, entry.acknowledged) {
            (true, 0) => &[404],
            (false, 0) => &[201],
            _ => &[204],
        };
        assert!(allowed.contains(&reply.status), "{id}: {} {}", reply.status, reply.text());
        *entry = Expected { acknowledged: next, unknown: None };
        done.fetch_add(1, Ordering::Relaxed);
    }
    expected
}

/// Reads every id, compares it with the permitted values and records which of them it has.
fn check(daemon: &Daemon, expected: &mut ExpectedById) {
    let mut client = daemon.client();
    for (id, expected) in expected {
        let reply = client.get(&path(*id)).unwrap();
        let candidates = expected.unknown.into_iter().chain([expected.acknowledged]);
        let found = candidates.into_iter().find(|&candidate| match candidate {
            0 => reply.status == 404,
            seed => reply.status == 200 && reply.body == value(seed),
        });
        let found = found.unwrap_or_else(|| {
            panic!(
                "needle {id}: status {}, {} bytes, neither the acknowledged value nor the unanswered one\n{}",
                reply.status,
                reply.body.len(),
                daemon.log_text()
            )
        });
        *expected = Expected { acknowledged: found, unknown: None };
    }
}

/// Seed of the times of the kills; a long run passes a different one each time.
fn seed() -> u64 {
    let text = std::env::var("HAYLOFT_KILL_SEED").unwrap_or_else(|_| "42".to_owned());
    text.parse().unwrap_or_else(|_| panic!("HAYLOFT_KILL_SEED={text} is not a number"))
}

fn kill_under_load(shards: usize) {
    let dir = data_dir();
    let options = Options { shards, volume_size: "4GiB", ..Options::default() };
    let mut expected: Vec<ExpectedById> = (0..CONNECTIONS).map(|_| ExpectedById::new()).collect();
    let (done, mut seed) = (Arc::new(AtomicU64::new(0)), seed());
    for round in 0..KILLS {
        let daemon = Daemon::start(dir.path(), &options);
        for expected in &mut expected {
            check(&daemon, expected);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<JoinHandle<ExpectedById>> = std::mem::take(&mut expected)
            .into_iter()
            .zip(0..)
            .map(|(expected, n)| {
                let (done, stop, address) = (Arc::clone(&done), Arc::clone(&stop), daemon.data);
                let seed = split_mix(&mut seed);
                std::thread::spawn(move || write(address, n * IDS, expected, seed, &done, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100 + split_mix(&mut seed) % 300));
        wait_for_acknowledged(&done, (round + 1) * 20);
        daemon.kill();
        stop.store(true, Ordering::Relaxed);
        expected = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    }
    let daemon = Daemon::start(dir.path(), &options);
    for expected in &mut expected {
        check(&daemon, expected);
    }
    assert_eq!(daemon.metric("hayloft_volume_damaged_records_total", ""), 0.0);
    println!(
        "{KILLS} kills, {shards} shards, {} writes acknowledged: none lost",
        done.load(Ordering::Relaxed)
    );
    assert!(daemon.stop().success());
}

/// Waits until `least` writes are acknowledged, so that each kill could lose some, even on a slow disk.
fn wait_for_acknowledged(done: &AtomicU64, least: u64) {
    let began = Instant::now();
    while done.load(Ordering::Relaxed) < least {
        let done = done.load(Ordering::Relaxed);
        assert!(began.elapsed() < ROUND_TIMEOUT, "only {done} of {least} within {ROUND_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Needles of one batch.
const BATCH: u64 = 6;
/// Groups of ids that are always written in one batch, or deleted with one multi-delete; one group per
/// connection.
const GROUPS: u64 = 8;
const ROUNDS: u64 = 10;

/// Whether this version of a group is that nothing of it exists: every fourth one is a multi-delete.
const fn is_deleted(version: u64) -> bool {
    version.is_multiple_of(4)
}

/// Content of needle `n` of its group in the batch `version`; the first of each batch is a large body.
fn batch_value(version: u64, n: u64) -> Vec<u8> {
    let mut state = version * BATCH + n;
    let len = split_mix(&mut state) % 20_000 + if n == 0 { 1_100_000 } else { 0 };
    bytes(version * BATCH + n, usize::try_from(len).unwrap())
}

fn batch(group: u64, version: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for n in 0..BATCH {
        let data = batch_value(version, n);
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o600);
        let name = path(100_000 + group * BATCH + n);
        tar.append_data(&mut header, name.trim_start_matches("/1/"), &data[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Version of a group that is visible. Panics if only a part of one is.
fn visible_batch(client: &mut Client, group: u64, candidates: [u64; 2]) -> u64 {
    let got: Vec<_> =
        (0..BATCH).map(|n| client.get(&path(100_000 + group * BATCH + n)).unwrap()).collect();
    let visible = candidates.into_iter().find(|&version| {
        got.iter().zip(0..).all(|(reply, n)| match is_deleted(version) {
            true => reply.status == 404,
            false => reply.status == 200 && reply.body == batch_value(version, n),
        })
    });
    visible.unwrap_or_else(|| {
        let statuses: Vec<u16> = got.iter().map(|reply| reply.status).collect();
        panic!("group {group}: {statuses:?}, none of the versions {candidates:?} is complete")
    })
}

fn kill_during_batches(shards: usize) {
    let dir = data_dir();
    let options = Options { shards, volume_size: "4GiB", ..Options::default() };
    // Per group: the last acknowledged batch, and the one that may have been in flight.
    let mut expected = [[0; 2]; GROUPS as usize];
    let (acknowledged, mut seed) = (Arc::new(AtomicU64::new(0)), 4711);
    for round in 0..ROUNDS {
        let daemon = Daemon::start(dir.path(), &options);
        let mut client = daemon.client();
        for (group, expected) in (0..).zip(&mut expected) {
            *expected = [visible_batch(&mut client, group, *expected); 2];
        }
        let threads: Vec<JoinHandle<[u64; 2]>> = (0..GROUPS)
            .map(|group| {
                let (address, from) = (daemon.data, expected[usize::try_from(group).unwrap()][0]);
                let done = Arc::clone(&acknowledged);
                std::thread::spawn(move || write_batches(address, group, from, &done))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(150 + split_mix(&mut seed) % 300));
        wait_for_acknowledged(&acknowledged, (round + 1) * GROUPS);
        daemon.kill();
        for (thread, expected) in threads.into_iter().zip(&mut expected) {
            *expected = thread.join().unwrap();
        }
    }
    let daemon = Daemon::start(dir.path(), &options);
    let mut client = daemon.client();
    for (group, expected) in (0..).zip(expected) {
        visible_batch(&mut client, group, expected);
    }
    assert_eq!(daemon.metric("hayloft_volume_damaged_records_total", ""), 0.0);
    println!(
        "{ROUNDS} kills, {shards} shards, {} batches and multi-deletes acknowledged: each whole or absent",
        acknowledged.load(Ordering::Relaxed)
    );
    assert!(daemon.stop().success());
}

/// Writes and deletes batches until the daemon is killed. Returns the versions of the last one acknowledged
/// and the last one sent.
fn write_batches(
    address: std::net::SocketAddr,
    group: u64,
    from: u64,
    done: &AtomicU64,
) -> [u64; 2] {
    let mut version = from;
    let mut client = Client::new(address);
    loop {
        let next = version + 1;
        let answer = match is_deleted(next) {
            true => {
                let names = (0..BATCH).map(|n| path(100_000 + group * BATCH + n)[3..].to_owned());
                let names = names.collect::<Vec<_>>().join("\n");
                let text = [("Content-Type", "text/plain")];
                client.request("POST", "/1/delete", &text, Some(names.as_bytes()))
            }
            false => client.request("POST", "/1/batch", &[], Some(&batch(group, next))),
        };
        match answer {
            Ok(reply) if is_deleted(next) => {
                assert_eq!(reply.status, 200, "{}", reply.text());
                let deleted = reply.text().matches("\"status\":204").count() as u64;
                assert_eq!(deleted, BATCH, "{}", reply.text());
            }
            Ok(reply) => assert_eq!(reply.status, 201, "{}", reply.text()),
            Err(_) => return [version, next],
        }
        version = next;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn batches_stay_atomic_across_kills_with_one_shard() {
    kill_during_batches(1);
}

#[test]
fn batches_stay_atomic_across_kills_with_two_shards() {
    kill_during_batches(2);
}

#[test]
fn acknowledged_writes_survive_kills_with_one_shard() {
    kill_under_load(1);
}

#[test]
fn acknowledged_writes_survive_kills_with_two_shards() {
    kill_under_load(2);
}
