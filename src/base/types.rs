//! Newtypes of the store's identifiers, so that they cannot be confused with each other or plain numbers.
//!
//! This module knows no other module.

use std::fmt;

/// Volume id, as in URLs and file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeId(pub u32);

/// 64-bit photo id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeedleKey(pub u64);

/// 32-bit supplemental id: the size variant of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlternateKey(pub u32);

/// Identity of a needle inside a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeedleId {
    /// Photo id.
    pub key: NeedleKey,
    /// Size variant.
    pub alt: AlternateKey,
}

impl NeedleId {
    /// The needle of photo `key` in the size variant `alt`.
    #[must_use]
    pub const fn new(key: u64, alt: u32) -> Self {
        Self { key: NeedleKey(key), alt: AlternateKey(alt) }
    }
}

impl fmt::Display for NeedleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.0, self.alt.0)
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The random number in a URL that prevents guessing of photo URLs. It is a secret like a password for one
/// needle: `Debug` shows only its first digits, and a comparison takes the same time for every value.
#[derive(Clone, Copy)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Compares two cookies in constant time.
    #[must_use]
    pub fn matches(self, other: Self) -> bool {
        std::hint::black_box(self.0 ^ other.0) == 0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({:04x}..)", self.0 >> 48)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_cookie_is_truncated() {
        let text = format!("{:?}", Cookie(0x0123_4567_89ab_cdef));
        assert_eq!(text, "Cookie(0123..)");
    }

    #[test]
    fn cookies_that_differ_in_one_bit_do_not_match() {
        assert!(Cookie(7).matches(Cookie(7)));
        for bit in 0..64 {
            assert!(!Cookie(7).matches(Cookie(7 ^ (1 << bit))));
        }
    }
}
