//! The time at which a needle expires: its first attribute, so that it is in the block of the header, which
//! everything reads that decides about a needle.

use super::attribute::Attribute;
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

/// Returns the time at which a needle with these attributes expires (nanoseconds since 1970). `None` for
/// never: also if the first attribute is another one, or has a wrong length or checksum. `bytes` may end
/// anywhere after the first attribute.
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

#[cfg(test)]
mod tests {
    use super::super::attribute::attribute_bytes;
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
