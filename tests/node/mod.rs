//! A whole node in the simulated world, on one thread: shards with their mailboxes and volumes, and
//! clients that speak HTTP with them over connections that stall and break.

mod client;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::buffer::{Pool, Region};
use hayloft::http::conn::Deadlines;
use hayloft::metrics::{Metrics, NodeInfo, ShardInfo, VolumeInfo, VolumeState as Shown};
use hayloft::op::{DirId, Driver, Sock};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::shard::{Assignment, Listener, Reactor, ShardConfig, Shared, Start};
use hayloft::sim::disk::Image;
use hayloft::sim::history::Event;
use hayloft::sim::{SimDriver, World};
use hayloft::types::VolumeId;
use hayloft::volume::{self, Checkpointing, Expected, Preallocation, Superblock, VolumeState};

const STORE: [u8; 16] = *b"a store of tests";
const SECOND: u64 = 1_000_000_000;
/// Memory of each shard and of the clients (bytes).
const POOL: usize = 6 << 20;
/// Bytes of a volume.
const VOLUME: u64 = 6 << 20;
/// Volumes of a node at most.
const VOLUMES: u32 = 3;
/// All requests of a run without faults are answered in so many virtual seconds.
const PATIENCE: u64 = 120;

/// What a seed decides about a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub shards: usize,
    pub volumes: u32,
    pub clients: u64,
    /// Objects in each volume.
    pub keys: u64,
    /// So few bits of the index's hash that different objects share them.
    pub hash_bits: Option<u32>,
    /// Whether connections break and operations of disks fail.
    pub faults: bool,
    /// Checkpoints are made after so much log (bytes).
    pub interval: u64,
}

impl Plan {
    /// Draws one.
    pub fn draw(seed: u64) -> Self {
        let mut state = seed;
        let mut draw = |below: u64| split_mix(&mut state) % below;
        Self {
            shards: 1 + usize::try_from(draw(3)).unwrap(),
            volumes: 1 + u32::try_from(draw(u64::from(VOLUMES))).unwrap(),
            clients: 2 + draw(5),
            keys: 1 + draw(6),
            hash_bits: [None, Some(2)][usize::from(draw(2) == 0)],
            faults: draw(4) > 0,
            interval: [4 << 10, 32 << 10, 256 << 10][usize::try_from(draw(3)).unwrap()],
        }
    }
}

/// What clients saw, by object, and what they counted.
#[derive(Default)]
pub struct Seen {
    pub objects: std::collections::BTreeMap<(u32, u64), Vec<Event>>,
    pub next_value: u64,
    pub answered: u64,
    pub refused: u64,
    pub broken: u64,
    pub large: u64,
    pub unreadable: u64,
}

/// Buffers for a node; they can be used again when it has ended.
pub struct Memory {
    shards: Vec<Pool>,
    clients: Pool,
    /// A disk with as many fresh volumes as a plan may want.
    fresh: Image,
}

impl Memory {
    pub fn new() -> Self {
        let region = Region::map(4, POOL).unwrap();
        let pool = |n| Pool::new(&region, n);
        let clients = pool(3);
        let fresh = create(&clients);
        Self { shards: (0..3).map(pool).collect(), clients, fresh }
    }

    /// The disk of a node that was never started.
    pub fn image(&self, plan: &Plan) -> Image {
        let mut image = self.fresh.clone();
        image.files.retain(|name, _| (1..=plan.volumes).any(|id| *name == format!("{id}.0.vol")));
        image
    }

    /// Bytes that somebody holds.
    pub fn used(&self) -> usize {
        self.shards.iter().chain([&self.clients]).map(Pool::used).sum()
    }
}

fn create(pool: &Pool) -> Image {
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, pool.clone(), || 7);
    for id in 1..=VOLUMES {
        let superblock = Superblock {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            volume: VolumeId(id),
            incarnation: 0x1bad_b002_dead_beef + u64::from(id),
            parent: 0,
            generation: 0,
            state: VolumeState::Live,
            size: VOLUME,
            unit: 512,
            chunk: 65_536,
            hash_seed: 42,
            store: STORE,
            created_ns: 1_700_000_000_000_000_000,
            revision: 1,
        };
        let handle = runtime.handle().clone();
        let created = async move {
            volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ()).await
        };
        runtime.block_on(&mut driver, created).unwrap();
    }
    world.look(|snapshot| snapshot.image())
}

fn config() -> ShardConfig {
    ShardConfig {
        deadlines: Deadlines {
            head: 5 * SECOND,
            idle: 75 * SECOND,
            body: 5 * SECOND,
            send: 10 * SECOND,
            rate: 16 << 10,
            linger: SECOND,
        },
        cache_control: "max-age=31536000, immutable".to_owned(),
        body_max: 8 << 20,
        batch_max: 4 << 20,
        connections_max: 1000,
        refusals_max: 256,
        drain_ns: 30 * SECOND,
        disk_missing: false,
        audit_log: false,
    }
}

/// Shards of a running node and its clients.
pub struct Node {
    pub world: World,
    pub metrics: Arc<Metrics>,
    shards: Vec<Option<Reactor>>,
    drivers: Vec<SimDriver>,
    clients: Runtime,
    client_driver: SimDriver,
    left: Rc<Cell<u64>>,
}

/// How long a node runs.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many virtual nanoseconds at most.
    Time(u64),
    /// The disk has begun so many operations, in all.
    Operation(u64),
    /// All clients are done.
    Done,
    /// It has drained.
    Drained,
}

