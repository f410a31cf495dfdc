//! Choices that follow from a seed.

use hayloft::runtime::split_mix;

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(split_mix(&mut self.0) % bound as u64).unwrap()
    }

    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
