//! A simulated node on one thread: shards with their mailboxes and volumes, and HTTP clients on connections
//! that stall and break.

mod causes;
mod client;
mod damage;
mod files;
mod memory;
mod monitor;
mod operator;
mod plan;
mod seen;
mod stage;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::node::board::{Board, ShardInfo};
use hayloft::node::metrics::{Metrics, NodeInfo, ReadMetric};
use hayloft::node::shard::{Listener, Reactor, RequestOrigin, Requester, Shared, Start};
use hayloft::runtime::op::{Driver, Sock};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::volume::{self, Checkpointing, Expected};

use causes::Causes;
use files::{DIRECTORIES, SECOND_DIRECTORY, STORES, VolumeFile};
use memory::POOL;
use monitor::Monitor;
use operator::Operator;

pub use causes::{DiskStates, Missing};
pub use damage::Damages;
pub use memory::Memory;
pub use plan::Plan;
pub use seen::{Counts, Seen};
pub use stage::Stage;

/// Operations that all clients saw.
pub type SharedSeen = Rc<RefCell<Seen>>;

const SECOND: u64 = 1_000_000_000;
/// Limit of the length of a batch (bytes).
const BATCH_MAX: u64 = 2 << 20;
/// Blocks of the disk of a node whose volumes are compacted: enough, unless another program takes them.
const CAPACITY: usize = 40_000;
/// Limit of a run: all requests must be answered within this time (virtual seconds).
const RUN_TIMEOUT_S: u64 = 120;

/// What is known of the disk; kept across restarts.
#[derive(Clone, Default)]
pub struct Known {
    pub disk_states: Rc<DiskStates>,
    pub damages: Rc<Damages>,
}

/// Shards of a running node, its operator and its clients.
pub struct Node {
    pub world: World,
    pub metrics: Arc<Metrics>,
    pub causes: Rc<Causes>,
    monitor: Arc<Monitor>,
    plan: Plan,
    shared: Arc<Shared>,
    shards: Vec<Option<Reactor>>,
    drivers: Vec<SimDriver>,
    clients: Runtime,
    client_driver: SimDriver,
    requester: Rc<Requester>,
    tasks_left: Rc<Cell<u64>>,
    /// When the last check of all objects began (ns).
    checked_at: u64,
}

/// Condition that ends a run.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time (virtual ns).
    Time(u64),
    /// The disk has started this total number of operations.
    Operation(u64),
    /// Like `Operation`, and a write is in flight.
    Write(u64),
    /// No volume is being recovered.
    Ready,
    /// All clients and the operator are done.
    Done,
    /// No operation is in flight.
    Rest,
    /// All shards have drained.
    Drained,
    /// A compaction is in this stage, or nothing is left to do.
    Stage(Stage),
}

/// Expected properties of a volume file at open.
fn expected(plan: &Plan, file: VolumeFile) -> Expected {
    Expected {
        volume: file.volume,
        generation: file.generation,
        store: STORES[file.dir as usize],
        hash_bits: plan.hash_bits,
        segments_max: None,
        checkpoints: plan.interval.map(|interval| Checkpointing { interval, rate: 64 << 20 }),
    }
}

/// The volumes that a start finds.
struct Found {
    /// Files of each volume.
    files: Vec<(VolumeId, Vec<VolumeFile>)>,
    missing: Missing,
}

/// Removes leftover files and finds the volumes, as the daemon does before it starts its shards.
fn find_volumes(world: &World, plan: &Plan, disk_states: &DiskStates, missing: &Missing) -> Found {
    let is_seen = |file: VolumeFile| !(missing.second && file.dir == SECOND_DIRECTORY);
    let names = world.names();
    let is_leftover = |name: &&String| {
        let is_seen = VolumeFile::beside(name).is_some_and(is_seen);
        let volume = name.strip_suffix(".ckpt").map(|name| format!("{name}.vol"));
        let is_alone = volume.is_some_and(|volume| !names.contains(&volume));
        is_seen && (name.ends_with(".tmp") || name.ends_with(".new") || is_alone)
    };
    names.iter().filter(is_leftover).for_each(|name| world.remove(name));
    world.sync_names();
    let names = world.names();
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for id in (1..=plan.volumes).map(VolumeId).filter(|id| !missing.volumes.contains(id)) {
        let all = files::of_volume(&names, id);
        let seen: Vec<VolumeFile> = all.iter().copied().filter(|file| is_seen(*file)).collect();
        if seen.is_empty() && !all.is_empty() {
            elsewhere.push(id);
            continue;
        }
        disk_states.found(id, !seen.is_empty());
        if !seen.is_empty() {
            found.push((id, seen));
        }
    }
    let mut missing = missing.clone();
    missing.volumes.extend(elsewhere);
    Found { files: found, missing }
}

