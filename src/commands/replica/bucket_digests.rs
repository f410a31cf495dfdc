//! The digests of the buckets of a volume, as a daemon answers them.

use serde::Deserialize;

/// The objects of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct BucketDigest {
    /// Number of objects.
    objects: u64,
    /// Sum of their digests, as hexadecimal digits.
    sum: String,
}

/// The digests of the buckets of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct BucketDigests {
    /// Position up to which everything is in them.
    pub(super) position: String,
    /// Number of objects.
    pub(super) objects: u64,
    /// Number of those that cannot be read.
    pub(super) damaged: u64,
    pub(super) buckets: Vec<BucketDigest>,
    /// Last field of the answer; always true.
    pub(super) end: bool,
}

impl BucketDigests {
    /// Returns the numbers of the buckets that differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<u32> {
        let pairs = self.buckets.iter().zip(&other.buckets);
        let numbered = (0u32..).zip(pairs);
        numbered.filter(|(_, (one, other))| one != other).map(|(number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_that_differ_in_number_or_sum_are_found() {
        let digests = |sums: [(u64, &str); 3]| BucketDigests {
            position: "1".to_owned(),
            objects: 0,
            damaged: 0,
            buckets: sums
                .map(|(objects, sum)| BucketDigest { objects, sum: sum.to_owned() })
                .into(),
            end: true,
        };
        let one = digests([(1, "a"), (2, "b"), (3, "c")]);
        assert!(one.differing(&one).is_empty());
        assert_eq!(one.differing(&digests([(1, "a"), (3, "b"), (3, "d")])), [1, 2]);
    }
}
