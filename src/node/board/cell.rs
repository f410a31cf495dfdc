//! Numbers and states that one thread writes and any thread may read.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::node::label::Label;

/// A number with one writer that any thread may read.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Replaces the value. Only the owner may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The present value; callable from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A state with one writer that any thread may read, such as that of a volume.
#[derive(Debug)]
pub struct StateCell<L>(AtomicU64, PhantomData<L>);

impl<L: Label> StateCell<L> {
    /// A cell that holds `state`.
    #[must_use]
    pub fn new(state: L) -> Self {
        Self(AtomicU64::new(state.index() as u64), PhantomData)
    }

    /// Replaces the state. Only the owner may call this.
    #[inline]
    pub fn set(&self, state: L) {
        self.0.store(state.index() as u64, Relaxed);
    }

    /// The present state; callable from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> L {
        // Only `new` and `set` write the cell, and both write an index of ALL.
        L::ALL[self.0.load(Relaxed) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::board::VolumeState;

    #[test]
    fn state_cell_stores_each_state() {
        let cell = StateCell::new(VolumeState::Failed);
        assert_eq!(cell.get(), VolumeState::Failed);
        for &state in VolumeState::ALL {
            cell.set(state);
            assert_eq!(cell.get(), state);
        }
    }
}
