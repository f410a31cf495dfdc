//! Comparison of authorities: a host with an optional port, as in `Host`, in a request target in absolute
//! form and in `Origin` (RFC 3986 section 3.2).

/// Returns whether two authorities of the same scheme are equal: hosts are case-insensitive, and a missing
/// port means `default_port` (RFC 9110 section 4.2.3). Nothing else is normalised; an empty host equals no
/// other, not even an empty one.
#[must_use]
pub fn is_same(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let (one_host, one_port) = split(one, default_port);
    let (other_host, other_port) = split(other, default_port);
    !one_host.is_empty() && one_host.eq_ignore_ascii_case(other_host) && one_port == other_port
}

/// Splits into host and port. A colon inside the brackets of an IPv6 address is no separator: the closing
/// bracket follows it, so that not all of the rest are digits.
fn split<'a>(authority: &'a [u8], default_port: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if authority[colon + 1..].iter().all(u8::is_ascii_digit) => {
            let port = &authority[colon + 1..];
            (&authority[..colon], if port.is_empty() { default_port } else { port })
        }
        _ => (authority, default_port),
    }
}

/// Returns whether `origin`, the value of an `Origin` field, names the same site as `host`, the value of
/// `Host` (RFC 6454 section 7). False for `null`, for several origins and for schemes other than http and
/// https.
#[must_use]
pub fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    let of_scheme = |scheme: &str, default_port: &[u8]| {
        origin.split_at_checked(scheme.len()).is_some_and(|(start, authority)| {
            start.eq_ignore_ascii_case(scheme.as_bytes()) && is_same(authority, host, default_port)
        })
    };
    of_scheme("http://", b"80") || of_scheme("https://", b"443")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_equal_up_to_case_and_default_port() {
        for (one, other) in [
            ("a", "a"),
            ("a", "A"),
            ("a:80", "a"),
            ("a", "a:"),
            ("a:8080", "A:8080"),
            ("[::1]", "[::1]:80"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            assert!(is_same(one.as_bytes(), other.as_bytes(), b"80"), "{one} {other}");
        }
        for (one, other) in [
            ("", ""),
            (":80", ":80"),
            ("a", ""),
            ("a", "b"),
            ("a", "a."),
            ("a:8080", "a"),
            ("a:080", "a"),
            ("a:443", "a"),
            ("[::1]", "[::2]"),
            ("[::80]", "[:]"),
            ("a:x", "a"),
        ] {
            assert!(!is_same(one.as_bytes(), other.as_bytes(), b"80"), "{one} {other}");
        }
    }

    #[test]
    fn an_origin_matches_the_host_with_scheme_http_or_https() {
        for (origin, host) in [
            ("http://a", "a"),
            ("http://a", "a:80"),
            ("https://a", "a:443"),
            ("https://photos.example", "Photos.Example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("HTTP://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_origin_of(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
        for (origin, host) in [
            ("", ""),
            ("", "a"),
            ("null", "null"),
            ("http://", ""),
            ("a", "a"),
            ("http://b", "a"),
            ("http://a.b", "a"),
            ("http://a:81", "a"),
            ("https://a", "a:80"),
            ("http://a/", "a"),
            ("http://a http://b", "a"),
            ("http://b, http://a", "a"),
            ("http://u@a", "a"),
            ("ftp://a", "a"),
            ("chrome-extension://a", "a"),
        ] {
            assert!(!is_origin_of(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }
}
