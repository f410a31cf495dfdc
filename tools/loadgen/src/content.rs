//! Content of objects: a stamp that identifies the object and version, then a cyclic pseudo-random pool from
//! an offset that follows from both. Any part of any object can be generated and verified from its name
//! alone.

use crate::object::Object;
use crate::random::{Random, mix};

/// Length of the pool (bytes). A prime, so that no unit of storage (512 B to 1 MiB) is a multiple of it:
/// swapped units within a large object are detected.
const PERIOD: usize = 262_147;
/// Maximum length generated or compared in one step (bytes).
pub const PIECE: usize = 64 << 10;
/// Length of the stamp (bytes): key, version and size, 8 bytes each, little-endian.
pub const STAMP: usize = 24;

/// The content of one version of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    stamp: [u8; STAMP],
    offset: usize,
}

/// Pseudo-random pool that contents are taken from.
pub struct Content(Vec<u8>);

impl Content {
    /// Generates the pool, which does not depend on the seed of a load.
    #[must_use]
    pub fn new() -> Self {
        let mut random = Random::new(0, 0);
        let words = PERIOD.div_ceil(8);
        let mut pool: Vec<u8> = (0..words).flat_map(|_| random.next().to_le_bytes()).collect();
        pool.truncate(PERIOD);
        // Makes any range of up to PIECE bytes contiguous.
        pool.extend_from_within(..PIECE);
        Self(pool)
    }

    /// Content of version `version` of `object`. By convention version 0 is that of a fill; others are the
    /// time of the write (nanoseconds since 1970).
    #[must_use]
    pub fn source(&self, object: &Object, version: u64) -> Source {
        let mut stamp = [0; STAMP];
        stamp[..8].copy_from_slice(&object.unique.to_le_bytes());
        stamp[8..16].copy_from_slice(&version.to_le_bytes());
        stamp[16..].copy_from_slice(&object.size.to_le_bytes());
        let draw = mix(object.unique ^ mix(version)) % PERIOD as u64;
        Source { stamp, offset: usize::try_from(draw).expect("below the length of the pool") }
    }

    /// Version in the stamp at the beginning of an object; `None` if it is too short.
    #[must_use]
    pub fn version_in(begin: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(begin.get(8..16)?.try_into().expect("8 bytes")))
    }

    fn pooled(&self, source: &Source, position: u64, len: usize) -> &[u8] {
        let position =
            usize::try_from(position % PERIOD as u64).expect("below the length of the pool");
        let start = (source.offset + position) % PERIOD;
        &self.0[start..start + len]
    }

    /// Writes the content from `position` on to `out`, which has at most [`PIECE`] bytes.
    pub fn write(&self, source: &Source, position: u64, out: &mut [u8]) {
        out.copy_from_slice(self.pooled(source, position, out.len()));
        if let Some(stamp) = stamp_from(source, position) {
            let len = stamp.len().min(out.len());
            out[..len].copy_from_slice(&stamp[..len]);
        }
    }

    /// Whether `bytes`, of any length, equal the content from `position` on.
    #[must_use]
    pub fn matches(&self, source: &Source, position: u64, bytes: &[u8]) -> bool {
        let mut at = position;
        bytes.chunks(PIECE).all(|piece| {
            let start = at;
            at += piece.len() as u64;
            let stamp = stamp_from(source, start).unwrap_or_default();
            let stamped = stamp.len().min(piece.len());
            piece[..stamped] == stamp[..stamped]
                && piece[stamped..] == self.pooled(source, start, piece.len())[stamped..]
        })
    }
}

/// Bytes of the stamp from `position` on, if it reaches that far.
fn stamp_from(source: &Source, position: u64) -> Option<&[u8]> {
    source.stamp.get(usize::try_from(position).ok()?..)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::object::{Keys, Objects};
    use crate::sizes::Sizes;

    fn object(index: u64, size: u64) -> Object {
        let sizes = Sizes::Fixed(size);
        Objects { seed: 1, keys: Keys::Random, alts: 1, volumes: vec![1], sizes }.get(index)
    }

    fn whole(content: &Content, source: &Source, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (n, piece) in bytes.chunks_mut(PIECE).enumerate() {
            content.write(source, (n * PIECE) as u64, piece);
        }
        bytes
    }

    #[test]
    fn the_pool_length_is_prime() {
        assert!((2..=512).all(|divisor| !PERIOD.is_multiple_of(divisor)));
        const { assert!(PERIOD < 513 * 513) };
    }

    #[test]
    fn content_differs_by_object_version_size_and_position() {
        let content = Content::new();
        let size = 3 << 20;
        let (one, other) = (object(1, size), object(2, size));
        let source = content.source(&one, 0);
        let bytes = whole(&content, &source, usize::try_from(size).unwrap());
        assert!(content.matches(&source, 0, &bytes));
        assert_eq!(Content::version_in(&bytes), Some(0));
        assert!(!content.matches(&content.source(&other, 0), 0, &bytes));
        assert!(!content.matches(&content.source(&one, 1), 0, &bytes));
        assert!(!content.matches(&content.source(&object(1, size + 1), 0), 0, &bytes));
        for unit in [512, 4096, 65_536, 1 << 20] {
            let piece = &bytes[unit..2 * unit];
            assert!(content.matches(&source, unit as u64, piece));
            assert!(!content.matches(&source, 2 * unit as u64, piece), "{unit}");
        }
    }

    proptest! {
        #[test]
        fn any_range_equals_that_of_the_whole(
            start in 0_usize..600_000,
            len in 0_usize..PIECE,
            flip: usize,
        ) {
            static POOL: LazyLock<Content> = LazyLock::new(Content::new);
            static BYTES: LazyLock<Vec<u8>> =
                LazyLock::new(|| whole(&POOL, &POOL.source(&object(3, 700_000), 9), 700_000));
            let (content, bytes) = (&*POOL, &*BYTES);
            let source = content.source(&object(3, 700_000), 9);
            let mut piece = vec![0; len];
            content.write(&source, start as u64, &mut piece);
            prop_assert_eq!(&piece, &bytes[start..start + len]);
            prop_assert!(content.matches(&source, start as u64, &piece));
            if len > 0 {
                piece[flip % len] ^= 1;
                prop_assert!(!content.matches(&source, start as u64, &piece));
            }
        }
    }
}
