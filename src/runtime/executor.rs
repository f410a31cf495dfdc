//! A small single-threaded executor for tasks that await operations.
//!
//! The logic of the store is written as `async fn`s that submit operations ([`crate::runtime::op`]) and await
//! their completions. All leaf futures are defined here, so that no waker is needed: a leaf future records
//! the task that polled it. Given the same completions in the same order, tasks run in the same order; with a
//! seed, the order is drawn from the seed instead, so that a simulation can explore other orders.
//!
//! Dropping a future does not undo anything: a submitted operation runs to its end, and its buffers stay with
//! the driver until then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::timer::{TimerKey, Wheel};
use crate::runtime::buffer::Pool;
use crate::runtime::op::{Completion, Driver, Op, Token};

pub(super) type TaskId = usize;

struct Task {
    /// Absent while the task runs.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    queued: bool,
}

struct OpState {
    waiter: Option<TaskId>,
    completion: Option<Completion>,
    timer: Option<TimerKey>,
    abandoned: bool,
    /// Whether the waiting task is woken in the background queue.
    in_background: bool,
}

#[derive(Clone, Copy)]
enum Timed {
    Wake(TaskId),
    Cancel(Token),
}

struct Inner {
    tasks: RefCell<Slab<Task>>,
    ready: RefCell<VecDeque<TaskId>>,
    /// Ready tasks that run after those in `ready`.
    background: RefCell<VecDeque<TaskId>>,
    current: Cell<TaskId>,
    ops: RefCell<Slab<OpState>>,
    /// Generation of each slot of `ops`; kept when the slot is free.
    generations: RefCell<Vec<u32>>,
    submissions: RefCell<VecDeque<(Token, Op)>>,
    cancellations: RefCell<Vec<Token>>,
    timers: RefCell<Wheel<Timed>>,
    now: Cell<u64>,
    wall: Cell<u64>,
    random: RefCell<Box<dyn FnMut() -> u64>>,
    /// State of the generator that draws the order of ready tasks; 0 for FIFO order.
    shuffle: Cell<u64>,
    pool: Pool,
}

/// Handle with which tasks submit operations, spawn tasks and read the time. Cheap to clone; stays on its
/// thread.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

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

impl Handle {
    /// Monotonic time of this iteration (nanoseconds).
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Wall-clock time of this iteration (nanoseconds since 1970).
    #[must_use]
    pub fn wall(&self) -> u64 {
        self.0.wall.get()
    }

    /// Returns a random number from the runtime's source.
    #[must_use]
    pub fn random(&self) -> u64 {
        (self.0.random.borrow_mut())()
    }