impl Node {
    /// Starts the shards. Some disks may be missing.
    pub fn start(
        world: World,
        plan: &Plan,
        memory: &Memory,
        seed: u64,
        known: &Known,
        missing: &Missing,
    ) -> Self {
        world.name_directories(&DIRECTORIES);
        if plan.compactions {
            world.set_capacity(CAPACITY);
        }
        let Found { files, missing } = find_volumes(&world, plan, &known.disk_states, missing);
        let present: Vec<VolumeId> = files.iter().map(|(id, _)| *id).collect();
        let monitor = Arc::new(Monitor::default());
        let info = |id| ShardInfo { id, core: u32::from(u16::from(id)), port: None };
        let shards: Vec<ShardInfo> = ShardId::all(plan.shards).map(info).collect();
        let node = NodeInfo { durable: true, ..NodeInfo::default() };
        let metrics = Metrics::new(node, Board::new(&shards, Vec::new()));
        let shared = Shared::new(Arc::clone(&metrics), plan.shards);
        let shared = Arc::new(shared.with_files(Arc::clone(&monitor) as _));
        let owners: HashMap<VolumeId, ShardId> =
            present.iter().map(|id| (*id, plan.owner_of(*id))).collect();
        let (mut reactors, mut drivers) = (Vec::new(), Vec::new());
        for n in 0..plan.shards {
            let mut driver = world.member(n, &memory.shards[n]);
            driver.limit_device(plan.device_limit);
            let mut state = seed ^ n as u64;
            let random = move || split_mix(&mut state);
            let runtime = Runtime::new(&driver, memory.shards[n].clone(), random);
            runtime.shuffle(seed | 1);
            let id = ShardId::from_index(n);
            let own = files.iter().filter(|(volume, _)| plan.owner_of(*volume) == id);
            let start = Start {
                id,
                config: plan.shard_config(missing.is_something()),
                shared: Arc::clone(&shared),
                assignments: own
                    .map(|(_, files)| operator::assignment(plan, &metrics, files, !missing.second))
                    .collect(),
                owners: owners.clone(),
                listeners: vec![Listener { sock: listener(n), own: false, socket: None }],
            };
            reactors.push(Some(Reactor::new(runtime, start)));
            drivers.push(driver);
        }
        let client_driver = world.member(plan.shards, &memory.clients);
        let clients = Runtime::new(&client_driver, memory.clients.clone(), || 0);
        let (of, figures) = (world.clone(), Arc::clone(&metrics));
        let bounds = (plan.volumes, POOL as u64);
        let watched = Arc::clone(&monitor);
        let causes = Causes::new(of, figures, known, watched, &present, missing, bounds);
        Self {
            causes: Rc::new(causes),
            monitor,
            requester: Rc::new(Requester::new(RequestOrigin::Main, clients.handle(), &shared)),
            tasks_left: Rc::default(),
            checked_at: 0,
            plan: *plan,
            world,
            metrics,
            shared,
            shards: reactors,
            drivers,
            clients,
            client_driver,
        }
    }

    fn client(&self, plan: Plan, seed: u64, seen: &SharedSeen) -> client::Client {
        client::Client {
            world: self.world.clone(),
            handle: self.clients.handle().clone(),
            plan,
            seed,
            seen: Rc::clone(seen),
            causes: Rc::clone(&self.causes),
            connection: None,
        }
    }

    /// Starts clients that send `operations` requests each.
    pub fn clients(&self, seed: u64, operations: u64, seen: &SharedSeen) {
        for n in 0..self.plan.clients {
            self.spawn(self.client(self.plan, seed ^ (n << 32), seen).work(operations));
        }
    }

    /// Starts an operator that makes `changes` changes.
    pub fn operator(&self, seed: u64, changes: u64, seen: &SharedSeen) {
        self.spawn(self.new_operator(seed, seen).work(changes));
    }

    /// Compacts all volumes without what has expired.
    pub fn drop_expired(&mut self, seen: &SharedSeen) {
        self.spawn(self.new_operator(0, seen).drop_expired());
        assert!(self.run(Until::Done), "a compaction does not end");
    }

