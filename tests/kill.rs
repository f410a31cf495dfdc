//! SIGKILL under load: after each restart every acknowledged needle is there, byte for byte, and
//! writes go on without any operator step.

mod daemon_harness;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use daemon_harness::{Client, Daemon, Options, bytes, data_dir, path};
use hayloft::runtime::split_mix;

const KILLS: u64 = 20;
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

fn kill_under_load(shards: usize) {
    let dir = data_dir();
    let options = Options { shards, volume_size: "4GiB", ..Options::default() };
    let mut known: Vec<Knowledge> = (0..CONNECTIONS).map(|_| Knowledge::new()).collect();
    let (done, mut seed) = (Arc::new(AtomicU64::new(0)), 42);
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
        daemon.kill();
        stop.store(true, Ordering::Relaxed);
        known = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let writes = done.load(Ordering::Relaxed);
        assert!(writes > round * 20, "only {writes} writes in {} rounds", round + 1);
    }
    let daemon = Daemon::start(dir.path(), &options);
    for known in &mut known {
        check(&daemon, known);
    }
    assert_eq!(daemon.metric("hayloft_volume_damaged_records_total", ""), 0.0);
    println!(
        "{} writes acknowledged, {KILLS} kills, {shards} shards: none lost",
        done.load(Ordering::Relaxed)
    );
    assert!(daemon.stop().success());
}

#[test]
fn with_one_shard() {
    kill_under_load(1);
}

#[test]
fn with_two_shards() {
    kill_under_load(2);
}
