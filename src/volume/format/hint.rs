//! Tail hints: two alternating witnesses of how far the log was durable. The log never ends before
//! a valid one.

use super::field::{Decoder, Encoder};
use super::{RISING_MAX, checksum, seed};
use crate::limits::{BLOCK, LOG_START, UNIT};

const MAGIC: [u8; 8] = *b"HAYLHINT";
const LEN: usize = 512;
const CHECKSUM_AT: usize = LEN - 8;

/// Where the two hints stand.
pub const HINT_OFFSETS: [u64; 2] = [2 * BLOCK, 3 * BLOCK];

/// One hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailHint {
    /// Rises by one with every hint; hint n stands at `HINT_OFFSETS[n % 2]`.
    pub number: u64,
    /// Epoch of the process that wrote it.
    pub epoch: u64,
    /// The log is durable up to here (bytes).
    pub tail: u64,
    /// Sequence of the last commit before `tail`.
    pub sequence: u64,
    /// Checksum of that commit's record.
    pub record_checksum: u64,
    /// Highest version given to a needle so far.
    pub version: u64,
    /// Written at a clean close: nothing follows.
    pub clean: bool,
}

impl TailHint {
    /// Where this hint stands.
    #[must_use]
    pub fn offset(&self) -> u64 {
        HINT_OFFSETS[usize::from(self.number % 2 == 1)]
    }

    /// The hint as it stands in its block, for a log that must end at `log_end`; the rest of the block
    /// is zero.
    ///
    /// # Panics
    /// When [`Self::decode`] would refuse the hint. When `block` is shorter than 4096 bytes.
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

    /// Reads the hint at `offset`; nothing when there is no valid one that fits a log ending at
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

    /// What both sides demand of a hint for a log that must end at `log_end`.
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

    proptest! {
        #[test]
        fn a_hint_is_encoded_exactly_when_it_would_be_decoded(
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
