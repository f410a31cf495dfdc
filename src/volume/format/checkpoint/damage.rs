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
    /// What the range is a part of.
    pub part: DamagedPart,
}

/// What a damaged range is a part of. Keys and alternate keys are those of the needle in it, where they are
/// known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedPart {
    /// The log.
    Log(Option<(u64, u32)>),
    /// The log: the record of a lost object, which is live.
    Loss(Option<(u64, u32)>),
    /// The file of this earlier generation.
    Generation(u64),
}

/// Set if key and alternate key are known.
const FLAG_ID: u32 = 1;
/// Set in the record of a lost object.
const FLAG_LOSS: u32 = 2;
/// Set in a range of an earlier generation, whose number is in the place of the key.
const FLAG_GENERATION: u32 = 4;

/// Maximum number of damaged ranges in a piece.
pub const DAMAGE_PER_PIECE: usize = PAYLOAD_LEN_MAX / DAMAGE_LEN;

/// Encodes damaged ranges. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn encode_damage(places: &[DamageRecord], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for place in places {
        let known = |id: Option<_>| if id.is_some() { FLAG_ID } else { 0 };
        let ((key, alt), flags) = match place.part {
            DamagedPart::Log(id) => (id.unwrap_or_default(), known(id)),
            DamagedPart::Loss(id) => (id.unwrap_or_default(), known(id) | FLAG_LOSS),
            DamagedPart::Generation(generation) => ((generation, 0), FLAG_GENERATION),
        };
        fields.u64(place.offset).u64(place.len).u64(key).u32(alt).u32(flags);
    }
    fields.len()
}

/// Decodes damaged ranges. Returns `None` when `payload` does not hold exactly `count` of them.
pub fn decode_damage(payload: &[u8], count: u32) -> Option<impl Iterator<Item = DamageRecord>> {
    let whole = payload.len() == (count as usize).checked_mul(DAMAGE_LEN)?;
    let mut input = Decoder::new(payload);
    let place = move |_| {
        let (offset, len, key, alt) = (input.u64(), input.u64(), input.u64(), input.u32());
        let flags = input.u32();
        let id = (flags & FLAG_ID != 0).then_some((key, alt));
        let part = if flags & FLAG_GENERATION != 0 {
            DamagedPart::Generation(key)
        } else if flags & FLAG_LOSS != 0 {
            DamagedPart::Loss(id)
        } else {
            DamagedPart::Log(id)
        };
        DamageRecord { offset, len, part }
    };
    whole.then(|| (0..count).map(place))
}
