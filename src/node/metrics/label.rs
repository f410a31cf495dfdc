//! Closed sets of label values, and numbers indexed by them.
//!
//! A label value is an enum variant, not a string: a typo does not compile, the number of time series is
//! bounded, and the lookup of a counter is an array access.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::counter::Counter;
use super::histogram::Histogram;

/// The closed set of values of one label.
pub trait Label: Copy + 'static {
    /// The label's key, for instance `method`.
    const KEY: &'static str;
    /// The exported values, in the order of [`Label::index`].
    const NAMES: &'static [&'static str];
    /// The variants, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// Position of this value in [`Label::NAMES`].
    fn index(self) -> usize;

    /// The exported value.
    fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Defines a label enum: its key, its variants and the names they are exported under.
macro_rules! label_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident: $key:literal {
        $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Number of values: the length of arrays indexed by this label.
            $vis const COUNT: usize = <Self as $crate::node::metrics::Label>::NAMES.len();
        }

        impl $crate::node::metrics::Label for $name {
            const KEY: &'static str = $key;
            const NAMES: &'static [&'static str] = &[$($text),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label_enum;

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
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// The value at a position of [`Label::NAMES`], for the exporter.
    pub(super) fn get(&self, index: usize) -> u64 {
        self.0[index].get()
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

    label_enum! {
        /// For the tests.
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

    #[test]
    fn a_state_cell_gives_back_each_state() {
        let cell = StateCell::new(Fruit::Pear);
        assert_eq!(cell.get(), Fruit::Pear);
        for &fruit in Fruit::ALL {
            cell.set(fruit);
            assert_eq!(cell.get(), fruit);
        }
    }
}
