//! Tests of the pace on the simulated clock: work of one or two shards on one or two disks.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use super::super::pace::Pace;
use super::super::run::BackgroundRun;
use super::*;
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// Bytes that each step does, and its time.
const STEP: u64 = MIB;
const STEP_NS: u64 = 4 * MS;
/// Time that requests wait, as usual and too long. Timers fire up to 4 ms late.
const USUAL_NS: u64 = 10 * MS;
const LONG_NS: u64 = 30 * MS;
/// Without pauses, steps make 250 MiB a second.
const LIMITS: PaceLimits = PaceLimits { min: 4 * MIB, max: 100 * MIB, transfer_max: 0 };

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Handle) -> F) {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let mut driver = World::new(1, &Image::default()).driver();
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, test(handle));
}

async fn sleep(handle: &Handle, time: u64) {
    handle.sleep_until(handle.now() + time).await;
}

/// The paces of two shards on a disk.
fn two_shards(handle: &Handle) -> [Rc<SharedPace>; 2] {
    let load = DiskLoad::new(2);
    [0, 1].map(|shard| Rc::new(SharedPace::new(handle, LIMITS, load.clone(), shard)))
}

/// Background work and requests, which end when this is dropped.
struct Bench {
    handle: Handle,
    is_over: Rc<Cell<bool>>,
}

impl Bench {
    fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), is_over: Rc::default() }
    }

    /// Starts work, and returns the number of its steps so far.
    fn work(&self, pace: Pace) -> Rc<Cell<u64>> {
        let (steps, counting): (Rc<Cell<u64>>, _) = (Rc::default(), self.handle.clone());
        let (handle, counted, over) = (counting, Rc::clone(&steps), Rc::clone(&self.is_over));
        self.handle.spawn(async move {
            let own = handle.clone();
            let mut run = BackgroundRun::new(&own, None, pace);
            run.begin(0);
            while !over.get() {
                sleep(&handle, STEP_NS).await;
                counted.set(counted.get() + 1);
                run.end_step(STEP).await.unwrap();
            }
        });
        steps
    }

    /// Starts requests on a pace, one after the other. Each waits for what `wait` says at the time (ns).
    fn requests(&self, pace: &Rc<SharedPace>, wait: impl Fn() -> u64 + 'static) {
        let (handle, pace, over) = (self.handle.clone(), Rc::clone(pace), Rc::clone(&self.is_over));
        self.handle.spawn(async move {
            while !over.get() {
                let began = handle.now();
                sleep(&handle, wait()).await;
                pace.waited(Waited::Read, began);
            }
        });
    }

    /// Bytes per second of work, counted in steps, in the next `seconds`.
    async fn rate(&self, steps: &[&Rc<Cell<u64>>], seconds: u64) -> u64 {
        let done = || steps.iter().map(|steps| steps.get()).sum::<u64>();
        let before = done();
        sleep(&self.handle, seconds * SECOND).await;
        (done() - before) * STEP / seconds
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.is_over.set(true);
    }
}

/// The rate of work on a disk of which `shard` has had requests that waited as usual, and that now wait for
/// `wait_ns`. Another shard has no requests. The work is of shard 0.
async fn rate_beside_requests(handle: &Handle, shard: usize, wait_ns: u64) -> u64 {
    let (bench, paces) = (Bench::new(handle), two_shards(handle));
    let wait = Rc::new(Cell::new(USUAL_NS));
    let now = Rc::clone(&wait);
    bench.requests(&paces[shard], move || now.get());
    sleep(handle, SECOND).await;
    let steps = bench.work(Pace::UNLIMITED.sharing(&paces[0]));
    wait.set(wait_ns);
    sleep(handle, 10 * SECOND).await;
    bench.rate(&[&steps], 10).await
}

fn is_about(rate: u64, expected: u64) -> bool {
    rate.abs_diff(expected) <= expected / 20
}

#[test]
fn work_runs_at_the_ceiling_without_requests() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let steps = bench.work(Pace::UNLIMITED.sharing(&paces[0]));
        let rate = bench.rate(&[&steps], 10).await;
        assert!(is_about(rate, LIMITS.max), "{rate}");
    });
}

#[test]
fn all_work_together_keeps_the_ceiling() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let works = [0, 1, 2].map(|_| bench.work(Pace::UNLIMITED.sharing(&paces[0])));
        let rate = bench.rate(&[&works[0], &works[1], &works[2]], 10).await;
        assert!(is_about(rate, LIMITS.max), "{rate}");
        for steps in &works {
            assert!(is_about(steps.get() * STEP / 10, LIMITS.max / 3), "each has its share");
        }
        let other = bench.work(Pace::UNLIMITED.sharing(&paces[1]));
        let rate = bench.rate(&[&other], 10).await;
        assert!(is_about(rate, LIMITS.max), "{rate}: the ceiling is that of one shard");
    });
}

#[test]
fn requests_that_wait_as_usual_leave_most_of_the_time() {
    run(|handle| async move {
        let rate = rate_beside_requests(&handle, 0, USUAL_NS).await;
        assert!(rate > 90 * MIB, "{rate}");
    });
}

