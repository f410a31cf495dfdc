//! Checksums of everything in a volume file and in a checkpoint.

use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::sabotage::{Sabotage, chosen};

/// Seed of the checksums of a structure at `offset` of the volume file `incarnation`. Bytes of another
/// file or of another offset never validate.
#[must_use]
pub fn seed(incarnation: u64, offset: u64) -> u64 {
    if chosen(Sabotage::UnboundChecksums) {
        return 0;
    }
    incarnation ^ offset.rotate_left(32)
}

/// Checksum of a body or of a chunk: XXH3-64. For long inputs, an implementation that detects the width
/// of the processor's vectors at run time is faster (`docs/decisions/two-implementations-of-xxh3.md`).
/// Headers and other short inputs use [`checksum`].
#[must_use]
pub fn data_checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Checksum of `bytes` with a seed that binds it to an offset and a file: XXH3-64.
#[must_use]
pub fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Checksum of a body by which a cluster knows it: CRC32C (Castagnoli).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// Continues a [`crc32c()`] with the bytes that follow.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn bit_by_bit(bytes: &[u8]) -> u32 {
        let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
    }

    #[test]
    fn crc32c_has_its_check_value() {
        assert_eq!((crc32c(b"123456789"), crc32c(b"")), (0xe306_9283, 0));
    }

    proptest! {
        #[test]
        fn data_checksum_agrees_with_the_reference_xxh3(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            repeat in 1_usize..20,
        ) {
            let bytes = bytes.repeat(repeat);
            prop_assert_eq!(data_checksum(&bytes), xxh3_64(&bytes));
        }

        #[test]
        fn crc32c_is_that_of_castagnoli_in_any_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            cut in 0_usize..3000,
        ) {
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(crc32c(&bytes), bit_by_bit(&bytes));
            prop_assert_eq!(crc32c_append(crc32c(front), back), crc32c(&bytes));
        }
    }
}
