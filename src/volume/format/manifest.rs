//! The data of a manifest: the locations of the parts of a multipart object, and the checksum of each of
//! their chunks, so that any range can be read and verified without the headers of the parts.

use super::field::{Decoder, Encoder};
use crate::base::limits::{CHUNK, NEEDLE_DATA_MAX, UNIT};

const COUNTS_LEN: usize = 8;
const ENTRY_LEN: usize = 16;
const SUM_LEN: usize = 8;

/// Location of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// Offset of the part's header in the volume file (bytes).
    pub offset: u64,
    /// Length of the part's data (bytes); from 1 byte to 1 MiB.
    pub len: u32,
}

impl PartEntry {
    /// Number of chunks of the data.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.len.div_ceil(u32::try_from(CHUNK).expect("64 KiB")) as usize
    }
}

/// Length of the data of a manifest for this number of parts, and of chunks in all of them (bytes).
#[must_use]
pub fn manifest_len(parts: usize, chunks: usize) -> usize {
    COUNTS_LEN + parts * ENTRY_LEN + chunks * SUM_LEN
}

/// Encodes the data of a manifest for a body of `body_len` bytes in a log that ends at `log_end` at the
/// latest. `sums` are the checksums of the chunks of the parts, in order.
///
/// # Panics
/// If a reader would refuse it (see [`Manifest::decode`] and [`Manifest::is_sound`]), for instance
/// because `out` is not exactly as long as [`manifest_len`] says.
pub fn encode_manifest(
    parts: &[PartEntry],
    sums: &[u64],
    body_len: u64,
    log_end: u64,
    out: &mut [u8],
) {
    put_manifest(parts, sums, out);
    let is_sound = Manifest::decode(out).is_some_and(|written| written.is_sound(body_len, log_end));
    assert!(is_sound, "no reader accepts {parts:?} for {body_len} bytes before byte {log_end}");
}

fn put_manifest(parts: &[PartEntry], sums: &[u64], out: &mut [u8]) {
    let count = |len: usize| u32::try_from(len).expect("a manifest is at most 1 MiB long");
    let mut fields = Encoder::new(out);
    fields.u32(count(parts.len())).u32(count(sums.len()));
    for part in parts {
        fields.u64(part.offset).u32(part.len).u32(0);
    }
    for sum in sums {
        fields.u64(*sum);
    }
}

/// The data of a manifest, already verified by its chunk table.
#[derive(Clone, Copy)]
pub struct Manifest<'a> {
    parts: &'a [u8],
    sums: &'a [u8],
}

