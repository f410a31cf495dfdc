//! Parts of a whole as a fraction: `0.5`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Units of a share in the whole: shares have at most four decimals.
const WHOLE: u16 = 10_000;

/// A part of a whole, 0 to 1, with at most four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// `percent` hundredths, 0 to 100.
    ///
    /// # Panics
    /// If it is more (at compile time in a constant).
    #[must_use]
    pub const fn percent(percent: u16) -> Self {
        assert!(percent <= 100, "a share is at most the whole");
        Self(percent * (WHOLE / 100))
    }

    /// The share as a number, 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Returns the share nearest to a number; `None` if that is not from 0 to 1, or has more than four
    /// decimals.
    fn nearest(number: f64) -> Option<Self> {
        let units = number * f64::from(WHOLE);
        let nearest = units.round();
        let is_exact =
            (units - nearest).abs() < 1e-6 && (0.0..=f64::from(WHOLE)).contains(&nearest);
        is_exact.then_some(Self(nearest as u16))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fraction().fmt(f)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.fraction())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Share, E> {
        Share::nearest(number).ok_or_else(|| {
            E::custom(format!(
                "{number} is no share; write a number from 0 to 1 with at most four decimals"
            ))
        })
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Share, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Share, E> {
        self.visit_f64(number as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, serde::Serialize)]
    struct Holder {
        share: Share,
    }

    #[test]
    fn every_share_round_trips_through_toml() {
        for units in 0..=WHOLE {
            let text = toml::to_string(&Holder { share: Share(units) }).unwrap();
            assert_eq!(toml::from_str::<Holder>(&text).unwrap().share, Share(units), "{text}");
        }
        assert_eq!(
            toml::to_string(&Holder { share: Share::percent(50) }).unwrap(),
            "share = 0.5\n"
        );
        assert_eq!(toml::from_str::<Holder>("share = 1").unwrap().share, Share::percent(100));
        assert_eq!(Share::percent(25).to_string(), "0.25");
    }

    #[test]
    fn numbers_that_are_no_share_are_rejected() {
        for text in ["-0.1", "1.1", "2", "-1", "0.00001", "nan", "inf", "true", "\"0.5\""] {
            assert!(toml::from_str::<Holder>(&format!("share = {text}")).is_err(), "{text}");
        }
    }
}
