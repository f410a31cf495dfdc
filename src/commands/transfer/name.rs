//! Names of photos.

use std::fmt;

use crate::base::types::VolumeId;
use crate::http::target::{self, Target};

/// Size of random keys (bits): JSON readers that store numbers as doubles represent them exactly.
const KEY_BITS: u32 = 53;

/// The name of a photo in a store: the path of its URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhotoName {
    /// Volume.
    pub volume: VolumeId,
    /// Key.
    pub key: u64,
    /// Alternate key.
    pub alt: u32,
    /// Cookie: readers must know it.
    pub cookie: u64,
}

impl PhotoName {
    /// Parses `/{volume}/{key}/{alt}/{cookie}`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match target::parse(path.as_bytes()) {
            Ok(Target::Object { volume, key, alt, cookie }) => {
                Some(Self { volume, key, alt, cookie })
            }
            _ => None,
        }
    }

    /// Draws a new name in `volume`: a random key of 53 bits, alternate key 0, a random cookie. A collision
    /// with an existing key is unlikely, but not impossible.
    ///
    /// # Errors
    /// The error of the kernel's random source.
    pub fn draw(volume: VolumeId) -> Result<Self, getrandom::Error> {
        let key = getrandom::u64()? >> (u64::BITS - KEY_BITS);
        Ok(Self { volume, key, alt: 0, cookie: getrandom::u64()? })
    }
}

impl fmt::Display for PhotoName {
    /// Formats the path, with the whole cookie: for users that may read the photo.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { volume, key, alt, cookie } = self;
        write!(f, "/{volume}/{key}/{alt}/{cookie:016x}")
    }
}

impl fmt::Debug for PhotoName {
    /// Formats the path with a truncated cookie: a cookie works like a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { volume, key, alt, cookie } = self;
        write!(f, "/{volume}/{key}/{alt}/{:04x}..", cookie >> 48)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_from_and_printed_as_paths() {
        let path = "/7/42/1/00c0ffee00c0ffee";
        let name = PhotoName::parse(path).unwrap();
        assert_eq!(name.to_string(), path);
        assert_eq!(format!("{name:?}"), "/7/42/1/00c0..");
        for bad in ["", "/", "/7", "/7/batch", "/7/42/1/0", "7/42/1/00c0ffee00c0ffee"] {
            assert_eq!(PhotoName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn generated_keys_fit_in_53_bits_and_differ() {
        let names: Vec<_> = (0..100).map(|_| PhotoName::draw(VolumeId(3)).unwrap()).collect();
        for name in &names {
            assert!(name.key < 1 << 53 && (name.volume, name.alt) == (VolumeId(3), 0));
            assert_eq!(names.iter().filter(|other| other.key == name.key).count(), 1);
        }
    }
}
