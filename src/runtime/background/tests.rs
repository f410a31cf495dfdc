//! Tests of the frame by itself, on the simulated clock.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use super::*;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::DirId;
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;
use crate::runtime::{Handle, Runtime};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const LEN: usize = 64 << 10;
const DIR: DirId = DirId(0);

/// Runs a test to its end, together with the tasks that it spawns.
fn run<T: 'static, F: Future<Output = T> + 'static>(test: impl FnOnce(Handle) -> F) -> T {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let mut driver = World::new(1, &Image::default()).driver();
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, test(handle))
}

async fn sleep(handle: &Handle, time: u64) {
    handle.sleep_until(handle.now() + time).await;
}

fn task(handle: &Handle) -> Rc<BackgroundTask> {
    Rc::new(BackgroundTask::new(handle, Backoff::new(SECOND, 5 * SECOND)))
}

/// Stops `task` and returns how long that took (nanoseconds).
async fn time_to_stop(handle: &Handle, task: &BackgroundTask) -> u64 {
    let began = handle.now();
    task.stop().await;
    handle.now() - began
}

/// Starts a task that repeats `attempt` while it is `due`.
fn repeat(
    task: &Rc<BackgroundTask>,
    due: &Rc<Cell<bool>>,
    queue: Option<Rc<BackgroundQueue>>,
    attempt: impl AsyncFn() + 'static,
) -> bool {
    let (own, due) = (Rc::clone(task), Rc::clone(due));
    task.start(async move {
        let queue = queue.as_deref().map(|queue| (queue, DIR));
        own.repeat(|| due.get(), queue, attempt).await;
    })
}

#[test]
fn work_runs_when_it_is_due_and_the_task_was_woken() {
    run(|handle| async move {
        let (task, due, runs) = (task(&handle), Rc::new(Cell::new(false)), Rc::default());
        let (counting, once): (Rc<Cell<u32>>, _) = (Rc::clone(&runs), Rc::clone(&due));
        repeat(&task, &due, None, async move || {
            counting.set(counting.get() + 1);
            once.set(false);
        });
        sleep(&handle, SECOND).await;
        task.wake();
        sleep(&handle, SECOND).await;
        assert_eq!(runs.get(), 0, "woken, but not due");
        for n in 1..=3 {
            due.set(true);
            task.wake();
            sleep(&handle, SECOND).await;
            assert_eq!(runs.get(), n);
        }
        task.stop().await;
        due.set(true);
        task.wake();
        sleep(&handle, SECOND).await;
        assert_eq!(runs.get(), 3, "stopped");
    });
}

#[test]
fn a_task_is_started_once_and_again_after_a_stop() {
    run(|handle| async move {
        let (task, due) = (task(&handle), Rc::new(Cell::new(false)));
        assert!(repeat(&task, &due, None, async || ()));
        assert!(!repeat(&task, &due, None, async || ()));
        task.begin_to_stop();
        sleep(&handle, SECOND).await;
        assert!(!repeat(&task, &due, None, async || ()), "it was asked to stop only");
        task.stop().await;
        task.stop().await;
        assert!(task.is_stopping());
        assert!(repeat(&task, &due, None, async || ()));
        assert!(!task.is_stopping());
        task.stop().await;
        assert_eq!(handle.tasks(), 1, "only this test is left");
    });
}

#[test]
fn a_second_stop_leaves_a_task_that_was_started_meanwhile() {
    run(|handle| async move {
        let (task, due) = (task(&handle), Rc::new(Cell::new(false)));
        repeat(&task, &due, None, async || ());
        let (first, again) = (Rc::clone(&task), Rc::clone(&due));
        handle.spawn(async move {
            first.stop().await;
            repeat(&first, &again, None, async || ());
        });
        let second = Rc::clone(&task);
        handle.spawn(async move { second.stop().await });
        sleep(&handle, SECOND).await;
        assert!(!repeat(&task, &due, None, async || ()), "the new task is known");
        task.stop().await;
        assert_eq!(handle.tasks(), 1);
    });
}

