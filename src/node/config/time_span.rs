//! Spans of time as text: `30d`, `12h`, `90m`, `45s`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// Units, the longest first, with their lengths in seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// A span of time in whole seconds. Text form: a whole number and `d`, `h`, `m` or `s`. Prints the longest
/// unit that is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    seconds: u64,
}

impl TimeSpan {
    /// `count` days. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn days(count: u64) -> Self {
        Self { seconds: count * 86_400 }
    }

    /// `count` hours. Panics on overflow (at compile time in a constant).
    #[must_use]
    pub const fn hours(count: u64) -> Self {
        Self { seconds: count * 3600 }
    }

    /// Length in nanoseconds; 2^64 - 1 if it is longer (584 years).
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.seconds.saturating_mul(1_000_000_000)
    }
}

/// The text is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no span of time; write a whole number and d, h, m or s, for instance 30d or 12h")]
pub struct ParseTimeSpanError(String);

impl FromStr for TimeSpan {
    type Err = ParseTimeSpanError;

    fn from_str(text: &str) -> Result<Self, ParseTimeSpanError> {
        let parsed = UNITS.iter().find_map(|(unit, length)| {
            let digits = text.trim().strip_suffix(unit)?.trim_end();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let count: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
            count.checked_mul(*length)
        });
        match parsed {
            Some(seconds) => Ok(Self { seconds }),
            None => Err(ParseTimeSpanError(text.to_owned())),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_exact = |(_, length): &&(&str, u64)| {
            self.seconds.is_multiple_of(*length) && (self.seconds > 0 || *length == 1)
        };
        let (unit, length) = UNITS.iter().find(is_exact).expect("every span is exact in seconds");
        write!(f, "{}{unit}", self.seconds / length)
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_trip_through_text() {
        for (text, seconds) in [
            ("0s", 0),
            ("59s", 59),
            ("90m", 5400),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("1d", 86_400),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!((span.seconds, span.to_string().as_str()), (seconds, text));
        }
        assert_eq!("24h".parse::<TimeSpan>().unwrap().to_string(), "1d");
        assert_eq!(" 7 d ".parse(), Ok(TimeSpan::days(7)));
        assert_eq!(
            (TimeSpan::hours(24), TimeSpan::days(1).nanos()),
            (TimeSpan::days(1), 86_400 * 1_000_000_000)
        );
        assert_eq!(TimeSpan::days(1 << 40).nanos(), u64::MAX);
    }

    #[test]
    fn invalid_spans_are_rejected_with_advice() {
        for text in [
            "",
            "d",
            "30",
            "-1d",
            "+1d",
            "1.5h",
            "1w",
            "30 days",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            let error = text.parse::<TimeSpan>().expect_err(text).to_string();
            assert!(error.contains("for instance 30d"), "{text:?}: {error}");
        }
    }
}
