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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    proptest! {
        #[test]
        fn data_checksum_agrees_with_the_reference_xxh3(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            repeat in 1_usize..20,
        ) {
            let bytes = bytes.repeat(repeat);
            prop_assert_eq!(data_checksum(&bytes), xxh3_64(&bytes));
        }
    }
}
