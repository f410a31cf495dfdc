//! Simulated shards, driven step by step: a test decides which shards run and what each client sends and
//! receives, on a virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::http::conn::Deadlines;
use hayloft::http::head::Dialects;
use hayloft::node::board::{
    Board, DiskBoard, DiskState, ShardInfo, VolumeInfo, VolumeState as Shown,
};
use hayloft::node::metrics::{Metrics, NodeInfo};
use hayloft::node::shard::{
    AssignedFile, Assignment, CompactVolume, CompactionRequest, FidKeys, Listener, Reactor,
    ReadPlans, RequestOrigin, Requester, ShardConfig, Shared, Start,
};
use hayloft::runtime::background::PaceLimits;
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Op, Returned, Sock};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::runtime::{Handle, Runtime};
use hayloft::volume::{
    self, ClusterProperties, Expected, Preallocation, Superblock, SuperblockState,
};

pub const SECOND: u64 = 1_000_000_000;
pub const COOKIE: &str = "0123456789abcdef";
/// Buffers of each shard and of the clients (bytes).
const POOL: usize = 24 << 20;
/// Advance of the clock instead of an iteration of a stopped shard (ns).
const STEP: u64 = 50_000;
const STORE: [u8; 16] = *b"a store of tests";
const VOLUME: u64 = 16 << 20;
const CLUSTER_VOLUME: u64 = 256 << 20;

pub fn config() -> ShardConfig {
    ShardConfig {
        deadlines: Deadlines {
            head: 5 * SECOND,
            idle: 75 * SECOND,
            body: 5 * SECOND,
            send: 10 * SECOND,
            rate: 16 << 10,
            linger: SECOND,
        },
        dialects: Dialects::Own,
        keys: FidKeys::default(),
        cache_control: "max-age=31536000, immutable".to_owned(),
        body_max: 8 << 20,
        batch_max: 4 << 20,
        connections_max: 10_000,
        refusals_max: 256,
        drain_ns: 30 * SECOND,
        disk_missing: false,
        audit_log: false,
        background: PaceLimits { min: 4 << 20, max: 256 << 20, transfer_max: 0 },
        reads: ReadPlans::default(),
    }
}

/// [`config`] with changes.
pub fn config_with(change: impl Fn(&mut ShardConfig)) -> ShardConfig {
    let mut config = config();
    change(&mut config);
    config
}

/// Path of the object `key` in volume 1.
pub fn path(key: u64) -> String {
    format!("/1/{key}/0/{COOKIE}")
}

/// Disk image with volume 1, which belongs to a cluster if shards serve its clients.
fn disk(pool: &Pool, dialects: Dialects) -> Image {
    let cluster = (dialects == Dialects::WithFids).then(ClusterProperties::default);
    let superblock = Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(1),
        incarnation: 0x1bad_b002_dead_beef,
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size: if cluster.is_some() { CLUSTER_VOLUME } else { VOLUME },
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: STORE,
        created_ns: 1_700_000_000_000_000_000,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster,
    };
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, pool.clone(), || 7);
    let handle = runtime.handle().clone();
    let created = async move {
        volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ()).await
    };
    runtime.block_on(&mut driver, created).unwrap();
    world.look(|snapshot| snapshot.image())
}

/// Running shards and their clients. Volume 1 belongs to shard 0.
pub struct Shards {
    pub world: World,
    pub metrics: Arc<Metrics>,
    pub shared: Arc<Shared>,
    /// Buffer pool of each shard.
    pub pools: Vec<Pool>,
    /// Whether each shard is stopped; may be changed at any time.
    pub stopped: Vec<bool>,
    reactors: Vec<Option<Reactor>>,
    drivers: Vec<SimDriver>,
    clients: Runtime,
    client_driver: SimDriver,
    clients_until: Cell<u64>,
}

impl Shards {
    /// Starts `count` shards, each with its own listener, and waits until volume 1 is open.
    pub fn start(count: usize, config: impl Fn() -> ShardConfig) -> Self {
        Self::start_with(count, true, config)
    }

