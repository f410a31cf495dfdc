//! Byte ranges (RFC 9110 section 14): resolves the value of `Range` against the size of an object.
//!
//! This module does not know methods and preconditions: `conditional` determines whether a `Range` applies.

use super::digits::{self, DigitsError};

/// A `Range` resolved against the size of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeResult {
    /// Send the whole object: the value is malformed, of another unit, or asks for several ranges
    /// (RFC 9110 section 14.2 allows a server to ignore any Range).
    Ignore,
    /// Send the bytes from `first` to `last` inclusive, with 206.
    Satisfiable {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte; less than the size.
        last: u64,
    },
    /// None of the bytes exists: 416.
    Unsatisfiable,
}

/// Parses the value of a `Range` against an object of `size` bytes.
#[must_use]
pub fn parse(value: &[u8], size: u64) -> RangeResult {
    parse_spec(value).map_or(RangeResult::Ignore, |spec| spec.within(size))
}

/// RFC 9110 section 14.1.1: range-spec = int-range / suffix-range.
enum Spec {
    /// `first-last` or `first-`.
    Int { first: u64, last: u64 },
    /// `-length`: the last bytes.
    Suffix { length: u64 },
}

/// Parses a single range in bytes. Lists are refused (a comma is not a digit), also those that have only one
/// element that is not empty (`bytes=0-1,`).
fn parse_spec(value: &[u8]) -> Option<Spec> {
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    // RFC 9110 section 14.1: range units are case-insensitive.
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let dash = set.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&set[..dash], &set[dash + 1..]);
    if first.is_empty() {
        return Some(Spec::Suffix { length: position(last)? });
    }
    let first = position(first)?;
    let last = if last.is_empty() { u64::MAX } else { position(last)? };
    // RFC 9110 section 14.1.1: an int-range whose last-pos is less than its first-pos is invalid.
    (first <= last).then_some(Spec::Int { first, last })
}

/// Parses a position of any length; one beyond 64 bits is beyond every object and becomes `u64::MAX`.
fn position(digits: &[u8]) -> Option<u64> {
    match digits::parse_decimal(digits) {
        Ok(position) => Some(position),
        Err(DigitsError::Overflow) => Some(u64::MAX),
        Err(DigitsError::Malformed) => None,
    }
}

impl Spec {
    /// Resolves the range against `size` (RFC 9110 section 14.1.2). A suffix range of an empty object is
    /// satisfiable by the RFC, but Content-Range cannot express an empty range, so that it is ignored.
    fn within(self, size: u64) -> RangeResult {
        match self {
            Self::Int { first, .. } if first >= size => RangeResult::Unsatisfiable,
            Self::Int { first, last } => {
                RangeResult::Satisfiable { first, last: last.min(size - 1) }
            }
            Self::Suffix { length: 0 } => RangeResult::Unsatisfiable,
            Self::Suffix { .. } if size == 0 => RangeResult::Ignore,
            Self::Suffix { length } => {
                RangeResult::Satisfiable { first: size.saturating_sub(length), last: size - 1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RangeResult::{Ignore, Unsatisfiable};
    use super::*;
    use proptest::prelude::*;

    fn part(first: u64, last: u64) -> RangeResult {
        RangeResult::Satisfiable { first, last }
    }

    #[test]
    fn ranges_are_resolved_against_the_size() {
        for (value, want) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-99", part(0, 99)),
            ("bytes=50-", part(50, 99)),
            ("bytes=99-", part(99, 99)),
            ("bytes=99-500", part(99, 99)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-99", part(1, 99)),
            ("bytes=-100", part(0, 99)),
            ("bytes=-101", part(0, 99)),
            ("BYTES=007-08", part(7, 8)),
            ("bytes=1-99999999999999999999999", part(1, 99)),
            ("bytes=-99999999999999999999999", part(0, 99)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-105", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
        ] {
            assert_eq!(parse(value.as_bytes(), 100), want, "{value:?}");
        }
    }

    #[test]
    fn malformed_and_multiple_ranges_are_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=--5",
            "bytes=5",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-a",
            "bytes=0-5-9",
            "bytes=0-5,9-12",
            "bytes=0-5,",
            "bytes=,0-5",
            "bytes= 0-5",
            "bytes=0 -5",
            "bytes =0-5",
            "bytes=+0-5",
            "bytes=0x0-5",
            "items=0-5",
            "0-5",
        ] {
            assert_eq!(parse(value.as_bytes(), 100), Ignore, "{value:?}");
        }
    }

    #[test]
    fn an_empty_object_has_no_satisfiable_range() {
        assert_eq!(parse(b"bytes=0-", 0), Unsatisfiable);
        assert_eq!(parse(b"bytes=0-0", 0), Unsatisfiable);
        assert_eq!(parse(b"bytes=-0", 0), Unsatisfiable);
        assert_eq!(parse(b"bytes=-1", 0), Ignore);
        assert_eq!(parse(b"bytes=5-2", 0), Ignore);
    }

    #[test]
    fn ranges_of_the_largest_size_do_not_overflow() {
        assert_eq!(parse(b"bytes=0-", u64::MAX), part(0, u64::MAX - 1));
        assert_eq!(parse(b"bytes=18446744073709551615-", u64::MAX), Unsatisfiable);
    }

    proptest! {
        /// Compares with the definition of the three forms, byte by byte.
        #[test]
        fn a_range_selects_the_bytes_that_the_rfc_defines(size in 0u64..30, a in 0u64..40, b in 0u64..40) {
            let (all, last) = (0..size, size.checked_sub(1));
            let both: Vec<u64> = all.clone().filter(|i| (a..=b).contains(i)).collect();
            let from: Vec<u64> = all.clone().filter(|i| *i >= a).collect();
            let suffix: Vec<u64> = all.filter(|i| i + a >= size).collect();
            let cases = [(format!("bytes={a}-{b}"), both, a <= b), (format!("bytes={a}-"), from, true),
                (format!("bytes=-{a}"), suffix, a == 0 || size > 0)];
            for (value, bytes, is_valid) in cases {
                let want = match (is_valid, bytes.first()) {
                    (false, _) => Ignore,
                    (true, None) => Unsatisfiable,
                    (true, Some(&first)) => part(first, *bytes.last().unwrap()),
                };
                prop_assert_eq!(parse(value.as_bytes(), size), want, "{}", value);
                if let RangeResult::Satisfiable { last: end, .. } = want {
                    prop_assert!(Some(end) <= last);
                }
            }
        }

        #[test]
        fn a_resolved_range_is_within_the_object(value in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let RangeResult::Satisfiable { first, last } = parse(value.as_bytes(), size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn no_input_panics(value in proptest::collection::vec(any::<u8>(), 0..40), size: u64) {
            let _ = parse(&value, size);
        }
    }
}
