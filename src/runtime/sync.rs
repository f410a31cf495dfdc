//! Synchronisation between the tasks of one shard.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use slab::Slab;

use super::handle::{Handle, TaskId};

/// Runs two futures concurrently in one task until both have ended.
pub async fn join<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_done, mut second_done) = (None, None);
    poll_fn(|cx| {
        if first_done.is_none()
            && let Poll::Ready(output) = first.as_mut().poll(cx)
        {
            first_done = Some(output);
        }
        if second_done.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(cx)
        {
            second_done = Some(output);
        }
        if first_done.is_some() && second_done.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first_done.expect("both are done"), second_done.expect("both are done"))
}

/// Runs futures concurrently in one task, at most `at_once` of them at a time, until all have ended. Returns
/// their outputs in the order of the futures.
pub async fn join_all<F: Future>(
    futures: impl IntoIterator<Item = F>,
    at_once: usize,
) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().enumerate();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::with_capacity(at_once);
    let mut outputs = Vec::new();
    poll_fn(|cx| {
        loop {
            for (n, future) in waiting.by_ref().take(at_once - running.len()) {
                outputs.push(None);
                running.push((n, Box::pin(future)));
            }
            let before = running.len();
            running.retain_mut(|(n, future)| match future.as_mut().poll(cx) {
                Poll::Ready(output) => {
                    outputs[*n] = Some(output);
                    false
                }
                Poll::Pending => true,
            });
            match running.len() {
                0 if before == 0 => return Poll::Ready(()),
                left if left == before => return Poll::Pending,
                _ => {}
            }
        }
    })
    .await;
    outputs.into_iter().map(|output| output.expect("all are done")).collect()
}

/// Waits for `future` until `deadline` (nanoseconds). Returns `None` if it has not ended by then. Only for a
/// future that may be dropped: not for an operation, which would go on and lose its buffers.
pub async fn within<T>(
    handle: &Handle,
    deadline: u64,
    future: impl Future<Output = T>,
) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), pin!(handle.sleep_until(deadline)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A value that is set once and for which any number of tasks can wait.
pub struct Event<T> {
    handle: Handle,
    value: RefCell<Option<T>>,
    waiters: RefCell<Vec<TaskId>>,
}

impl<T: Clone> Event<T> {
    /// Creates an event that is not set.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), value: RefCell::default(), waiters: RefCell::default() }
    }

    /// Sets the value and wakes all waiting tasks.
    ///
    /// # Panics
    /// When it was set before.
    pub fn set(&self, value: T) {
        let before = self.value.replace(Some(value));
        assert!(before.is_none(), "an event happens once");
        for task in self.waiters.take() {
            self.handle.wake(task);
        }
    }

    /// Returns the value, if it is set.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        self.value.borrow().clone()
    }

    /// Waits for the value.
    pub async fn wait(&self) -> T {
        poll_fn(|_| match &*self.value.borrow() {
            Some(value) => Poll::Ready(value.clone()),
            None => {
                self.waiters.borrow_mut().push(self.handle.current());
                Poll::Pending
            }
        })
        .await
    }
}

/// A flag that any task can raise and for which one task waits.
pub struct Signal {
    handle: Handle,
    raised: Cell<bool>,
    waiter: Cell<Option<TaskId>>,
}

impl Signal {
    /// Creates a signal that is not raised.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), raised: Cell::new(false), waiter: Cell::new(None) }
    }

    /// Raises the flag.
    pub fn raise(&self) {
        self.raised.set(true);
        if let Some(task) = self.waiter.take() {
            self.handle.wake(task);
        }
    }

    /// Waits for the flag and lowers it.
    pub async fn wait(&self) {
        poll_fn(|_| {
            if self.raised.take() {
                return Poll::Ready(());
            }
            self.waiter.set(Some(self.handle.current()));
            Poll::Pending
        })
        .await;
    }

    /// Waits for the flag until `deadline` (nanoseconds) and lowers it. Returns whether it was raised.
    pub async fn wait_until(&self, deadline: u64) -> bool {
        let mut raised = pin!(self.wait());
        let mut sleep = pin!(self.handle.sleep_until(deadline));
        poll_fn(|cx| {
            if raised.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(cx).map(|()| false)
        })
        .await
    }
}

/// A queue of work for several tasks. The oldest item is taken first, by the task that began to wait last,
/// since its memory (and its connection, if it has one) is most likely cached.
pub struct Queue<T> {
    handle: Handle,
    items: RefCell<VecDeque<T>>,
    waiters: RefCell<Vec<TaskId>>,
}

