//! No heap allocation per GET: a shard runs in this process on a thread whose allocations are
//! counted.
#![expect(unsafe_code, reason = "a counting allocator")]

mod daemon_harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daemon_harness::{RawConnection, bytes, data_dir, path};
use hayloft::base::sys;
use hayloft::base::types::{ShardId, VolumeId};
use hayloft::http::conn::Deadlines;
use hayloft::http::head::Dialects;
use hayloft::node::board::{Board, ShardInfo, VolumeInfo, VolumeState};
use hayloft::node::metrics::{Metrics, NodeInfo, ReadMetric};
use hayloft::node::shard::{
    self, AssignedFile, Assignment, FidKeys, Listener, ReadPlans, ShardConfig, Shared, Start,
};
use hayloft::ring::{Prepared, Registration, Ring, RingOptions, prepare};
use hayloft::runtime::Runtime;
use hayloft::runtime::background::PaceLimits;
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Op};
use hayloft::volume::{self, Expected, Preallocation, Superblock};

struct CountingAllocator;

static COUNTED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_SHARD: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_SHARD.with(Cell::get) {
            COUNTED.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const STORE: [u8; 16] = [7; 16];

fn superblock(id: u32) -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(id),
        incarnation: 99,
        parent: 0,
        generation: 0,
        state: volume::SuperblockState::Live,
        size: 64 << 20,
        unit: 512,
        chunk: 65_536,
        hash_seed: 5,
        store: STORE,
        created_ns: 1,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: None,
    }
}

fn deadlines() -> Deadlines {
    let second = 1_000_000_000;
    Deadlines {
        head: 5 * second,
        idle: 75 * second,
        body: 5 * second,
        send: 10 * second,
        rate: 16_384,
        linger: second,
    }
}

/// Starts `count` shards in this process; volume n belongs to shard n - 1. Returns the address of each shard.
fn start(dir: &std::path::Path, count: usize) -> (Vec<std::net::SocketAddr>, Arc<Metrics>) {
    let region = Region::map(count, 32 << 20).unwrap();
    let prepared = prepare(count, &region, Registration::Wanted).unwrap();
    let peers: Vec<_> = prepared.iter().map(Prepared::fd).collect();
    let node = NodeInfo {
        version: "test".into(),
        started_ns: sys::monotonic_ns(),
        started_unix_seconds: 0,
        durable: true,
        ..NodeInfo::default()
    };
    let info = |id| ShardInfo { id, core: 0, port: None };
    let metrics = Metrics::new(
        node,
        Board::new(&ShardId::all(count).map(info).collect::<Vec<_>>(), Vec::new()),
    );
    let shared = Arc::new(Shared::new(Arc::clone(&metrics), count));
    let owners: HashMap<VolumeId, ShardId> = (1..).map(VolumeId).zip(ShardId::all(count)).collect();
    let mut addresses = Vec::new();
    for (n, prepared) in prepared.into_iter().enumerate() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        addresses.push(socket.local_addr().unwrap());
        let id = VolumeId(u32::try_from(n).unwrap() + 1);
        let info = VolumeInfo { id, shard: ShardId::from_index(n), disk: 0, durable: true };
        let expected = Expected {
            volume: id,
            generation: 0,
            store: STORE,
            hash_bits: None,
            segments_max: None,
            checkpoints: None,
        };
        let assignment = Assignment {
            volume: id,
            files: vec![AssignedFile { dir: dir.to_owned(), disk: 0, expected, health: None }],
            all_directories: true,
            metrics: metrics.register_volume(info, VolumeState::Recovering),
        };
        let start = Start {
            id: ShardId::from_index(n),
            config: ShardConfig {
                deadlines: deadlines(),
                dialects: Dialects::Own,
                keys: FidKeys::default(),
                cache_control: "public".into(),
                body_max: 1 << 20,
                batch_max: 8 << 20,
                connections_max: 1000,
                refusals_max: 256,
                drain_ns: 1,
                disk_missing: false,
                audit_log: false,
                background: PaceLimits { min: 4 << 20, max: 256 << 20, transfer_max: 0 },
                reads: ReadPlans::default(),
            },
            shared: Arc::clone(&shared),
            assignments: vec![assignment],
            owners: owners.clone(),
            listeners: vec![Listener::new(socket.into(), true)],
        };
        let (region, peers) = (Arc::clone(&region), peers.clone());
        std::thread::spawn(move || {
            let pool = Pool::new(&region, n);
            let options = RingOptions { device_in_flight: 32, buffered: false };
            let ring = Ring::start(prepared, pool.clone(), peers, options).unwrap();
            let runtime = Runtime::new(&ring, pool, || 12_345);
            IS_SHARD.set(true);
            shard::run(ring, runtime, start);
        });
    }
    (addresses, metrics)
}

