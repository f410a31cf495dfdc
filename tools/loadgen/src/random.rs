//! Pseudo-random numbers: a sequence from a seed, or a function of a single number, so that object 7 is the
//! same for every thread and at any time.

use hayloft::runtime::split_mix;

/// A permutation of the 64-bit numbers (the output function of SplitMix64: Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut state = number;
    split_mix(&mut state)
}

/// Maps the top 53 bits of a random number to a fraction: 0 <= x < 1.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// Generator of a sequence of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates the generator of a seed and purpose; different purposes give independent sequences.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed ^ mix(purpose)))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// The next fraction: 0 <= x < 1.
    pub fn fraction(&mut self) -> f64 {
        unit(self.next())
    }

    /// The next number below `bound`, which is at least 1. Multiply-shift: the bias is below `bound / 2^64`
    /// (Lemire, "Fast random integer generation in an interval", 2019, without the rejection step).
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of 128 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_purpose_give_the_same_numbers() {
        let draw = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            [random.next(), random.next(), random.below(100)]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(2, 1));
        assert_ne!(draw(1, 2), draw(1, 3));
    }

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Random::new(1, 1);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.fraction())));
    }
}
