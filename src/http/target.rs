//! Parser and writer of request targets. The paths are specific to Hayloft; RFC 9112 section 3.2.1 only
//! requires a path.
//!
//! Nothing is normalised or decoded: an object has exactly one path, so that a cache in front and the store
//! always agree. This module does not know whether a volume or object exists.

use std::fmt;

use super::digits;
use super::head::Method;
use super::reject::Reject;
use crate::base::types::VolumeId;

/// A parsed request target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `/`: upload to a volume that the store chooses.
    Root,
    /// `/{volume}`: upload to this volume.
    Volume {
        /// Volume id.
        volume: VolumeId,
    },
    /// `/{volume}/batch`: upload of many objects as a tar.
    Batch {
        /// Volume id.
        volume: VolumeId,
    },
    /// `/{volume}/delete`: deletion of many objects.
    MultiDelete {
        /// Volume id.
        volume: VolumeId,
    },
    /// `/{volume}/{key}/{alt}/{cookie}`: one stored object.
    Object {
        /// Volume id.
        volume: VolumeId,
        /// Key (photo id).
        key: u64,
        /// Alternate key (size variant).
        alt: u32,
        /// Random number that makes URLs unguessable.
        cookie: u64,
    },
}

impl fmt::Debug for Target {
    /// Prints only the first four digits of a cookie: it is a secret, like a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => write!(f, "/"),
            Self::Volume { volume } => write!(f, "/{volume}"),
            Self::Batch { volume } => write!(f, "/{volume}/batch"),
            Self::MultiDelete { volume } => write!(f, "/{volume}/delete"),
            Self::Object { volume, key, alt, cookie } => {
                write!(f, "/{volume}/{key}/{alt}/{:04x}..", cookie >> 48)
            }
        }
    }
}

/// The value of `Allow` (RFC 9110 section 10.2.1) for a malformed target: all methods.
pub const ALLOW_ANY: &str = "GET, HEAD, PUT, POST, DELETE";

impl Target {
    /// Returns whether this target allows `method`; otherwise the reply is 405 with [`Target::allow`].
    #[must_use]
    pub const fn allows(self, method: Method) -> bool {
        match self {
            Self::Object { .. } => true,
            Self::Root | Self::Volume { .. } | Self::Batch { .. } | Self::MultiDelete { .. } => {
                matches!(method, Method::Post)
            }
        }
    }

    /// The value of `Allow` for this target.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Object { .. } => ALLOW_ANY,
            Self::Root | Self::Volume { .. } | Self::Batch { .. } | Self::MultiDelete { .. } => {
                "POST"
            }
        }
    }
}

/// The value of `Allow` for a request target; [`ALLOW_ANY`] if it is malformed.
#[must_use]
pub fn allow_of(target: &[u8]) -> &'static str {
    parse_path(target).map_or(ALLOW_ANY, Target::allow)
}

const MALFORMED: Reject = Reject::bad("the target is not /{volume}/{key}/{alt}/{cookie}");

/// Parses a request target.
///
/// # Errors
/// 400 if it is malformed.
pub fn parse(target: &[u8]) -> Result<Target, Reject> {
    parse_path(target).ok_or(MALFORMED)
}

fn parse_path(target: &[u8]) -> Option<Target> {
    let path = target.strip_prefix(b"/")?;
    if path.is_empty() {
        return Some(Target::Root);
    }
    let mut segments = path.split(|&byte| byte == b'/');
    let volume = VolumeId(small_number(segments.next()?)?);
    let target = match segments.next() {
        None => return Some(Target::Volume { volume }),
        Some(b"batch") => Target::Batch { volume },
        Some(b"delete") => Target::MultiDelete { volume },
        Some(key) => Target::Object {
            volume,
            key: number(key)?,
            alt: small_number(segments.next()?)?,
            cookie: digits::parse_hex16(segments.next()?)?,
        },
    };
    segments.next().is_none().then_some(target)
}

/// Parses a decimal number without leading zeros.
fn number(segment: &[u8]) -> Option<u64> {
    match segment {
        [b'0', _, ..] => None,
        _ => digits::parse_decimal(segment).ok(),
    }
}

fn small_number(segment: &[u8]) -> Option<u32> {
    number(segment).and_then(|number| u32::try_from(number).ok())
}

/// Maximum length of the path of an object (bytes): four slashes, 10 + 20 + 10 decimal digits and 16
/// hexadecimal digits.
pub const OBJECT_PATH_MAX: usize = 4 + 10 + 20 + 10 + 16;

/// Parses the name of an object within its volume, `{key}/{alt}/{cookie}`, as in a batch or a multi-delete:
/// key, alternate key and cookie; `None` if it is malformed.
#[must_use]
pub fn parse_entry(name: &[u8]) -> Option<(u64, u32, u64)> {
    let mut segments = name.split(|&byte| byte == b'/');
    let key = number(segments.next()?)?;
    let alt = small_number(segments.next()?)?;
    let cookie = digits::parse_hex16(segments.next()?)?;
    segments.next().is_none().then_some((key, alt, cookie))
}

