//! Pseudo-random permutation of `0..n` without a table, so that popular objects are scattered.
//!
//! A Feistel network over the next power of four, applied repeatedly until the result is in range (cycle
//! walking: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).

use crate::random::mix;

/// Rounds of the network: enough for statistics; this is not cryptography.
const ROUNDS: u64 = 4;

/// A permutation of `0..count`.
#[derive(Clone, Debug)]
pub struct Permutation {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Permutation {
    /// Creates the permutation of `0..count`; `count` is at least 1.
    #[must_use]
    pub fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half_bits: bits.div_ceil(2).max(1), seed: mix(seed) }
    }

    /// Image of `position`.
    ///
    /// # Panics
    /// When `position` is not below `count`.
    #[must_use]
    pub fn apply(&self, position: u64) -> u64 {
        assert!(position < self.count, "position {position} is not below {}", self.count);
        let mut value = position;
        loop {
            value = self.round_trip(value);
            if value < self.count {
                return value;
            }
        }
    }

    fn round_trip(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let keyed = mix(right ^ self.seed.wrapping_add(round << 56));
            (left, right) = (right, (left ^ keyed) & mask);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_taken_once() {
        for count in [1, 2, 3, 4, 5, 63, 64, 65, 1000, 4097] {
            let permutation = Permutation::new(count, 7);
            let mut taken: Vec<u64> = (0..count).map(|n| permutation.apply(n)).collect();
            taken.sort_unstable();
            assert_eq!(taken, (0..count).collect::<Vec<_>>(), "of {count}");
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        let permutation = Permutation::new(1_000_000, 1);
        let near =
            (0..1000).filter(|&n| permutation.apply(n).abs_diff(permutation.apply(n + 1)) < 1000);
        assert!(near.count() < 20);
    }
}
