//! Tail hints: two alternating blocks that record how far the log was durable. They are witnesses: the
//! log never ends before a valid one.

use super::checksum::{checksum, seed};
use super::field::{Decoder, Encoder};
use super::rising::RISING_MAX;
use crate::base::limits::{BLOCK, LOG_START, UNIT};

const MAGIC: [u8; 8] = *b"HAYLHINT";
const LEN: usize = 512;
const CHECKSUM_AT: usize = LEN - 8;

/// Offsets of the two hints in the file (bytes).
pub const HINT_OFFSETS: [u64; 2] = [2 * BLOCK, 3 * BLOCK];

/// A tail hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailHint {
    /// Number of the hint, one higher with every hint; hint n is stored at `HINT_OFFSETS[n % 2]`.
    pub number: u64,
    /// Epoch of the writer.
    pub epoch: u64,
    /// Offset up to which the log is durable (bytes).
    pub tail: u64,
    /// Sequence of the last commit before `tail`; 0 for none.
    pub sequence: u64,
    /// Checksum of that commit's record; 0 for none.
    pub record_checksum: u64,
    /// Highest version given to a needle so far.
    pub version: u64,
    /// Whether it was written at a clean close: nothing follows the tail.
    pub clean: bool,
}

impl TailHint {
    /// Offset of this hint in the file (bytes).
    #[must_use]
    pub fn offset(&self) -> u64 {
        HINT_OFFSETS[usize::from(self.number % 2 == 1)]
    }

    /// Encodes the hint into its block, for a log that ends at `log_end` at the latest. The rest of the
    /// block is set to zero.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse the hint. If `block` is shorter than 4096 bytes.
    pub fn encode(&self, incarnation: u64, log_end: u64, block: &mut [u8]) {
        assert!(self.fits(log_end), "no reader accepts {self:?} in a log that ends at {log_end}");
        self.put(incarnation, block);
    }

    fn put(&self, incarnation: u64, block: &mut [u8]) {
        let sum = {
            let mut out = Encoder::new(&mut block[..CHECKSUM_AT]);
            out.bytes(&MAGIC).u64(self.number).u64(self.epoch).u64(self.tail);
            out.u64(self.sequence).u64(self.record_checksum).u64(self.version);
            out.u32(u32::from(self.clean)).zeros_to(CHECKSUM_AT);
            checksum(out.written(), seed(incarnation, self.offset()))
        };
        Encoder::new(&mut block[CHECKSUM_AT..]).u64(sum);
        block[LEN..BLOCK as usize].fill(0);
    }

    /// Decodes the hint at `offset`. Returns `None` when there is no valid one that fits a log ending at
    /// `log_end`.
    #[must_use]
    pub fn decode(block: &[u8], incarnation: u64, offset: u64, log_end: u64) -> Option<Self> {
        if block.len() < LEN || block[..8] != MAGIC {
            return None;
        }
        let sum = Decoder::new(&block[CHECKSUM_AT..LEN]).u64();
        if checksum(&block[..CHECKSUM_AT], seed(incarnation, offset)) != sum {
            return None;
        }
        let mut input = Decoder::new(&block[8..LEN]);
        let hint = Self {
            number: input.u64(),
            epoch: input.u64(),
            tail: input.u64(),
            sequence: input.u64(),
            record_checksum: input.u64(),
            version: input.u64(),
            clean: input.u32() & 1 == 1,
        };
        (hint.fits(log_end) && hint.offset() == offset).then_some(hint)
    }

    /// Conditions of encoder and decoder for a hint of a log that ends at `log_end` at the latest.
    fn fits(&self, log_end: u64) -> bool {
        (LOG_START..=log_end).contains(&self.tail)
            && self.tail.is_multiple_of(BLOCK)
            && self.number.max(self.sequence).max(self.version) < RISING_MAX
    }
}

const _: () = assert!(LEN as u64 == UNIT);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::volume::format::agreement::{accepts, number};

    #[test]
    fn hint_whose_numbers_are_used_up_is_refused_although_its_checksum_is_right() {
        let most = TailHint {
            number: RISING_MAX - 1,
            epoch: 1,
            tail: LOG_START,
            sequence: RISING_MAX - 1,
            record_checksum: 2,
            version: RISING_MAX - 1,
            clean: false,
        };
        let decoded = |hint: TailHint| {
            let mut block = [0; BLOCK as usize];
            hint.put(7, &mut block);
            TailHint::decode(&block, 7, hint.offset(), LOG_START)
        };
        assert_eq!(decoded(most), Some(most));
        for wrong in [
            TailHint { number: RISING_MAX, ..most },
            TailHint { sequence: RISING_MAX, ..most },
            TailHint { version: RISING_MAX, ..most },
            TailHint { number: RISING_MAX, sequence: 1, version: 1, ..most },
            TailHint { number: 1, sequence: RISING_MAX, version: 1, ..most },
            TailHint { number: 1, sequence: 1, version: RISING_MAX, ..most },
        ] {
            assert_eq!(decoded(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn hint_is_encoded_exactly_if_it_would_be_decoded(
            (number, tail, log_end) in (number(), number(), number()),
            (sequence, version, clean) in (number(), number(), any::<bool>()),
        ) {
            let hint =
                TailHint { number, epoch: 1, tail, sequence, record_checksum: 2, version, clean };
            let mut block = [0xee; BLOCK as usize];
            hint.put(7, &mut block);
            let read = TailHint::decode(&block, 7, hint.offset(), log_end);
            prop_assert!(read.is_none_or(|read| read == hint));
            let mut again = [0; BLOCK as usize];
            prop_assert_eq!(accepts(|| hint.encode(7, log_end, &mut again)), read.is_some());
        }
    }
}
