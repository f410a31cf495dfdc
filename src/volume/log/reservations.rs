//! Space in the log that is reserved for later appends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::base::account::Account;

/// Identifies a reservation, and may outlive it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReservationKey(u64);

/// The reservations of a log, and what is left of each (bytes).
pub struct Reservations {
    left: RefCell<HashMap<ReservationKey, u64>>,
    /// Sum of `left` (bytes).
    total: Account,
    last_key: Cell<u64>,
}

impl Reservations {
    /// Creates an empty set.
    pub fn new() -> Self {
        let total = Account::new("reserved bytes of a log");
        Self { left: RefCell::default(), total, last_key: Cell::new(0) }
    }

    /// Adds a reservation of `len` bytes. Returns its key.
    pub fn add(&self, len: u64) -> ReservationKey {
        let key = ReservationKey(self.last_key.get() + 1);
        self.last_key.set(key.0);
        self.left.borrow_mut().insert(key, len);
        self.total.take(len);
        key
    }

    /// Adds `len` bytes to a reservation.
    ///
    /// # Panics
    /// If it does not exist.
    pub fn grow(&self, key: ReservationKey, len: u64) {
        let mut left = self.left.borrow_mut();
        *left.get_mut(&key).expect("a reservation exists until it is dropped") += len;
        self.total.take(len);
    }

    /// Takes up to `most` bytes out of a reservation. Returns the number of bytes taken; 0 when the
    /// reservation no longer exists.
    pub fn take(&self, key: ReservationKey, most: u64) -> u64 {
        let mut left = self.left.borrow_mut();
        let Some(left) = left.get_mut(&key) else { return 0 };
        let taken = most.min(*left);
        *left -= taken;
        self.total.give_back(taken);
        taken
    }

    /// What is left of a reservation (bytes).
    ///
    /// # Panics
    /// If it does not exist.
    pub fn left(&self, key: ReservationKey) -> u64 {
        let left = self.left.borrow().get(&key).copied();
        left.expect("a reservation exists until it is dropped")
    }

    /// Removes a reservation. Returns what was left of it (bytes).
    ///
    /// # Panics
    /// If it does not exist.
    pub fn remove(&self, key: ReservationKey) -> u64 {
        let left = self.left.borrow_mut().remove(&key);
        let left = left.expect("a reservation exists until it is dropped");
        self.total.give_back(left);
        left
    }

    /// Number of bytes that are left in all reservations.
    pub fn total(&self) -> u64 {
        self.total.held()
    }

    /// Recounts that number.
    ///
    /// # Panics
    /// If it differs.
    pub fn audit(&self) {
        self.total.expect(self.left.borrow().values().sum());
    }

    /// Returns whether there are no reservations.
    pub fn is_empty(&self) -> bool {
        self.left.borrow().is_empty()
    }
}
