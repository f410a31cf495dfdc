//! Tests of tasks that wait for each other, in a simulated world.

use super::*;
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;

const SECOND: u64 = 1_000_000_000;

/// Runs a task until it ends; the tasks that it spawns run meanwhile.
fn run<T: 'static, F: Future<Output = T> + 'static>(task: impl FnOnce(Handle) -> F) -> T {
    let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
    let mut driver = World::new(1, &Image::default()).driver();
    let mut runtime = Runtime::new(&driver, pool, || 1);
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, task(handle))
}

async fn sleep(handle: &Handle, time: u64) {
    handle.sleep_until(handle.now() + time).await;
}

/// Seconds since `start`.
fn since(handle: &Handle, start: u64) -> u64 {
    (handle.now() - start) / SECOND
}

#[test]
fn join_runs_two_futures_concurrently() {
    run(|handle| async move {
        for (first, second) in [(1, 3), (3, 1), (2, 2)] {
            let start = handle.now();
            let after = async |seconds| {
                sleep(&handle, seconds * SECOND).await;
                seconds
            };
            assert_eq!(join(after(first), after(second)).await, (first, second));
            assert_eq!(since(&handle, start), first.max(second));
        }
    });
}

#[test]
fn join_all_runs_a_bounded_number_of_futures_at_a_time() {
    run(|handle| async move {
        let (running, most) = (Cell::new(0), Cell::new(0));
        for (seconds, at_once, took) in [
            (vec![], 3, 0),
            (vec![0, 0], 3, 0),
            (vec![2], 3, 2),
            (vec![1, 3, 2, 1], 4, 3),
            (vec![3, 1, 1, 1, 1], 2, 4),
            (vec![1; 7], 3, 3),
            (vec![1; 4], 1, 4),
        ] {
            most.set(0);
            let start = handle.now();
            let futures = seconds.iter().map(async |seconds| {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                sleep(&handle, seconds * SECOND).await;
                running.set(running.get() - 1);
                *seconds
            });
            assert_eq!(join_all(futures, at_once).await, seconds);
            assert_eq!(since(&handle, start), took, "{seconds:?}");
            // Those that are ready at once have ended before the next one begins.
            let wanted = if took > 0 { at_once.min(seconds.len()) } else { seconds.len().min(1) };
            assert_eq!(most.get(), wanted, "{seconds:?}");
        }
    });
}

#[test]
fn event_wakes_all_waiting_tasks_and_stays_set() {
    run(|handle| async move {
        let event = Rc::new(Event::new(&handle));
        let seen = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (event, seen) = (Rc::clone(&event), Rc::clone(&seen));
            handle.spawn(async move {
                let value = event.wait().await;
                seen.set(seen.get() + value);
            });
        }
        sleep(&handle, SECOND).await;
        assert_eq!(seen.get(), 0);
        event.set(5);
        handle.yield_now().await;
        handle.yield_now().await;
        assert_eq!(seen.get(), 15);
        assert_eq!(event.wait().await, 5);
    });
}

#[test]
#[should_panic = "an event happens once"]
fn setting_an_event_twice_panics() {
    run(|handle| async move {
        let event = Event::new(&handle);
        event.set(1);
        event.set(1);
    });
}

#[test]
fn wait_consumes_a_raised_signal() {
    run(|handle| async move {
        let signal = Rc::new(Signal::new(&handle));
        signal.raise();
        signal.raise();
        signal.wait().await;
        let start = handle.now();
        assert!(!signal.wait_until(start + 2 * SECOND).await, "twice is once");
        assert_eq!(since(&handle, start), 2);
        let (other, raiser) = (handle.clone(), Rc::clone(&signal));
        handle.spawn(async move {
            sleep(&other, SECOND).await;
            raiser.raise();
        });
        let start = handle.now();
        assert!(signal.wait_until(start + 9 * SECOND).await);
        assert_eq!(since(&handle, start), 1);
        assert!(!signal.wait_until(handle.now()).await);
    });
}

#[test]
fn queue_is_fifo_and_wakes_the_latest_waiting_task() {
    run(|handle| async move {
        let queue = Rc::new(Queue::new(&handle));
        assert!(!queue.push(1), "no task waits");
        assert!(!queue.push(2));
        assert_eq!((queue.next().await, queue.next().await), (1, 2));
        let taken = Rc::new(RefCell::new(Vec::new()));
        for worker in ["first", "second"] {
            let (queue, taken) = (Rc::clone(&queue), Rc::clone(&taken));
            handle.spawn(async move {
                let item = queue.next().await;
                taken.borrow_mut().push((worker, item));
            });
        }
        handle.yield_now().await;
        handle.yield_now().await;
        assert!(queue.push(3), "the second waits");
        handle.yield_now().await;
        handle.yield_now().await;
        assert!(queue.push(4), "the first waits");
        handle.yield_now().await;
        handle.yield_now().await;
        assert_eq!(*taken.borrow(), [("second", 3), ("first", 4)]);
        assert!(!queue.push(5));
    });
}

#[test]
fn reply_wakes_its_waiting_task_and_frees_the_number() {
    run(|handle| async move {
        let replies = Rc::new(Replies::new(&handle));
        assert!(replies.is_empty());
        let (early, late) = (replies.expect(), replies.expect());
        assert_eq!((replies.len(), replies.is_empty()), (2, false));
        replies.fulfil(early, "early");
        assert_eq!(replies.wait(early).await, "early");
        assert_eq!(replies.len(), 1);
        let (other, all) = (handle.clone(), Rc::clone(&replies));
        handle.spawn(async move {
            sleep(&other, SECOND).await;
            all.fulfil(late, "late");
        });
        let start = handle.now();
        assert_eq!(replies.wait(late).await, "late");
        assert_eq!((since(&handle, start), replies.is_empty()), (1, true));
    });
}

#[test]
#[should_panic = "a reply came twice"]
fn fulfilling_a_reply_twice_panics() {
    run(|handle| async move {
        let replies = Replies::new(&handle);
        let number = replies.expect();
        replies.fulfil(number, 1);
        replies.fulfil(number, 2);
    });
}

#[test]
fn key_lock_is_granted_in_arrival_order() {
    run(|handle| async move {
        let locks = Rc::new(KeyLocks::new(&handle));
        let held = locks.lock(1).await;
        drop(locks.lock(2).await);
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..3 {
            let (locks, order, other) = (Rc::clone(&locks), Rc::clone(&order), handle.clone());
            handle.spawn(async move {
                let held = locks.lock(1).await;
                order.borrow_mut().push(n);
                sleep(&other, SECOND).await;
                drop(held);
            });
        }
        sleep(&handle, SECOND).await;
        assert!(order.borrow().is_empty(), "it is held");
        // A task that stops waiting.
        let mut gone = Box::pin(locks.lock(1));
        poll_fn(|cx| {
            assert!(gone.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(gone);
        drop(held);
        let start = handle.now();
        let held = locks.lock(1).await;
        assert_eq!((since(&handle, start), &order.borrow()[..]), (3, &[0, 1, 2][..]));
        drop(held);
        assert!(locks.0.held.borrow().is_empty(), "a free key takes no memory");
    });
}
