//! Sizes in bytes with units: `512`, `64KiB`, `100GiB`, `10MB`.
//!
//! One type for the configuration file, the command line and the admin API, so that all of them accept and
//! refuse the same sizes. Uses no other module.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;
/// One tebibyte, in bytes.
pub const TIB: u64 = 1 << 40;

/// Units accepted after a number. The binary ones come first, largest first: `Display` picks from them.
const UNITS: [(&str, u64); 9] = [
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
const BINARY_UNITS: usize = 4;

/// A number of bytes, 0 to 2^64 - 1.
///
/// Text form: a whole decimal number and a unit, upper or lower case, with or without spaces between:
/// `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024; `KB`, `MB`, `GB`, `TB` are powers of 1000; `B` or
/// nothing means bytes. A bare `K`, `M`, `G` or `T` is refused, since tools disagree on what it means.
/// `Display` prints the largest binary unit that is exact, and what it prints parses to the same size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Formats a number of bytes for messages, rounded to a tenth of the largest binary unit: `3.4 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "precision does not matter here")]
pub fn rounded(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(power) = bytes.checked_ilog2().map(|log| (log / 10) as usize).filter(|n| *n > 0)
    else {
        return format!("{bytes} B");
    };
    let power = power.min(units.len());
    let value = bytes as f64 / 1024_f64.powi(i32::try_from(power).expect("power is at most 4"));
    format!("{value:.1} {}", units[power - 1])
}

impl ByteSize {
    /// `count` KiB. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self::of(count, KIB)
    }

    /// `count` MiB. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self::of(count, MIB)
    }

    /// `count` GiB. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self::of(count, GIB)
    }

    /// `count` TiB. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn tib(count: u64) -> Self {
        Self::of(count, TIB)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    const fn of(count: u64, unit_bytes: u64) -> Self {
        match count.checked_mul(unit_bytes) {
            Some(bytes) => Self(bytes),
            None => panic!("a size above 2^64 - 1 bytes"),
        }
    }
}

/// Why a text is not a size. Each message gives a valid alternative.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseSizeError {
    /// Empty, or only spaces.
    #[error("the size is empty; write a whole number and a unit, for instance 64MiB or 100GiB")]
    Empty,
    /// The text does not begin with a digit.
    #[error(
        "{0:?} does not begin with a number; write a whole number and a unit, for instance 64MiB"
    )]
    NoNumber(String),
    /// The number has a fraction.
    #[error(
        "{0:?} has a fraction; write a whole number in a smaller unit, for instance 1536MiB instead of \
         1.5GiB"
    )]
    Fraction(String),
    /// The unit is `K`, `M`, `G` or `T` alone.
    #[error(
        "{text:?}: the unit {unit} alone is ambiguous; write {number}{unit}iB for powers of 1024 or \
         {number}{unit}B for powers of 1000"
    )]
    AmbiguousUnit {
        /// The whole text.
        text: String,
        /// The digits before the unit.
        number: String,
        /// The unit's letter, upper case.
        unit: char,
    },
    /// The unit is unknown.
    #[error(
        "{text:?}: unknown unit {unit:?}; use B, KiB, MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB \
         (powers of 1000)"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The text after the number.
        unit: String,
    },
    /// The size is more than 2^64 - 1 bytes.
    #[error("{0:?} is more than 2^64 - 1 bytes; write a smaller size")]
    TooLarge(String),
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(ParseSizeError::Empty);
        }
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(ParseSizeError::NoNumber(text.to_owned()));
        }
        if rest.starts_with(['.', ',']) {
            return Err(ParseSizeError::Fraction(text.to_owned()));
        }
        let unit_bytes = unit_bytes(text, number, rest.trim_start())?;
        // `number` has only digits: parsing fails only on overflow.
        let count: u64 = number.parse().map_err(|_| ParseSizeError::TooLarge(text.to_owned()))?;
        count
            .checked_mul(unit_bytes)
            .map(Self)
            .ok_or_else(|| ParseSizeError::TooLarge(text.to_owned()))
    }
}