impl<'a> Manifest<'a> {
    /// Decodes the data of a manifest. Returns `None` when the lengths in it do not agree.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < COUNTS_LEN {
            return None;
        }
        let mut input = Decoder::new(bytes);
        let (parts, chunks) = (input.u32() as usize, input.u32() as usize);
        if parts == 0 || bytes.len() != manifest_len(parts, chunks) {
            return None;
        }
        let (parts, sums) = bytes[COUNTS_LEN..].split_at(parts * ENTRY_LEN);
        Some(Self { parts, sums })
    }

    /// Returns whether the parts are well-formed, begin before `before` (bytes) and add up to a body of
    /// `body_len` bytes.
    #[must_use]
    pub fn is_sound(&self, body_len: u64, before: u64) -> bool {
        let (mut len, mut chunks) = (0, 0);
        for n in 0..self.len() {
            let part = self.part(n);
            let fits = (1..=NEEDLE_DATA_MAX).contains(&u64::from(part.len))
                && part.offset.is_multiple_of(UNIT)
                && part.offset < before;
            if !fits {
                return false;
            }
            len += u64::from(part.len);
            chunks += part.chunks();
        }
        len == body_len && chunks * SUM_LEN == self.sums.len()
    }

    /// Number of parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len() / ENTRY_LEN
    }

    /// Never true: a manifest has at least one part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns part number `n`, from 0.
    ///
    /// # Panics
    /// If there is no such part.
    #[must_use]
    pub fn part(&self, n: usize) -> PartEntry {
        let mut input = Decoder::new(&self.parts[n * ENTRY_LEN..]);
        PartEntry { offset: input.u64(), len: input.u32() }
    }

    /// Returns the checksum of chunk number `n`, from 0, counted over all parts.
    ///
    /// # Panics
    /// If there is no such chunk.
    #[must_use]
    pub fn sum(&self, n: usize) -> u64 {
        Decoder::new(&self.sums[n * SUM_LEN..]).u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::format::agreement::accepts;
    use proptest::prelude::*;

    #[test]
    fn manifest_is_decoded_to_the_same_parts_and_checksums() {
        let parts = [
            PartEntry { offset: 65_536, len: 1 << 20 },
            PartEntry { offset: 1 << 30, len: 65_537 },
            PartEntry { offset: 512, len: 1 },
        ];
        let chunks = parts.iter().map(PartEntry::chunks).sum();
        assert_eq!(chunks, 16 + 2 + 1);
        let sums: Vec<u64> = (0..chunks as u64).map(|n| n * 3).collect();
        let mut bytes = vec![0xee; manifest_len(parts.len(), chunks)];
        let body_len = (1 << 20) + 65_537 + 1;
        encode_manifest(&parts, &sums, body_len, 1 << 31, &mut bytes);
        let manifest = Manifest::decode(&bytes).unwrap();
        assert_eq!((0..3).map(|n| manifest.part(n)).collect::<Vec<_>>(), parts);
        assert_eq!((0..chunks).map(|n| manifest.sum(n)).collect::<Vec<_>>(), sums);
        assert!(manifest.is_sound(body_len, 1 << 31));
        assert!(!manifest.is_sound(body_len + 1, 1 << 31), "another length");
        assert!(!manifest.is_sound(body_len, 1 << 30), "a part behind its manifest");
    }

    #[test]
    fn manifest_with_an_invalid_part_is_not_sound() {
        let sound = PartEntry { offset: 65_536, len: 10 };
        for part in [
            PartEntry { len: 0, ..sound },
            PartEntry { len: (1 << 20) + 1, ..sound },
            PartEntry { offset: 65_537, ..sound },
        ] {
            let mut bytes = vec![0; manifest_len(1, part.chunks())];
            put_manifest(&[part], &vec![0; part.chunks()], &mut bytes);
            let manifest = Manifest::decode(&bytes).unwrap();
            assert!(!manifest.is_sound(u64::from(part.len), u64::MAX), "{part:?}");
        }
    }

    proptest! {
        #[test]
        fn manifest_is_encoded_exactly_if_it_would_be_sound(
            parts in prop::collection::vec((0u64..4, 0u32..3, 0u32..3), 0..4),
            (one_sum_more, one_byte_more) in (any::<bool>(), any::<bool>()),
            (longer, log_end) in (0u64..2, 1000u64..2000),
        ) {
            let lens = [0, 1 << 20, (1 << 20) + 1];
            let parts: Vec<PartEntry> = parts
                .iter()
                .map(|(at, off, len)| PartEntry {
                    offset: at * UNIT + u64::from(*off / 2),
                    len: lens[*len as usize].max(1) - u32::from(*len == 0 && *off == 0),
                })
                .collect();
            let body_len = parts.iter().map(|part| u64::from(part.len)).sum::<u64>() + longer;
            let chunks: usize = parts.iter().map(PartEntry::chunks).sum();
            let sums = vec![9; chunks + usize::from(one_sum_more)];
            let len = manifest_len(parts.len(), sums.len()) + usize::from(one_byte_more);
            let mut bytes = vec![0; len];
            put_manifest(&parts, &sums, &mut bytes);
            let is_sound = Manifest::decode(&bytes)
                .is_some_and(|manifest| manifest.is_sound(body_len, log_end));
            let mut again = vec![0; len];
            let accepted = accepts(|| encode_manifest(&parts, &sums, body_len, log_end, &mut again));
            prop_assert_eq!(accepted, is_sound);
        }

        #[test]
        fn decoding_any_bytes_never_panics(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            parts in 0u8..5,
        ) {
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&[parts, 0, 0, 0, 1, 0, 0, 0]);
            }
            if let Some(manifest) = Manifest::decode(&bytes) {
                let _ = manifest.is_sound(10, 100_000);
            }
        }
    }
}