impl Node {
    /// Starts the shards.
    pub fn start(world: World, plan: &Plan, memory: &Memory, seed: u64) -> Self {
        let ids = 0..u32::try_from(plan.shards).unwrap();
        let info = |id| ShardInfo { id, core: id, port: None };
        let shards: Vec<ShardInfo> = ids.map(info).collect();
        let node = NodeInfo { durable: true, ..NodeInfo::default() };
        let metrics = Metrics::new(node, &shards, Vec::new());
        let shared = Arc::new(Shared::new(Arc::clone(&metrics), plan.shards));
        let owner = |id: u32| u16::try_from(id as usize % plan.shards).unwrap();
        let owners: HashMap<u32, u16> = (1..=plan.volumes).map(|id| (id, owner(id))).collect();
        let assign = |id: u32| {
            let shard = u32::from(owner(id));
            let info = VolumeInfo { id, shard, disk: 0, durable: true };
            let hash_bits = plan.hash_bits;
            let volume = VolumeId(id);
            let expected = Expected {
                volume,
                generation: 0,
                store: STORE,
                hash_bits,
                segments_max: None,
                checkpoints: Some(Checkpointing { interval: plan.interval, rate: 64 << 20 }),
            };
            let metrics = metrics.register_volume(info, Shown::Recovering);
            Assignment { dir: "data".into(), expected, metrics }
        };
        let (mut reactors, mut drivers) = (Vec::new(), Vec::new());
        for n in 0..plan.shards {
            let driver = world.member(n, &memory.shards[n]);
            let mut state = seed ^ n as u64;
            let random = move || split_mix(&mut state);
            let runtime = Runtime::new(&driver, memory.shards[n].clone(), random);
            runtime.shuffle(seed | 1);
            let id = u16::try_from(n).unwrap();
            let own = (1..=plan.volumes).filter(|volume| owner(*volume) == id);
            let start = Start {
                id,
                config: config(),
                shared: Arc::clone(&shared),
                assignments: own.map(assign).collect(),
                owners: owners.clone(),
                listeners: vec![Listener { sock: listener(n), own: false, socket: None }],
            };
            reactors.push(Some(Reactor::new(runtime, start)));
            drivers.push(driver);
        }
        let client_driver = world.member(plan.shards, &memory.clients);
        let clients = Runtime::new(&client_driver, memory.clients.clone(), || 0);
        let left = Rc::default();
        Self { world, metrics, shards: reactors, drivers, clients, client_driver, left }
    }

    /// Lets clients loose that do `operations` each; `check` ones read every object once instead.
    pub fn clients(&self, plan: &Plan, seed: u64, operations: u64, seen: &Rc<RefCell<Seen>>) {
        for n in 0..plan.clients {
            let seed = seed ^ (n << 32);
            let (world, handle) = (self.world.clone(), self.clients.handle().clone());
            let client = client::Client::new(world, handle, *plan, seed, Rc::clone(seen));
            self.spawn(client.work(operations));
        }
    }

    /// Lets one client read every object.
    pub fn check(&self, plan: &Plan, seed: u64, seen: &Rc<RefCell<Seen>>) {
        let plan = Plan { faults: false, ..*plan };
        let (world, handle) = (self.world.clone(), self.clients.handle().clone());
        let client = client::Client::new(world, handle, plan, seed, Rc::clone(seen));
        self.spawn(client.read_all());
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let left = Rc::clone(&self.left);
        left.set(left.get() + 1);
        self.clients.handle().spawn(async move {
            work.await;
            left.set(left.get() - 1);
        });
    }

    /// Runs everybody in turn; whether what was waited for has happened.
    pub fn run(&mut self, until: Until) -> bool {
        let began = self.world.now();
        let end = match until {
            Until::Time(ns) => began + ns,
            Until::Operation(_) | Until::Done | Until::Drained => began + PATIENCE * SECOND,
        };
        let mut clients_until = 0;
        let mut instant = (began, 0);
        loop {
            let done = match until {
                Until::Time(_) => false,
                Until::Operation(number) => {
                    self.world.operations() >= number || self.left.get() == 0
                }
                Until::Done => self.left.get() == 0,
                Until::Drained => self.shards.iter().all(Option::is_none),
            };
            if done || self.world.now() >= end {
                return done;
            }
            let shards = self.shards.iter();
            let due = shards.map(|shard| shard.as_ref().map_or(u64::MAX, Reactor::until));
            let due: Vec<u64> = due.chain([clients_until.min(end)]).collect();
            let member = self.world.next(&due).expect("there is an end");
            instant = if instant.0 == self.world.now() {
                (instant.0, instant.1 + 1)
            } else {
                (self.world.now(), 0)
            };
            assert!(
                instant.1 < TURNS_AT_ONCE,
                "nobody sleeps, nothing happens: due {due:?} at {instant:?}"
            );
            match self.shards.get_mut(member) {
                Some(shard) => {
                    let driver = &mut self.drivers[member];
                    match shard {
                        Some(running) => {
                            if !running.turn(driver) {
                                *shard = None;
                            }
                        }
                        // What still comes for a shard that has ended, as a last wake-up from another
                        // one, goes nowhere.
                        None => driver.reap(0, &mut Vec::new()),
                    }
                }
                None => {
                    let (clients, driver) = (&mut self.clients, &mut self.client_driver);
                    clients.collect(driver, 0);
                    clients.run_ready();
                    clients.hand_over(driver);
                    clients_until = clients.earliest(u64::MAX);
                }
            }
        }
    }
}

/// More turns at one instant than this are a loop that never ends: a shard that burns its core.
const TURNS_AT_ONCE: u64 = 1_000_000;

/// Where a shard listens.
pub fn listener(shard: usize) -> Sock {
    Sock(1 + i32::try_from(shard).unwrap())
}
