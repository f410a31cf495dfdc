//! Whole nodes in the simulated world: several shards, clients at once, connections that break, disks
//! that fail, power cuts, kills and restarts, all drawn from a seed. What the clients saw must be
//! explained by objects that each do one thing at a time and forget nothing. Each seed is run twice and
//! must go the same way.
//!
//! `HAYLOFT_SEEDS` says how many seeds, `HAYLOFT_FIRST_SEED` where to begin.

mod node;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use hayloft::runtime::split_mix;
use hayloft::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::sim::history::{Answer, check};
use hayloft::sim::{Fault, World};
use node::{Memory, Node, Plan, Seen, Until};

/// Seeds of a run of the suite.
const SEEDS: u64 = 300;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What happened, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    hash: u64,
    virtual_ns: u64,
    answered: u64,
    refused: u64,
    broken: u64,
    unknown: u64,
    large: u64,
    unreadable: u64,
    power_cuts: u64,
    sectors_lost: u64,
    kills: u64,
    stops: u64,
    faults: u64,
    messages: u64,
    checkpoints: u64,
    /// Lives that had nothing more to do.
    idle: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} virtual seconds, {} answers and {} refusals, {} operations without an answer, {} \
             connections broken, {} large bodies, {} power cuts with {} sectors lost, {} kills, {} stops, \
             {} faults, {} messages between shards, {} checkpoints; hash {:016x}",
            self.virtual_ns / 1_000_000_000,
            self.answered,
            self.refused,
            self.unknown,
            self.broken,
            self.large,
            self.power_cuts,
            self.sectors_lost,
            self.kills,
            self.stops,
            self.faults,
            self.messages,
            self.checkpoints,
            self.hash,
        )
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.hash ^= other.hash;
        self.virtual_ns += other.virtual_ns;
        self.answered += other.answered;
        self.refused += other.refused;
        self.broken += other.broken;
        self.unknown += other.unknown;
        self.large += other.large;
        self.unreadable += other.unreadable;
        self.power_cuts += other.power_cuts;
        self.sectors_lost += other.sectors_lost;
        self.kills += other.kills;
        self.stops += other.stops;
        self.faults += other.faults;
        self.messages += other.messages;
        self.checkpoints += other.checkpoints;
        self.idle += other.idle;
    }
}

/// What became of operations that nobody will answer any more.
fn settle(seen: &RefCell<Seen>, now: u64) {
    let mut seen = seen.borrow_mut();
    for event in seen.objects.values_mut().flatten() {
        event.answered = event.answered.min(now);
    }
}

fn run(seed: u64, memory: &Memory) -> Tally {
    let plan = Plan::draw(seed);
    let mut state = seed ^ 0x5eed;
    let mut draw = |below: u64| split_mix(&mut state) % below;
    let seen = Rc::new(RefCell::new(Seen { next_value: 1, ..Seen::default() }));
    let mut tally = Tally::default();
    let mut world = World::new(seed, &memory.image(&plan));
    let lives = 2 + draw(4);
    for life in 0..lives {
        let mut node = Node::start(world.clone(), &plan, memory, seed ^ life);
        if plan.faults && draw(3) == 0 {
            let faults = [
                Fault::Errno(EIO),
                Fault::Errno(ENOSPC),
                Fault::Short(512),
                Fault::Dropped,
                Fault::Kept,
                Fault::Stall(3_000_000_000),
            ];
            let fault = faults[usize::try_from(draw(faults.len() as u64)).unwrap()];
            world.fail(draw(100), fault);
            tally.faults += 1;
        }
        node.clients(&plan, seed ^ (life << 8), 5 + draw(40), &seen);
        let how = draw(4);
        if how == 3 {
            assert!(node.run(Until::Done), "clients wait for answers");
            node.metrics.set_draining();
            assert!(node.run(Until::Drained), "it does not stop");
            tally.stops += 1;
        } else {
            // Not at any time, since most of the time nothing happens.
            let until = world.operations() + 1 + draw(100);
            node.run(Until::Operation(until));
            tally.idle += u64::from(world.operations() < until);
        }
        tally.messages += node.metrics.shards.iter().map(|m| m.messages_sent.get()).sum::<u64>();
        let volumes = node.metrics.volumes();
        tally.checkpoints += volumes.iter().map(|volume| volume.checkpoints.get()).sum::<u64>();
        let now = world.now();
        settle(&seen, now);
        assert_eq!(world.count(WRITE_AFTER_FAILURE), 0, "written to after a failed write");
        tally.hash = tally.hash.rotate_left(1) ^ world.hash();
        let wreck = world.look(|snapshot| snapshot.wreck());
        drop(node);
        let next = draw(u64::MAX);
        world = if how == 0 {
            tally.kills += 1;
            World::after_kill(next, &wreck)
        } else {
            tally.power_cuts += u64::from(how != 3);
            let odds = draw(5);
            let mut lost = 0;
            let image = wreck.image(
                |_| {
                    let survives = draw(4) < odds;
                    lost += u64::from(!survives);
                    survives
                },
                wreck.changes(),
            );
            tally.sectors_lost += lost;
            World::new(next, &image)
        };
        world.skip_to(now + 1_000_000);
        tally.virtual_ns += now;
    }
    let calm = Plan { faults: false, ..plan };
    let mut node = Node::start(world.clone(), &calm, memory, seed);
    // As soon as every volume serves.
    node.run(Until::Time(1_000_000_000));
    node.check(&calm, seed, &seen);
    assert!(node.run(Until::Done), "clients wait for answers after the last restart");
    settle(&seen, world.now());
    tally.hash = tally.hash.rotate_left(1) ^ world.hash();
    drop(node);
    drop(world);
    assert_eq!(memory.used(), 0, "buffers that nobody gave back");

    let seen = seen.borrow();
    for (object, events) in &seen.objects {
        check(events).unwrap_or_else(|violation| panic!("object {object:?}: {violation}"));
        let unknown = events.iter().filter(|event| event.answer == Answer::Unknown);
        tally.unknown += unknown.count() as u64;
    }
    (tally.answered, tally.refused, tally.broken) = (seen.answered, seen.refused, seen.broken);
    (tally.large, tally.unreadable) = (seen.large, seen.unreadable);
    tally
}

/// Runs a seed twice, and names it when something is wrong.
fn judge(seed: u64, memory: &Memory) -> Tally {
    let attempt = || {
        let run = std::panic::AssertUnwindSafe(|| run(seed, memory));
        std::panic::catch_unwind(run).unwrap_or_else(|_| {
            panic!("seed {seed}; again: HAYLOFT_FIRST_SEED={seed} HAYLOFT_SEEDS=1")
        })
    };
    let tally = attempt();
    assert_eq!(attempt(), tally, "seed {seed} went another way the second time");
    tally
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number"))
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
            total.add(&judge(seed, &memory));
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
        let counters = [
            total.answered / 1000,
            total.refused,
            total.broken,
            total.unknown,
            total.large,
            total.power_cuts,
            total.sectors_lost,
            total.kills,
            total.stops,
            total.faults,
            total.messages,
            total.checkpoints,
        ];
        assert!(counters.iter().all(|counter| *counter > 0), "something never happened");
    }
}