#[test]
fn slower_requests_lengthen_the_pauses_down_to_the_floor() {
    run(|handle| async move {
        for shard in [0, 1] {
            let rate = rate_beside_requests(&handle, shard, LONG_NS).await;
            assert!(is_about(rate, LIMITS.min), "{rate}: requests of shard {shard} are disturbed");
        }
    });
}

#[test]
fn pause_shrinks_by_an_eighth_and_grows_by_a_quarter() {
    run(|handle| async move {
        let [pace, _] = two_shards(&handle);
        let mut now = 10 * SECOND;
        for _ in 0..500 {
            pace.load.waited(0, Waited::Read, now, USUAL_NS);
            now += MS;
        }
        let mut adapted_to = |wait_ns| {
            for _ in 0..5000 {
                pace.load.worked(now);
                pace.load.waited(0, Waited::Read, now, wait_ns);
                now += MS;
            }
            pace.adapted_pause(now)
        };
        assert_eq!(PAUSE_PERCENT.2, 400);
        assert_eq!(adapted_to(USUAL_NS * 9 / 10), 400 - 50);
        assert_eq!(adapted_to(LONG_NS), 350 + 87);
        assert_eq!(adapted_to(LONG_NS), 437 + 109);
    });
}

#[test]
fn all_work_together_keeps_the_floor() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let wait = Rc::new(Cell::new(USUAL_NS));
        let now = Rc::clone(&wait);
        bench.requests(&paces[0], move || now.get());
        sleep(&handle, SECOND).await;
        wait.set(LONG_NS);
        let works = [0, 1].map(|_| bench.work(Pace::UNLIMITED.sharing(&paces[0])));
        sleep(&handle, 10 * SECOND).await;
        let rate = bench.rate(&[&works[0], &works[1]], 20).await;
        assert!(is_about(rate, LIMITS.min), "{rate}");
    });
}

#[test]
fn requests_on_another_disk_make_no_difference() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let other = two_shards(&handle);
        let wait = Rc::new(Cell::new(USUAL_NS));
        let now = Rc::clone(&wait);
        bench.requests(&other[0], move || now.get());
        sleep(&handle, SECOND).await;
        wait.set(LONG_NS);
        let steps = bench.work(Pace::UNLIMITED.sharing(&paces[0]));
        let rate = bench.rate(&[&steps], 10).await;
        assert!(is_about(rate, LIMITS.max), "{rate}");
    });
}

#[test]
fn work_on_two_disks_keeps_the_pace_of_both() {
    run(|handle| async move {
        let bench = Bench::new(&handle);
        let pace = |max| {
            let limits = PaceLimits { min: 0, max, transfer_max: 0 };
            Rc::new(SharedPace::new(&handle, limits, DiskLoad::new(1), 0))
        };
        let (fast, slow) = (pace(100 * MIB), pace(20 * MIB));
        let steps = bench.work(Pace::UNLIMITED.sharing(&fast).sharing(&slow).sharing(&fast));
        let rate = bench.rate(&[&steps], 10).await;
        assert!(is_about(rate, 20 * MIB), "{rate}");
        let rest = bench.work(Pace::UNLIMITED.sharing(&fast));
        let rate = bench.rate(&[&rest], 10).await;
        assert!(is_about(rate, 80 * MIB), "{rate}: what is left of the fast disk");
    });
}

#[test]
fn rate_of_its_own_holds_beside_the_shared_pace() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let steps = bench.work(Pace::at_most(10 * MIB).sharing(&paces[0]));
        let rate = bench.rate(&[&steps], 10).await;
        assert!(is_about(rate, 10 * MIB), "{rate}");
    });
}

#[test]
fn paused_work_stands_still_until_it_is_resumed_and_other_work_goes_on() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        let elsewhere = Rc::new(SharedPace::alone(&handle));
        let pausing = Pace::UNLIMITED.sharing(&elsewhere).sharing(&paces[0]).with_pauses();
        let paused = bench.work(pausing);
        let other = bench.work(Pace::UNLIMITED.sharing(&paces[0]));
        sleep(&handle, SECOND).await;
        paces[0].set_paused(true);
        sleep(&handle, SECOND).await;
        assert_eq!(bench.rate(&[&paused], 5).await, 0);
        let rate = bench.rate(&[&other], 5).await;
        assert!(is_about(rate, LIMITS.max), "{rate}");
        paces[0].set_paused(false);
        sleep(&handle, SECOND).await;
        let rate = bench.rate(&[&paused], 5).await;
        assert!(is_about(rate, LIMITS.max / 2), "{rate}");
    });
}

#[test]
fn lifted_pace_is_not_kept_and_leaves_other_work_its_own() {
    run(|handle| async move {
        let (bench, paces) = (Bench::new(&handle), two_shards(&handle));
        paces[0].set_paused(true);
        let lifted = bench.work(Pace::at_most(MIB).sharing(&paces[0]).with_pauses().lifted());
        let rate = bench.rate(&[&lifted], 10).await;
        assert!(is_about(rate, 250 * MIB), "{rate}");
        assert!(!paces[0].load.is_free_of_work(handle.now()), "it disturbs requests");
        let other = bench.work(Pace::UNLIMITED.sharing(&paces[0]));
        let rate = bench.rate(&[&other], 10).await;
        assert!(is_about(rate, LIMITS.max), "{rate}");
    });
}
