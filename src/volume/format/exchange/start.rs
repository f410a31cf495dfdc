//! The first bytes of a stream.

use super::bad_exchange::BadExchange;
use crate::base::types::VolumeId;
use crate::volume::format::checksum::checksum;
use crate::volume::format::field::{Decoder, Encoder};
use crate::volume::format::rising::RISING_MAX;

const MAGIC: [u8; 8] = *b"HAYLXCHG";
const VERSION: u32 = 1;
const FLAG_DELETIONS: u32 = 1;
/// Seed of the checksum: nothing is known of the stream before.
const SEED: u64 = 0x4841_594c_5843_4847;
/// Length of the start (bytes).
pub const EXCHANGE_START_LEN: usize = 64;
const CHECKSUM_AT: usize = EXCHANGE_START_LEN - 8;

/// The start of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeStart {
    /// Number of the volume.
    pub volume: VolumeId,
    /// Random number of this stream: it is the seed of the checksums of its records.
    pub stream: u64,
    /// Incarnation of the file of the volume when the stream began.
    pub incarnation: u64,
    /// Position after which the stream begins: a version; 0 for the start of the log.
    pub since: u64,
    /// [Lineage](crate::volume::format::Superblock::lineage) of the volume: its positions mean nothing to
    /// others.
    pub lineage: u64,
    /// Whether it has deletions.
    pub deletions: bool,
}

impl ExchangeStart {
    /// Encodes the start.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it.
    #[must_use]
    pub fn encode(&self) -> [u8; EXCHANGE_START_LEN] {
        assert!(self.since < RISING_MAX, "no reader accepts {self:?}");
        let mut bytes = [0; EXCHANGE_START_LEN];
        let flags = if self.deletions { FLAG_DELETIONS } else { 0 };
        let sum = {
            let mut out = Encoder::new(&mut bytes[..CHECKSUM_AT]);
            out.bytes(&MAGIC).u32(VERSION).u32(flags).u32(self.volume.0).u32(0);
            out.u64(self.stream).u64(self.incarnation).u64(self.since).u64(self.lineage);
            out.zeros_to(CHECKSUM_AT);
            checksum(out.written(), SEED)
        };
        Encoder::new(&mut bytes[CHECKSUM_AT..]).u64(sum);
        bytes
    }

    /// Decodes the start.
    ///
    /// # Errors
    /// See [`BadExchange`].
    pub fn decode(bytes: &[u8; EXCHANGE_START_LEN]) -> Result<Self, BadExchange> {
        if bytes[..8] != MAGIC {
            return Err(BadExchange::Magic);
        }
        let mut input = Decoder::new(&bytes[8..]);
        let version = input.u32();
        if version != VERSION {
            return Err(BadExchange::Version(version));
        }
        if checksum(&bytes[..CHECKSUM_AT], SEED) != Decoder::new(&bytes[CHECKSUM_AT..]).u64() {
            return Err(BadExchange::Checksum);
        }
        let flags = input.u32();
        let volume = VolumeId(input.u32());
        let reserved = input.u32();
        let (stream, incarnation, since) = (input.u64(), input.u64(), input.u64());
        let lineage = input.u64();
        if flags & !FLAG_DELETIONS != 0 || reserved != 0 || since >= RISING_MAX {
            return Err(BadExchange::Impossible);
        }
        let deletions = flags == FLAG_DELETIONS;
        Ok(Self { volume, stream, incarnation, since, lineage, deletions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_read_back_and_every_flipped_bit_is_noticed() {
        let start = ExchangeStart {
            volume: VolumeId(7),
            stream: 99,
            incarnation: 1 << 60,
            since: 41,
            lineage: 5,
            deletions: true,
        };
        let bytes = start.encode();
        assert_eq!(ExchangeStart::decode(&bytes), Ok(start));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(ExchangeStart::decode(&other).is_err(), "bit {bit}");
        }
    }
}
