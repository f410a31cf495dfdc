//! The time at which a needle expires: its first attribute, so that it is in the block of the header, which
//! everything reads that decides about a needle.

use super::attribute::{Attribute, attribute_bytes};
use super::header::NeedleHeader;
use super::layout::HEADER_LEN;
use crate::base::limits::{ATTRIBUTES_MAX, UNIT};
use crate::volume::format::checksum::data_checksum;
use crate::volume::format::field::{Decoder, Encoder};

const TIME_LEN: usize = 8;
const VALUE_LEN: usize = TIME_LEN + 8;
/// Length of the attribute on disk (bytes).
pub const EXPIRY_LEN: usize = 4 + VALUE_LEN;

/// The value of the attribute: the time, and its own checksum. Decisions are made from the first block of a
/// needle, where the meta checksum cannot be verified, and damage must not let anything expire.
#[derive(Clone, Copy)]
pub struct ExpiryValue([u8; VALUE_LEN]);

impl ExpiryValue {
    /// Encodes a time (nanoseconds since 1970).
    #[must_use]
    pub fn new(expires_ns: u64) -> Self {
        let mut value = [0; VALUE_LEN];
        Encoder::new(&mut value).u64(expires_ns);
        let sum = data_checksum(&value[..TIME_LEN]);
        Encoder::new(&mut value[TIME_LEN..]).u64(sum);
        Self(value)
    }

    /// Returns the attribute.
    #[must_use]
    pub fn attribute(&self) -> Attribute<'_> {
        Attribute { code: Attribute::EXPIRES, value: &self.0 }
    }
}

/// Returns the time at which a needle with these attributes expires (nanoseconds since 1970). `None` for never:
/// also if the first attribute is another one, or has a wrong length or checksum. `bytes` may end anywhere
/// after the first attribute.
#[must_use]
pub fn expiry_of(bytes: &[u8]) -> Option<u64> {
    let mut input = Decoder::new(bytes.get(..EXPIRY_LEN)?);
    let (code, len) = (input.u16(), usize::from(input.u16()));
    let (expires_ns, sum) = (input.u64(), input.u64());
    let is_valid = code == Attribute::EXPIRES
        && len == VALUE_LEN
        && sum == data_checksum(&bytes[4..4 + TIME_LEN]);
    is_valid.then_some(expires_ns)
}

/// Length of the buffer that [`with_expiry`] needs for a needle of `len` bytes.
#[must_use]
pub fn with_expiry_len_max(len: usize) -> usize {
    len + usize::try_from(UNIT).expect("512")
}

/// Replaces the time of expiry (nanoseconds since 1970; `None` for never) in the needle of `header`, which
/// `buf` begins with. The other attributes, the chunk table and the data stay; header, padding and footer must be
/// written anew. Returns the header of the result; `None` if the attributes would be too long.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(attributes: &[Attribute<'_>]) -> Vec<u8> {
        let mut out = vec![0; 300];
        let len = attribute_bytes(attributes, &mut out);
        out.truncate(len);
        out
    }

    #[test]
    fn first_attribute_is_read_back() {
        for time in [0, 1, 1_900_000_000_000_000_000, u64::MAX] {
            let value = ExpiryValue::new(time);
            let bytes = encoded(&[value.attribute()]);
            assert_eq!((bytes.len(), expiry_of(&bytes)), (EXPIRY_LEN, Some(time)));
            let other = Attribute { code: Attribute::CONTENT_TYPE, value: b"image/jpeg" };
            assert_eq!(expiry_of(&encoded(&[value.attribute(), other])), Some(time));
            assert_eq!(expiry_of(&encoded(&[other, value.attribute()])), None, "not the first one");
        }
        assert_eq!(expiry_of(&[]), None);
    }

    #[test]
    fn damage_lets_nothing_expire() {
        let bytes = encoded(&[ExpiryValue::new(1_900_000_000_000_000_000).attribute()]);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(expiry_of(&damaged), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(expiry_of(&bytes[..len]), None);
        }
        let wrong = Attribute { code: Attribute::EXPIRES, value: &bytes[4..12] };
        assert_eq!(expiry_of(&encoded(&[wrong])), None, "a wrong length");
    }
}
