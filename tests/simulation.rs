//! Simulation of whole nodes: several shards, concurrent clients and an operator, broken connections, failing
//! and missing disks, power cuts, kills and restarts, all drawn from a seed. The operations that clients saw
//! on each object must be linearizable and durable. Each refusal, and the state of each volume, must have a
//! cause that the simulation knows. When the node is idle, no buffer, file or connection is in use. Each seed
//! is run twice with the same result.
//!
//! `HAYLOFT_SEEDS` is the number of seeds, `HAYLOFT_FIRST_SEED` the first one.

mod node;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::node::metrics::ReadMetric;
use hayloft::runtime::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::runtime::sim::{Fault, World};
use hayloft::runtime::split_mix;
use node::{Counts, Known, Memory, Missing, Node, Plan, Seen, SharedSeen, Stage, Until};

/// Number of seeds in the test suite.
const SEEDS: u64 = 200;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Events that must occur in a run with [`SEEDS`] seeds.
const REQUIRED_EVENTS: &[&str] = &[
    "answers",
    "batches",
    "batches proven by one photo",
    "changes of the time of expiry",
    "checkpoints",
    "connections broken",
    "disks missing at a start",
    "disks pulled out",
    "failures with 500",
    "faults",
    "heads",
    "kills",
    "large bodies",
    "made read-only",
    "made writable",
    "messages between shards",
    "multi-deletes",
    "names picked",
    "not modified",
    "operations without an answer",
    "power cuts",
    "ranges",
    "ranges beyond the end",
    "refusals with 503",
    "refusals with 507",
    "idle checks",
    "sectors lost",
    "stops",
    "stops with requests in flight",
    "virtual seconds",
    "volumes created",
    "volumes deleted",
    "volumes lost",
    // Of compactions; an exchange is that of two generations.
    "batches across an exchange",
    "compactions begun",
    "compactions cancelled",
    "compactions failed: no space",
    "compactions failed: other errors",
    "compactions finished",
    "compactions paused",
    "compactions refused",
    "compactions resumed",
    "disks filled",
    "kills before a removal",
    "kills during an exchange",
    "kills during copying",
    "losses of old files",
    "multi-deletes across an exchange",
    "power cuts before a removal",
    "power cuts during an exchange",
    "power cuts during copying",
    "reads across an exchange",
    "second directory missing at a start",
    "volumes moved",
    "volumes resized",
    "writes across an exchange",
    // Of scrubs.
    "scrubs asked for",
    "volumes without damage",
    // Of damage.
    "answers about damage",
    "bits of data changed",
    "bits of footers changed",
    "bits of headers changed",
    "compactions failed: damage",
    "sectors readable again",
    "sectors unreadable",
    "suspicions ended",
    "volumes suspect",
    "volumes with damage found",
    // Of what expires and of what is taken back.
    "compactions without what has expired",
    "objects that expire",
    "photos not taken back",
    "photos taken back",
];

/// Counts of events, and a hash of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    hash: u64,
    counts: Counts,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            write!(f, "{count} {what}, ")?;
        }
        write!(f, "hash {:016x}", self.hash)
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.hash ^= other.hash;
        for (what, count) in &other.counts {
            self.count(what, *count);
        }
    }

    fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }

    /// Adds the counters of a node.
    fn add_node(&mut self, node: &Node) {
        let shards = &node.metrics.shards;
        let messages = shards.iter().map(|shard| shard.messages_sent.get()).sum();
        self.count("messages between shards", messages);
        let volumes = node.metrics.volumes();
        self.count("checkpoints", volumes.iter().map(|volume| volume.checkpoints.get()).sum());
        for (what, count) in node.causes.compactions.counts() {
            self.count(what, count);
        }
        self.hash = self.hash.rotate_left(1) ^ node.world.hash();
    }
}

/// How a life (the time from a start to the next end of the node) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    PowerCut,
    /// Power cut when the node is idle.
    PowerCutWhenIdle,
    Stop,
    /// Clean stop while requests are in flight.
    StopWithRequests,
}

const ENDS: [End; 5] =
    [End::Kill, End::PowerCut, End::PowerCutWhenIdle, End::Stop, End::StopWithRequests];

/// The simulation of one seed.
struct Simulation<'a> {
    plan: Plan,
    memory: &'a Memory,
    seed: u64,
    state: u64,
    known: Known,
    seen: SharedSeen,
    tally: Tally,
}

