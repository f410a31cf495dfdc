//! The admin token: whoever presents it may read cookies and bodies from another machine.

use std::hint::black_box;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// Shortest token (bytes): nobody guesses it.
const LEN_MIN: usize = 16;
/// Longest token (bytes).
const LEN_MAX: usize = 1024;

/// The admin token, as its SHA-256.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

impl AdminToken {
    /// Takes the token from the text of a file: white space around it does not count. `None` unless it has 16
    /// to 1024 visible ASCII characters.
    #[must_use]
    pub fn of_file(text: &[u8]) -> Option<Self> {
        let token = text.trim_ascii();
        let is_token =
            (LEN_MIN..=LEN_MAX).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
        is_token.then(|| Self(Sha256::digest(token).into()))
    }

    /// Whether a request presents the token, as `Authorization: Bearer TOKEN`. Takes the same time for every
    /// wrong token of a length.
    pub(super) fn is_presented_by(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some(presented) = value.as_bytes().strip_prefix(b"Bearer ") else { return false };
        let presented: [u8; 32] = Sha256::digest(presented.trim_ascii()).into();
        let pairs = self.0.iter().zip(&presented);
        pairs.fold(0, |differences, (one, other)| black_box(differences | (one ^ other))) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let token = AdminToken::of_file(b"  0123456789abcdef\n").unwrap();
        let presents = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            token.is_presented_by(&headers)
        };
        assert!(presents(&["Bearer 0123456789abcdef"]));
        for wrong in [
            &[][..],
            &["Bearer 0123456789abcdee"],
            &["Bearer 0123456789abcdef0"],
            &["Bearer 0123456789abcde"],
            &["Bearer "],
            &["Basic 0123456789abcdef"],
            &["0123456789abcdef"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
        ] {
            assert!(!presents(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken(..)");
    }

    #[test]
    fn files_that_hold_no_token_are_refused() {
        for bad in
            [&b""[..], b"short", b"0123456789abcde\n", b"two words 0123456789", b"\xff012345678"]
        {
            assert!(AdminToken::of_file(bad).is_none(), "{}", bad.escape_ascii());
        }
        assert!(AdminToken::of_file(&[b'x'; 1024]).is_some());
        assert!(AdminToken::of_file(&[b'x'; 1025]).is_none());
    }
}
