//! Moving a needle to another place, perhaps of another file, without deciding whether it is damaged.

use super::encode::{encode_loss, encode_tombstone};
use super::footer::encode_footer;
use super::header::NeedleHeader;
use super::kind::Kind;
use super::layout::FOOTER_LEN;
use super::verify::Meta;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::format::checksum::seed;

#[cfg(test)]
mod tests;

/// Seals the needle in `bytes`, which has the header `old` in the file `old_incarnation`, anew for
/// `new_offset` of the file `new_incarnation`, with the header `new`: writes header, padding and footer. The
/// rest is unchanged. What verified before verifies afterwards, and what did not verify does not: the meta
/// checksum differs from the right one by the same bits as before.
///
/// # Panics
/// If `bytes` is not exactly one needle. If [`decode_header`] would refuse `new`, or `new` differs from `old`
/// in more than *previous*, epoch, sequence, ordinal and batch.
///
/// [`decode_header`]: super::decode_header
pub fn reseal(
    bytes: &mut [u8],
    old: &NeedleHeader,
    old_incarnation: u64,
    new: &NeedleHeader,
    new_incarnation: u64,
    new_offset: u64,
) {
    assert!(is_same(old, new), "another needle: {new:?} is not {old:?}");
    let layout = new.layout();
    assert_eq!(bytes.len(), layout.len, "exactly one needle is sealed anew");
    match new.kind {
        Kind::Tombstone => return encode_tombstone(new, new_incarnation, new_offset, bytes),
        Kind::Loss | Kind::UnidentifiedLoss | Kind::DamagedRange => {
            return encode_loss(new, new_incarnation, new_offset, bytes);
        }
        Kind::Data | Kind::Part | Kind::Manifest => {}
    }
    let before = Meta::of(bytes, old, old_incarnation);
    let wrong_bits = match chosen(Sabotage::ResealRepairsMeta) {
        false => before.stored ^ before.computed,
        true => 0,
    };
    let meta = Meta::of(bytes, new, new_incarnation).computed ^ wrong_bits;
    new.encode(0, meta, seed(new_incarnation, new_offset), bytes);
    bytes[layout.data_range().end..layout.len - FOOTER_LEN].fill(0);
    let footer = &mut bytes[layout.len - FOOTER_LEN..];
    encode_footer(new, new_incarnation, new_offset, footer);
}

/// Returns whether both are headers of the same needle, in two places.
fn is_same(old: &NeedleHeader, new: &NeedleHeader) -> bool {
    let what = |header: &NeedleHeader| (header.kind, header.id, header.cookie.0, header.version);
    let content = |header: &NeedleHeader| {
        let lens = (header.attributes_len, header.data_len, header.body_len, header.parts_units);
        (lens, header.modified_ns, header.data_checksum)
    };
    what(old) == what(new) && content(old) == content(new)
}
