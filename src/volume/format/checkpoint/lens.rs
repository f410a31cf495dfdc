//! Lengths of the structures in the pieces of a checkpoint (bytes).

use crate::base::limits::{BLOCK, UNIT};

/// Offset of the payload in a piece.
pub const PAYLOAD_AT: usize = 64;
/// Maximum length of a piece.
pub const PIECE_LEN_MAX: usize = 256 << 10;
/// Maximum length of a payload.
pub const PAYLOAD_LEN_MAX: usize = PIECE_LEN_MAX - PAYLOAD_AT;
/// Number of the values that describe the layout of the index. Only the index interprets them.
pub const LAYOUT_NUMBERS: usize = 8;
/// Length of the payload of a header.
pub(super) const HEADER_LEN: usize = 16 + 4 + 4 + 4 * 8 + LAYOUT_NUMBERS * 4 + 5 * 8 + 8;
/// Length of the payload of a footer.
pub(super) const FOOTER_LEN: usize = 5 * 8 + 8 * 8;
/// Length of a pair of numbers.
pub(super) const PAIR_LEN: usize = 16;
/// Length of a damaged range.
pub(super) const DAMAGE_LEN: usize = 32;

const _: () = assert!(PAYLOAD_AT + HEADER_LEN <= BLOCK as usize);
const _: () = assert!(PAYLOAD_AT + FOOTER_LEN <= BLOCK as usize);
const _: () = assert!((PIECE_LEN_MAX as u64).is_multiple_of(BLOCK) && BLOCK.is_multiple_of(UNIT));
