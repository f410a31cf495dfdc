//! Changing the time of expiry in the bytes of a needle.

use super::attribute::{Attribute, attribute_bytes};
use super::expiry::{EXPIRY_LEN, ExpiryValue};
use super::header::NeedleHeader;
use super::layout::HEADER_LEN;
use crate::base::limits::{ATTRIBUTES_MAX, UNIT};

/// Length of the buffer that [`with_expiry`] needs for a needle of `len` bytes.
#[must_use]
pub fn with_expiry_len_max(len: usize) -> usize {
    len + usize::try_from(UNIT).expect("512")
}

/// Replaces the time of expiry (nanoseconds since 1970; `None` for never) in the needle of `header`, which
/// `buf` begins with. The other attributes, the chunk table and the data stay; header, padding and footer
/// must be written anew. Returns the header of the result; `None` if the attributes would be too long.
///
/// # Panics
/// If `buf` is shorter than [`with_expiry_len_max`].
#[must_use]
pub fn with_expiry(
    buf: &mut [u8],
    header: &NeedleHeader,
    expires_ns: Option<u64>,
) -> Option<NeedleHeader> {
    let old = header.layout();
    assert!(buf.len() >= with_expiry_len_max(old.len));
    let others = header.expires_ns.map_or(0, |_| EXPIRY_LEN);
    let others = buf[old.attributes()][others..].to_vec();
    let value = expires_ns.map(ExpiryValue::new);
    let expiry = value.as_ref().map(ExpiryValue::attribute);
    let len = expiry.as_ref().map_or(0, Attribute::encoded_len);
    if len + others.len() > ATTRIBUTES_MAX {
        return None;
    }
    let attributes_len = u16::try_from(len + others.len()).expect("4 KiB");
    let header = NeedleHeader { attributes_len, expires_ns, ..*header };
    let new = header.layout();
    buf.copy_within(old.chunk_table().start..old.data_range().end, new.chunk_table().start);
    attribute_bytes(expiry.as_slice(), &mut buf[HEADER_LEN..]);
    buf[HEADER_LEN + len..new.attributes().end].copy_from_slice(&others);
    Some(header)
}
