//! What a needle has twice, so that it is known after the loss of one sector.

use super::footer::footer_at;
use super::header::{NeedleHeader, decode_header};
use crate::base::limits::UNIT;

/// A part of a needle that is needed only if another one is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// One of the two headers of a needle that consists of them.
    Header,
    /// The footer.
    Footer,
}

/// Returns the spare part that is damaged in the bytes of a needle at `offset` of the file `incarnation`, of
/// which a header was read.
///
/// # Panics
/// If `needle` is shorter than two units.
#[must_use]
pub fn damaged_spare(
    needle: &[u8],
    header: &NeedleHeader,
    incarnation: u64,
    offset: u64,
) -> Option<Spare> {
    let unit = usize::try_from(UNIT).expect("512");
    if header.kind.is_header_only() {
        let first = decode_header(needle, incarnation, offset);
        let second = decode_header(&needle[unit..], incarnation, offset + UNIT);
        if !matches!((first, second), (Some((_, 0)), Some((_, UNIT)))) {
            return Some(Spare::Header);
        }
    }
    let end = offset + needle.len() as u64;
    let footer = footer_at(&needle[needle.len() - unit..], incarnation, end);
    let is_own = footer.is_some_and(|footer| footer.start == offset && footer.id == header.id);
    (!is_own).then_some(Spare::Footer)
}