/// Each kind of wait ends at once.
#[test]
fn a_stop_ends_every_wait_at_once() {
    run(|handle| async move {
        let due = Rc::new(Cell::new(false));
        let idle = task(&handle);
        repeat(&idle, &due, None, async || ());
        sleep(&handle, SECOND).await;
        assert!(time_to_stop(&handle, &idle).await < MS, "while nothing is due");

        due.set(true);
        let failed = task(&handle);
        failed.backoff().failed(handle.now());
        repeat(&failed, &due, None, async || panic!("the pause has not ended"));
        sleep(&handle, SECOND / 2).await;
        assert!(time_to_stop(&handle, &failed).await < MS, "in the pause after a failure");

        let queued = task(&handle);
        let queue = Rc::new(BackgroundQueue::new(&handle, LEN));
        let turn = queue.turn(DIR).await;
        repeat(&queued, &due, Some(Rc::clone(&queue)), async || panic!("the turn is taken"));
        sleep(&handle, SECOND).await;
        assert!(time_to_stop(&handle, &queued).await < MS, "in the queue");
        drop(turn);
        drop(queue.turn(DIR).await);

        let paced = task(&handle);
        let (own, its, ended) = (handle.clone(), Rc::clone(&paced), Rc::new(Cell::new(false)));
        let told = Rc::clone(&ended);
        repeat(&paced, &due, None, async move || {
            let mut run = BackgroundRun::new(&own, Some(&its), Pace::at_most(1000));
            run.begin(1_000_000);
            assert_eq!(run.end_step(100_000).await, Err(Stopped));
            told.set(true);
        });
        sleep(&handle, SECOND).await;
        let progress = BackgroundProgress { done: 100_000, expected: 1_000_000 };
        assert_eq!((paced.progress(), ended.get()), (Some(progress), false));
        assert!(time_to_stop(&handle, &paced).await < MS, "between two steps");
        assert_eq!((paced.progress(), ended.get()), (None, true));
    });
}

#[test]
fn a_stop_during_a_step_lets_the_step_end() {
    run(|handle| async move {
        let (task, due, steps) = (task(&handle), Rc::new(Cell::new(true)), Rc::default());
        let (own, its, counting): (_, _, Rc<Cell<u32>>) =
            (handle.clone(), Rc::clone(&task), Rc::clone(&steps));
        repeat(&task, &due, None, async move || {
            let mut run = BackgroundRun::new(&own, Some(&its), Pace::UNLIMITED);
            run.begin(0);
            loop {
                sleep(&own, SECOND).await;
                counting.set(counting.get() + 1);
                if run.end_step(1).await.is_err() {
                    return;
                }
            }
        });
        sleep(&handle, 5 * SECOND / 2).await;
        assert_eq!(steps.get(), 2);
        let took = time_to_stop(&handle, &task).await;
        assert!((SECOND / 2..SECOND).contains(&took), "{took}");
        assert_eq!(steps.get(), 3, "the third step ended, a fourth did not begin");
    });
}

#[test]
fn a_run_without_a_task_is_not_stopped() {
    run(|handle| async move {
        let task = task(&handle);
        task.begin_to_stop();
        let mut run = BackgroundRun::new(&handle, None, Pace::at_most(1000));
        run.begin(1000);
        assert_eq!(run.end_step(1000).await, Ok(()));
        assert_eq!(task.progress(), None);
    });
}

