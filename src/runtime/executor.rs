//! A small single-threaded executor for tasks that await operations.
//!
//! The logic of the store is written as `async fn`s that submit operations ([`crate::runtime::op`]) and await
//! their completions, with a [`Handle`]. Given the same completions in the same order, tasks run in the same
//! order; with a seed, the order is drawn from the seed instead, so that a simulation can explore other
//! orders.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::handle::{Handle, Inner, TaskId, Timed};
use super::split_mix::split_mix;
use super::timer::Wheel;
use crate::runtime::buffer::Pool;
use crate::runtime::op::{Completion, Driver, Token};

/// The executor, owned by the event loop that drives it.
pub struct Runtime {
    handle: Handle,
    completed: Vec<Completion>,
    /// Timers that fired and were not handled yet.
    fired: VecDeque<Timed>,
}

/// Maximum number of tasks polled per event loop iteration, so that completions are collected in time however
/// many tasks are ready.
const POLLS_PER_ITERATION: usize = 4096;
/// Maximum number of fired timers, and of background tasks, handled per iteration: a thousand clients that
/// miss their deadline at the same time, or send slowly, do not delay others.
const BACKGROUND_PER_ITERATION: usize = 32;

/// The side of the event loop.
impl Handle {
    fn next_ready(&self) -> Option<TaskId> {
        let mut ready = self.0.ready.borrow_mut();
        let shuffle = self.0.shuffle.get();
        if shuffle == 0 || ready.len() < 2 {
            return ready.pop_front();
        }
        let mut state = shuffle;
        let drawn = split_mix(&mut state);
        self.0.shuffle.set(state);
        let at = usize::try_from(drawn % ready.len() as u64).expect("below a length");
        ready.swap_remove_front(at)
    }

    fn deliver(&self, completion: Completion) {
        let token = completion.token;
        let index = token.index as usize;
        assert_eq!(
            self.0.generations.borrow()[index],
            token.generation,
            "a completion came for an operation that had ended"
        );
        let mut ops = self.0.ops.borrow_mut();
        let op = &mut ops[index];
        if let Some(timer) = op.timer.take() {
            self.0.timers.borrow_mut().disarm(timer);
        }
        if op.abandoned {
            self.release(&mut ops, token);
            return;
        }
        assert!(op.completion.is_none(), "an operation completed twice");
        let queue = if op.in_background { &self.0.background } else { &self.0.ready };
        op.completion = Some(completion);
        let waiter = op.waiter;
        drop(ops);
        if let Some(task) = waiter {
            self.wake_in(queue, task);
        }
    }

    /// Marks an operation that missed its deadline as not urgent.
    fn expire(&self, token: Token) {
        let index = token.index as usize;
        let is_current = self.0.generations.borrow()[index] == token.generation;
        if let Some(op) = self.0.ops.borrow_mut().get_mut(index).filter(|_| is_current) {
            op.in_background = true;
        }
    }
}

impl Runtime {
    /// Creates an executor whose time starts with that of `driver`, and whose tasks use `pool` and `random`.
    pub fn new<D: Driver>(driver: &D, pool: Pool, random: impl FnMut() -> u64 + 'static) -> Self {
        let handle = Handle(Rc::new(Inner {
            tasks: RefCell::default(),
            ready: RefCell::default(),
            background: RefCell::default(),
            current: Cell::new(0),
            ops: RefCell::default(),
            generations: RefCell::default(),
            submissions: RefCell::default(),
            cancellations: RefCell::default(),
            timers: RefCell::new(Wheel::new(driver.now())),
            now: Cell::new(driver.now()),
            wall: Cell::new(driver.wall()),
            random: RefCell::new(Box::new(random)),
            shuffle: Cell::new(0),
            pool,
        }));
        Self { handle, completed: Vec::with_capacity(1024), fired: VecDeque::with_capacity(1024) }
    }

    /// Draws the order of ready tasks from `seed` (not 0) instead of running them in FIFO order.
    pub fn shuffle(&self, seed: u64) {
        self.handle.0.shuffle.set(seed);
    }