impl Simulation<'_> {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.state) % below
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.draw(all.len() as u64)).unwrap()]
    }

    /// Draws the disks that are missing in a life.
    fn missing(&mut self) -> Missing {
        let mut missing = Missing::default();
        if self.plan.faults && self.plan.volumes > 1 && self.draw(8) == 0 {
            let volume = 1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap();
            missing.volumes.insert(VolumeId(volume));
            self.tally.count("disks missing at a start", 1);
        }
        if self.plan.faults && self.plan.compactions && self.draw(5) == 0 {
            missing.second = true;
            self.tally.count("second directory missing at a start", 1);
        }
        missing
    }

    /// Runs one life of the node. Returns the world after it.
    fn live(&mut self, world: World, life: u64) -> World {
        let missing = self.missing();
        let (plan, seed) = (self.plan, self.seed);
        let mut node =
            Node::start(world.clone(), &plan, self.memory, seed ^ life, &self.known, &missing);
        if plan.faults && self.draw(3) == 0 {
            let fault = self.one_of(&[
                Fault::Errno(EIO),
                Fault::Errno(ENOSPC),
                Fault::Short(512),
                Fault::Dropped,
                Fault::Kept,
                Fault::Stall(3_000_000_000),
            ]);
            world.fail(self.draw(100), fault);
            self.tally.count("faults", 1);
        }
        node.clients(seed ^ (life << 8), 5 + self.draw(40), &self.seen);
        let more = u64::from(plan.damage) + u64::from(plan.undelete);
        let most = more * 4 + if plan.compactions { 14 } else { 6 };
        node.operator(seed ^ (life << 16), self.draw(most), &self.seen);
        let end = self.one_of(&ENDS);
        self.run_to(&mut node, end);
        self.tally.add_node(&node);
        assert_eq!(world.count(WRITE_AFTER_FAILURE), 0, "write after a failed write");
        let now = world.now();
        self.seen.borrow_mut().settle(now);
        let wreck = world.look(|snapshot| snapshot.wreck());
        drop(node);
        let next = self.draw(u64::MAX);
        let world = if end == End::Kill {
            World::after_kill(next, &wreck)
        } else {
            let (odds, changes) = (self.draw(5), wreck.changes());
            let changes = changes - usize::try_from(self.draw(changes as u64 + 1)).unwrap();
            let mut lost = 0;
            let survives = |_| {
                let survives = self.draw(4) < odds;
                lost += u64::from(!survives);
                survives
            };
            let image = wreck.image(survives, changes);
            self.tally.count("sectors lost", lost);
            World::new(next, &image)
        };
        world.skip_to(now + 1_000_000);
        self.tally.count("virtual seconds", now / 1_000_000_000);
        world
    }

    /// Runs until a compaction is in a certain stage, and some more events.
    fn run_to_stage(&mut self, node: &mut Node) {
        let stage =
            self.one_of(&[Stage::Copying, Stage::Exchange, Stage::Exchange, Stage::Removal]);
        node.run(Until::Stage(stage));
        if stage == Stage::Copying {
            let until = node.world.operations() + self.draw(60);
            node.run(Until::Operation(until));
        }
    }

    fn run_to(&mut self, node: &mut Node, end: End) {
        if matches!(end, End::Stop | End::PowerCutWhenIdle) {
            assert!(
                node.run(Until::Done),
                "clients are still waiting for answers: {}",
                node.causes.pending()
            );
            node.settle();
            self.tally.count("idle checks", 1);
        } else {
            // Ends at an operation, not at a time, since most of the time nothing happens.
            let until = node.world.operations() + 1 + self.draw(100);
            let is_write = end != End::StopWithRequests && self.draw(2) == 0;
            let until = if is_write { Until::Write(until) } else { Until::Operation(until) };
            if self.plan.compactions && self.draw(3) > 0 {
                self.run_to_stage(node);
            } else {
                node.run(until);
            }
        }
        if matches!(end, End::Stop | End::StopWithRequests) {
            if end == End::StopWithRequests {
                // Some of these requests arrive while the volume closes.
                node.burst(self.seed, &self.seen);
            }
            node.drain();
            assert!(node.run(Until::Drained), "the node does not stop");
            node.causes.explain_files();
        }
        let what = match end {
            End::Kill => "kills",
            End::PowerCut | End::PowerCutWhenIdle => "power cuts",
            End::Stop => "stops",
            End::StopWithRequests => "stops with requests in flight",
        };
        self.tally.count(what, 1);
        let stages = if self.plan.compactions { node.stages() } else { Vec::new() };
        for stage in stages {
            let of = |all: [&'static str; 3]| all[stage as usize];
            self.tally.count(
                match end {
                    End::Kill => of([
                        "kills during copying",
                        "kills during an exchange",
                        "kills before a removal",
                    ]),
                    End::PowerCut | End::PowerCutWhenIdle => of([
                        "power cuts during copying",
                        "power cuts during an exchange",
                        "power cuts before a removal",
                    ]),
                    End::Stop | End::StopWithRequests => of([
                        "stops that leave an unfinished file",
                        "stops during an exchange",
                        "stops that leave an old file",
                    ]),
                },
                1,
            );
        }
    }

    /// The last life: no faults, all disks present. Reads every object and checks the accounting.
    fn final_life(&mut self, world: &World) {
        let calm = Plan { faults: false, drain_ns: 30_000_000_000, ..self.plan };
        let mut node = Node::start(
            world.clone(),
            &calm,
            self.memory,
            self.seed,
            &self.known,
            &Missing::default(),
        );
        assert!(node.run(Until::Ready), "volumes are still being recovered");
        node.settle();
        if calm.compactions && calm.expiry {
            node.drop_expired(&self.seen);
            node.settle();
        }
        node.check(self.seed, &self.seen);
        node.settle();
        node.scrub(&self.seen);
        node.settle();
        node.drain();
        assert!(node.run(Until::Drained), "the node does not stop");
        self.seen.borrow_mut().settle(world.now());
        self.tally.add_node(&node);
        assert_eq!(world.open_files(), Vec::<String>::new(), "files left open after the end");
        let image = world.look(|snapshot| snapshot.image());
        node::recount(&image, &calm, self.memory, &node.metrics);
    }
}

