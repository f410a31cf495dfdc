//! Buckets of objects: two copies of a volume are compared bucket by bucket.

use super::types::NeedleId;

/// A number of buckets, by which objects are divided: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets(u32);

impl Buckets {
    /// Largest number of buckets.
    pub const MAX: u32 = 1 << 16;
    /// The number of buckets where none is asked for.
    pub const DEFAULT: Self = Self(4096);

    /// This number of buckets; `None` if it is no power of two, or is too large.
    #[must_use]
    pub fn new(count: u64) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        (count.is_power_of_two() && count <= Self::MAX).then_some(Self(count))
    }

    /// Returns the number of buckets.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }

    /// Returns the bucket of an object, from 0. `docs/FORMAT.md` defines it: clients rely on it.
    #[must_use]
    pub fn of(self, id: NeedleId) -> u32 {
        let mut hash = id.key.0 ^ u64::from(id.alt.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        u32::try_from(hash & u64::from(self.0 - 1)).expect("less than the number of buckets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_buckets_is_a_power_of_two_up_to_65536() {
        for count in [1, 2, 4096, 65_536] {
            assert_eq!(u64::from(Buckets::new(count).unwrap().count()), count);
        }
        for bad in [0, 3, 4095, 131_072, 1 << 32, (1 << 32) + 1, u64::MAX] {
            assert_eq!(Buckets::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn bucket_of_an_object_is_fixed() {
        let of = |key, alt| Buckets::DEFAULT.of(NeedleId::new(key, alt));
        assert_eq!(
            [of(0, 0), of(1, 0), of(0, 1), of(7, 2), of(u64::MAX, u32::MAX)],
            [0, 1509, 3503, 2441, 3594]
        );
    }

    #[test]
    fn objects_are_spread_over_all_buckets_and_one_bucket_has_all() {
        let mut counts = [0; 256];
        let buckets = Buckets::new(256).unwrap();
        for key in 0..6400_u64 {
            for alt in 0..4 {
                counts[buckets.of(NeedleId::new(key, alt)) as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (50..170).contains(count)), "{counts:?}");
        assert_eq!(Buckets::new(1).unwrap().of(NeedleId::new(9, 9)), 0);
    }
}
