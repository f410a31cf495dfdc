//! `Cache-Control` of an object that expires: no cache may keep it for longer than it has left (RFC 9111
//! section 4.2).

use super::digits::{self, parse_decimal};
use crate::base::limits::CACHE_CONTROL_MAX;

/// A value of `Cache-Control`.
#[derive(Clone, Copy)]
pub struct CacheControl {
    bytes: [u8; CACHE_CONTROL_MAX],
    len: usize,
}

impl CacheControl {
    /// Limits `value` to `seconds`. Lifetimes above it are cut to it, and permissions to serve a stale
    /// response are left out. Without `max-age` one is added, since a cache may choose a lifetime of its own
    /// otherwise; but not beside `no-store`. If the result is too long, it is `no-store`.
    #[must_use]
    pub fn limited(value: &[u8], seconds: u64) -> Self {
        let mut out = Self { bytes: [0; CACHE_CONTROL_MAX], len: 0 };
        out.put_limited(value, seconds).unwrap_or_else(|| {
            out.len = 0;
            out.put(b"no-store").expect("it is shorter than the longest value");
        });
        out
    }

    /// The value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Returns `None` if the result is too long.
    fn put_limited(&mut self, value: &[u8], seconds: u64) -> Option<()> {
        let mut is_limited = false;
        for directive in value.split(|&byte| byte == b',') {
            let (name, argument) = match directive.iter().position(|&byte| byte == b'=') {
                Some(equals) => (&directive[..equals], &directive[equals + 1..]),
                None => (directive, &b""[..]),
            };
            let is = |known: &[u8]| name.trim_ascii().eq_ignore_ascii_case(known);
            if is(b"stale-while-revalidate") || is(b"stale-if-error") {
                continue;
            }
            is_limited |= is(b"max-age") || is(b"no-store");
            self.separate()?;
            if is(b"max-age") || is(b"s-maxage") {
                let lifetime = parse_decimal(argument.trim_ascii()).unwrap_or(u64::MAX);
                self.put(name)?;
                self.put(b"=")?;
                self.put_decimal(lifetime.min(seconds))?;
            } else {
                self.put(directive)?;
            }
        }
        if !is_limited {
            self.separate()?;
            self.put(b" max-age=")?;
            self.put_decimal(seconds)?;
        }
        Some(())
    }

    fn separate(&mut self) -> Option<()> {
        if self.len == 0 { Some(()) } else { self.put(b",") }
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        // Leading blanks are not part of a value.
        let bytes = if self.len == 0 { bytes.trim_ascii_start() } else { bytes };
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn put_decimal(&mut self, value: u64) -> Option<()> {
        self.put(digits::decimal(value, &mut [0; digits::U64_DIGITS]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::reply::valid_cache_control;
    use proptest::prelude::*;

    #[test]
    fn lifetimes_are_cut_and_stale_responses_are_not_permitted() {
        for (value, seconds, want) in [
            ("public, max-age=86400", 10, "public, max-age=10"),
            ("public, max-age=86400", 86_401, "public, max-age=86400"),
            (
                "public,max-age=5,s-maxage=50,immutable",
                10,
                "public,max-age=5,s-maxage=10,immutable",
            ),
            ("Max-Age=60, S-MaxAge=60", 0, "Max-Age=0, S-MaxAge=0"),
            ("public", 10, "public, max-age=10"),
            ("immutable, s-maxage=60", 7, "immutable, s-maxage=7, max-age=7"),
            ("max-age=60, stale-while-revalidate=600, stale-if-error=600", 7, "max-age=7"),
            ("stale-if-error=1, private, max-age=9", 7, "private, max-age=7"),
            ("stale-if-error=1", 7, "max-age=7"),
            ("no-store", 7, "no-store"),
            ("no-cache", 7, "no-cache, max-age=7"),
            ("max-age=\"60\"", 7, "max-age=7"),
            ("max-age", 7, "max-age=7"),
        ] {
            let limited = CacheControl::limited(value.as_bytes(), seconds);
            assert_eq!(str::from_utf8(limited.as_bytes()).unwrap(), want, "{value}");
        }
    }

    #[test]
    fn value_that_becomes_too_long_forbids_storing() {
        let long = vec![b'x'; CACHE_CONTROL_MAX];
        assert_eq!(CacheControl::limited(&long, 1).as_bytes(), b"no-store");
    }

    proptest! {
        #[test]
        fn result_is_valid_for_any_value(value in "[ -~\t]{1,128}", seconds: u64) {
            let limited = CacheControl::limited(value.as_bytes(), seconds);
            prop_assert!(valid_cache_control(limited.as_bytes()));
        }
    }
}
