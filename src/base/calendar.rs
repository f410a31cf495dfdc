//! Dates of the Gregorian calendar, times as RFC 3339, and parts of the day, in UTC.
//!
//! This module knows no other module, and reads no clock.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Seconds of a day.
pub const DAY_SECONDS: u64 = 86_400;

/// Formats date and time of a number of seconds since 1970-01-01 UTC: `2026-08-01T13:04:05`.
fn date_time(seconds: u64) -> String {
    let Civil { year, month, day, second_of_day } = Civil::from_seconds(seconds);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60
    )
}

/// Formats `seconds` since 1970-01-01 UTC to the second: `2026-08-01T13:04:05Z`.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    date_time(seconds) + "Z"
}

/// Formats `nanos` since 1970-01-01 UTC to the nanosecond: `2026-08-01T13:04:05.000000001Z`.
#[must_use]
pub fn rfc3339_nanos(nanos: u64) -> String {
    format!("{}.{:09}Z", date_time(nanos / 1_000_000_000), nanos % 1_000_000_000)
}

/// A day of the Gregorian calendar and a second of it. The order of the fields makes the derived order
/// chronological.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Of the Common Era.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// From 1.
    pub day: u32,
    /// 0 to 86,399.
    pub second_of_day: u32,
}

impl Civil {
    /// Returns the date of a number of seconds since 1970-01-01 UTC. Counts in years that begin on 1 March,
    /// so that the leap day is the last day, and in eras of 400 years or 146,097 days (Howard Hinnant,
    /// "chrono-compatible low-level date algorithms").
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        const DAYS_BEFORE_1970: u64 = 719_468;
        let days = seconds / DAY_SECONDS + DAYS_BEFORE_1970;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self {
            year: year as u32,
            month: month as u32,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u32,
            second_of_day: (seconds % DAY_SECONDS) as u32,
        }
    }

    /// Returns seconds since 1970, 0 for an earlier time; `None` if the day does not exist.
    #[must_use]
    pub fn to_seconds(self) -> Option<u64> {
        if !(1..=days_in_month(self.year, self.month)).contains(&self.day) {
            return None;
        }
        if self.year < 1970 {
            return Some(0);
        }
        let before_year = |year: u64| 365 * year + year / 4 - year / 100 + year / 400;
        let year = u64::from(self.year);
        let in_months: u32 = (1..self.month).map(|month| days_in_month(self.year, month)).sum();
        let days = before_year(year - 1) - before_year(1969) + u64::from(in_months + self.day - 1);
        Some(days * DAY_SECONDS + u64::from(self.second_of_day))
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A part of each day, to the minute, in UTC. It may extend over midnight. Text form: `22:00-06:00`; the end
/// does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayWindow {
    /// First minute of the day, and the minute behind the last one; never equal.
    from: u32,
    until: u32,
}

impl DayWindow {
    /// Whether a number of seconds since 1970-01-01 UTC is in this part of its day.
    #[must_use]
    pub fn contains(self, seconds: u64) -> bool {
        let minute = Civil::from_seconds(seconds).second_of_day / 60;
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            !(self.until..self.from).contains(&minute)
        }
    }
}

/// The text is no part of a day.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no part of a day; write two different times of day in UTC, for instance 22:00-06:00"
)]
pub struct ParseDayWindowError(String);

impl FromStr for DayWindow {
    type Err = ParseDayWindowError;

    fn from_str(text: &str) -> Result<Self, ParseDayWindowError> {
        let times = text.split_once('-').and_then(|(from, until)| {
            let window = Self { from: minute_of_day(from)?, until: minute_of_day(until)? };
            (window.from != window.until).then_some(window)
        });
        times.ok_or_else(|| ParseDayWindowError(text.to_owned()))
    }
}

impl fmt::Display for DayWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, until] = [self.from, self.until].map(|at| (at / 60, at % 60));
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.0, from.1, until.0, until.1)
    }
}

/// Parses `HH:MM`.
fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u32| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u32> = is_number.then(|| text.parse().ok()).flatten();
        number.filter(|number| *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_day_may_extend_over_midnight() {
        let minutes_in = |text: &str| {
            let window: DayWindow = text.parse().unwrap();
            assert_eq!(window.to_string(), text);
            let day = 20_000 * DAY_SECONDS;
            let inside = |minute: &u64| {
                let (first, last) = (day + minute * 60, day + minute * 60 + 59);
                assert_eq!(window.contains(first), window.contains(last));
                window.contains(first)
            };
            (0..1440).filter(inside).collect::<Vec<u64>>()
        };
        assert_eq!(minutes_in("01:30-02:00"), (90..120).collect::<Vec<_>>());
        assert_eq!(minutes_in("23:59-00:00"), [1439]);
        assert_eq!(minutes_in("00:00-23:59"), (0..1439).collect::<Vec<_>>());
        assert_eq!(minutes_in("22:00-06:00"), (0..360).chain(1320..1440).collect::<Vec<_>>());
    }

    #[test]
    fn invalid_parts_of_the_day_are_rejected_with_advice() {
        for text in [
            "",
            "22",
            "22-06",
            "22:00",
            "22:00-22:00",
            "24:00-06:00",
            "22:60-06:00",
            "2:00-06:00",
            "22:00 - 06:00",
            "22:00-06:00-07:00",
            "+2:00-06:00",
        ] {
            let error = text.parse::<DayWindow>().expect_err(text).to_string();
            assert!(error.contains("22:00-06:00"), "{text:?}: {error}");
        }
    }

    #[test]
    fn times_print_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_785_589_445, "2026-08-01T13:04:05Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
        assert_eq!(rfc3339_nanos(951_782_400_000_000_007), "2000-02-29T00:00:00.000000007Z");
        assert_eq!(rfc3339_nanos(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    /// Compares every day from 1970 to 9999 with a day-by-day count.
    #[test]
    fn every_day_converts_to_its_date_and_back() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=253_402_300_799 / DAY_SECONDS {
            let civil = Civil::from_seconds(days * DAY_SECONDS);
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!(civil.to_seconds(), Some(days * DAY_SECONDS));
            day += 1;
            if day > days_in_month(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
