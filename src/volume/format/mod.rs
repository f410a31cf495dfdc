//! The bytes of a volume file. `docs/FORMAT.md` specifies them byte by byte; the golden images in
//! `tests/golden/` fix the format.
//!
//! Pure functions over slices: nothing here reads a file, a clock or a random source. Decoding never
//! panics, whatever the bytes are.
//!
//! - `superblock`, `hint`: the blocks before the log; `replica`: whose copy the volume is; `cluster`: what
//!   its cluster says about it. `commit`, `needle`: the log. `manifest`: the data of a needle that names the
//!   parts of a multipart object.
//! - `checkpoint`: the file beside a volume file.
//! - `exchange`: the records of a volume as a stream of bytes, for copies.
//! - `field`: integers as bytes. `checksum`, `rising`: what all structures have in common.
//! - `agreement`: test code that compares encoders with decoders.

#[cfg(test)]
mod agreement;
mod checkpoint;
mod checksum;
mod cluster;
mod commit;
mod exchange;
mod field;
mod hint;
mod manifest;
mod needle;
mod replica;
mod rising;
mod superblock;

pub use checkpoint::{
    CheckpointFooter, CheckpointHeader, CheckpointPiece, CheckpointProperty, DAMAGE_PER_PIECE,
    DamageRecord, DamagedPart, EXPIRY_DAYS_MAX, LAYOUT_NUMBERS, LogPosition, PAIRS_PER_PIECE,
    PAYLOAD_AT, PAYLOAD_LEN_MAX, PIECE_LEN_MAX, PieceKind, SegmentRecord, UNNAMED_PER_ENTRY,
    UnnamedRecord, chain, decode_damage, decode_pairs, decode_piece, decode_properties,
    encode_damage, encode_pairs, encode_segment, finish_piece, other_checkpoint_version, piece_len,
    segment_len,
};
pub use checksum::{checksum, crc32c, crc32c_append, data_checksum, seed};
pub use cluster::{ClusterProperties, ClusterSettings};
pub use commit::{COMMIT_RECORD_LEN, CommitRecord, KEPT_BYTES, Kept, Seal};
pub use exchange::{
    BadExchange, DigestedObject, EXCHANGE_START_LEN, ExchangeKind, ExchangeSequence, ExchangeStart,
    RECORD_HEAD_LEN, RecordHead, damaged_digest,
};
pub use hint::{HINT_OFFSETS, TailHint};
pub use manifest::{Manifest, PartEntry, encode_manifest, manifest_len};
pub use needle::{
    Attribute, AttributeSet, ClusterAttributes, EXPIRY_LEN, EarlierRange, ExpiryValue, FOOTER_LEN,
    Footer, HASH_PREFIX_BITS, HEADER_LEN, HashPrefix, Kind, Loss, NeedleHeader, NeedleLayout,
    Spare, UnfitAttributes, Unreadable, attribute_bytes, attributes, damaged_spare, decode_header,
    encode_before_data, encode_behind_data, encode_chunk_table, encode_chunk_table_before,
    encode_data_needle, encode_loss, encode_tombstone, expiry_of, footer_at, put_chunk_table,
    reseal, verify_data, verify_meta, verify_range, with_expiry, with_expiry_len_max,
};
pub use replica::Replica;
pub use rising::RISING_MAX;
pub use superblock::{
    FORMAT_VERSION, INCOMPAT_LOSSES, PARTIAL, Superblock, SuperblockError, SuperblockState,
    superblock_offsets,
};
