//! Counts of resources that are taken and given back: bytes, slots, connections.
//!
//! Giving back more than was taken panics in every build. A resource that was never given back shows only in
//! a recount, which is slower and made in test builds only ([`AUDITED`]).

use std::cell::Cell;

/// Whether counts are compared with recounts; true in test builds.
pub const AUDITED: bool = cfg!(any(debug_assertions, feature = "sim"));

/// Amount of a resource that is held.
#[derive(Debug)]
pub struct Account {
    what: &'static str,
    held: Cell<u64>,
}

impl Account {
    /// Creates an account of 0. `what` names the resource in panic messages.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, held: Cell::new(0) }
    }

    /// Amount that is held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// Takes `amount` and returns the amount held afterwards.
    pub fn take(&self, amount: u64) -> u64 {
        let held = self.held.get() + amount;
        self.held.set(held);
        held
    }

    /// Gives `amount` back and returns the amount held afterwards.
    ///
    /// # Panics
    /// When less is held.
    pub fn give_back(&self, amount: u64) -> u64 {
        let left = self.held.get().checked_sub(amount);
        let what = self.what;
        let left = left.unwrap_or_else(|| panic!("more {what} given back than taken"));
        self.held.set(left);
        left
    }

    /// Compares the amount held with a recount. Does nothing while a panic unwinds, since a second panic
    /// would abort the process.
    ///
    /// # Panics
    /// When the two differ.
    pub fn expect(&self, recounted: u64) {
        if std::thread::panicking() {
            return;
        }
        let (held, what) = (self.held.get(), self.what);
        assert_eq!(held, recounted, "{what}: held, and found by a recount");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_and_give_back_change_the_balance() {
        let account = Account::new("crumbs");
        assert_eq!((account.take(3), account.take(4), account.give_back(5)), (3, 7, 2));
        account.expect(2);
    }

    #[test]
    #[should_panic(expected = "more crumbs given back than taken")]
    fn giving_back_more_than_was_taken_panics() {
        let account = Account::new("crumbs");
        account.take(3);
        account.give_back(4);
    }

    #[test]
    #[should_panic(expected = "crumbs: held, and found by a recount")]
    fn recount_that_differs_from_the_balance_panics() {
        let account = Account::new("crumbs");
        account.take(3);
        account.expect(0);
    }
}
