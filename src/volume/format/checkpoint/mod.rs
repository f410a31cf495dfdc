//! The bytes of a checkpoint: a copy of the index of a volume as it was when the log ended at some
//! position, in a file of its own. It is a sequence of pieces of whole blocks, each with a checksum; the
//! first is the header, the last the footer. `docs/FORMAT.md` specifies it.
//!
//! - `piece`: what all pieces have in common. `position`: a position in the log.
//! - `header`, `footer`: the first and the last piece.
//! - `segment`, `pairs`, `damage`, `properties`: entries of the pieces between them.
//! - `lens`: lengths on which the files of this directory agree.

mod damage;
mod footer;
mod header;
mod lens;
mod pairs;
mod piece;
mod position;
mod properties;
mod segment;
#[cfg(test)]
mod tests;

pub use damage::{DAMAGE_PER_PIECE, DamageRecord, DamagedPart, decode_damage, encode_damage};
pub use footer::CheckpointFooter;
pub use header::{CheckpointHeader, other_checkpoint_version};
pub use lens::{LAYOUT_NUMBERS, PAYLOAD_AT, PAYLOAD_LEN_MAX, PIECE_LEN_MAX};
pub use pairs::{PAIRS_PER_PIECE, decode_pairs, encode_pairs};
pub use piece::{CheckpointPiece, PieceKind, chain, decode_piece, finish_piece, piece_len};
pub use position::LogPosition;
pub use properties::{
    CheckpointProperty, EXPIRY_DAYS_MAX, UNNAMED_PER_ENTRY, UnnamedRecord, decode_properties,
};
pub use segment::{SegmentRecord, encode_segment, segment_len};
