//! What tasks see of the executor: they submit operations, await them, sleep, and spawn other tasks.
//!
//! All leaf futures are defined here and in [`super::sync`], so that no waker is needed: a leaf future
//! records the task that polled it.
//!
//! Dropping a future does not undo anything: a submitted operation runs to its end, and its buffers stay with
//! the driver until then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use super::timer::{TimerKey, Wheel};
use crate::runtime::buffer::Pool;
use crate::runtime::op::{Completion, Op, Token};

/// Slot of a task in the table of tasks.
pub(super) type TaskId = usize;

/// A task that has not ended.
pub(super) struct Task {
    /// Absent while the task runs.
    pub(super) future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    pub(super) queued: bool,
}

/// An operation that has not completed, or whose completion was not taken.
pub(super) struct OpState {
    pub(super) waiter: Option<TaskId>,
    pub(super) completion: Option<Completion>,
    pub(super) timer: Option<TimerKey>,
    pub(super) abandoned: bool,
    /// Whether the waiting task is woken in the background queue.
    pub(super) in_background: bool,
}

/// What a timer does when it fires.
#[derive(Clone, Copy)]
pub(super) enum Timed {
    Wake(TaskId),
    Cancel(Token),
}

/// What the handles of a runtime share with its event loop.
pub(super) struct Inner {
    pub(super) tasks: RefCell<Slab<Task>>,
    pub(super) ready: RefCell<VecDeque<TaskId>>,
    /// Ready tasks that run after those in `ready`.
    pub(super) background: RefCell<VecDeque<TaskId>>,
    pub(super) current: Cell<TaskId>,
    pub(super) ops: RefCell<Slab<OpState>>,
    /// Generation of each slot of `ops`; kept when the slot is free.
    pub(super) generations: RefCell<Vec<u32>>,
    pub(super) submissions: RefCell<VecDeque<(Token, Op)>>,
    pub(super) cancellations: RefCell<Vec<Token>>,
    pub(super) timers: RefCell<Wheel<Timed>>,
    pub(super) now: Cell<u64>,
    pub(super) wall: Cell<u64>,
    pub(super) random: RefCell<Box<dyn FnMut() -> u64>>,
    /// State of the generator that draws the order of ready tasks; 0 for FIFO order.
    pub(super) shuffle: Cell<u64>,
    pub(super) pool: Pool,
}

/// Handle with which tasks submit operations, spawn tasks and read the time. Cheap to clone; stays on its
/// thread.
#[derive(Clone)]
pub struct Handle(pub(super) Rc<Inner>);

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

    pub(super) fn wake_in(&self, queue: &RefCell<VecDeque<TaskId>>, task: TaskId) {
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

    pub(super) fn release(&self, ops: &mut Slab<OpState>, token: Token) {
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