    /// Like [`Shards::start`]. Unless `own`, shards may hand connections to each other.
    pub fn start_with(count: usize, own: bool, config: impl Fn() -> ShardConfig) -> Self {
        let region = Region::map(count + 1, POOL).unwrap();
        let mut pools: Vec<Pool> = (0..=count).map(|n| Pool::new(&region, n)).collect();
        let client_pool = pools.pop().unwrap();
        let world = World::new(7, &disk(&client_pool, config().dialects));
        let info = |id| ShardInfo { id, core: u32::from(u16::from(id)), port: None };
        let infos: Vec<ShardInfo> = ShardId::all(count).map(info).collect();
        let disks = vec![DiskBoard::new("data", DiskState::Ok)];
        let metrics = Metrics::new(NodeInfo::default(), Board::new(&infos, disks));
        let shared = Arc::new(Shared::new(Arc::clone(&metrics), count));
        let (mut reactors, mut drivers) = (Vec::new(), Vec::new());
        for (n, pool) in pools.iter().enumerate() {
            let driver = world.member(n, pool);
            let runtime = Runtime::new(&driver, pool.clone(), || 3);
            let start = Start {
                id: ShardId::from_index(n),
                config: config(),
                shared: Arc::clone(&shared),
                assignments: if n == 0 { vec![assignment(&metrics)] } else { Vec::new() },
                owners: HashMap::from([(VolumeId(1), ShardId::from_index(0))]),
                listeners: vec![Listener { sock: listener(n), own, socket: None }],
            };
            reactors.push(Some(Reactor::new(runtime, start)));
            drivers.push(driver);
        }
        let client_driver = world.member(count, &client_pool);
        let clients = Runtime::new(&client_driver, client_pool, || 0);
        let stopped = vec![false; count];
        let clients_until = Cell::new(0);
        let mut shards = Self {
            world,
            metrics,
            shared,
            pools,
            stopped,
            reactors,
            drivers,
            clients,
            client_driver,
            clients_until,
        };
        shards.run_until("volume 1 to be open", 5 * SECOND, |shards| {
            shards.metrics.board.volume(VolumeId(1)).unwrap().state.get() == Shown::Writable
        });
        shards
    }

    /// Whether a shard has not ended yet.
    pub fn is_running(&self, shard: usize) -> bool {
        self.reactors[shard].is_some()
    }

    /// Whether a shard that runs has no clients, and nothing is in flight but what accepts them.
    pub fn is_at_rest(&self, shard: usize) -> bool {
        self.reactors[shard].as_ref().is_some_and(Reactor::is_at_rest)
    }

    /// Connects a client to this shard. Its data arrives unsegmented.
    pub fn connect(&self, shard: usize) -> Client {
        let sock = self.world.connect(listener(shard), usize::MAX);
        let (handle, taken) = (self.clients.handle().clone(), Rc::default());
        Client { sock, handle, taken }
    }

    /// Spawns a task of a client.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.clients.handle().spawn(task);
        self.clients_until.set(0);
    }

    /// Begins to compact volume 1, which belongs to this shard.
    pub fn compact(&self, shard: usize) {
        let request = CompactionRequest::default();
        let handle = self.clients.handle();
        let requester = Requester::new(RequestOrigin::Main, handle, &self.shared);
        let order = CompactVolume { volume: VolumeId(1), request };
        // Nobody takes the answer.
        self.spawn(async move { drop(requester.ask(ShardId::from_index(shard), order).await) });
    }

    /// Runs shards and clients for `time` (virtual ns).
    pub fn run_for(&mut self, time: u64) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.step(end);
        }
    }

    /// Runs shards and clients until `holds` returns true.
    ///
    /// # Panics
    /// If that does not happen within `time` (virtual ns).
    pub fn run_until(&mut self, what: &str, time: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.world.now() + time;
        while !holds(self) {
            assert!(self.world.now() < end, "waited {} ms for {what}", time / 1_000_000);
            self.step(end);
        }
    }

    /// Runs the next shard or the clients, or advances the clock to `end`.
    fn step(&mut self, end: u64) {
        let reactors = self.reactors.iter().zip(&self.stopped);
        let due = reactors.map(|(reactor, stopped)| match reactor {
            Some(reactor) if !stopped => reactor.next_iteration_at(),
            _ => u64::MAX,
        });
        let due: Vec<u64> = due.chain([self.clients_until.get().min(end)]).collect();
        let member = self.world.next(&due).expect("the clients have a deadline");
        let Some(reactor) = self.reactors.get_mut(member) else {
            self.clients.collect(&mut self.client_driver, 0);
            self.clients.run_ready();
            self.clients.hand_over(&mut self.client_driver);
            self.clients_until.set(self.clients.earliest(u64::MAX));
            return;
        };
        let driver = &mut self.drivers[member];
        match reactor {
            // Its completions stay queued, and time advances.
            _ if self.stopped[member] => self.world.skip_to(self.world.now() + STEP),
            Some(running) => {
                if !running.run_iteration(driver) {
                    *reactor = None;
                }
            }
            // Completions for a shard that has ended, such as a last wake-up, are discarded.
            None => hayloft::runtime::op::Driver::reap(driver, 0, &mut Vec::new()),
        }
    }
}