fn create_volumes(dir: &std::path::Path, count: u32) {
    let region = Region::map(1, 8 << 20).unwrap();
    let prepared = prepare(1, &region, Registration::None).unwrap().pop().unwrap();
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: 4, buffered: false };
    let mut ring = Ring::start(prepared, pool.clone(), Vec::new(), options).unwrap();
    let mut runtime = Runtime::new(&ring, pool, || 1);
    let (handle, path) = (runtime.handle().clone(), dir.to_owned());
    runtime.block_on(&mut ring, async move {
        handle.submit(Op::OpenDir { path }).await;
        for id in 1..=count {
            let superblock = superblock(id);
            volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ())
                .await
                .unwrap();
        }
    });
}

/// Allocations of all shards during 2,000 GETs of 8 connections.
fn allocations(address: std::net::SocketAddr, path_of: &(dyn Fn(u64) -> String + Sync)) -> u64 {
    let get_all = || {
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    let mut client = RawConnection::open(address).unwrap();
                    for round in 0..250 {
                        let key = (n * 31 + round) % 50;
                        let got = client.get(&path_of(key)).unwrap();
                        assert!(got.status == 200 && got.body == bytes(key, 5000));
                    }
                });
            }
        });
    };
    // Warm-up: grows tables to their final size. Accepting connections allocates, so it is not measured.
    get_all();
    get_all();
    let mut clients: Vec<RawConnection> =
        (0..8).map(|_| RawConnection::open(address).unwrap()).collect();
    for client in &mut clients {
        client.get(&path_of(1)).unwrap();
    }
    let before = COUNTED.load(Ordering::Relaxed);
    for round in 0..2000 {
        let got = clients[round % 8].get(&path_of(round as u64 % 50)).unwrap();
        assert_eq!(got.status, 200);
    }
    COUNTED.load(Ordering::Relaxed) - before
}

#[test]
fn a_get_allocates_nothing_on_its_own_shard_or_another() {
    let dir = data_dir();
    create_volumes(dir.path(), 2);
    let (addresses, metrics) = start(dir.path(), 2);
    while metrics.board.volumes().iter().any(|v| v.state.get() != VolumeState::Writable) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let hints = || metrics.shards.iter().map(|shard| shard.hint_writes.get()).sum::<u64>();
    let foreign = |key: u64| path(key).replacen("/1/", "/2/", 1);
    let mut client = RawConnection::open(addresses[0]).unwrap();
    for key in 0..50 {
        assert_eq!(client.put(&path(key), &bytes(key, 5000)).unwrap().status, 201);
        assert_eq!(client.put(&foreign(key), &bytes(key, 5000)).unwrap().status, 201);
    }
    assert!(COUNTED.load(Ordering::Relaxed) > 100, "allocations are counted: a PUT allocates");
    // One second after the last PUT each volume writes a tail hint, which may allocate: wait for it.
    let (before, deadline) = (hints(), Instant::now() + Duration::from_secs(10));
    while hints() < before + 2 {
        assert!(Instant::now() < deadline, "no tail hints were written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let own = allocations(addresses[0], &path);
    let messages = metrics.shards[0].messages_sent.get();
    let other = allocations(addresses[0], &foreign);
    assert!(
        metrics.shards[0].messages_sent.get() - messages >= 6000,
        "these GETs went to the other shard"
    );
    println!("2,000 GETs: {own} allocations on the own shard, {other} across shards");
    assert_eq!((own, other), (0, 0));
}
