//! What a read of a fid asks for beside the object.

use crate::http::fid::FidQuery;
use crate::http::head::Head;

/// What a read of a fid asks for beside the object. It does not borrow the request head.
pub struct ReadOptions {
    /// Whether the client takes data that is packed with gzip.
    pub accepts_gzip: bool,
    /// Whether the answer is to be saved as a file.
    pub is_download: bool,
    /// Whether a list of chunks is to be sent as it is.
    pub is_raw_manifest: bool,
    /// Whether the request comes from a web page.
    pub has_origin: bool,
    /// Header fields that the answer is to have.
    pub overrides: Vec<(&'static str, Box<[u8]>)>,
}

impl ReadOptions {
    /// Collects the options of a request.
    pub fn of(head: &Head, bytes: &[u8], query: &FidQuery<'_>) -> Self {
        let has = |known: &str| {
            head.lines(bytes).any(|(name, _)| name.eq_ignore_ascii_case(known.as_bytes()))
        };
        let codings = head
            .lines(bytes)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"accept-encoding"))
            .flat_map(|(_, value)| value.split(|&byte| byte == b','));
        Self {
            accepts_gzip: codings.into_iter().any(is_gzip),
            is_download: query.is_download,
            is_raw_manifest: query.chunk_manifest == Some(false),
            has_origin: has("origin"),
            overrides: query
                .overrides
                .iter()
                .map(|(name, value)| (*name, Box::from(&**value)))
                .collect(),
        }
    }
}

/// Whether an element of `Accept-Encoding` allows gzip (RFC 9110 section 12.5.3).
fn is_gzip(element: &[u8]) -> bool {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip"));
    let is_refused = |weight: &[u8]| {
        let value = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="));
        value.is_some_and(|value| value.iter().all(|byte| matches!(byte, b'0' | b'.')))
    };
    is_named && !parts.any(is_refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_if_it_is_named_and_not_refused() {
        for (element, expected) in [
            ("gzip", true),
            (" GZIP ; q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip2", false),
            ("deflate", false),
            ("", false),
        ] {
            assert_eq!(is_gzip(element.as_bytes()), expected, "{element}");
        }
    }
}
