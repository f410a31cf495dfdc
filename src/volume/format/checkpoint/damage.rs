//! Damaged ranges in a piece.

use super::lens::{DAMAGE_LEN, PAYLOAD_LEN_MAX};
use crate::volume::format::field::{Decoder, Encoder};

/// A damaged range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageRecord {
    /// Start of the range (bytes).
    pub offset: u64,
    /// Length of the range (bytes).
    pub len: u64,
    /// Key and alternate key of the needle in it, where they are known.
    pub id: Option<(u64, u32)>,
}

/// Maximum number of damaged ranges in a piece.
pub const DAMAGE_PER_PIECE: usize = PAYLOAD_LEN_MAX / DAMAGE_LEN;

/// Encodes damaged ranges. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn encode_damage(places: &[DamageRecord], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for place in places {
        let (key, alt) = place.id.unwrap_or_default();
        fields.u64(place.offset).u64(place.len);
        fields.u64(key).u32(alt).u32(u32::from(place.id.is_some()));
    }
    fields.len()
}

/// Decodes damaged ranges. Returns `None` when `payload` does not hold exactly `count` of them.
pub fn decode_damage(payload: &[u8], count: u32) -> Option<impl Iterator<Item = DamageRecord>> {
    let whole = payload.len() == (count as usize).checked_mul(DAMAGE_LEN)?;
    let mut input = Decoder::new(payload);
    let place = move |_| {
        let (offset, len, key, alt) = (input.u64(), input.u64(), input.u64(), input.u32());
        DamageRecord { offset, len, id: (input.u32() != 0).then_some((key, alt)) }
    };
    whole.then(|| (0..count).map(place))
}
