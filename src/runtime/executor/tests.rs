//! Tests of the executor on the simulated driver.

use super::*;
use crate::runtime::buffer::Region;
use crate::runtime::op::{Op, Sock};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;
use crate::runtime::{KeyLocks, Signal};

/// Creates the only runtime of a simulated world.
fn alone() -> (Runtime, impl Driver) {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let driver = World::new(1, &Image::default()).driver();
    (Runtime::new(&driver, pool, || 1), driver)
}

/// Spawns `tasks` tasks and returns the order in which they run.
fn order(runtime: &mut Runtime, tasks: usize) -> Vec<usize> {
    let ran = Rc::new(RefCell::new(Vec::new()));
    for n in 0..tasks {
        let ran = Rc::clone(&ran);
        runtime.handle().spawn(async move { ran.borrow_mut().push(n) });
    }
    assert_eq!(runtime.handle().tasks(), tasks);
    runtime.run_ready();
    assert_eq!(runtime.handle().tasks(), 0);
    ran.take()
}

#[test]
fn tasks_run_in_ready_order_or_in_a_seeded_order() {
    let (mut runtime, _) = alone();
    assert!(order(&mut runtime, 20).is_sorted());
    let drawn = |seed| {
        let (mut runtime, _) = alone();
        runtime.shuffle(seed);
        order(&mut runtime, 20)
    };
    assert_ne!(drawn(7), drawn(8));
    assert_eq!(drawn(7), drawn(7));
    let mut sorted = drawn(7);
    assert!(!sorted.is_sorted());
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>(), "each once");
}

#[test]
fn iteration_bounds_polls_background_tasks_and_timers() {
    let (mut runtime, _) = alone();
    let ran = Rc::new(Cell::new(0));
    for n in 0..=POLLS_PER_ITERATION {
        let ran = Rc::clone(&ran);
        runtime.handle().spawn(async move { ran.set(ran.get() + 1) });
        assert_eq!(runtime.handle().tasks(), n + 1);
    }
    runtime.run_ready();
    assert_eq!(ran.get(), POLLS_PER_ITERATION);
    assert!(runtime.has_ready());
    runtime.run_ready();
    assert_eq!(ran.get(), POLLS_PER_ITERATION + 1);
    // Background tasks and expired timers are limited further.
    for is_timed in [false, true] {
        let (mut runtime, mut driver) = alone();
        let ran = Rc::new(Cell::new(0));
        for _ in 0..=BACKGROUND_PER_ITERATION {
            let (ran, handle) = (Rc::clone(&ran), runtime.handle().clone());
            runtime.handle().spawn(async move {
                if is_timed {
                    handle.sleep_until(handle.now() + 1).await;
                } else {
                    handle.yield_now().await;
                }
                ran.set(ran.get() + 1);
            });
        }
        if is_timed {
            runtime.run_ready();
            runtime.exchange(&mut driver, u64::MAX);
        }
        runtime.run_ready();
        assert_eq!(ran.get(), BACKGROUND_PER_ITERATION);
        assert!(runtime.has_ready());
        runtime.run_ready();
        assert_eq!(ran.get(), BACKGROUND_PER_ITERATION + 1);
        assert!(!runtime.has_ready());
    }
}

#[test]
fn operation_that_missed_its_deadline_is_resumed_after_other_tasks() {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let mut driver = world.member(0, &pool);
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let ran = Rc::new(RefCell::new(Vec::new()));
    let (handle, late) = (runtime.handle().clone(), Rc::clone(&ran));
    runtime.handle().spawn(async move {
        let op = Op::Accept { listener: Sock(1) };
        let accepted = handle.submit_by(op, handle.now() + 1).await;
        late.borrow_mut().push(accepted.result);
    });
    let mut advance = |runtime: &mut Runtime| {
        runtime.hand_over(&mut driver);
        world.next(&[runtime.earliest(u64::MAX)]).expect("a timer or a completion");
        runtime.collect(&mut driver, 0);
    };
    // The deadline passes, and the operation is cancelled.
    let mut iterations = 0;
    loop {
        runtime.run_ready();
        advance(&mut runtime);
        if runtime.has_ready() {
            break;
        }
        iterations += 1;
        assert!(iterations < 10, "the operation does not complete");
    }
    let other = Rc::clone(&ran);
    runtime.handle().spawn(async move { other.borrow_mut().push(0) });
    runtime.run_ready();
    assert_eq!(*ran.borrow(), [0, -i64::from(nix::libc::ECANCELED)]);
}

