//! The bytes of a volume file. `docs/FORMAT.md` specifies them byte by byte; the golden images in
//! `tests/golden/` fix the format.
//!
//! Pure functions over slices: nothing here reads a file, a clock or a random source. Decoding never
//! panics, whatever the bytes are.

mod checkpoint;
mod commit;
mod field;
mod hint;
mod manifest;
mod needle;
mod superblock;

pub use checkpoint::{
    CheckpointFooter, CheckpointHeader, DAMAGE_MAX, DamageRecord, LAYOUT_NUMBERS, LogPlace,
    PAIRS_MAX, PAYLOAD_AT, PAYLOAD_MAX, PIECE_MAX, Piece, PieceKind, SegmentRecord, chain,
    decode_damage, decode_pairs, encode_damage, encode_pairs, encode_segment, open_piece,
    piece_len, seal_piece, segment_len,
};
pub use commit::{COMMIT_RECORD_LEN, CommitRecord, KEPT_BYTES, Kept, Seal};
pub use hint::{HINT_OFFSETS, TailHint};
pub use manifest::{Manifest, PartEntry, encode_manifest, manifest_len};
pub use needle::{
    Attribute, FOOTER_LEN, Footer, HEADER_LEN, Kind, Layout, NeedleHeader, Unreadable,
    attribute_bytes, attributes, decode_header, encode_chunk_table, encode_data_needle,
    encode_tombstone, footer_at, put_chunk_table, verify_data, verify_meta, verify_range,
};
pub use superblock::{
    FORMAT_VERSION, Superblock, SuperblockError, VolumeState, superblock_offsets,
};

use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::sabotage::{Sabotage, chosen};

/// Upper bound (exclusive) of sequences, versions, and the numbers of hints and superblock revisions, so
/// that each always has a successor. Part of the format.
pub const RISING_MAX: u64 = 1 << 63;

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
mod agreement;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    proptest! {
        #[test]
        fn both_implementations_agree(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            repeat in 1_usize..20,
        ) {
            let bytes = bytes.repeat(repeat);
            prop_assert_eq!(data_checksum(&bytes), xxh3_64(&bytes));
        }
    }
}
