//! SIGKILL under load: after each restart every acknowledged needle is there, byte for byte, and
//! writes go on without any operator step. Batches are there as a whole or not at all.

mod daemon_harness;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, bytes, data_dir, path};
use hayloft::runtime::split_mix;

const KILLS: u64 = 10;
/// The longest wait for the writes of one round.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 16;
/// Ids per connection: few, so that overwrites and deletes are frequent.
const IDS: u64 = 40;

/// What an id may hold: the last acknowledged value (0 is none), and one whose fate is unknown.
#[derive(Clone, Copy, Default)]
struct Known {
    acknowledged: u64,
    unknown: Option<u64>,
}

type Knowledge = HashMap<u64, Known>;

fn value(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let len = match split_mix(&mut state) % 10 {
        0 => split_mix(&mut state) % (1 << 20),
        1..=3 => split_mix(&mut state) % 100_000,
        _ => split_mix(&mut state) % 5000,
    };
    bytes(seed, usize::try_from(len).unwrap() + 8)
}

/// One connection's share of ids: writes until the daemon is gone.
fn write(
    address: std::net::SocketAddr,
    first: u64,
    mut known: Knowledge,
    mut seed: u64,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Knowledge {
    let Ok(mut client) = Client::connect(address) else { return known };
    while !stop.load(Ordering::Relaxed) {
        let id = first + split_mix(&mut seed) % IDS;
        let is_delete = split_mix(&mut seed).is_multiple_of(8);
        let next = if is_delete { 0 } else { split_mix(&mut seed) | 1 };
        let entry = known.entry(id).or_default();
        entry.unknown = Some(next);
        let reply = if is_delete {
            client.request("DELETE", &path(id), &[], None)
        } else {
            client.put(&path(id), &value(next))
        };
        let Ok(reply) = reply else { break };
        let right: &[u16] = match (is_delete, entry.acknowledged) {
            (true, 0) => &[404],
            (false, 0) => &[201],
            _ => &[204],
        };
        assert!(right.contains(&reply.status), "{id}: {} {}", reply.status, reply.text());
        *entry = Known { acknowledged: next, unknown: None };
        done.fetch_add(1, Ordering::Relaxed);
    }
    known
}

/// Reads every id, holds it against what is known and settles what was unknown.
fn check(daemon: &Daemon, known: &mut Knowledge) {
    let mut client = daemon.client();
    for (id, known) in known {
        let reply = client.get(&path(*id)).unwrap();
        let candidates = known.unknown.into_iter().chain([known.acknowledged]);
        let found = candidates.into_iter().find(|&candidate| match candidate {
            0 => reply.status == 404,
            seed => reply.status == 200 && reply.body == value(seed),
        });
        let found = found.unwrap_or_else(|| {
            panic!(
                "needle {id}: status {}, {} bytes, neither acknowledged nor under way\n{}",
                reply.status,
                reply.body.len(),
                daemon.log_text()
            )
        });
        *known = Known { acknowledged: found, unknown: None };
    }
}

/// Decides when the daemon is killed; a long run has another one each time.
fn seed() -> u64 {
    let text = std::env::var("HAYLOFT_KILL_SEED").unwrap_or_else(|_| "42".to_owned());
    text.parse().unwrap_or_else(|_| panic!("HAYLOFT_KILL_SEED={text} is no number"))
}

fn kill_under_load(shards: usize) {
    let dir = data_dir();
    let options = Options { shards, volume_size: "4GiB", ..Options::default() };
    let mut known: Vec<Knowledge> = (0..CONNECTIONS).map(|_| Knowledge::new()).collect();
    let (done, mut seed) = (Arc::new(AtomicU64::new(0)), seed());
    for round in 0..KILLS {
        let daemon = Daemon::start(dir.path(), &options);
        for known in &mut known {
            check(&daemon, known);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<JoinHandle<Knowledge>> = std::mem::take(&mut known)
            .into_iter()
            .zip(0..)
            .map(|(known, n)| {
                let (done, stop, address) = (Arc::clone(&done), Arc::clone(&stop), daemon.data);
                let seed = split_mix(&mut seed);
                std::thread::spawn(move || write(address, n * IDS, known, seed, &done, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100 + split_mix(&mut seed) % 300));
        until_written(&done, (round + 1) * 20);
        daemon.kill();
        stop.store(true, Ordering::Relaxed);
        known = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    }
    let daemon = Daemon::start(dir.path(), &options);
    for known in &mut known {
        check(&daemon, known);
    }
    assert_eq!(daemon.metric("hayloft_volume_damaged_records_total", ""), 0.0);
    println!(
        "{KILLS} kills, {shards} shards, {} writes acknowledged: none lost",
        done.load(Ordering::Relaxed)
    );
    assert!(daemon.stop().success());
}

/// Waits until that much is acknowledged: a kill proves something only if there is something to lose,
/// however slow the disk is.
fn until_written(done: &AtomicU64, least: u64) {
    let began = Instant::now();
    while done.load(Ordering::Relaxed) < least {
        let done = done.load(Ordering::Relaxed);
        assert!(began.elapsed() < PATIENCE, "only {done} of {least} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Needles of one batch.
const BATCH: u64 = 6;
/// Groups of ids that are always written together, one for each connection.
const GROUPS: u64 = 8;
const ROUNDS: u64 = 10;

/// The bytes of needle `n` of its group in the batch `version`; one of each batch is large.
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

/// Which batch a group shows: each must be there as a whole or not at all. 0 for none.
fn batch_shown(client: &mut Client, group: u64, candidates: [u64; 2]) -> u64 {
    let got: Vec<_> =
        (0..BATCH).map(|n| client.get(&path(100_000 + group * BATCH + n)).unwrap()).collect();
    let shown = candidates.into_iter().find(|&version| {
        got.iter().zip(0..).all(|(reply, n)| match version {
            0 => reply.status == 404,
            version => reply.status == 200 && reply.body == batch_value(version, n),
        })
    });
    shown.unwrap_or_else(|| {
        let statuses: Vec<u16> = got.iter().map(|reply| reply.status).collect();
        panic!("group {group}: {statuses:?}, neither batch of {candidates:?} as a whole")
    })
}

fn kill_during_batches(shards: usize) {
    let dir = data_dir();
    let options = Options { shards, volume_size: "4GiB", ..Options::default() };
    // The last acknowledged batch of each group, and the one that may have been under way.
    let mut known = [[0; 2]; GROUPS as usize];
    let (acknowledged, mut seed) = (Arc::new(AtomicU64::new(0)), 4711);
    for round in 0..ROUNDS {
        let daemon = Daemon::start(dir.path(), &options);
        let mut client = daemon.client();
        for (group, known) in (0..).zip(&mut known) {
            *known = [batch_shown(&mut client, group, *known); 2];
        }
        let threads: Vec<JoinHandle<[u64; 2]>> = (0..GROUPS)
            .map(|group| {
                let (address, from) = (daemon.data, known[usize::try_from(group).unwrap()][0]);
                let done = Arc::clone(&acknowledged);
                std::thread::spawn(move || write_batches(address, group, from, &done))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(150 + split_mix(&mut seed) % 300));
        until_written(&acknowledged, (round + 1) * GROUPS);
        daemon.kill();
        for (thread, known) in threads.into_iter().zip(&mut known) {
            *known = thread.join().unwrap();
        }
    }
    let daemon = Daemon::start(dir.path(), &options);
    let mut client = daemon.client();
    for (group, known) in (0..).zip(known) {
        batch_shown(&mut client, group, known);
    }
    assert_eq!(daemon.metric("hayloft_volume_damaged_records_total", ""), 0.0);
    println!(
        "{ROUNDS} kills, {shards} shards, {} batches acknowledged: each whole or absent",
        acknowledged.load(Ordering::Relaxed)
    );
    assert!(daemon.stop().success());
}

/// Writes batches until the daemon is gone; the last acknowledged one and the last one sent.
fn write_batches(
    address: std::net::SocketAddr,
    group: u64,
    from: u64,
    done: &AtomicU64,
) -> [u64; 2] {
    let mut version = from;
    let Ok(mut client) = Client::connect(address) else { return [from; 2] };
    loop {
        let next = version + 1;
        match client.request("POST", "/1/batch", &[], Some(&batch(group, next))) {
            Ok(reply) => assert_eq!(reply.status, 201, "{}", reply.text()),
            Err(_) => return [version, next],
        }
        version = next;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn batches_with_one_shard() {
    kill_during_batches(1);
}

#[test]
fn batches_with_two_shards() {
    kill_during_batches(2);
}

#[test]
fn with_one_shard() {
    kill_under_load(1);
}

#[test]
fn with_two_shards() {
    kill_under_load(2);
}
