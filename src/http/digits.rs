//! Decimal and hexadecimal formatting and parsing of unsigned numbers: no signs, no white space.

/// Number of decimal digits of the largest `u64`.
pub const U64_DIGITS: usize = 20;

/// Why a text is not a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitsError {
    /// Empty, or a byte that is not a digit.
    Malformed,
    /// The number exceeds a `u64`.
    Overflow,
}

/// Writes `value` in decimal to the end of `buf` and returns the digits.
#[must_use]
pub fn decimal(value: u64, buf: &mut [u8; U64_DIGITS]) -> &[u8] {
    let mut rest = value;
    let mut start = buf.len();
    loop {
        start -= 1;
        buf[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &buf[start..];
        }
    }
}

/// Number of digits that [`decimal`] writes.
#[must_use]
pub fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Parses 1*DIGIT; leading zeros are allowed.
pub fn parse_decimal(digits: &[u8]) -> Result<u64, DigitsError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DigitsError::Malformed);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, add).ok_or(DigitsError::Overflow)
}

/// Formats `value` as exactly 16 lower-case hexadecimal digits.
#[must_use]
pub fn hex16(value: u64) -> [u8; 16] {
    let mut out = [0; 16];
    for (i, digit) in out.iter_mut().enumerate() {
        let nibble = value >> (60 - 4 * i) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    out
}

/// Parses exactly 16 lower-case hexadecimal digits; `None` for anything else.
#[must_use]
pub fn parse_hex16(digits: &[u8]) -> Option<u64> {
    if digits.len() != 16 {
        return None;
    }
    digits.iter().try_fold(0, |sum: u64, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u64::from(nibble))
    })
}

/// Parses 1 to 16 hexadecimal digits of either case; `None` for anything else.
#[must_use]
pub fn parse_hex(digits: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |sum: u64, &digit| {
        let nibble = char::from(digit).to_digit(16)?;
        Some(sum << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hexadecimal_numbers_have_up_to_16_digits_of_either_case() {
        assert_eq!(parse_hex(b"0"), Some(0));
        assert_eq!(parse_hex(b"00fF"), Some(255));
        assert_eq!(parse_hex(b"ffffffffffffffff"), Some(u64::MAX));
        for bad in ["", "00000000000000000", "g", "+1", " 1", "0x1"] {
            assert_eq!(parse_hex(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn decimal_round_trips_at_the_boundaries() {
        for value in [0, 1, 9, 10, 99, 100, 999_999, u64::MAX - 1, u64::MAX] {
            let mut buf = [0; U64_DIGITS];
            let digits = decimal(value, &mut buf);
            assert_eq!(digits, value.to_string().as_bytes());
            assert_eq!(digits.len(), decimal_len(value));
            assert_eq!(parse_decimal(digits), Ok(value));
        }
        assert_eq!(parse_decimal(b"18446744073709551616"), Err(DigitsError::Overflow));
        assert_eq!(parse_decimal(b"0000000000000000000000018"), Ok(18));
    }

    #[test]
    fn decimal_parsing_accepts_only_digits() {
        for text in ["", " 1", "1 ", "+1", "-1", "0x1", "1_000", "99999999999999999999a"] {
            assert_eq!(parse_decimal(text.as_bytes()), Err(DigitsError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn hex_parsing_accepts_exactly_16_lower_case_digits() {
        assert_eq!(parse_hex16(b"0123456789abcdef"), Some(0x0123_4567_89ab_cdef));
        let bad =
            ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg"];
        for text in bad {
            assert_eq!(parse_hex16(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decimal_and_hex_round_trip(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut buf = [0; U64_DIGITS];
            prop_assert_eq!(decimal(value, &mut buf).to_vec(), value.to_string().into_bytes());
            prop_assert_eq!(decimal_len(value), value.to_string().len());
            prop_assert_eq!(hex16(value).to_vec(), format!("{value:016x}").into_bytes());
            prop_assert_eq!(parse_hex16(&hex16(value)), Some(value));
        }
    }
}
