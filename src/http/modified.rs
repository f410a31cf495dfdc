//! Times of a photo as sent by a client, when it was modified and when it expires: seconds since 1970 with
//! up to nine decimals.

use super::digits::parse_decimal;

/// Name of the request header field.
pub const HEADER: &str = "X-Hayloft-Modified";
/// Name of the header field of the time at which a photo expires, in requests and replies.
pub const EXPIRES_HEADER: &str = "X-Hayloft-Expires";

const SECOND_NS: u64 = 1_000_000_000;
/// Maximum number of decimals of a second.
const DECIMALS: usize = 9;

/// Parses 1*DIGIT [ "." 1*9DIGIT ] to nanoseconds since 1970; `None` if malformed. Times beyond `u64::MAX`
/// nanoseconds (in the year 2554) become `u64::MAX`.
#[must_use]
pub fn parse(value: &[u8]) -> Option<u64> {
    let (seconds, decimals) = split(value);
    match decimals {
        Some(decimals) if decimals.len() > DECIMALS => None,
        decimals => join(seconds, decimals),
    }
}

/// Parses the value of a pax `mtime` record to nanoseconds since 1970, like [`parse`]. It may have more
/// decimals, which are truncated, and a minus sign: a time before 1970 becomes 0.
#[must_use]
pub fn parse_pax(value: &[u8]) -> Option<u64> {
    let (is_negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let (seconds, decimals) = split(value);
    let ns = match decimals {
        Some(decimals) if decimals.len() > DECIMALS && decimals.iter().all(u8::is_ascii_digit) => {
            join(seconds, Some(&decimals[..DECIMALS]))
        }
        decimals => join(seconds, decimals),
    }?;
    Some(if is_negative { 0 } else { ns })
}

/// Formats nanoseconds since 1970 as seconds, with nine decimals unless they are all 0.
#[must_use]
pub fn format(ns: u64) -> String {
    let (seconds, rest) = (ns / SECOND_NS, ns % SECOND_NS);
    if rest == 0 { seconds.to_string() } else { format!("{seconds}.{rest:09}") }
}

fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match value.iter().position(|&byte| byte == b'.') {
        Some(point) => (&value[..point], Some(&value[point + 1..])),
        None => (value, None),
    }
}

fn join(seconds: &[u8], decimals: Option<&[u8]>) -> Option<u64> {
    let fraction = match decimals {
        Some(decimals) => {
            let missing = DECIMALS.checked_sub(decimals.len())?;
            parse_decimal(decimals).ok()? * 10_u64.pow(u32::try_from(missing).ok()?)
        }
        None => 0,
    };
    match parse_decimal(seconds) {
        Ok(seconds) => Some(seconds.saturating_mul(SECOND_NS).saturating_add(fraction)),
        Err(super::digits::DigitsError::Overflow) => Some(u64::MAX),
        Err(super::digits::DigitsError::Malformed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_parsed_to_nanoseconds_or_refused() {
        for (value, want) in [
            ("0", Some(0)),
            ("1", Some(1_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("1.000000001", Some(1_000_000_001)),
            ("1700000000.123456789", Some(1_700_000_000_123_456_789)),
            ("007", Some(7_000_000_000)),
            ("18446744073.709551615", Some(u64::MAX)),
            ("18446744073.709551616", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("1.0000000001", None),
            ("", None),
            (".5", None),
            ("1.", None),
            ("-1", None),
            ("+1", None),
            ("1,5", None),
            ("1.5.5", None),
            ("1 ", None),
            ("1e3", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(parse(value.as_bytes()), want, "{value:?}");
        }
    }

    #[test]
    fn pax_times_may_have_a_sign_and_more_decimals() {
        for (value, want) in [
            ("1.5", Some(1_500_000_000)),
            ("1.1234567891234", Some(1_123_456_789)),
            ("-1.5", Some(0)),
            ("-0", Some(0)),
            ("1.123456789x", None),
            ("--1", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(parse_pax(value.as_bytes()), want, "{value:?}");
        }
    }

    #[test]
    fn a_whole_second_has_no_decimals_and_others_have_nine() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (5 * SECOND_NS, "5"),
            (5 * SECOND_NS + 1, "5.000000001"),
            (6 * SECOND_NS - 1, "5.999999999"),
        ] {
            assert_eq!(format(ns), text);
        }
    }

    proptest! {
        #[test]
        fn formatted_times_parse_to_the_same_value(ns: u64) {
            prop_assert_eq!(parse(format(ns).as_bytes()), Some(ns));
            prop_assert_eq!(parse_pax(format(ns).as_bytes()), Some(ns));
        }

        #[test]
        fn no_input_panics(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse(&value), parse_pax(&value));
        }
    }
}
