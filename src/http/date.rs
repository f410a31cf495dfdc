//! HTTP-dates (RFC 9110 section 5.6.7): formats seconds since 1970 as IMF-fixdate, and parses all three
//! forms.
//!
//! This module reads no clock: the current time, which a two-digit year needs, is a parameter.

use crate::base::calendar::{Civil, DAY_SECONDS};

/// Length of an IMF-fixdate (bytes): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const LEN: usize = 29;

/// The last second of the year 9999 (seconds since 1970): 9999-12-31 23:59:59.
pub const SECONDS_MAX: u64 = 253_402_300_799;

const DAY_NAMES: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const LONG_DAY_NAMES: [&[u8]; 7] =
    [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
const MONTH_NAMES: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Formats `seconds` since 1970 as an IMF-fixdate. Times after [`SECONDS_MAX`] are formatted as
/// [`SECONDS_MAX`].
#[must_use]
pub fn format(seconds: u64) -> [u8; LEN] {
    let seconds = seconds.min(SECONDS_MAX);
    let civil = Civil::from_seconds(seconds);
    let mut out = *b"Sun, 00 Nov 0000 00:00:00 GMT";
    // 1970-01-01 was a Thursday.
    let weekday = (seconds / DAY_SECONDS + 3) % 7;
    out[..3].copy_from_slice(DAY_NAMES[weekday as usize]);
    two_digits(&mut out[5..7], civil.day);
    out[8..11].copy_from_slice(MONTH_NAMES[civil.month as usize - 1]);
    two_digits(&mut out[12..14], civil.year / 100);
    two_digits(&mut out[14..16], civil.year % 100);
    two_digits(&mut out[17..19], civil.second_of_day / 3600);
    two_digits(&mut out[20..22], civil.second_of_day / 60 % 60);
    two_digits(&mut out[23..25], civil.second_of_day % 60);
    out
}

fn two_digits(out: &mut [u8], value: u32) {
    out[0] = b'0' + (value / 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

/// Parses an HTTP-date to seconds since 1970; `now` (same unit) determines the century of a two-digit year.
/// Returns `None` if the date is malformed or the day does not exist. A time before 1970 becomes 0: no object
/// is older.
///
/// The day name must be a valid one, but need not match the date: the RFC's grammar does not require it.
#[must_use]
pub fn parse(value: &[u8], now: u64) -> Option<u64> {
    let civil = match value.iter().position(|&byte| byte == b',') {
        Some(3) => imf_fixdate(value),
        Some(_) => rfc850_date(value, now),
        None => asctime_date(value),
    }?;
    civil.to_seconds()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<Civil> {
    let mut rest = Cursor(value);
    rest.day_name()?;
    rest.literal(b", ")?;
    let day = rest.number(2)?;
    rest.literal(b" ")?;
    let month = rest.month()?;
    rest.literal(b" ")?;
    let year = rest.number(4)?;
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.last(b" GMT")?;
    Some(Civil { year, month, day, second_of_day })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(value: &[u8], now: u64) -> Option<Civil> {
    let comma = value.iter().position(|&byte| byte == b',')?;
    if !LONG_DAY_NAMES.contains(&&value[..comma]) {
        return None;
    }
    let mut rest = Cursor(&value[comma..]);
    rest.literal(b", ")?;
    let day = rest.number(2)?;
    rest.literal(b"-")?;
    let month = rest.month()?;
    rest.literal(b"-")?;
    let year = rest.number(2)?;
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.last(b" GMT")?;
    Some(in_century_before(Civil { year, month, day, second_of_day }, now))
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(value: &[u8]) -> Option<Civil> {
    let mut rest = Cursor(value);
    rest.day_name()?;
    rest.literal(b" ")?;
    let month = rest.month()?;
    rest.literal(b" ")?;
    let day = match rest.literal(b" ") {
        Some(()) => rest.number(1)?,
        None => rest.number(2)?,
    };
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(b" ")?;
    let year = rest.number(4)?;
    rest.last(b"")?;
    Some(Civil { year, month, day, second_of_day })
}

/// Expands a two-digit year: a time more than 50 years in the future is taken for the most recent year in
/// the past with these digits (RFC 9110 section 5.6.7).
fn in_century_before(date: Civil, now: u64) -> Civil {
    let now = Civil::from_seconds(now.min(SECONDS_MAX));
    let latest = Civil { year: now.year + 50, ..now };
    let century = latest.year - latest.year % 100;
    let candidate = Civil { year: century + date.year, ..date };
    if candidate > latest { Civil { year: candidate.year - 100, ..date } } else { candidate }
}

/// The part of a date that is not parsed yet.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Consumes `literal`.
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    /// Checks that exactly `literal` is left.
    fn last(&mut self, literal: &[u8]) -> Option<()> {
        (self.0 == literal).then_some(())
    }

    /// Parses a number of exactly `digits` digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        super::digits::parse_decimal(number).ok()?.try_into().ok()
    }

    /// Parses one of `names` and returns its index.
    fn name(&mut self, names: &[&[u8; 3]]) -> Option<usize> {
        let (name, rest) = self.0.split_at_checked(3)?;
        self.0 = rest;
        names.iter().position(|known| *known == name)
    }

    fn day_name(&mut self) -> Option<usize> {
        self.name(&DAY_NAMES)
    }

    fn month(&mut self) -> Option<u32> {
        Some(self.name(&MONTH_NAMES)? as u32 + 1)
    }

    /// Parses hour ":" minute ":" second to a second of the day; the grammar allows a leap second.
    fn time_of_day(&mut self) -> Option<u32> {
        let hour = self.number(2)?;
        self.literal(b":")?;
        let minute = self.number(2)?;
        self.literal(b":")?;
        let second = self.number(2)?;
        let exists = hour < 24 && minute < 60 && second <= 60;
        exists.then_some(hour * 3600 + minute * 60 + second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-21.
    const NOW: u64 = 1_795_219_200;

    fn text(seconds: u64) -> String {
        String::from_utf8(format(seconds).to_vec()).unwrap()
    }

    fn read(value: &str) -> Option<u64> {
        parse(value.as_bytes(), NOW)
    }

    /// Expected values from `date -u -d ... +%s`.
    #[test]
    fn known_dates_are_formatted_and_parsed() {
        for (seconds, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_078_012_800, "Sun, 29 Feb 2004 00:00:00 GMT"),
            (NOW, "Sat, 21 Nov 2026 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), want);
            assert_eq!(read(want), Some(seconds), "{want}");
        }
        assert_eq!(text(u64::MAX), text(SECONDS_MAX));
    }

    #[test]
    fn all_three_forms_give_the_same_time() {
        for value in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(value), Some(784_111_777), "{value}");
        }
        assert_eq!(read("Wed Nov 16 08:49:37 1994"), Some(784_975_777));
    }

    #[test]
    fn malformed_dates_are_refused() {
        for value in [
            "",
            "0",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:37 gmt",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1999 08:49:37 GMT",
            "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 23:60:00 GMT",
            "Sun, 06 Nov 1994 23:59:61 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 31-Nov-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov 06 08:49:37 94",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 GMT 1994",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    #[test]
    fn times_before_1970_are_parsed_as_0() {
        assert_eq!(read("Wed, 31 Dec 1969 23:59:59 GMT"), Some(0));
        assert_eq!(read("Sat, 01 Jan 0000 00:00:00 GMT"), Some(0));
        assert_eq!(read("Sat, 30 Feb 1900 00:00:00 GMT"), None);
    }

    #[test]
    fn a_leap_second_is_parsed_as_the_next_second() {
        assert_eq!(read("Sat, 31 Dec 2016 23:59:60 GMT"), read("Sun, 01 Jan 2017 00:00:00 GMT"));
    }

    /// `NOW` is 2026-11-21 00:00:00: up to 2076-11-21 00:00:00 a two-digit year is a future one.
    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        let year =
            |value: &str, now| Civil::from_seconds(parse(value.as_bytes(), now).unwrap()).year;
        assert_eq!(year("Saturday, 21-Nov-76 00:00:00 GMT", NOW), 2076);
        assert_eq!(year("Sunday, 21-Nov-76 00:00:01 GMT", NOW), 1976);
        assert_eq!(year("Sunday, 01-Jan-77 00:00:00 GMT", NOW), 1977);
        assert_eq!(year("Sunday, 01-Jan-00 00:00:00 GMT", NOW), 2000);
        assert_eq!(year("Tuesday, 29-Feb-72 00:00:00 GMT", NOW), 2072);
        let in_2099 = 4_100_000_000 - 31_536_000;
        assert_eq!(Civil::from_seconds(in_2099).year, 2098);
        assert_eq!(year("Sunday, 01-Jan-01 00:00:00 GMT", in_2099), 2101);
        assert_eq!(year("Sunday, 01-Jan-49 00:00:00 GMT", in_2099), 2049);
        assert_eq!(read("Tuesday, 29-Feb-77 00:00:00 GMT"), None);
    }

    proptest! {
        #[test]
        fn formatted_dates_parse_to_the_same_time(seconds in 0..=SECONDS_MAX, now in 0..=SECONDS_MAX) {
            prop_assert_eq!(parse(&format(seconds), now), Some(seconds));
        }

        #[test]
        fn obsolete_forms_parse_to_the_same_time(ahead in 0u64..50 * 365 * DAY_SECONDS, past: bool) {
            let seconds = if past { NOW - ahead / 2 } else { NOW + ahead };
            let (new, civil) = (text(seconds), Civil::from_seconds(seconds));
            let (name, month, time) = (&new[..3], &new[8..11], &new[17..25]);
            let long = LONG_DAY_NAMES.iter().find(|long| long.starts_with(name.as_bytes())).unwrap();
            let long = str::from_utf8(long).unwrap();
            let (day, year) = (civil.day, civil.year);
            let rfc850 = format!("{long}, {day:02}-{month}-{:02} {time} GMT", year % 100);
            prop_assert_eq!(read(&rfc850), Some(seconds));
            let asctime = format!("{name} {month} {day:2} {time} {year}");
            prop_assert_eq!(read(&asctime), Some(seconds));
        }

        #[test]
        fn no_input_panics(value in proptest::collection::vec(any::<u8>(), 0..40), now: u64) {
            let _ = parse(&value, now);
        }

        #[test]
        fn a_changed_date_is_refused_or_another_date(
            seconds in 0..=SECONDS_MAX, at in 0..LEN, byte in b' '..=b'~',
        ) {
            let mut value = format(seconds);
            value[at] = byte;
            if let Some(parsed) = parse(&value, NOW) {
                // A date that still parses differs from its canonical form at most in the day name.
                let canonical = format(parsed);
                let time = &value[23..25] == b"60" || parsed == 0;
                prop_assert!(time || canonical[3..] == value[3..]);
            }
        }
    }
}
