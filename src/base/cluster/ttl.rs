//! How long needles live.

use std::fmt;
use std::str::FromStr;

/// Units in the order of their codes, which begin with 1: letter, and length (seconds).
const UNITS: [(char, u64); 6] = [
    ('m', 60),
    ('h', 60 * 60),
    ('d', 24 * 60 * 60),
    ('w', 7 * 24 * 60 * 60),
    ('M', 30 * 24 * 60 * 60),
    ('y', 365 * 24 * 60 * 60),
];

/// A time to live: 1 to 255 minutes, hours, days, weeks, months of 30 days or years of 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    count: u8,
    /// Code of the unit: 1 to 6.
    unit: u8,
}

impl Ttl {
    /// Returns the time of this count and code of a unit. `None` if there is no such time: a count of 0, or
    /// an unknown unit.
    #[must_use]
    pub fn from_bytes([count, unit]: [u8; 2]) -> Option<Self> {
        let is_known = (1..=UNITS.len()).contains(&usize::from(unit));
        (count > 0 && is_known).then_some(Self { count, unit })
    }

    /// Returns the count, and the code of the unit.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 2] {
        [self.count, self.unit]
    }

    /// Length of the time (nanoseconds).
    #[must_use]
    pub fn as_ns(self) -> u64 {
        let (_, seconds) = self.unit();
        u64::from(self.count) * seconds * 1_000_000_000
    }

    fn unit(self) -> (char, u64) {
        UNITS[usize::from(self.unit) - 1]
    }
}

impl fmt::Display for Ttl {
    /// Writes count and letter of the unit, such as `5m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit().0)
    }
}

impl FromStr for Ttl {
    type Err = ();

    /// Reads what `Display` writes: digits without a sign, and a letter.
    fn from_str(text: &str) -> Result<Self, ()> {
        let letter = text.chars().next_back().ok_or(())?;
        let digits = text.strip_suffix(letter).ok_or(())?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let unit = UNITS.iter().position(|(known, _)| *known == letter).ok_or(())?;
        let unit = u8::try_from(unit + 1).map_err(drop)?;
        let count = digits.parse().map_err(drop)?;
        Self::from_bytes([count, unit]).filter(|_| is_number).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_are_read_back_and_nothing_else_is_read() {
        for unit in 0..=u8::MAX {
            for count in 0..=u8::MAX {
                let ttl = Ttl::from_bytes([count, unit]);
                assert_eq!(ttl.is_some(), count > 0 && (1..=6).contains(&unit));
                let Some(ttl) = ttl else { continue };
                assert_eq!(ttl.to_bytes(), [count, unit]);
                assert_eq!(ttl.to_string().parse(), Ok(ttl));
            }
        }
        for text in ["", "m", "5", "0m", "256m", "-1m", "+1m", "5s", "5 m", "m5", "5\u{e9}"] {
            assert_eq!(text.parse::<Ttl>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn units_have_their_lengths() {
        let second = 1_000_000_000;
        for (text, seconds) in [
            ("5m", 300),
            ("2h", 7200),
            ("3d", 259_200),
            ("1w", 604_800),
            ("1M", 2_592_000),
            ("255y", 255 * 31_536_000),
        ] {
            assert_eq!(text.parse::<Ttl>().unwrap().as_ns(), seconds * second, "{text}");
        }
    }
}