    /// Buffer pool of the shard.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Starts a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let task = Task { future: Some(Box::pin(future)), queued: true };
        let id = self.0.tasks.borrow_mut().insert(task);
        self.0.ready.borrow_mut().push_back(id);
    }

    /// Number of tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Number of operations that have not completed, or whose completion was not taken yet.
    #[must_use]
    pub fn ops_in_flight(&self) -> usize {
        self.0.ops.borrow().len()
    }

    /// Submits an operation, which is passed to the driver at the end of this iteration.
    pub fn submit(&self, op: Op) -> Operation {
        let mut ops = self.0.ops.borrow_mut();
        let index = ops.insert(OpState {
            waiter: None,
            completion: None,
            timer: None,
            abandoned: false,
            in_background: false,
        });
        let mut generations = self.0.generations.borrow_mut();
        if generations.len() <= index {
            generations.resize(index + 1, 0);
        }
        let token = Token {
            index: u32::try_from(index).expect("fewer than 2^32 operations"),
            generation: generations[index],
        };
        self.0.submissions.borrow_mut().push_back((token, op));
        Operation { handle: self.clone(), token, taken: false }
    }

    /// Submits an operation that is cancelled at `deadline` (nanoseconds, see [`Self::now`]); it then
    /// completes with `-ECANCELED`.
    pub fn submit_by(&self, op: Op, deadline: u64) -> Operation {
        let operation = self.submit(op);
        let timer = self.0.timers.borrow_mut().arm(deadline, Timed::Cancel(operation.token));
        self.0.ops.borrow_mut()[operation.token.index as usize].timer = Some(timer);
        operation
    }

    /// Submits an operation like [`Self::submit_by`], whose completion is not urgent: its task runs after
    /// other ready tasks.
    pub fn submit_in_background(&self, op: Op, deadline: u64) -> Operation {
        let operation = self.submit_by(op, deadline);
        self.0.ops.borrow_mut()[operation.token.index as usize].in_background = true;
        operation
    }

    /// Requests that an operation ends early. It completes with `-ECANCELED`, or with its result if it ended
    /// before. Does nothing when it has completed.
    pub fn cancel(&self, token: Token) {
        self.0.cancellations.borrow_mut().push(token);
    }

    /// Returns a future that ends at `deadline` (nanoseconds, see [`Self::now`]).
    #[must_use]
    pub fn sleep_until(&self, deadline: u64) -> Sleep {
        Sleep { handle: self.clone(), deadline, timer: None }
    }

    /// Yields until the other ready tasks have run and the driver's completions were collected. Divides long
    /// work into pieces of one iteration each.
    pub async fn yield_now(&self) {
        let mut polled = false;
        std::future::poll_fn(|_| {
            if polled {
                return Poll::Ready(());
            }
            polled = true;
            self.wake_in(&self.0.background, self.0.current.get());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn wake(&self, task: TaskId) {
        self.wake_in(&self.0.ready, task);
    }

    fn wake_in(&self, queue: &RefCell<VecDeque<TaskId>>, task: TaskId) {
        let mut tasks = self.0.tasks.borrow_mut();
        // A leaf future may wake a task that has ended: its slot is empty or used by another task, and
        // every leaf future tolerates spurious polls.
        if let Some(task_slot) = tasks.get_mut(task)
            && !task_slot.queued
        {
            task_slot.queued = true;
            queue.borrow_mut().push_back(task);
        }
    }

    pub(super) fn current(&self) -> TaskId {
        self.0.current.get()
    }

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

    fn release(&self, ops: &mut Slab<OpState>, token: Token) {
        ops.remove(token.index as usize);
        let generation = &mut self.0.generations.borrow_mut()[token.index as usize];
        *generation = generation.wrapping_add(1);
    }
}

/// An operation in flight; awaiting it returns its completion.
pub struct Operation {
    handle: Handle,
    token: Token,
    taken: bool,
}

impl Operation {
    /// Token of the operation, for [`Handle::cancel`].
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }
}

impl Future for Operation {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Completion> {
        let handle = self.handle.clone();
        let mut ops = handle.0.ops.borrow_mut();
        let op = &mut ops[self.token.index as usize];
        match op.completion.take() {
            Some(completion) => {
                handle.release(&mut ops, self.token);
                self.taken = true;
                Poll::Ready(completion)
            }
            None => {
                op.waiter = Some(handle.current());
                Poll::Pending
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut ops = self.handle.0.ops.borrow_mut();
        let op = &mut ops[self.token.index as usize];
        if op.completion.take().is_some() {
            self.handle.release(&mut ops, self.token);
        } else {
            op.abandoned = true;
        }
    }
}

/// Future of [`Handle::sleep_until`].
pub struct Sleep {
    handle: Handle,
    deadline: u64,
    timer: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.handle.now() >= self.deadline {
            return Poll::Ready(());
        }
        if self.timer.is_none() {
            let target = Timed::Wake(self.handle.current());
            let timer = self.handle.0.timers.borrow_mut().arm(self.deadline, target);
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.handle.0.timers.borrow_mut().disarm(timer);
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
        let inner = &self.handle.0;
        inner.now.set(driver.now());
        inner.wall.set(driver.wall());
        for completion in self.completed.drain(..) {
            self.handle.deliver(completion);
        }
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

/// Returns the next number of a SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014). For task orders
/// and simulations; not cryptographically secure.
#[must_use]
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffer::Region;
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;
    use crate::runtime::{KeyLocks, Signal};

    /// Creates a runtime that is alone in a simulated world.
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
    fn tasks_run_in_the_order_they_became_ready_or_in_one_that_a_seed_draws() {
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
    fn a_turn_has_its_bounds() {
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
    fn the_generator_is_split_mix() {
        // The first numbers of the reference implementation with these seeds.
        let mut state = 0;
        assert_eq!(split_mix(&mut state), 0xe220_a839_7b1d_cdaf);
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn who_yields_goes_on_in_another_turn() {
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
        for turn in 1..10 {
            runtime.run_ready();
            assert_eq!(steps.get(), turn, "one step in each iteration after the first");
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

    /// A dropped operation and a dropped sleep leave no operation and no timer behind.
    #[test]
    fn what_was_dropped_leaves_no_operation_and_no_timer() {
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
    fn those_whose_time_comes_together_hold_up_nobody() {
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
        for turn in 1..=1000_usize.div_ceil(BACKGROUND_PER_ITERATION) {
            assert!(turn == 1 || bench.runtime.has_ready(), "{} of 1000", woken.get());
            bench.runtime.run_ready();
            assert_eq!(woken.get(), (turn * BACKGROUND_PER_ITERATION).min(1000));
        }
    }

    #[test]
    fn a_storm_of_ready_tasks_does_not_keep_completions_waiting() {
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
    fn a_key_passes_over_those_that_have_stopped_waiting() {
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
    fn a_flag_that_was_raised_before_anybody_waits_is_not_lost() {
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
}
