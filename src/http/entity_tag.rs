//! Strong entity tags (RFC 9110 section 8.8.3).

use super::digits;

/// The strong entity tag of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityTag {
    /// XXH3-64 of the object, in 16 hexadecimal digits: that of Hayloft's own targets.
    Xxh3(u64),
    /// CRC32C of the object as it is stored, in 8 hexadecimal digits: that of SeaweedFS clients.
    Crc32c(u32),
}

/// Largest length of the text of a tag (bytes).
pub const TAG_MAX: usize = 16;

impl EntityTag {
    /// Writes the text between the quotes to `out`, and returns it.
    #[must_use]
    pub fn text(self, out: &mut [u8; TAG_MAX]) -> &[u8] {
        match self {
            Self::Xxh3(value) => {
                *out = digits::hex16(value);
                out
            }
            Self::Crc32c(value) => {
                *out = digits::hex16(u64::from(value));
                &out[TAG_MAX - 8..]
            }
        }
    }

    /// Returns whether `text` is that between the quotes of this tag.
    #[must_use]
    pub fn is(self, text: &[u8]) -> bool {
        self.text(&mut [0; TAG_MAX]) == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_all_its_digits() {
        for (tag, text) in [
            (EntityTag::Xxh3(0xab), "00000000000000ab"),
            (EntityTag::Crc32c(0xab), "000000ab"),
            (EntityTag::Crc32c(u32::MAX), "ffffffff"),
        ] {
            assert!(tag.is(text.as_bytes()), "{text}");
        }
        assert!(!EntityTag::Crc32c(0xab).is(b"00000000000000ab"));
    }
}