    /// Handle for tasks.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Fires due timers and runs ready tasks.
    pub fn run_ready(&mut self) {
        let inner = &self.handle.0;
        inner.timers.borrow_mut().advance(inner.now.get(), &mut self.fired);
        for timed in self.fired.drain(..self.fired.len().min(BACKGROUND_PER_ITERATION)) {
            match timed {
                Timed::Wake(task) => self.handle.wake(task),
                Timed::Cancel(token) => {
                    self.handle.expire(token);
                    inner.cancellations.borrow_mut().push(token);
                }
            }
        }
        for _ in 0..POLLS_PER_ITERATION {
            let Some(id) = self.handle.next_ready() else { break };
            self.poll(id);
        }
        // Only the tasks queued now: a task that yields again continues in the next iteration.
        let background = inner.background.borrow().len();
        for _ in 0..background.min(BACKGROUND_PER_ITERATION) {
            let next = inner.background.borrow_mut().pop_front();
            let Some(id) = next else { break };
            self.poll(id);
        }
    }

    fn poll(&self, id: TaskId) {
        let inner = &self.handle.0;
        let future = inner.tasks.borrow_mut().get_mut(id).and_then(|task| {
            task.queued = false;
            task.future.take()
        });
        let Some(mut future) = future else { return };
        inner.current.set(id);
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Pending => inner.tasks.borrow_mut()[id].future = Some(future),
            Poll::Ready(()) => {
                // Drop the future before removing its slot: its destructors may access the table.
                drop(future);
                inner.tasks.borrow_mut().remove(id);
            }
        }
    }

    /// Whether a task is ready to run now.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        let inner = &self.handle.0;
        !inner.ready.borrow().is_empty()
            || !inner.background.borrow().is_empty()
            || !self.fired.is_empty()
    }

    /// Exchanges operations with the driver: passes submissions to it, waits for completions until `until` at
    /// the latest (nanoseconds; not at all while a task is ready) and delivers them.
    pub fn exchange<D: Driver>(&mut self, driver: &mut D, until: u64) {
        self.hand_over(driver);
        self.collect(driver, self.earliest(until));
    }

    /// First half of [`Self::exchange`]: passes submissions and cancellations to the driver.
    pub fn hand_over<D: Driver>(&mut self, driver: &mut D) {
        let inner = &self.handle.0;
        while let Some((token, op)) = inner.submissions.borrow_mut().pop_front() {
            driver.submit(token, op);
        }
        for token in inner.cancellations.borrow_mut().drain(..) {
            driver.cancel(token);
        }
    }

    /// Time of the next timer, or `until` if that is earlier (nanoseconds); 0 while a task is ready. Until
    /// then there is nothing to do without a completion.
    #[must_use]
    pub fn earliest(&self, until: u64) -> u64 {
        match self.handle.0.timers.borrow().next() {
            _ if self.has_ready() => 0,
            Some(timer) => until.min(timer),
            None => until,
        }
    }

    /// Second half of [`Self::exchange`]: waits for completions until `until` at the latest (nanoseconds; 0
    /// does not wait) and delivers them.
    pub fn collect<D: Driver>(&mut self, driver: &mut D, until: u64) {
        driver.reap(until, &mut self.completed);
        self.update_clock(driver);
        for completion in self.completed.drain(..) {
            self.handle.deliver(completion);
        }
    }

    fn update_clock<D: Driver>(&self, driver: &D) {
        let inner = &self.handle.0;
        inner.now.set(driver.now());
        inner.wall.set(driver.wall());
    }

    /// Runs tasks until `future` ends and returns its output. Other tasks continue with the next call.
    pub fn block_on<D: Driver, T: 'static>(
        &mut self,
        driver: &mut D,
        future: impl Future<Output = T> + 'static,
    ) -> T {
        let result = Rc::new(Cell::new(None));
        let slot = Rc::clone(&result);
        self.handle.spawn(async move { slot.set(Some(future.await)) });
        // Any time may have passed since the last call: a deadline must not be computed from the time then.
        self.update_clock(driver);
        loop {
            self.run_ready();
            if let Some(value) = result.take() {
                return value;
            }
            self.exchange(driver, u64::MAX);
        }
    }
}

impl Drop for Runtime {
    /// Drops all tasks, which breaks the reference cycle between tasks and handles.
    fn drop(&mut self) {
        let tasks = self.handle.0.tasks.take();
        drop(tasks);
    }
}

#[cfg(test)]
mod tests;
