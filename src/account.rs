//! Counts of what is lent and comes back: bytes, slots, connections.
//!
//! Giving back more than was taken is noticed at once, in every build. That nothing was forgotten shows
//! only in a recount, which takes longer: test builds make it ([`AUDITED`]).

use std::cell::Cell;

/// Whether counts are compared with recounts: in builds for tests.
pub const AUDITED: bool = cfg!(any(debug_assertions, feature = "sim"));

/// How much of something is held.
#[derive(Debug)]
pub struct Account {
    what: &'static str,
    held: Cell<u64>,
}

impl Account {
    /// Nothing is held. `what` names it in the message of a panic.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, held: Cell::new(0) }
    }

    /// How much is held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// Takes so much: how much is held then.
    pub fn take(&self, amount: u64) -> u64 {
        let held = self.held.get() + amount;
        self.held.set(held);
        held
    }

    /// Gives so much back: how much is held then.
    ///
    /// # Panics
    /// When less is held.
    pub fn give_back(&self, amount: u64) -> u64 {
        let left = self.held.get().checked_sub(amount);
        let what = self.what;
        let left = left.unwrap_or_else(|| panic!("more {what} came back than had been taken"));
        self.held.set(left);
        left
    }

    /// Compares with what a recount found. Not while a panic unwinds: one is enough.
    ///
    /// # Panics
    /// When they differ.
    pub fn expect(&self, recounted: u64) {
        if std::thread::panicking() {
            return;
        }
        let (held, what) = (self.held.get(), self.what);
        assert_eq!(held, recounted, "{what}: what is held, and what a recount finds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let account = Account::new("crumbs");
        assert_eq!((account.take(3), account.take(4), account.give_back(5)), (3, 7, 2));
        account.expect(2);
    }

    #[test]
    #[should_panic(expected = "more crumbs came back than had been taken")]
    fn more_than_was_taken_does_not_come_back() {
        let account = Account::new("crumbs");
        account.take(3);
        account.give_back(4);
    }

    #[test]
    #[should_panic(expected = "crumbs: what is held, and what a recount finds")]
    fn what_was_forgotten_shows_in_a_recount() {
        let account = Account::new("crumbs");
        account.take(3);
        account.expect(0);
    }
}