#[test]
fn operations_in_flight_are_counted() {
    let (mut runtime, mut driver) = alone();
    let handle = runtime.handle().clone();
    assert_eq!(handle.ops_in_flight(), 0);
    let open = || Op::OpenDir { path: "/".into() };
    let (first, second) = (handle.submit(open()), handle.submit(open()));
    assert_eq!(handle.ops_in_flight(), 2);
    assert_ne!(first.token(), second.token());
    runtime.block_on(&mut driver, async move { assert_eq!(first.await.result, 0) });
    assert_eq!(handle.ops_in_flight(), 1);
    runtime.block_on(&mut driver, async move { assert_eq!(second.await.result, 0) });
    assert_eq!(handle.ops_in_flight(), 0);
    // An operation whose future was dropped completes too.
    drop(handle.submit(open()));
    assert_eq!(handle.ops_in_flight(), 1);
    runtime.exchange(&mut driver, u64::MAX);
    assert_eq!(handle.ops_in_flight(), 0);
}

#[test]
fn yielding_task_resumes_in_next_iteration() {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let driver = World::new(1, &Image::default()).driver();
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let steps = Rc::new(Cell::new(0));
    let (handle, counted) = (runtime.handle().clone(), Rc::clone(&steps));
    runtime.handle().spawn(async move {
        for step in 0..10 {
            counted.set(step);
            handle.yield_now().await;
        }
    });
    for iteration in 1..10 {
        runtime.run_ready();
        assert_eq!(steps.get(), iteration, "one step in each iteration after the first");
        assert!(runtime.has_ready(), "the driver must not wait");
    }
    runtime.run_ready();
    assert!(!runtime.has_ready());
}

struct Bench {
    runtime: Runtime,
    driver: crate::runtime::sim::SimDriver,
    world: World,
}

fn bench() -> Bench {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let driver = world.member(0, &pool);
    let runtime = Runtime::new(&driver, pool, || 1);
    Bench { runtime, driver, world }
}

impl Bench {
    /// Runs the world for `time` (nanoseconds).
    fn run_for(&mut self, time: u64) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            let until = self.runtime.earliest(end);
            let _ = self.world.next(&[until]).expect("there is an end");
            self.runtime.collect(&mut self.driver, 0);
            self.runtime.run_ready();
            self.runtime.hand_over(&mut self.driver);
        }
    }

    fn timers(&self) -> bool {
        self.runtime.handle.0.timers.borrow().next().is_some()
    }
}

#[test]
fn block_on_starts_with_the_current_time() {
    let Bench { mut runtime, mut driver, world } = bench();
    let later = world.now() + 1_000_000_000;
    while world.now() < later {
        world.next(&[later]).expect("there is an end");
    }
    let handle = runtime.handle().clone();
    let times = runtime.block_on(&mut driver, async move { (handle.now(), handle.wall()) });
    assert_eq!(times, (world.now(), driver.wall()));
}

