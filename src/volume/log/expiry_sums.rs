//! Sums of the bytes that expire, by day: what compactions will be able to drop, and when.

use std::collections::BTreeMap;

use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::format::{EXPIRY_DAYS_MAX, NeedleHeader};

/// Length of a day (nanoseconds).
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

/// An object that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Time at which it expires (nanoseconds since 1970).
    pub expires_ns: u64,
    /// Length of its needle and its parts (bytes).
    pub len: u64,
}

impl Expiring {
    /// The object of this header; `None` if it does not expire.
    pub fn of(header: &NeedleHeader) -> Option<Self> {
        let len = header.layout().len as u64 + header.parts_len();
        header.expires_ns.map(|expires_ns| Self { expires_ns, len })
    }
}

/// Bytes of the objects in an index that expire, by day since 1970. At most [`EXPIRY_DAYS_MAX`] days: of
/// more, the latest ones are counted together, by the last of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpirySums(BTreeMap<u32, u64>);

impl ExpirySums {
    /// Restores what [`Self::days`] returned.
    pub fn restored(days: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let mut sums = Self::default();
        days.into_iter().for_each(|(day, len)| sums.add_to_day(day, len));
        sums
    }

    /// The days and their bytes, in order.
    pub fn days(&self) -> impl ExactSizeIterator<Item = (u32, u64)> {
        self.0.iter().map(|(day, len)| (*day, *len))
    }

    /// Adds an object.
    pub fn add(&mut self, object: Expiring) {
        self.add_to_day(day_of(object.expires_ns), object.len);
    }

    fn add_to_day(&mut self, day: u32, len: u64) {
        let sum = self.0.entry(day).or_default();
        *sum = sum.saturating_add(len);
        if self.0.len() > EXPIRY_DAYS_MAX {
            // The two latest days become one.
            let mut latest = self.0.iter().rev().map(|(day, len)| (*day, *len));
            if let (Some((last, behind)), Some((before, len))) = (latest.next(), latest.next()) {
                self.0.remove(&before);
                self.0.insert(last, behind.saturating_add(len));
            }
        }
    }

    /// Removes an object that was added. If its day was counted together with later ones, it is taken from
    /// these.
    pub fn remove(&mut self, object: Expiring) {
        let mut left = object.len;
        for (_, sum) in self.0.range_mut(day_of(object.expires_ns)..) {
            let taken = left.min(*sum);
            *sum -= taken;
            left -= taken;
            if left == 0 {
                break;
            }
        }
        self.0.retain(|_, sum| *sum > 0);
    }

    /// Bytes of the objects whose day of expiry is over at `now` (nanoseconds since 1970).
    pub fn expired_by(&self, now: u64) -> u64 {
        let over = self.0.range(..day_of(now)).map(|(_, len)| *len);
        if chosen(Sabotage::NothingIsExpired) { 0 } else { over.fold(0, u64::saturating_add) }
    }

    /// Memory in use (bytes), approximately. Nodes of the tree are at least half full.
    pub fn memory(&self) -> usize {
        self.0.len() * 2 * size_of::<(u32, u64)>()
    }
}

fn day_of(ns: u64) -> u32 {
    u32::try_from(ns / DAY_NS).expect("a 64-bit time ends after some 213,000 days")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn on(day: u64, len: u64) -> Expiring {
        Expiring { expires_ns: day * DAY_NS + 7, len }
    }

    #[test]
    fn bytes_are_expired_when_their_day_is_over() {
        let mut sums = ExpirySums::default();
        sums.add(on(10, 1000));
        sums.add(on(10, 24));
        sums.add(on(12, 500));
        let by = |sums: &ExpirySums, day: u64| sums.expired_by(day * DAY_NS);
        assert_eq!((by(&sums, 10), by(&sums, 11), by(&sums, 12)), (0, 1024, 1024));
        assert_eq!(sums.expired_by(11 * DAY_NS - 1), 0);
        assert_eq!(sums.expired_by(u64::MAX), 1524);
        sums.remove(on(10, 24));
        assert_eq!(by(&sums, 11), 1000);
        sums.remove(on(10, 1000));
        assert_eq!(sums.days().collect::<Vec<_>>(), [(12, 500)]);
        sums.remove(on(12, 501));
        assert_eq!((sums.days().len(), sums.memory()), (0, 0), "what was not added is ignored");
        sums.add(Expiring { expires_ns: u64::MAX, len: 1 });
        assert_eq!(sums.days().next(), Some((213_503, 1)));
    }

    #[test]
    fn each_byte_that_a_day_does_not_have_is_taken_from_later_ones() {
        for missing in [0, 1, 2, 10] {
            let mut sums = ExpirySums::default();
            sums.add(on(10, 5));
            sums.add(on(11, 20));
            sums.remove(on(10, 5 + missing));
            assert_eq!(sums.days().collect::<Vec<_>>(), [(11, 20 - missing)]);
        }
    }

    #[test]
    fn far_days_are_counted_together() {
        let mut sums = ExpirySums::default();
        let days = EXPIRY_DAYS_MAX as u64;
        (0..days + 5).for_each(|day| sums.add(on(day, 10)));
        assert_eq!(sums.days().len(), EXPIRY_DAYS_MAX);
        assert!(sums.memory() >= EXPIRY_DAYS_MAX * size_of::<(u32, u64)>());
        assert_eq!(sums.days().last(), Some((u32::try_from(days + 4).unwrap(), 60)));
        assert_eq!(sums.expired_by((days - 1) * DAY_NS), (days - 1) * 10);
        sums.remove(on(days, 10));
        assert_eq!(sums.days().last().unwrap().1, 50);
        (0..days + 5).filter(|day| *day != days).for_each(|day| sums.remove(on(day, 10)));
        assert_eq!(sums, ExpirySums::default());
    }

    proptest! {
        /// The sum of all days is exact, and nothing counts as expired too early.
        #[test]
        fn nothing_expires_too_early(days in prop::collection::vec((0_u64..2000, 1_u64..1000), 0..900)) {
            let mut sums = ExpirySums::default();
            days.iter().for_each(|(day, len)| sums.add(on(*day, *len)));
            let total = |until: u64| -> u64 {
                days.iter().filter(|(day, _)| *day < until).map(|(_, len)| *len).sum()
            };
            prop_assert_eq!(sums.expired_by(u64::MAX), total(u64::MAX));
            for day in [0, 100, 1000, 1999, 2000] {
                prop_assert!(sums.expired_by(day * DAY_NS) <= total(day));
            }
            let saved: Vec<_> = sums.days().collect();
            prop_assert_eq!(ExpirySums::restored(saved), sums);
        }
    }
}