fn run(seed: u64, memory: &Memory) -> Tally {
    let mut simulation = Simulation {
        plan: Plan::draw(seed),
        memory,
        seed,
        state: seed ^ 0x5eed,
        known: Known::default(),
        seen: Rc::new(RefCell::new(Seen::default())),
        tally: Tally::default(),
    };
    let mut world = World::new(seed, &memory.image(&simulation.plan));
    let lives = 2 + simulation.draw(4);
    for life in 0..lives {
        world = simulation.live(world, life);
    }
    simulation.final_life(&world);
    drop(world);
    assert_eq!(memory.used(), 0, "leaked buffers");
    let mut seen = simulation.seen.take();
    seen.verify(&simulation.known.damages);
    let mut tally = simulation.tally;
    tally.add(&Tally { hash: 0, counts: seen.counts });
    tally
}

/// Runs a seed twice with the same result. A panic prints the seed and how to run it again.
fn run_twice(seed: u64, memory: &Memory) -> Tally {
    let attempt = || {
        let run = std::panic::AssertUnwindSafe(|| run(seed, memory));
        std::panic::catch_unwind(run).unwrap_or_else(|_| {
            panic!("seed {seed}; again: HAYLOFT_FIRST_SEED={seed} HAYLOFT_SEEDS=1")
        })
    };
    let tally = attempt();
    assert_eq!(attempt(), tally, "seed {seed} gave another result the second time");
    tally
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number"))
    })
}

#[test]
fn seeds() {
    let (first, count) = (number("HAYLOFT_FIRST_SEED", 1), number("HAYLOFT_SEEDS", SEEDS));
    let began = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let part = |thread: u64| {
        let memory = Memory::new();
        let mut total = Tally::default();
        for seed in (first..first + count).skip(thread as usize).step_by(threads as usize) {
            total.add(&run_twice(seed, &memory));
        }
        total
    };
    let mut total = Tally::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        for part in parts {
            total.add(&part.join().unwrap());
        }
    });
    println!("{count} seeds, each twice, in {:.0?}: {total}", began.elapsed());
    if count >= SEEDS {
        let never: Vec<_> =
            REQUIRED_EVENTS.iter().filter(|what| !total.counts.contains_key(**what)).collect();
        assert!(never.is_empty(), "events that never occurred: {never:?}");
    }
}