/// A dropped operation and a dropped sleep leave no operation and no timer behind.
#[test]
fn dropped_futures_leave_no_operation_and_no_timer() {
    let mut bench = bench();
    let handle = bench.runtime.handle().clone();
    let listener = crate::runtime::op::Sock(1);
    let dropped = handle.submit_by(Op::Accept { listener }, handle.now() + 1_000_000_000);
    drop(dropped);
    let ended = handle.submit_by(Op::OpenDir { path: "data".into() }, handle.now() + (1 << 60));
    handle.spawn(async move { drop(ended.await) });
    let sleeper = handle.clone();
    handle.spawn(async move {
        let mut sleep = std::pin::pin!(sleeper.sleep_until(sleeper.now() + (1 << 60)));
        std::future::poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    });
    bench.run_for(100_000_000);
    assert_eq!(handle.ops_in_flight(), 1, "the dropped operation continues");
    bench.run_for(2_000_000_000);
    assert_eq!((handle.ops_in_flight(), handle.tasks(), bench.timers()), (0, 0, false));
}

/// A thousand timers that expire together are handled a few per iteration.
#[test]
fn timers_that_expire_together_are_spread_over_iterations() {
    let mut bench = bench();
    let handle = bench.runtime.handle().clone();
    let woken = Rc::new(Cell::new(0));
    let deadline = handle.now() + 1_000_000_000;
    for _ in 0..1000 {
        let (own, woken) = (handle.clone(), Rc::clone(&woken));
        handle.spawn(async move {
            own.sleep_until(deadline).await;
            woken.set(woken.get() + 1);
        });
    }
    bench.run_for(100_000_000);
    bench.world.skip_to(deadline + 10_000_000);
    bench.runtime.collect(&mut bench.driver, 0);
    for iteration in 1..=1000_usize.div_ceil(BACKGROUND_PER_ITERATION) {
        assert!(iteration == 1 || bench.runtime.has_ready(), "{} of 1000", woken.get());
        bench.runtime.run_ready();
        assert_eq!(woken.get(), (iteration * BACKGROUND_PER_ITERATION).min(1000));
    }
}

#[test]
fn many_ready_tasks_are_spread_over_iterations() {
    let mut bench = bench();
    let handle = bench.runtime.handle().clone();
    let polls = Rc::new(Cell::new(0));
    for _ in 0..2 * POLLS_PER_ITERATION {
        let polls = Rc::clone(&polls);
        handle.spawn(async move { polls.set(polls.get() + 1) });
    }
    bench.runtime.run_ready();
    assert_eq!(polls.get(), POLLS_PER_ITERATION);
    assert!(bench.runtime.has_ready());
    bench.runtime.run_ready();
    assert!(polls.get() == 2 * POLLS_PER_ITERATION && !bench.runtime.has_ready());
}

#[test]
fn key_lock_skips_tasks_that_stopped_waiting() {
    let mut bench = bench();
    let handle = bench.runtime.handle().clone();
    let locks = Rc::new(KeyLocks::new(&handle));
    let got = Rc::new(Cell::new(0));
    for n in 0..4 {
        let (locks, own, got) = (Rc::clone(&locks), handle.clone(), Rc::clone(&got));
        handle.spawn(async move {
            if n == 1 || n == 2 {
                // Waits for one poll, and then stops waiting.
                let mut waiting = Box::pin(locks.lock(7));
                std::future::poll_fn(|cx| {
                    assert!(waiting.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                return;
            }
            let _held = locks.lock(7).await;
            own.sleep_until(own.now() + 1_000_000_000).await;
            got.set(got.get() + 1);
        });
    }
    bench.run_for(5_000_000_000);
    assert_eq!((got.get(), handle.tasks()), (2, 0));
}

#[test]
fn signal_raised_before_the_wait_is_seen_once() {
    let mut bench = bench();
    let handle = bench.runtime.handle().clone();
    let signal = Rc::new(Signal::new(&handle));
    signal.raise();
    let (own, raised) = (Rc::clone(&signal), Rc::new(Cell::new(None)));
    let (told, now) = (Rc::clone(&raised), handle.now());
    handle.spawn(async move {
        let first = own.wait_until(now + 1_000_000_000).await;
        told.set(Some((first, own.wait_until(now + 1_000_000_000).await)));
    });
    bench.run_for(2_000_000_000);
    assert_eq!(
        raised.get(),
        Some((true, false)),
        "seen once, and then not until it is raised again"
    );
}
