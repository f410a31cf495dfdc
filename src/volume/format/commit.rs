//! The commit record: the first unit of every commit. Records form a chain from the start of the log. A
//! record that does not chain is stale or damaged.

use super::checksum::{checksum, seed};
use super::field::{Decoder, Encoder};
use super::rising::RISING_MAX;
use crate::base::limits::{BLOCK, COMMIT_LEN_MAX, COMMIT_NEEDLES_MAX, LOG_START, UNIT};

const MAGIC: [u8; 8] = *b"HAYLCMMT";
/// Length of the record on disk (bytes).
pub const COMMIT_RECORD_LEN: usize = 512;
const CHECKSUM_AT: usize = COMMIT_RECORD_LEN - 8;
/// Length of the bitmap of kept needles in a seal (bytes).
pub const KEPT_BYTES: usize = 128;
const FLAG_SEAL: u32 = 1;
const FLAG_COPY: u32 = 2;

const _: () = assert!(COMMIT_NEEDLES_MAX <= KEPT_BYTES * 8);

/// Ordinals of the needles of a torn commit that recovery kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(pub [u8; KEPT_BYTES]);

impl Kept {
    /// Keeps no needle.
    #[must_use]
    pub const fn none() -> Self {
        Self([0; KEPT_BYTES])
    }

    /// Keeps the needle with this ordinal. Returns whether the bitmap has a bit for it.
    pub fn keep(&mut self, ordinal: u32) -> bool {
        let byte = self.0.get_mut(ordinal as usize / 8);
        byte.map(|byte| *byte |= 1 << (ordinal % 8)).is_some()
    }

    /// Number of needles kept.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Returns whether the needle with this ordinal was kept.
    #[must_use]
    pub fn contains(&self, ordinal: u32) -> bool {
        self.0.get(ordinal as usize / 8).is_some_and(|byte| byte >> (ordinal % 8) & 1 == 1)
    }
}

/// Decision of recovery about a torn commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Epoch of the torn commit.
    pub epoch: u64,
    /// Needles of it that were kept.
    pub kept: Kept,
}

/// A commit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// Epoch: drawn at random at every opening of the volume.
    pub epoch: u64,
    /// Number of the commit in the volume, from 1.
    pub sequence: u64,
    /// Length of the commit (bytes): record, needles, padding; a multiple of 4096.
    pub len: u64,
    /// Number of needles in the commit.
    pub needles: u32,
    /// Offset up to which the log was durable when this record was written (bytes).
    pub durable_tail: u64,
    /// Checksum of the preceding record; 0 when there is none or it is not known.
    pub previous: u64,
    /// Time of writing (nanoseconds since 1970).
    pub written_ns: u64,
    /// In a seal: the decision of recovery about the torn commit right before it. A seal holds no
    /// needles, and its record is stored twice, in its first two units.
    pub seal: Option<Seal>,
}

impl CommitRecord {
    /// Encodes the record for the commit at `offset` of the file `incarnation`, whose log must not extend
    /// beyond `log_end`. Returns its checksum, which the next record repeats.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse the record there: a commit that was acknowledged with it would be
    /// lost. If `out` is shorter than 512 bytes, or 1024 for a seal.
    pub fn encode(&self, incarnation: u64, offset: u64, log_end: u64, out: &mut [u8]) -> u64 {
        assert!(self.fits(offset, log_end), "no reader accepts {self:?} at byte {offset}");
        self.encode_units(incarnation, offset, out)
    }

    fn encode_units(&self, incarnation: u64, offset: u64, out: &mut [u8]) -> u64 {
        if self.seal.is_some() {
            let copy = &mut out[COMMIT_RECORD_LEN..2 * COMMIT_RECORD_LEN];
            self.encode_unit(FLAG_COPY, seed(incarnation, offset + UNIT), copy);
        }
        self.encode_unit(0, seed(incarnation, offset), out)
    }

    fn encode_unit(&self, flags: u32, seed: u64, out: &mut [u8]) -> u64 {
        let flags = flags | if self.seal.is_some() { FLAG_SEAL } else { 0 };
        let seal = self.seal.unwrap_or(Seal { epoch: 0, kept: Kept::none() });
        let sum = {
            let mut fields = Encoder::new(&mut out[..CHECKSUM_AT]);
            fields.bytes(&MAGIC).u64(self.epoch).u64(self.sequence).u64(self.len);
            fields.u32(self.needles).u32(flags);
            fields.u64(self.durable_tail).u64(self.previous).u64(self.written_ns);
            fields.bytes(&seal.kept.0).u64(seal.epoch).zeros_to(CHECKSUM_AT);
            checksum(fields.written(), seed)
        };
        Encoder::new(&mut out[CHECKSUM_AT..]).u64(sum);
        sum
    }