fn unit_bytes(text: &str, number: &str, unit: &str) -> Result<u64, ParseSizeError> {
    if unit.is_empty() {
        return Ok(1);
    }
    if let Some((_, bytes)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        return Ok(*bytes);
    }
    let mut letters = unit.chars();
    match (letters.next().map(|letter| letter.to_ascii_uppercase()), letters.next()) {
        (Some(letter @ ('K' | 'M' | 'G' | 'T')), None) => Err(ParseSizeError::AmbiguousUnit {
            text: text.to_owned(),
            number: number.to_owned(),
            unit: letter,
        }),
        _ => Err(ParseSizeError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() }),
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS[..BINARY_UNITS]
            .iter()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        match exact {
            Some((name, bytes)) => f.pad(&format!("{}{name}", self.0 / bytes)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\", or a whole number of bytes")
    }

    fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }

    fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        u64::try_from(bytes)
            .map(ByteSize)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_sizes_use_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_200_000, "1.1 MiB"),
            (3 << 29, "1.5 GiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(rounded(bytes), text);
        }
    }

    fn parse(text: &str) -> Result<u64, ParseSizeError> {
        text.parse::<ByteSize>().map(ByteSize::bytes)
    }

    #[test]
    fn sizes_parse_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("64 KIB", 65_536),
            ("1MiB", 1_048_576),
            ("100GiB", 107_374_182_400),
            ("1TiB", 1_099_511_627_776),
            ("1KB", 1_000),
            ("3mb", 3_000_000),
            ("2GB", 2_000_000_000),
            ("5TB", 5_000_000_000_000),
            (" 7MiB ", 7_340_032),
            ("18446744073709551615", u64::MAX),
            ("16777215TiB", 16_777_215 * TIB),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn invalid_sizes_are_rejected_with_advice() {
        for (text, advice) in [
            ("", "the size is empty"),
            ("  ", "the size is empty"),
            ("GiB", "does not begin with a number"),
            ("-1", "does not begin with a number"),
            ("+1MiB", "does not begin with a number"),
            ("1.5GiB", "1536MiB"),
            ("1,5GiB", "1536MiB"),
            ("10M", "write 10MiB for powers of 1024 or 10MB"),
            ("10k", "write 10KiB for powers of 1024 or 10KB"),
            ("10PiB", "unknown unit \"PiB\""),
            ("10MiBs", "unknown unit \"MiBs\""),
            ("1_000", "unknown unit \"_000\""),
            ("0x10", "unknown unit \"x10\""),
            ("1\u{e9}", "unknown unit"),
            ("18446744073709551616", "more than 2^64 - 1"),
            ("16777216TiB", "more than 2^64 - 1"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(advice), "{text:?}: {error}");
        }
    }

    #[test]
    fn display_is_the_largest_exact_binary_unit() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1_000, "1000"),
            (1_024, "1KiB"),
            (1_025, "1025"),
            (1_536, "1536"),
            (1_536 * MIB, "1536MiB"),
            (GIB, "1GiB"),
            (1_024 * GIB, "1TiB"),
            (1_024 * TIB, "1024TiB"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
            assert_eq!(parse(text), Ok(bytes));
        }
        assert_eq!(format!("{:>6}", ByteSize::mib(1)), "  1MiB");
    }

    #[test]
    fn serde_accepts_text_or_a_whole_number() {
        #[derive(Debug, serde::Deserialize, serde::Serialize)]
        struct Holder {
            size: ByteSize,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.size);
        assert_eq!(read("size = \"64KiB\"").unwrap(), ByteSize::kib(64));
        assert_eq!(read("size = 65536").unwrap(), ByteSize::kib(64));
        for bad in ["size = -1", "size = 1.5", "size = true", "size = \"1.5MiB\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let holder = Holder { size: ByteSize::gib(1) };
        assert_eq!(toml::to_string(&holder).unwrap(), "size = \"1GiB\"\n");
    }
}