    /// Scrubs all volumes.
    pub fn scrub(&mut self, seen: &SharedSeen) {
        let unreadable = seen.borrow().unreadable_since(self.checked_at);
        self.spawn(self.new_operator(0, seen).scrub_all(unreadable));
        assert!(self.run(Until::Done), "a scrub does not end");
    }

    fn new_operator(&self, seed: u64, seen: &SharedSeen) -> Operator {
        Operator {
            world: self.world.clone(),
            handle: self.clients.handle().clone(),
            metrics: Arc::clone(&self.metrics),
            requester: Rc::clone(&self.requester),
            causes: Rc::clone(&self.causes),
            monitor: Arc::clone(&self.monitor),
            seen: Rc::clone(seen),
            plan: self.plan,
            seed,
            is_paused: false,
            cleared: BTreeMap::new(),
        }
    }

    /// Starts a burst of clients that each read one object, and waits until they are connected.
    pub fn burst(&mut self, seed: u64, seen: &SharedSeen) {
        let plan = Plan { faults: false, ..self.plan };
        for n in 0..BURST_CLIENTS {
            self.spawn(self.client(plan, seed ^ (n << 32), seen).read_one());
        }
        self.run(Until::Time(client::CONNECT_DELAY_NS));
    }

    /// Runs a client that reads every object, and one that writes to every volume.
    pub fn check(&mut self, seed: u64, seen: &SharedSeen) {
        let plan = Plan { faults: false, ..self.plan };
        self.checked_at = self.world.now();
        self.spawn(self.client(plan, seed, seen).read_all());
        assert!(
            self.run(Until::Done),
            "a client is still waiting for answers after the last restart"
        );
        self.spawn(self.client(plan, seed, seen).write_all());
        assert!(self.run(Until::Done), "a client is still waiting to write after the last restart");
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let tasks_left = Rc::clone(&self.tasks_left);
        tasks_left.set(tasks_left.get() + 1);
        self.clients.handle().spawn(async move {
            work.await;
            tasks_left.set(tasks_left.get() - 1);
        });
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.metrics.board.set_draining();
        self.causes.note_draining(self.plan.drain_ns);
    }

    /// Waits until the node is idle. Asserts that no buffer, connection or file is leaked, and that the
    /// states of the volumes have causes.
    pub fn settle(&mut self) {
        for until in [Until::Ready, Until::Rest, Until::Time(30_000_000), Until::Rest] {
            // A timeout is detected by the assertions below.
            self.run(until);
        }
        self.shards.iter().flatten().for_each(Reactor::expect_rest);
        assert_eq!(self.world.accepted(), 0, "accepted connections without an owner");
        self.causes.explain_states();
        self.causes.explain_files();
        let expected = self.causes.open_files();
        let open = self.world.open_files();
        let named: BTreeSet<String> =
            open.iter().filter(|name| !name.is_empty()).cloned().collect();
        assert!(named.is_subset(&expected), "open files: {open:?}, of volumes: {expected:?}");
        let changes = self.causes.pending();
        assert_eq!(
            open.len(),
            expected.len(),
            "open files {open:?}, volumes {expected:?}: {changes}"
        );
    }

    fn is_done(&self, until: Until) -> bool {
        let mut shards = self.shards.iter();
        match until {
            Until::Time(_) => false,
            Until::Operation(number) => {
                self.world.operations() >= number || self.tasks_left.get() == 0
            }
            Until::Write(number) => {
                let is_late = self.world.operations() >= number;
                self.tasks_left.get() == 0 || (is_late && self.world.is_writing())
            }
            Until::Ready => !self.causes.is_recovering(None),
            Until::Done => self.tasks_left.get() == 0,
            Until::Rest => shards.all(|shard| shard.as_ref().is_none_or(Reactor::is_at_rest)),
            Until::Drained => shards.all(Option::is_none),
            Until::Stage(stage) => self.is_quiet() || self.stages().contains(&stage),
        }
    }

    /// Whether clients and operator are done, and no volume is being compacted.
    fn is_quiet(&self) -> bool {
        let is_compacting = || {
            let volumes = self.metrics.board.volumes();
            volumes.iter().any(|volume| volume.compaction.is_running())
        };
        self.tasks_left.get() == 0 && !is_compacting()
    }

    /// Stages of all compactions that are under way, or were interrupted.
    pub fn stages(&self) -> Vec<Stage> {
        stage::stages(&self.world, &self.monitor, self.plan.volumes)
    }

