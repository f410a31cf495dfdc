//! Sums over the offsets of needles, which do not depend on their order: two ways to count the same needles
//! are compared without keeping either of the two sets.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::limits::UNIT;

/// Number of sums. An offset belongs to one of them, so that a difference is confined to few needles.
pub const OFFSET_SUMS: usize = 64;

/// Sums over offsets of needles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetSums([u64; OFFSET_SUMS]);

impl Default for OffsetSums {
    /// Of no offsets.
    fn default() -> Self {
        Self([0; OFFSET_SUMS])
    }
}

impl OffsetSums {
    /// Returns which of the sums an offset (bytes) belongs to.
    #[must_use]
    pub fn number_of(offset: u64) -> usize {
        (offset / UNIT) as usize % OFFSET_SUMS
    }

    /// Adds an offset (bytes), which may be there already.
    pub fn add(&mut self, offset: u64) {
        let sum = &mut self.0[Self::number_of(offset)];
        *sum = sum.wrapping_add(term(offset));
    }

    /// Removes an offset (bytes). It may be added later only.
    pub fn remove(&mut self, offset: u64) {
        let sum = &mut self.0[Self::number_of(offset)];
        *sum = sum.wrapping_sub(term(offset));
    }

    /// Adds all offsets of other sums.
    pub fn add_all(&mut self, others: &Self) {
        for (sum, other) in self.0.iter_mut().zip(others.0) {
            *sum = sum.wrapping_add(other);
        }
    }

    /// Returns the numbers of the sums that differ.
    #[must_use]
    pub fn differing(&self, others: &Self) -> Vec<usize> {
        (0..OFFSET_SUMS).filter(|n| self.0[*n] != others.0[*n]).collect()
    }
}

/// A number that offsets which are close together do not have in common.
fn term(offset: u64) -> u64 {
    xxh3_64_with_seed(&[], offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_many_needles_at_other_offsets_are_a_difference() {
        let (mut one, mut other) = (OffsetSums::default(), OffsetSums::default());
        one.add(7 * UNIT);
        other.add((7 + OFFSET_SUMS as u64) * UNIT);
        assert_eq!(one.differing(&other), [7]);
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_the_order(
            offsets in prop::collection::vec((1u64..1 << 30).prop_map(|unit| unit * UNIT), 1..50),
            removed in 0usize..50,
        ) {
            let removed = removed % offsets.len();
            let (mut one, mut other) = (OffsetSums::default(), OffsetSums::default());
            other.remove(offsets[removed]);
            offsets.iter().for_each(|offset| one.add(*offset));
            offsets.iter().rev().for_each(|offset| other.add(*offset));
            prop_assert_eq!(one.differing(&other), [OffsetSums::number_of(offsets[removed])]);
            one.remove(offsets[removed]);
            prop_assert_eq!(&one, &other);
            let mut twice = one.clone();
            twice.add_all(&other);
            one.add_all(&other);
            prop_assert_eq!(one, twice);
        }
    }
}
