//! The digest of a volume: a number of objects and a sum of digests for each bucket.

use serde::{Serialize, Serializer};

use crate::base::buckets::Buckets;
use crate::node::control::{ListedObject, ListedState};

/// The objects of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Bucket {
    /// Number of objects.
    objects: u64,
    /// Sum of their digests, modulo 2^64.
    #[serde(serialize_with = "hex")]
    sum: u64,
}

fn hex<S: Serializer>(sum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{sum:016x}"))
}

/// The digest of a volume, as far as its objects were added, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VolumeDigest {
    by: Buckets,
    /// Number of objects that cannot be read.
    damaged: u64,
    buckets: Vec<Bucket>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Everything up to this version is in the digest. It is text because it has more digits than some
    /// readers of JSON keep of a number.
    position: String,
    /// Number of objects.
    objects: u64,
    /// Number of those that cannot be read.
    damaged: u64,
    buckets: &'a [Bucket],
    /// The last field: the answer is whole.
    end: bool,
}

impl VolumeDigest {
    /// The digest of an empty volume.
    pub(super) fn new(by: Buckets) -> Self {
        let count = usize::try_from(by.count()).expect("at most 65536 buckets");
        Self { by, damaged: 0, buckets: vec![Bucket::default(); count] }
    }

    /// Adds an object. Deletions do not count.
    pub(super) fn add(&mut self, object: &ListedObject) {
        let Some(digest) = object.digest else { return };
        self.damaged += u64::from(object.state == ListedState::Damaged);
        let number = usize::try_from(self.by.of(object.id)).expect("at most 65536 buckets");
        let bucket = &mut self.buckets[number];
        bucket.objects += 1;
        bucket.sum = bucket.sum.wrapping_add(digest);
    }

    /// Returns the digest as a line of JSON.
    pub(super) fn line(&self, position: u64) -> Vec<u8> {
        let answer = Answer {
            position: position.to_string(),
            objects: self.buckets.iter().map(|bucket| bucket.objects).sum(),
            damaged: self.damaged,
            buckets: &self.buckets,
            end: true,
        };
        let mut line =
            serde_json::to_vec(&answer).expect("numbers and strings always serialize to JSON");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;

    fn object(key: u64, digest: Option<u64>) -> ListedObject {
        ListedObject {
            state: ListedState::Live,
            id: NeedleId::new(key, 0),
            version: 1,
            modified_ns: None,
            expires_ns: None,
            size: None,
            content_type: None,
            is_large: false,
            digest,
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let (mut one, mut other) =
            (VolumeDigest::new(Buckets::DEFAULT), VolumeDigest::new(Buckets::DEFAULT));
        for key in 0..10_000 {
            one.add(&object(key, Some(key << 50)));
            other.add(&object(9999 - key, Some((9999 - key) << 50)));
        }
        assert_eq!(one, other);
        other.add(&object(3, None));
        assert_eq!(one, other, "a deletion");
        other.add(&object(3, Some(0)));
        assert_ne!(one, other, "the number of objects counts, too");
    }

    #[test]
    fn line_has_sums_as_text_and_says_that_it_is_whole() {
        let mut digest = VolumeDigest::new(Buckets::new(1).unwrap());
        digest.add(&object(1, Some(u64::MAX)));
        let damaged = ListedObject { state: ListedState::Damaged, ..object(2, Some(16)) };
        digest.add(&damaged);
        assert_eq!(
            String::from_utf8(digest.line(1 << 60)).unwrap(),
            concat!(
                r#"{"position":"1152921504606846976","objects":2,"damaged":1,"#,
                r#""buckets":[{"objects":2,"sum":"000000000000000f"}],"end":true}"#,
                "\n"
            )
        );
    }
}
