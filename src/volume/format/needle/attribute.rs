//! Attributes of a needle.

use crate::volume::format::field::{Decoder, Encoder};

/// An attribute of a needle. Attributes with unknown codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Code; see the constants.
    pub code: u16,
    /// Value as stored.
    pub value: &'a [u8],
}

impl Attribute<'_> {
    /// Content type, as in the HTTP header.
    pub const CONTENT_TYPE: u16 = 1;
    /// Time at which the needle expires; see [`ExpiryValue`](super::expiry::ExpiryValue).
    pub const EXPIRES: u16 = 2;
    /// CRC32C of the body as it is stored: 4 bytes.
    pub const CRC32C: u16 = 3;
    /// File name: 1 to 255 bytes.
    pub const NAME: u16 = 4;
    /// Flags of the needle as the cluster stores them: 1 byte.
    pub const FLAGS: u16 = 5;
    /// Time to live: count, and code of the unit; 2 bytes.
    pub const TTL: u16 = 6;
    /// Pairs of names and values as JSON: 1 to 3400 bytes.
    pub const PAIRS: u16 = 7;
    /// Time at which it was appended first (nanoseconds since 1970): 8 bytes.
    pub const APPENDED: u16 = 8;
    /// Version that it has where it was written first: 8 bytes.
    pub const ORIGIN_VERSION: u16 = 9;

    /// Length of the attribute on disk (bytes).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        4 + self.value.len()
    }
}

/// Encodes attributes one after the other. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn attribute_bytes(attributes: &[Attribute<'_>], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for attribute in attributes {
        let len = u16::try_from(attribute.value.len()).expect("attributes are at most 4 KiB long");
        fields.u16(attribute.code).u16(len).bytes(attribute.value);
    }
    fields.len()
}

/// Iterates over the attributes in `bytes`. Ends at the first incomplete entry.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.len() < 4 {
            return None;
        }
        let mut input = Decoder::new(rest);
        let (code, len) = (input.u16(), usize::from(input.u16()));
        let value = rest.get(4..4 + len)?;
        rest = &rest[4 + len..];
        Some(Attribute { code, value })
    })
}
