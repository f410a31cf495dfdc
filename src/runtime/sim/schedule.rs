//! When operations begin and end, and in which order.

use super::flight::{Flight, NO_DISK, PARKED, is_network, may_wait};
use super::state::State;
use crate::runtime::buffer::Pool;
use crate::runtime::devices::{Devices, Next};
use crate::runtime::op::{Completion, Op, Token};
use crate::runtime::split_mix;

/// Position of the only device, which holds all files.
pub const DEVICE: usize = 0;

impl State {
    pub(super) fn begin(&mut self, member: usize, token: Token, op: Op) {
        self.begin_as(false, member, token, op);
    }

    /// Begins the next queued transfers of a member whose device has become free.
    pub(super) fn begin_queued(&mut self, member: usize, devices: &mut Devices) {
        while let Some(next) = devices.next(DEVICE, |file| self.is_open(file)) {
            match next {
                Next::Begins(token, op) => self.begin_as(true, member, token, op),
                // Completes with EBADF, without a transfer.
                Next::Closed(token, op) => self.begin(member, token, op),
            }
        }
        let busy = |flight: &&Flight| flight.member == member && flight.is_transfer;
        devices.expect(|_| self.flights.iter().filter(busy).count());
    }

    pub(super) fn begin_as(&mut self, is_transfer: bool, member: usize, token: Token, op: Op) {
        let mut delay = 20_000 + self.draw(100_000);
        let order = self.begun;
        self.begun += 1;
        let number = if is_network(&op) { NO_DISK } else { self.submitted };
        if number != NO_DISK {
            delay += self.before(number, &op);
            self.submitted += 1;
        }
        let due = self.now + delay;
        let (done, is_cancelled) = (0, false);
        let flight =
            Flight { member, due, order, number, token, op, done, is_cancelled, is_transfer };
        self.flights.push(flight);
    }

    /// Cancels an operation that waits for a connection, a listener or an address.
    pub(super) fn cancel(&mut self, member: usize, token: Token) {
        let now = self.now;
        let of = |flight: &&mut Flight| flight.member == member && flight.token == token;
        if let Some(flight) = self.flights.iter_mut().find(of)
            && may_wait(&flight.op)
        {
            flight.is_cancelled = true;
            flight.due = flight.due.min(now);
        }
    }

    pub(super) fn next_due(&self, member: usize) -> Option<usize> {
        let flights = self.flights.iter().enumerate();
        let flights = flights.filter(|(_, flight)| flight.member == member);
        flights.min_by_key(|(_, flight)| (flight.due, flight.order)).map(|(n, _)| n)
    }

    pub(super) fn next_member(&mut self, until: &[u64]) -> Option<usize> {
        loop {
            let mut ready = self.woken.clone();
            ready.extend((0..until.len()).filter(|&member| until[member] <= self.now));
            let due = self.flights.iter().filter(|flight| flight.due <= self.now);
            ready.extend(due.map(|flight| flight.member));
            if !ready.is_empty() {
                let drawn = self.draw(ready.len() as u64);
                return ready.into_iter().nth(usize::try_from(drawn).expect("few members"));
            }
            let flights = self.flights.iter().map(|flight| flight.due);
            self.now = flights.chain(until.iter().copied()).min().filter(|&due| due < PARKED)?;
        }
    }

    /// Completes the operation with index `n` in `flights`, unless it has to wait.
    pub(super) fn end(&mut self, n: usize, pool: Option<&Pool>) -> Option<Completion> {
        let flight = self.flights.swap_remove(n);
        let member = flight.member;
        let completion = if flight.number == NO_DISK {
            let pool = pool.expect("a member with connections has a pool");
            match self.communicate(flight, pool) {
                Ok(completion) => completion,
                Err(waiting) => {
                    self.flights.push(waiting);
                    return None;
                }
            }
        } else {
            let name = self.name_of(&flight.op);
            let fault = self.faults.take(flight.number, &flight.op, name);
            let (result, returned) = self.carry_out(flight.op, fault);
            Completion { token: flight.token, result, returned }
        };
        self.note(member, &completion);
        Some(completion)
    }

    fn note(&mut self, member: usize, completion: &Completion) {
        let index = u64::from(completion.token.index);
        for part in [self.now, member as u64, index, completion.result.cast_unsigned()] {
            self.hash ^= part;
            self.hash = split_mix(&mut self.hash);
        }
    }
}
