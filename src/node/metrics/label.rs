//! Numbers indexed by the values of a label.

use std::marker::PhantomData;

use super::counter::Counter;
use super::histogram::Histogram;
pub use crate::node::label::Label;
pub(super) use crate::node::label::label_enum;

/// One counter for each value of label `L`. `N` is always `L::COUNT`.
#[derive(Debug)]
pub struct CounterBy<L, const N: usize>([Counter; N], PhantomData<L>);

impl<L: Label, const N: usize> CounterBy<L, N> {
    /// All counters at zero.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N == L::NAMES.len(), "one counter for each label value") };
        Self([const { Counter::new() }; N], PhantomData)
    }

    /// The counter for `label`.
    #[inline]
    #[must_use]
    pub fn at(&self, label: L) -> &Counter {
        &self.0[label.index()]
    }

    /// The sum over all label values; callable from any thread.
    #[cfg(test)]
    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(Counter::value).sum()
    }

    /// The value at a position of [`Label::NAMES`], for the exporter.
    pub(super) fn get(&self, index: usize) -> u64 {
        self.0[index].value()
    }
}

impl<L: Label, const N: usize> Default for CounterBy<L, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// One histogram for each value of label `L`. `N` is always `L::COUNT`.
#[derive(Debug)]
pub struct HistogramBy<L, const N: usize>([Histogram; N], PhantomData<L>);

impl<L: Label, const N: usize> HistogramBy<L, N> {
    /// All histograms empty.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N == L::NAMES.len(), "one histogram for each label value") };
        Self([const { Histogram::new() }; N], PhantomData)
    }

    /// The histogram for `label`.
    #[inline]
    #[must_use]
    pub fn at(&self, label: L) -> &Histogram {
        &self.0[label.index()]
    }

    /// The histogram at a position of [`Label::NAMES`], for the exporter.
    pub(super) fn get(&self, index: usize) -> &Histogram {
        &self.0[index]
    }
}

impl<L: Label, const N: usize> Default for HistogramBy<L, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    label_enum! {
        /// Labels of the test.
        enum Fruit: "fruit" {
            /// Red.
            Apple = "apple",
            /// Green.
            Pear = "pear",
        }
    }

    #[test]
    fn each_value_has_its_own_counter() {
        let by: CounterBy<Fruit, { Fruit::COUNT }> = CounterBy::new();
        by.at(Fruit::Pear).add(3);
        by.at(Fruit::Apple).inc();
        assert_eq!((by.get(0), by.get(1), by.sum()), (1, 3, 4));
        assert_eq!(Fruit::NAMES, ["apple", "pear"]);
        assert_eq!(Fruit::Pear.name(), "pear");
    }
}