#[test]
fn a_pace_holds_its_rate_and_catches_up() {
    run(|handle| async move {
        let task = task(&handle);
        let rate = 1 << 20;
        let mut run = BackgroundRun::new(&handle, Some(&task), Pace::at_most(rate));
        sleep(&handle, 7 * SECOND).await;
        run.begin(0);
        let began = handle.now();
        for n in 1..=40 {
            // Each tenth step takes longer than its share of the time.
            sleep(&handle, if n % 10 == 0 { SECOND } else { MS }).await;
            assert_eq!(run.end_step(rate / 4).await, Ok(()));
            let (took, due) = (handle.now() - began, n * SECOND / 4);
            assert!((due..due + SECOND + MS).contains(&took), "step {n}: {took}");
        }
        let took = handle.now() - began;
        assert!(took < 11 * SECOND, "{took}: the long steps did not add up");
        let mut run = BackgroundRun::new(&handle, Some(&task), Pace::at_most(0));
        let began = handle.now();
        run.begin(0);
        assert_eq!(run.end_step(u64::MAX / 2).await, Ok(()));
        assert_eq!(handle.now(), began, "without a limit there is no pause");
    });
}

#[test]
fn rates_neither_overflow_nor_round_away() {
    let next_at = |pace: Pace, began, done| pace.next_at(began, done, (0, 0));
    assert_eq!(next_at(Pace::at_most(1), 5, 3), 5 + 3 * SECOND);
    assert_eq!(next_at(Pace::at_most(999), 0, 999), SECOND);
    assert_eq!(next_at(Pace::at_most(u64::MAX), 5, u64::MAX), 5 + SECOND);
    assert_eq!(next_at(Pace::at_most(1), 5, u64::MAX), u64::MAX);
    assert_eq!(next_at(Pace::UNLIMITED, 5, u64::MAX), 5);
}

#[test]
fn attempts_that_fail_are_retried_after_growing_pauses() {
    run(|handle| async move {
        let (task, due) = (task(&handle), Rc::new(Cell::new(true)));
        let at = Rc::new(RefCell::new(Vec::new()));
        let (own, its, noting, done) =
            (handle.clone(), Rc::clone(&task), Rc::clone(&at), Rc::clone(&due));
        let began = handle.now();
        repeat(&task, &due, None, async move || {
            noting.borrow_mut().push((own.now() - began) / SECOND);
            let n = noting.borrow().len();
            match n {
                1..=4 | 7 => its.backoff().failed(own.now()),
                5 => its.backoff().postponed(own.now()),
                6 => its.backoff().succeeded(),
                _ => done.set(false),
            }
        });
        sleep(&handle, 60 * SECOND).await;
        // Pauses of 1, 2, 4 and 5 (the longest) seconds; the shortest one after what was postponed; none
        // after a success; and the shortest one after the next failure.
        assert_eq!(*at.borrow(), [0, 1, 3, 7, 12, 13, 13, 14]);
        task.stop().await;
    });
}

#[test]
fn one_run_at_a_time_in_each_directory() {
    run(|handle| async move {
        let queue = Rc::new(BackgroundQueue::new(&handle, LEN));
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let (task, due) = (task(&handle), Rc::new(Cell::new(true)));
                let (own, running, most) = (handle.clone(), Rc::clone(&running), Rc::clone(&most));
                let once = Rc::clone(&due);
                repeat(&task, &due, Some(Rc::clone(&queue)), async move || {
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    sleep(&own, SECOND).await;
                    running.set(running.get() - 1);
                    once.set(false);
                });
                (task, due)
            })
            .collect();
        let other = queue.turn(DirId(1)).await;
        sleep(&handle, 7 * SECOND / 2).await;
        assert!(tasks.iter().all(|(_, due)| !due.get()), "each had its turn");
        assert_eq!((running.get(), most.get()), (0, 1));
        drop(other);
        for (task, _) in tasks {
            task.stop().await;
        }
    });
}

/// Waits for a buffer for a run of `task`.
async fn buffer(
    handle: &Handle,
    task: Option<&BackgroundTask>,
    queue: Option<&BackgroundQueue>,
) -> Result<WorkBuffer, NoWorkBuffer> {
    BackgroundRun::new(handle, task, Pace::UNLIMITED).buffer(queue, LEN, SECOND).await
}