    /// Decodes the record of the commit at `offset` from its first two units. Also returns its checksum.
    /// Returns `None` when there is no valid record that fits a log ending at `log_end`.
    #[must_use]
    pub fn decode(
        bytes: &[u8],
        incarnation: u64,
        offset: u64,
        log_end: u64,
    ) -> Option<(Self, u64)> {
        let first = Self::decode_unit(bytes, seed(incarnation, offset), 0);
        let found = first.or_else(|| {
            let copy = bytes.get(COMMIT_RECORD_LEN..)?;
            let seed = seed(incarnation, offset + UNIT);
            let (record, _) = Self::decode_unit(copy, seed, FLAG_COPY)?;
            // The next record repeats the checksum of the first copy.
            let mut first = [0; 2 * COMMIT_RECORD_LEN];
            Some((record, record.encode_units(incarnation, offset, &mut first)))
        });
        found.filter(|(record, _)| record.fits(offset, log_end))
    }

    fn decode_unit(bytes: &[u8], seed: u64, copy: u32) -> Option<(Self, u64)> {
        if bytes.len() < COMMIT_RECORD_LEN || bytes[..8] != MAGIC {
            return None;
        }
        let sum = Decoder::new(&bytes[CHECKSUM_AT..]).u64();
        if checksum(&bytes[..CHECKSUM_AT], seed) != sum {
            return None;
        }
        let mut input = Decoder::new(&bytes[8..]);
        let (epoch, sequence, len) = (input.u64(), input.u64(), input.u64());
        let (needles, flags) = (input.u32(), input.u32());
        let (durable_tail, previous, written_ns) = (input.u64(), input.u64(), input.u64());
        let kept = Kept(input.bytes());
        let seal = (flags & FLAG_SEAL != 0).then_some(Seal { epoch: input.u64(), kept });
        if flags & FLAG_COPY != copy {
            return None;
        }
        let record =
            Self { epoch, sequence, len, needles, durable_tail, previous, written_ns, seal };
        Some((record, sum))
    }

    /// Conditions of encoder and decoder for a record at `offset` of a log that ends at `log_end` at the
    /// latest.
    fn fits(&self, offset: u64, log_end: u64) -> bool {
        // After a commit there is always space for its seal.
        let behind = if self.seal.is_some() { 0 } else { BLOCK };
        (BLOCK..=COMMIT_LEN_MAX).contains(&self.len)
            && self.len.is_multiple_of(BLOCK)
            && offset.checked_add(self.len + behind).is_some_and(|end| end <= log_end)
            && (LOG_START..=offset).contains(&self.durable_tail)
            && (1..RISING_MAX).contains(&self.sequence)
            && self.needles as usize <= COMMIT_NEEDLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::volume::format::agreement::{accepts, number};

    #[test]
    fn kept_needles_are_counted() {
        let mut kept = Kept::none();
        assert_eq!(kept.count(), 0);
        assert!([0, 7, 8, 7, 999].into_iter().all(|ordinal| kept.keep(ordinal)));
        assert_eq!(kept.count(), 4, "one of them twice");
        assert!(!kept.keep(8 * KEPT_BYTES as u32) && kept.count() == 4);
        assert!(kept.contains(8) && !kept.contains(9) && !kept.contains(u32::MAX));
    }

    proptest! {
        #[test]
        fn record_is_encoded_exactly_if_it_would_be_decoded(
            (offset, log_end, len) in (number(), number(), number()),
            (sequence, durable_tail, written_ns) in (number(), number(), number()),
            (needles, is_seal) in (998u32..1003, any::<bool>()),
        ) {
            let seal = is_seal.then_some(Seal { epoch: 3, kept: Kept([0x5a; KEPT_BYTES]) });
            let record = CommitRecord {
                epoch: 1, sequence, len, needles, durable_tail, previous: 2, written_ns, seal,
            };
            let offset = offset >> 1;
            let mut out = [0xee; 2 * COMMIT_RECORD_LEN];
            let sum = record.encode_units(7, offset, &mut out);
            let read = CommitRecord::decode(&out, 7, offset, log_end);
            prop_assert!(read.is_none_or(|read| read == (record, sum)));
            let mut again = [0; 2 * COMMIT_RECORD_LEN];
            let accepted = accepts(|| { record.encode(7, offset, log_end, &mut again); });
            prop_assert_eq!(accepted, read.is_some());
        }
    }
}