    /// Runs shards, clients and operator until the condition holds. Returns whether it holds.
    pub fn run(&mut self, until: Until) -> bool {
        let began = self.world.now();
        let end = match until {
            Until::Time(ns) => began + ns,
            _ => began + RUN_TIMEOUT_S * SECOND,
        };
        let mut clients_until = 0;
        let mut instant = (began, 0);
        loop {
            let done = self.is_done(until);
            if done || self.world.now() >= end {
                return done;
            }
            let shards = self.shards.iter();
            let due =
                shards.map(|shard| shard.as_ref().map_or(u64::MAX, Reactor::next_iteration_at));
            let due: Vec<u64> = due.chain([clients_until.min(end)]).collect();
            let member = self.world.next(&due).expect("the clients have a deadline");
            instant = if instant.0 == self.world.now() {
                (instant.0, instant.1 + 1)
            } else {
                (self.world.now(), 0)
            };
            assert!(
                instant.1 < ITERATIONS_PER_INSTANT_MAX,
                "busy loop: due {due:?} at {instant:?}"
            );
            if member < self.shards.len() {
                self.iterate(member);
            } else {
                clients_until = self.iterate_clients();
            }
        }
    }

    fn iterate(&mut self, member: usize) {
        let (shard, driver) = (&mut self.shards[member], &mut self.drivers[member]);
        match shard {
            Some(running) => {
                if !running.run_iteration(driver) {
                    *shard = None;
                }
            }
            // Completions for a shard that has ended, such as a last wake-up, are discarded.
            None => driver.reap(0, &mut Vec::new()),
        }
        // A shard that has ended no longer counts its connections.
        if self.shards.iter().all(Option::is_some) {
            self.shared.audit();
        }
        let used = self.metrics.shards[member].buffer_bytes_used.get();
        self.causes.note_buffers_used(member, used);
        if self.plan.compactions {
            self.causes.observe_compactions();
        }
    }

    /// Runs one iteration of clients and operator. Returns when the next one is due (ns).
    fn iterate_clients(&mut self) -> u64 {
        let (clients, driver) = (&mut self.clients, &mut self.client_driver);
        let mailbox = &self.shared.main_mailbox;
        clients.collect(driver, 0);
        mailbox.awake();
        while let Some(answer) = mailbox.receive() {
            self.requester.fulfil(answer);
        }
        clients.run_ready();
        clients.hand_over(driver);
        if mailbox.may_sleep() { clients.earliest(u64::MAX) } else { 0 }
    }
}

/// Recovers each volume from its whole log, without checkpoint, and asserts that the accounting of the node
/// at its end was right.
pub fn recount(image: &Image, plan: &Plan, memory: &Memory, metrics: &Metrics) {
    let world = World::new(1, image);
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, memory.clients.clone(), || 7);
    world.name_directories(&DIRECTORIES);
    for counted in metrics.volumes() {
        let names: Vec<String> = image.files.keys().cloned().collect();
        let id = counted.board.info.id;
        // What cannot be read is not counted, and the file beside it is kept.
        if image
            .unreadable
            .iter()
            .any(|(name, _)| VolumeFile::beside(name).is_some_and(|it| it.volume == id))
        {
            continue;
        }
        let [file] = files::of_volume(&names, id)[..] else {
            panic!("a volume has not one file: {names:?}");
        };
        let expected = Expected { checkpoints: None, ..expected(plan, file) };
        let handle = runtime.handle().clone();
        let opening = async move {
            let volume = volume::open_read_only(&handle, file.dir_id(), &expected).await.unwrap();
            let figures = volume.figures();
            volume.close().await;
            figures
        };
        let found = runtime.block_on(&mut driver, opening);
        let counted =
            (counted.needles.get(), counted.board.live_bytes.get(), counted.board.used_bytes.get());
        assert_eq!(
            counted,
            (found.needles, found.live, found.used),
            "needles, live and used bytes"
        );
    }
}

/// Number of clients in a burst.
const BURST_CLIENTS: u64 = 24;

/// Limit of event loop iterations at one instant of the virtual clock: more are a busy loop.
const ITERATIONS_PER_INSTANT_MAX: u64 = 1_000_000;

/// The listening socket of a shard.
pub fn listener(shard: usize) -> Sock {
    Sock(1 + i32::try_from(shard).unwrap())
}
