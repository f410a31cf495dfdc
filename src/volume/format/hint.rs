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

    /// The hint as it stands in its block; the rest of the block is zero.
    ///
    /// # Panics
    /// When `block` is shorter than 4096 bytes.
    pub fn encode(&self, incarnation: u64, block: &mut [u8]) {
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
        let rising = hint.number.max(hint.sequence).max(hint.version) < RISING_MAX;
        let fits = (LOG_START..=log_end).contains(&hint.tail) && hint.tail.is_multiple_of(BLOCK);
        let fits = fits && rising;
        (fits && hint.offset() == offset).then_some(hint)
    }
}

const _: () = assert!(LEN as u64 == UNIT);
