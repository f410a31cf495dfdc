//! Formats times as RFC 3339, in UTC.
//!
//! This module knows no other module, and reads no clock.

/// Formats date and time of a number of seconds since 1970-01-01 UTC: `2026-08-01T13:04:05`.
fn date_time(seconds: u64) -> String {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
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

/// Returns year, month and day of a number of days since 1970-01-01. Counts in years that begin on 1 March,
/// so that the leap day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
