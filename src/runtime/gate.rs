//! A gate that tasks pass one by one, and that can be closed: then no task is inside.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use super::handle::{Handle, TaskId};
use super::sync::Signal;

/// A gate. Tasks are inside while they hold a [`Pass`].
pub struct Gate {
    handle: Handle,
    is_closed: Cell<bool>,
    /// Tasks inside.
    inside: Cell<u64>,
    /// Raised when the last task inside has left.
    emptied: Signal,
    /// Tasks that wait for the gate to open.
    waiting: RefCell<Vec<TaskId>>,
}

impl Gate {
    /// Creates an open gate.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self {
            handle: handle.clone(),
            is_closed: Cell::new(false),
            inside: Cell::new(0),
            emptied: Signal::new(handle),
            waiting: RefCell::default(),
        }
    }

    /// Waits until the gate is open, and enters. Dropping the result leaves.
    pub async fn enter(&self) -> Pass<'_> {
        poll_fn(|_| {
            if self.is_closed.get() {
                self.waiting.borrow_mut().push(self.handle.current());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        self.inside.set(self.inside.get() + 1);
        Pass { gate: self }
    }

    /// Closes the gate and waits until no task is inside. Dropping the result opens the gate again. Returns
    /// `None`, with the gate open, if a task is still inside at `deadline` (nanoseconds).
    ///
    /// # Panics
    /// If the gate is closed already.
    pub async fn close(&self, deadline: u64) -> Option<ClosedGate<'_>> {
        assert!(!self.is_closed.replace(true), "one task at a time closes a gate");
        let closed = ClosedGate { gate: self };
        while self.inside.get() > 0 {
            if !self.emptied.wait_until(deadline).await {
                return None;
            }
        }
        Some(closed)
    }

    /// Number of tasks inside.
    #[must_use]
    pub fn inside(&self) -> u64 {
        self.inside.get()
    }
}

/// A task inside a gate; dropping it leaves.
pub struct Pass<'a> {
    gate: &'a Gate,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let inside = self.gate.inside.get().checked_sub(1);
        self.gate.inside.set(inside.expect("who leaves a gate has entered it"));
        if self.gate.inside.get() == 0 {
            self.gate.emptied.raise();
        }
    }
}

/// A closed gate; dropping it opens the gate.
pub struct ClosedGate<'a> {
    gate: &'a Gate,
}

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        self.gate.is_closed.set(false);
        for task in self.gate.waiting.take() {
            self.gate.handle.wake(task);
        }
    }
}
