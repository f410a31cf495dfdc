//! Pairs of numbers in a piece: entries of the stash, and parts of manifests.

use super::lens::{PAIR_LEN, PAYLOAD_LEN_MAX};
use crate::volume::format::field::{Decoder, Encoder};

/// Maximum number of pairs in a piece.
pub const PAIRS_PER_PIECE: usize = PAYLOAD_LEN_MAX / PAIR_LEN;

/// Encodes pairs of numbers. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn encode_pairs(pairs: &[(u64, u64)], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for (one, other) in pairs {
        fields.u64(*one).u64(*other);
    }
    fields.len()
}

/// Decodes pairs of numbers. Returns `None` when `payload` does not hold exactly `count` of them.
pub fn decode_pairs(payload: &[u8], count: u32) -> Option<impl Iterator<Item = (u64, u64)>> {
    let whole = payload.len() == (count as usize).checked_mul(PAIR_LEN)?;
    let mut input = Decoder::new(payload);
    whole.then(|| (0..count).map(move |_| (input.u64(), input.u64())))
}