fn listener(shard: usize) -> Sock {
    Sock(1 + i32::try_from(shard).unwrap())
}

fn assignment(metrics: &Metrics) -> Assignment {
    let expected = Expected {
        volume: VolumeId(1),
        generation: 0,
        store: STORE,
        hash_bits: None,
        segments_max: None,
        checkpoints: None,
    };
    let info =
        VolumeInfo { id: VolumeId(1), shard: ShardId::from_index(0), disk: 0, durable: true };
    let metrics = metrics.register_volume(info, Shown::Recovering);
    let file = AssignedFile { dir: "data".into(), disk: 0, expected, health: None };
    Assignment { volume: VolumeId(1), files: vec![file], all_directories: true, metrics }
}

/// Data that a client has received, and the end of the connection: 0 for an orderly end, or a negative errno.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub bytes: Vec<u8>,
    pub end: Option<i64>,
}

impl Taken {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Statuses of the replies.
    pub fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let replies = text.split("HTTP/1.1 ").skip(1);
        replies.map(|reply| reply[..3].parse().unwrap()).collect()
    }
}

/// Client end of a connection.
#[derive(Clone)]
pub struct Client {
    sock: Sock,
    handle: Handle,
    taken: Rc<RefCell<Taken>>,
}

impl Client {
    /// Data received so far.
    pub fn taken(&self) -> Taken {
        self.taken.borrow().clone()
    }

    /// Sends `bytes`. Returns whether all were sent.
    pub async fn send(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(64 << 10) {
            let mut start = 0;
            while start < piece.len() {
                let mut buf =
                    self.handle.pool().alloc(piece.len()).expect("the client pool is large enough");
                buf[..piece.len()].copy_from_slice(piece);
                let (from, len) = (u32::try_from(start).unwrap(), piece.len() - start);
                let len = u32::try_from(len).unwrap();
                let op = Op::Send { sock: self.sock, buf, start: from, len };
                let result = self.handle.submit(op).await.result;
                match usize::try_from(result) {
                    Ok(sent) => start += sent,
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Receives at most `most` bytes. Returns whether the connection is still open.
    pub async fn take(&self, most: u32) -> bool {
        let buf = self.handle.pool().alloc(most as usize).expect("the client pool is large enough");
        let op = Op::Recv { sock: self.sock, buf, start: 0, len: most, whole: false };
        let completion = self.handle.submit(op).await;
        let Returned::One(buf) = completion.returned else { panic!("the buffer comes back") };
        let mut taken = self.taken.borrow_mut();
        match usize::try_from(completion.result) {
            Ok(got) if got > 0 => taken.bytes.extend_from_slice(&buf[..got]),
            _ => taken.end = Some(completion.result),
        }
        taken.end.is_none()
    }

    /// Receives until the connection ends.
    pub async fn take_all(&self) {
        while self.take(16 << 10).await {}
    }

    /// Socket of the client.
    pub fn sock(&self) -> Sock {
        self.sock
    }

    pub async fn close(&self) {
        self.handle.submit(Op::Close { sock: self.sock }).await;
    }

    pub async fn pause(&self, time: u64) {
        self.handle.sleep_until(self.handle.now() + time).await;
    }
}
