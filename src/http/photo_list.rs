//! The body of a multi-delete, and of an order to take photos back: one photo a line.
//!
//! A line is `{key}/{alt}/{cookie}`, spelled as in a URL, and ends with LF; after the last one, LF may be
//! missing. Nothing else is accepted: no blank lines, no CR, no comments, no photo twice.

use std::collections::HashSet;

use thiserror::Error;

use super::target::parse_entry;
use crate::base::limits::DELETES_MAX;

/// Largest number of photos in a list.
pub const PHOTOS_MAX: usize = DELETES_MAX;

/// A photo that a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPhoto {
    /// Key (photo id).
    pub key: u64,
    /// Alternate key (size variant).
    pub alt: u32,
    /// Cookie.
    pub cookie: u64,
}

/// Why a list is refused. Lines are counted from 1; their text is not shown, since it may hold a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// There is no line.
    #[error("the body names no photo; send one key/alt/cookie a line")]
    Empty,
    /// There are more lines than [`PHOTOS_MAX`].
    #[error("a request names at most {PHOTOS_MAX} photos")]
    TooMany,
    /// A line is not the name of a photo.
    #[error(
        "line {line} is not key/alt/cookie, with a cookie of 16 lower-case hexadecimal digits and LF at \
         its end; nothing was done"
    )]
    Malformed {
        /// Number of the line.
        line: usize,
    },
    /// A line names the same photo as an earlier one, with the same or another cookie.
    #[error("line {line} names photo {key}/{alt} again; nothing was done")]
    Twice {
        /// Number of the line.
        line: usize,
        /// Key of the photo.
        key: u64,
        /// Alternate key of the photo.
        alt: u32,
    },
}

/// Parses a list of 1 to [`PHOTOS_MAX`] photos.
///
/// # Errors
/// See [`ListError`]. Of several, the first in the order of the lines.
pub fn parse(body: &[u8]) -> Result<Vec<ListedPhoto>, ListError> {
    if body.is_empty() {
        return Err(ListError::Empty);
    }
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let (mut photos, mut seen) = (Vec::new(), HashSet::new());
    for (line, text) in (1..).zip(body.split(|&byte| byte == b'\n')) {
        if photos.len() == PHOTOS_MAX {
            return Err(ListError::TooMany);
        }
        let (key, alt, cookie) = parse_entry(text).ok_or(ListError::Malformed { line })?;
        if !seen.insert((key, alt)) {
            return Err(ListError::Twice { line, key, alt });
        }
        photos.push(ListedPhoto { key, alt, cookie });
    }
    Ok(photos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{DELETE_BODY_MAX, DELETE_LINE_MAX};
    use proptest::prelude::*;

    fn text_of(photos: &[ListedPhoto]) -> String {
        let line = |photo: &ListedPhoto| {
            let ListedPhoto { key, alt, cookie } = photo;
            format!("{key}/{alt}/{cookie:016x}\n")
        };
        photos.iter().map(line).collect()
    }

    fn numbered(count: usize) -> Vec<ListedPhoto> {
        let photo = |key| ListedPhoto { key, alt: u32::MAX, cookie: u64::MAX };
        (0..count as u64).map(|n| photo(u64::MAX - n)).collect()
    }

    #[test]
    fn each_line_names_a_photo() {
        let photos = [
            ListedPhoto { key: 7, alt: 0, cookie: 255 },
            ListedPhoto { key: 7, alt: 1, cookie: 255 },
            ListedPhoto { key: 0, alt: 0, cookie: 0 },
        ];
        let text = "7/0/00000000000000ff\n7/1/00000000000000ff\n0/0/0000000000000000";
        assert_eq!(parse(text.as_bytes()), Ok(photos.into()));
        assert_eq!(parse(format!("{text}\n").as_bytes()), Ok(photos.into()));
    }

    #[test]
    fn anything_but_a_name_and_its_end_is_malformed() {
        let name = "7/0/00000000000000ff";
        for (text, line) in [
            ("\n".to_owned(), 1),
            ("\r\n".to_owned(), 1),
            (format!("{name}\r\n"), 1),
            (format!("{name}\n\n"), 2),
            (format!("\n{name}"), 1),
            (format!("{name}\n\n8/0/00000000000000ff"), 2),
            (format!(" {name}"), 1),
            (format!("{name} "), 1),
            (format!("/1/{name}"), 1),
            (format!("/{name}"), 1),
            (format!("./{name}"), 1),
            (format!("{name}\n# the rest\n"), 2),
            (format!("{name}\n07/1/00000000000000ff"), 2),
            (format!("{name}\n8/0/00000000000000FF"), 2),
            (format!("{name}\n8/0/ff"), 2),
            (format!("{name}\n8/4294967296/00000000000000ff"), 2),
            (format!("{name}\n18446744073709551616/0/00000000000000ff"), 2),
            (format!("\u{feff}{name}"), 1),
            ("\0".to_owned(), 1),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(ListError::Malformed { line }), "{text:?}");
        }
        assert_eq!(parse(b""), Err(ListError::Empty));
        assert_eq!(parse(b"\xff"), Err(ListError::Malformed { line: 1 }));
    }

    #[test]
    fn no_photo_is_named_twice_whatever_the_cookie() {
        for again in ["7/0/00000000000000ff", "7/0/00000000000000fe"] {
            let text = format!("7/0/00000000000000ff\n8/0/00000000000000ff\n{again}\n");
            let error = ListError::Twice { line: 3, key: 7, alt: 0 };
            assert_eq!(parse(text.as_bytes()), Err(error));
        }
    }

    #[test]
    fn longest_list_has_the_longest_body() {
        let longest = numbered(DELETES_MAX);
        let text = text_of(&longest);
        assert_eq!(text.len() as u64, DELETE_BODY_MAX);
        assert!(text.lines().all(|line| line.len() + 1 == DELETE_LINE_MAX));
        assert_eq!(parse(text.as_bytes()), Ok(longest));
        let longer = text_of(&numbered(DELETES_MAX + 1));
        assert_eq!(parse(longer.as_bytes()), Err(ListError::TooMany));
    }

    #[test]
    fn reasons_are_one_line_without_cookies() {
        for error in [
            ListError::Empty,
            ListError::TooMany,
            ListError::Malformed { line: 3 },
            ListError::Twice { line: 3, key: 7, alt: 0 },
        ] {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_lists_are_parsed_to_the_same_photos(
            photos in prop::collection::hash_map(any::<(u64, u32)>(), any::<u64>(), 1..50),
            has_last_end: bool,
        ) {
            let photo = |((key, alt), cookie)| ListedPhoto { key, alt, cookie };
            let photos: Vec<ListedPhoto> = photos.into_iter().map(photo).collect();
            let text = text_of(&photos);
            let text = if has_last_end { &text[..] } else { text.trim_end() };
            prop_assert_eq!(parse(text.as_bytes()), Ok(photos));
        }

        /// A list has one spelling, apart from the end of its last line.
        #[test]
        fn accepted_lists_are_written_as_the_same_bytes(
            text in "([0-9]{1,2}/[0-9]{1,2}/[0-9a-g]{15,17}[\n\r ]{0,2}){0,4}"
        ) {
            if let Ok(photos) = parse(text.as_bytes()) {
                let written = text_of(&photos);
                prop_assert!(written == text || written.trim_end() == text, "{:?}", text);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
