//! The driver of one runtime in the simulated world.

use std::cell::RefCell;
use std::rc::Rc;

use super::schedule::DEVICE;
use super::state::{State, call_hook};
use crate::runtime::buffer::Pool;
use crate::runtime::devices::{Devices, transfer_of};
use crate::runtime::op::{Completion, Driver, DriverCounts, Op, Token};

/// Creates the device that holds all files, without a limit of transfers in flight.
fn one_device() -> Devices {
    let mut devices = Devices::new(usize::MAX);
    devices.position(DEVICE as u64);
    devices
}

/// The driver of one runtime in a [`World`](super::World).
pub struct SimDriver {
    state: Rc<RefCell<State>>,
    member: usize,
    /// Whether the runtime is alone in the world and advances the clock.
    is_alone: bool,
    pool: Option<Pool>,
    devices: Devices,
    counts: DriverCounts,
}

impl SimDriver {
    /// Creates the driver of runtime number `member`. Its connections receive into buffers of `pool`; without
    /// a pool it has no connections and is alone in the world.
    pub(super) fn new(state: &Rc<RefCell<State>>, member: usize, pool: Option<Pool>) -> Self {
        Self {
            state: Rc::clone(state),
            member,
            is_alone: pool.is_none(),
            pool,
            devices: one_device(),
            counts: DriverCounts::default(),
        }
    }

    /// Returns the next completion that is due.
    fn next_completion(&mut self) -> Option<Completion> {
        let mut state = self.state.borrow_mut();
        loop {
            let next = state.next_due(self.member)?;
            if state.flights[next].due > state.now {
                return None;
            }
            let was_transfer = state.flights[next].is_transfer;
            let ended = state.end(next, self.pool.as_ref());
            if was_transfer {
                self.devices.end(DEVICE);
                state.begin_queued(self.member, &mut self.devices);
            }
            if ended.is_some() {
                return ended;
            }
        }
    }

    /// Advances the clock to the next event, or to `until` if that is earlier.
    fn wait(&self, until: u64) {
        let mut state = self.state.borrow_mut();
        let due = state.next_due(self.member).map_or(u64::MAX, |next| state.flights[next].due);
        let next = due.min(until);
        assert!(next < u64::MAX, "deadlock: nothing in flight and nothing to wait for");
        state.now = state.now.max(next);
    }
}

impl Driver for SimDriver {
    fn submit(&mut self, token: Token, op: Op) {
        let mut state = self.state.borrow_mut();
        match transfer_of(&op) {
            Some(file) if state.is_open(file) => {
                if let Some((token, op)) = self.devices.begin(DEVICE, token, op) {
                    state.begin_as(true, self.member, token, op);
                }
            }
            _ => state.begin(self.member, token, op),
        }
        drop(state);
        call_hook(&self.state);
    }

    fn cancel(&mut self, token: Token) {
        self.state.borrow_mut().cancel(self.member, token);
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        self.state.borrow_mut().woken.remove(&self.member);
        if self.is_alone {
            self.wait(until);
        }
        if let Some(completion) = self.next_completion() {
            self.counts.completions += 1;
            completed.push(completion);
            call_hook(&self.state);
        }
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }

    fn limit_device(&mut self, limit: usize) {
        self.devices.set_limit(limit);
    }

    fn now(&self) -> u64 {
        self.state.borrow().now
    }

    fn wall(&self) -> u64 {
        let state = self.state.borrow();
        state.now.saturating_add(state.wall_offset)
    }
}
