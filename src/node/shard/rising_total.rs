//! A count that a volume shows over all its generations.

use std::cell::Cell;

/// Sum of a count over the generations of a volume, each of which counts from 0.
#[derive(Debug, Default)]
pub struct RisingTotal {
    generation: Cell<u64>,
    /// Sum of the generations before.
    before: Cell<u64>,
    /// Highest value of the present generation.
    highest: Cell<u64>,
}

impl RisingTotal {
    /// Returns the sum, where `value` is the present value of `generation`. A value that falls counts as its
    /// highest.
    pub fn with(&self, generation: u64, value: u64) -> u64 {
        if self.generation.replace(generation) != generation {
            self.before.set(self.before.get() + self.highest.take());
        }
        self.highest.set(self.highest.get().max(value));
        self.before.get() + self.highest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_never_falls() {
        let total = RisingTotal::default();
        let seen = [(0, 3), (0, 5), (0, 4), (1, 0), (1, 2), (2, 7), (2, 1)];
        assert_eq!(
            seen.map(|(generation, value)| total.with(generation, value)),
            [3, 5, 5, 5, 7, 14, 14]
        );
    }
}