#[test]
fn the_reserved_buffer_comes_back_in_all_cases() {
    run(|handle| async move {
        let queue = Rc::new(BackgroundQueue::new(&handle, LEN));
        let _clients = handle.pool().alloc(handle.pool().capacity() / 2).unwrap();
        let used = handle.pool().used();
        assert_eq!(queue.buffer_bytes(), LEN);
        let is_back = |what: &str| {
            assert_eq!((queue.buffer_bytes(), handle.pool().used()), (LEN, used), "{what}");
        };

        let mut work = buffer(&handle, None, Some(&queue)).await.unwrap();
        assert_eq!((work.memory().len(), queue.buffer_bytes()), (LEN, 0));
        drop(work);
        is_back("after a run");

        let mut work = buffer(&handle, None, Some(&queue)).await.unwrap();
        let taken = work.take();
        work.put_back(taken);
        drop(work);
        is_back("after an operation");

        let mut work = buffer(&handle, None, Some(&queue)).await.unwrap();
        drop(work.take());
        drop(work);
        is_back("after an operation that lost it");

        let task = task(&handle);
        let (own, its, of) = (handle.clone(), Rc::clone(&task), Rc::clone(&queue));
        task.start(async move {
            let mut run = BackgroundRun::new(&own, Some(&its), Pace::at_most(1));
            let _work = run.buffer(Some(&of), LEN, SECOND).await.unwrap();
            assert_eq!(run.end_step(1000).await, Err(Stopped));
        });
        sleep(&handle, SECOND).await;
        assert_eq!(queue.buffer_bytes(), 0);
        task.stop().await;
        is_back("after a stop");

        // A run whose future is dropped.
        let work = buffer(&handle, None, Some(&queue)).await;
        let never = async move {
            let _work = work;
            std::future::pending::<()>().await;
        };
        drop(never);
        is_back("after a run that never ended");
    });
}

#[test]
fn a_run_waits_for_the_reserved_buffer_as_long_as_it_is_lent() {
    run(|handle| async move {
        let queue = Rc::new(BackgroundQueue::new(&handle, LEN));
        let _clients = handle.pool().alloc(handle.pool().capacity() / 2).unwrap();
        let first = buffer(&handle, None, Some(&queue)).await.unwrap();
        let own = handle.clone();
        handle.spawn(async move {
            sleep(&own, 10 * SECOND).await;
            drop(first);
        });
        let began = handle.now();
        assert!(buffer(&handle, None, Some(&queue)).await.is_ok());
        assert!(handle.now() - began >= 10 * SECOND);
    });
}

#[test]
fn other_buffers_leave_half_of_the_pool_to_requests() {
    run(|handle| async move {
        let pool = handle.pool().clone();
        let began = handle.now();
        let first = buffer(&handle, None, None).await.unwrap();
        let clients = pool.alloc(pool.capacity() / 2 - 2 * LEN).unwrap();
        let second = buffer(&handle, None, None).await.unwrap();
        assert_eq!(handle.now(), began);
        assert_eq!(buffer(&handle, None, None).await.err(), Some(NoWorkBuffer::NoneFree));
        assert!((SECOND..2 * SECOND).contains(&(handle.now() - began)));
        drop((first, second));
        assert!(buffer(&handle, None, None).await.is_ok());
        drop(clients);
        assert_eq!(pool.used(), 0);
    });
}

#[test]
fn a_stop_ends_the_wait_for_a_buffer() {
    run(|handle| async move {
        let pool = handle.pool().clone();
        let _clients = pool.alloc(pool.capacity()).unwrap();
        let task = task(&handle);
        let (own, its) = (handle.clone(), Rc::clone(&task));
        task.start(async move {
            let none = buffer(&own, Some(&its), None).await.err();
            assert_eq!(none, Some(NoWorkBuffer::Stopped));
        });
        sleep(&handle, SECOND / 2).await;
        assert!(time_to_stop(&handle, &task).await < MS);
    });
}
