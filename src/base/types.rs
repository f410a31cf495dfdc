//! Newtypes of the store's identifiers, so that they cannot be confused with each other or plain numbers.
//!
//! JSON has them as plain numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::SHARDS_MAX;

/// Number of a shard, from 0, below [`SHARDS_MAX`]: its position in every list that has one entry per shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard at this position.
    ///
    /// # Panics
    /// If the position is not below [`SHARDS_MAX`].
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        assert!(
            index < SHARDS_MAX,
            "shard {index} cannot exist: there are at most {SHARDS_MAX} shards"
        );
        Self(u16::try_from(index).expect("SHARDS_MAX fits u16: checked in limits"))
    }

    /// The numbers of `count` shards, ascending.
    pub fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(Self::from_index)
    }

    /// The position in lists that have one entry per shard.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl From<ShardId> for u16 {
    fn from(shard: ShardId) -> Self {
        shard.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Volume id, as in URLs and file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub u32);

/// 64-bit photo id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeedleKey(pub u64);

/// 32-bit supplemental id: the size variant of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlternateKey(pub u32);

/// Identity of a needle inside a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeedleId {
    /// Photo id.
    pub key: NeedleKey,
    /// Size variant.
    pub alt: AlternateKey,
}

impl NeedleId {
    /// The needle of photo `key` in the size variant `alt`.
    #[must_use]
    pub const fn new(key: u64, alt: u32) -> Self {
        Self { key: NeedleKey(key), alt: AlternateKey(alt) }
    }
}

impl fmt::Display for NeedleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.0, self.alt.0)
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random number in a URL that prevents guessing of photo URLs. It is a secret like a password for one
/// needle: `Debug` shows only its first digits, and a comparison takes the same time for every value.
#[derive(Clone, Copy)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Compares two cookies in constant time.
    #[must_use]
    pub fn matches(self, other: Self) -> bool {
        std::hint::black_box(self.0 ^ other.0) == 0
    }
}

impl PartialEq for Cookie {
    fn eq(&self, other: &Self) -> bool {
        self.matches(*other)
    }
}

impl Eq for Cookie {}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({:04x}..)", self.0 >> 48)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_id_is_its_position_below_the_maximum() {
        let ids: Vec<_> = ShardId::all(SHARDS_MAX).collect();
        assert_eq!(ids.len(), SHARDS_MAX);
        assert!(ids.iter().enumerate().all(|(index, id)| id.index() == index));
        assert_eq!(ids[7].to_string(), "7");
        assert_eq!(serde_json::to_string(&ids[7]).unwrap(), "7");
    }

    #[test]
    #[should_panic(expected = "shard 1024 cannot exist: there are at most 1024 shards")]
    fn shard_id_beyond_the_maximum_panics() {
        let _ = ShardId::from_index(SHARDS_MAX);
    }

    #[test]
    fn debug_output_of_a_cookie_is_truncated() {
        let text = format!("{:?}", Cookie(0x0123_4567_89ab_cdef));
        assert_eq!(text, "Cookie(0123..)");
    }

    #[test]
    fn cookies_that_differ_in_one_bit_do_not_match() {
        assert!(Cookie(7).matches(Cookie(7)));
        for bit in 0..64 {
            assert!(!Cookie(7).matches(Cookie(7 ^ (1 << bit))));
        }
    }
}
