//! Buckets of which the objects are listed.

use crate::base::buckets::Buckets;
use crate::base::types::NeedleId;

/// Largest number of buckets that can be named.
pub(super) const BUCKETS_NAMED_MAX: usize = 64;

/// Some of a number of buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketFilter {
    buckets: Buckets,
    named: Vec<u32>,
}

impl BucketFilter {
    /// These of `buckets`. `None` if one of them does not exist, or if they are none or too many.
    pub(super) fn new(buckets: Buckets, named: Vec<u32>) -> Option<Self> {
        let exist = named.iter().all(|bucket| *bucket < buckets.count());
        (exist && (1..=BUCKETS_NAMED_MAX).contains(&named.len())).then_some(Self { buckets, named })
    }

    /// Whether an object is in one of them.
    pub(super) fn has(&self, id: NeedleId) -> bool {
        self.named.contains(&self.buckets.of(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_has_the_objects_of_the_named_buckets() {
        let buckets = Buckets::new(4).unwrap();
        let filter = |named: &[u32]| BucketFilter::new(buckets, named.to_vec());
        let some = filter(&[1, 3]).unwrap();
        for key in 0..100 {
            let id = NeedleId::new(key, 0);
            assert_eq!(some.has(id), [1, 3].contains(&buckets.of(id)));
        }
        assert_eq!(filter(&[]), None);
        assert_eq!(filter(&[4]), None);
        assert!(filter(&[0; BUCKETS_NAMED_MAX]).is_some());
        assert_eq!(filter(&[0; BUCKETS_NAMED_MAX + 1]), None);
    }
}
