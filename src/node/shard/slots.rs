//! The limit of connections of all shards together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of open connections. One counter for all shards: with a sum of counters, a connection on its way
/// from one shard to another would be counted twice or not at all for a moment, so that a connection below
/// the limit could be refused.
#[derive(Debug, Default)]
pub struct Slots(AtomicU64);

impl Slots {
    /// Number of slots in use.
    pub fn taken(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Takes a slot if fewer than `bound` are in use.
    pub fn take(self: &Arc<Self>, bound: u64) -> Option<Slot> {
        let one_more = |taken| (taken < bound).then_some(taken + 1);
        let taken = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }
}

/// Slot of a connection. Moves with the connection from shard to shard and is returned when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let taken = self.0.0.fetch_sub(1, Ordering::SeqCst);
        assert!(taken > 0, "a slot is given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_returned() {
        let slots = Arc::new(Slots::default());
        let mut taken: Vec<Slot> = (0..3).map(|_| slots.take(3).unwrap()).collect();
        assert!(slots.take(3).is_none());
        taken.pop();
        taken.push(slots.take(3).unwrap());
        // The limit can fall below the number of slots in use.
        assert!(slots.take(2).is_none() && slots.take(0).is_none());
        taken.clear();
        assert!(slots.take(1).is_some());
    }

    /// There are as many slots as threads and each thread holds at most one, so that none is ever refused.
    #[test]
    fn no_thread_within_the_limit_is_refused_a_slot() {
        let slots = Arc::new(Slots::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut slot = slots.take(4);
                    for _ in 0..20_000 {
                        assert!(slot.is_some(), "refused below the limit");
                        drop(slot.take());
                        slot = slots.take(4);
                    }
                });
            }
        });
    }
}