/// Writes the path of an object to the front of `out` and returns its length (bytes).
pub fn write_object(
    volume: VolumeId,
    key: u64,
    alt: u32,
    cookie: u64,
    out: &mut [u8; OBJECT_PATH_MAX],
) -> usize {
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        out[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    for number in [u64::from(volume.0), key, u64::from(alt)] {
        put(b"/");
        put(digits::decimal(number, &mut [0; digits::U64_DIGITS]));
    }
    put(b"/");
    put(&digits::hex16(cookie));
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(volume: VolumeId, key: u64, alt: u32, cookie: u64) -> String {
        let mut out = [0; OBJECT_PATH_MAX];
        let len = write_object(volume, key, alt, cookie, &mut out);
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn every_kind_of_target_is_parsed() {
        assert_eq!(parse(b"/"), Ok(Target::Root));
        assert_eq!(parse(b"/0"), Ok(Target::Volume { volume: VolumeId(0) }));
        assert_eq!(parse(b"/4294967295"), Ok(Target::Volume { volume: VolumeId(u32::MAX) }));
        assert_eq!(parse(b"/7/batch"), Ok(Target::Batch { volume: VolumeId(7) }));
        assert_eq!(parse(b"/7/delete"), Ok(Target::MultiDelete { volume: VolumeId(7) }));
        let cookie = 0x0123_4567_89ab_cdef;
        let object = Target::Object { volume: VolumeId(1), key: 2, alt: 3, cookie };
        assert_eq!(parse(b"/1/2/3/0123456789abcdef"), Ok(object));
    }

    #[test]
    fn malformed_targets_are_refused() {
        for target in [
            "",
            "1",
            "//",
            "/1/",
            "/01",
            "/00",
            "/-1",
            "/+1",
            "/a",
            "/1?",
            "/1#",
            "/batch",
            "/1/Batch",
            "/1/batch/",
            "/1/batch/2",
            "/1/batch?x",
            "/delete",
            "/1/Delete",
            "/1/delete/",
            "/1/delete/2",
            "/1/delete?x",
            "/1/2",
            "/1/2/3",
            "/1/2/3/",
            "/1/2/3/4",
            "/1/2/3/0123456789ABCDEF",
            "/1/2/3/0123456789abcde",
            "/1/2/3/0123456789abcdef0",
            "/1/2/3/0123456789abcdef/",
            "/1/2/3/0123456789abcdef?x=1",
            "/1/%32/3/0123456789abcdef",
            "/1/02/3/0123456789abcdef",
            "/1/2/03/0123456789abcdef",
            "/01/2/3/0123456789abcdef",
            "/4294967296/2/3/0123456789abcdef",
            "/1/18446744073709551616/3/0123456789abcdef",
            "/1/2/4294967296/0123456789abcdef",
            "//2/3/0123456789abcdef",
            "/1//3/0123456789abcdef",
            "/1/2//0123456789abcdef",
            "/1/./2/3/0123456789abcdef",
            "/../1/2/3/0123456789abcdef",
        ] {
            assert_eq!(parse(target.as_bytes()), Err(MALFORMED), "{target:?}");
        }
    }

    #[test]
    fn the_longest_path_fits_exactly() {
        let longest = path(VolumeId(u32::MAX), u64::MAX, u32::MAX, u64::MAX);
        assert_eq!(longest.len(), OBJECT_PATH_MAX);
    }

    #[test]
    fn allow_lists_the_methods_of_each_target() {
        let object = Target::Object { volume: VolumeId(1), key: 2, alt: 3, cookie: 4 };
        let targets = [
            object,
            Target::Root,
            Target::Volume { volume: VolumeId(1) },
            Target::Batch { volume: VolumeId(1) },
            Target::MultiDelete { volume: VolumeId(1) },
        ];
        for target in targets {
            let allowed: Vec<&str> = Method::ALL
                .into_iter()
                .filter(|&method| target.allows(method))
                .map(|method| str::from_utf8(method.token()).unwrap())
                .collect();
            assert_eq!(allowed.join(", "), target.allow());
        }
        let all = Method::ALL.map(|method| str::from_utf8(method.token()).unwrap());
        assert_eq!(all.join(", "), ALLOW_ANY);
        assert_eq!(allow_of(b"/1/2/3/0123456789abcdef"), object.allow());
        assert_eq!(allow_of(b"/1"), "POST");
        assert_eq!(allow_of(b"/01"), ALLOW_ANY);
    }

    #[test]
    fn debug_output_of_a_target_truncates_the_cookie() {
        let object =
            Target::Object { volume: VolumeId(1), key: 2, alt: 3, cookie: 0x0123_4567_89ab_cdef };
        assert_eq!(format!("{object:?}"), "/1/2/3/0123..");
        assert_eq!(format!("{:?}", Target::MultiDelete { volume: VolumeId(1) }), "/1/delete");
    }

    #[test]
    fn names_in_a_batch_are_key_alt_and_cookie() {
        assert_eq!(parse_entry(b"2/3/00000000000000ff"), Some((2, 3, 255)));
        for name in ["", "2/3", "/2/3/00000000000000ff", "2/3/00000000000000ff/", "2/3/ff"] {
            assert_eq!(parse_entry(name.as_bytes()), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn written_paths_parse_to_the_same_object(volume: u32, key: u64, alt: u32, cookie: u64) {
            let volume = VolumeId(volume);
            let path = path(volume, key, alt, cookie);
            prop_assert_eq!(&path, &format!("/{volume}/{key}/{alt}/{cookie:016x}"));
            let object = Target::Object { volume, key, alt, cookie };
            prop_assert!(parse(path.as_bytes()) == Ok(object));
            let entry = path[1..].split_once('/').unwrap().1;
            prop_assert_eq!(parse_entry(entry.as_bytes()), Some((key, alt, cookie)));
        }

        /// A path has one spelling: writing a parsed path gives the same bytes.
        #[test]
        fn parsed_paths_are_written_as_the_same_bytes(
            text in "/[0-9]{1,3}/[0-9]{1,21}/[0-9]{1,3}/[0-9a-g]{15,17}"
        ) {
            if let Ok(Target::Object { volume, key, alt, cookie }) = parse(text.as_bytes()) {
                prop_assert_eq!(path(volume, key, alt, cookie), text);
            }
        }
    }
}