impl<T> Queue<T> {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), items: RefCell::default(), waiters: RefCell::default() }
    }

    /// Adds an item. Returns whether a task was waiting for it.
    pub fn push(&self, item: T) -> bool {
        self.items.borrow_mut().push_back(item);
        let waiter = self.waiters.borrow_mut().pop();
        if let Some(task) = waiter {
            self.handle.wake(task);
        }
        waiter.is_some()
    }

    /// Waits for an item and removes it.
    pub async fn next(&self) -> T {
        poll_fn(|_| match self.items.borrow_mut().pop_front() {
            Some(item) => Poll::Ready(item),
            None => {
                self.waiters.borrow_mut().push(self.handle.current());
                Poll::Pending
            }
        })
        .await
    }
}

struct Awaited<T> {
    reply: Option<T>,
    waiter: Option<TaskId>,
}

/// Replies that tasks wait for, by request number. Allocates only while the number of awaited replies exceeds
/// all previous ones.
pub struct Replies<T> {
    handle: Handle,
    slots: RefCell<Slab<Awaited<T>>>,
}

impl<T> Replies<T> {
    /// Creates an empty table.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), slots: RefCell::default() }
    }

    /// Number of awaited replies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether no reply is awaited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    /// Allocates a number for a reply that will come. [`Self::wait`] must follow.
    pub fn expect(&self) -> usize {
        self.slots.borrow_mut().insert(Awaited { reply: None, waiter: None })
    }

    /// Stores a reply and wakes the task that waits for it.
    ///
    /// # Panics
    /// When no reply with this number is awaited, or it came before.
    pub fn fulfil(&self, number: usize, reply: T) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[number];
        assert!(slot.reply.replace(reply).is_none(), "a reply came twice");
        let waiter = slot.waiter;
        drop(slots);
        if let Some(task) = waiter {
            self.handle.wake(task);
        }
    }

    /// Waits for a reply and frees its number.
    pub async fn wait(&self, number: usize) -> T {
        poll_fn(|_| {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[number];
            if slot.reply.is_none() {
                slot.waiter = Some(self.handle.current());
                return Poll::Pending;
            }
            Poll::Ready(slots.remove(number).reply.expect("checked above"))
        })
        .await
    }
}

/// Tasks that wait for a key, each with the flag that is set when the key passes to it.
type KeyWaiters = VecDeque<(TaskId, Rc<Cell<bool>>)>;

struct LockTable<K> {
    handle: Handle,
    /// Held keys, each with its waiting tasks in FIFO order.
    held: RefCell<HashMap<K, KeyWaiters>>,
}

/// A lock for each key; only held keys take memory.
pub struct KeyLocks<K>(Rc<LockTable<K>>);

impl<K: Copy + Eq + Hash> KeyLocks<K> {
    /// Creates locks for all keys, none of them held.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self(Rc::new(LockTable { handle: handle.clone(), held: RefCell::default() }))
    }

    /// Number of held keys.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.borrow().len()
    }

    /// Waits until `key` is free and takes it. Waiting tasks get it in FIFO order.
    pub async fn lock(&self, key: K) -> Locked<K> {
        let granted = {
            let mut held = self.0.held.borrow_mut();
            match held.get_mut(&key) {
                None => {
                    held.insert(key, VecDeque::new());
                    None
                }
                Some(queue) => {
                    let granted = Rc::new(Cell::new(false));
                    queue.push_back((self.0.handle.current(), Rc::clone(&granted)));
                    Some(granted)
                }
            }
        };
        if let Some(granted) = granted {
            poll_fn(|_| if granted.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        Locked { table: Rc::clone(&self.0), key }
    }
}

/// A held key; dropping it passes the key to the next waiting task, or frees it.
pub struct Locked<K: Copy + Eq + Hash> {
    table: Rc<LockTable<K>>,
    key: K,
}

impl<K: Copy + Eq + Hash> Drop for Locked<K> {
    fn drop(&mut self) {
        let mut held = self.table.held.borrow_mut();
        let queue = held.get_mut(&self.key).expect("a held key is in the table");
        while let Some((task, granted)) = queue.pop_front() {
            // If this is the only reference, the task has stopped waiting.
            if Rc::strong_count(&granted) > 1 {
                granted.set(true);
                self.table.handle.wake(task);
                return;
            }
        }
        held.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
