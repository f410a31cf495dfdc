//! A line of the manifest or journal: which photo a file is.
//!
//! `path<TAB>url<TAB>size<TAB>modified<TAB>etag` for a photo that is stored; `path<TAB>url` for a name that
//! was drawn and may have been sent under; `path<TAB>-` for one that was removed (in a journal only).

use super::escape::{escape, unescape};
use crate::http::digits::parse_hex16;
use crate::http::modified;
use crate::transfer::file::Stamp;
use crate::transfer::name::PhotoName;

/// Stands for the URL in the line of a photo that was removed.
const REMOVED: &str = "-";

/// A photo that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file as it was.
    pub stamp: Stamp,
    /// XXH3-64 of its bytes.
    pub etag: u64,
}

/// What the store has under the name of a photo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// Not asked for.
    #[default]
    Unknown,
    /// The bytes that the manifest names.
    Same,
    /// Nothing (404).
    Nothing,
    /// A photo that is damaged on its disk (500).
    Damaged,
    /// Other bytes, of this XXH3-64: somebody replaced the photo.
    Other(u64),
}

impl Found {
    /// Whether readers do not get the photo.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Nothing | Self::Damaged)
    }
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in the store.
    pub name: PhotoName,
    /// What was stored there, if that is known.
    pub stored: Option<Stored>,
    /// What is there now. Not written down.
    pub found: Found,
    /// Whether the walk came by a file of this path. Not written down.
    pub visited: bool,
}

impl Row {
    /// A row that says nothing about the present.
    #[must_use]
    pub fn new(name: PhotoName, stored: Option<Stored>) -> Self {
        Self { name, stored, found: Found::Unknown, visited: false }
    }
}

/// The line of a row.
pub(super) fn line(path: &[u8], row: &Row) -> String {
    let (path, name) = (escape(path), row.name);
    match row.stored {
        None => format!("{path}\t{name}\n"),
        Some(Stored { stamp: Stamp { size, modified_ns }, etag }) => {
            let modified = modified::format(modified_ns);
            format!("{path}\t{name}\t{size}\t{modified}\t{etag:016x}\n")
        }
    }
}

/// The line that removes a row.
pub(super) fn removal(path: &[u8]) -> String {
    format!("{}\t{REMOVED}\n", escape(path))
}

/// Path and row of a line without its end; no row if the line removes it. Nothing if it is malformed.
pub(super) fn parse(line: &str) -> Option<(Vec<u8>, Option<Row>)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let (path, url, stored) = match fields[..] {
        [path, REMOVED] => return Some((unescape(path)?, None)),
        [path, url] => (path, url, None),
        [path, url, size, modified, etag] => {
            let modified_ns = modified::parse(modified.as_bytes())?;
            let stamp = Stamp { size: size.parse().ok()?, modified_ns };
            (path, url, Some(Stored { stamp, etag: parse_hex16(etag.as_bytes())? }))
        }
        _ => return None,
    };
    Some((unescape(path)?, Some(Row::new(PhotoName::parse(url)?, stored))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_back_and_malformed_ones_refused() {
        let name = PhotoName { volume: 1, key: 2, alt: 0, cookie: 0xc0ffee };
        let stamp = Stamp { size: 10, modified_ns: 1_500_000_000 };
        for stored in [None, Some(Stored { stamp, etag: 7 })] {
            let row = Row::new(name, stored);
            let text = line(b"a\tb", &row);
            assert_eq!(parse(text.trim_end()), Some((b"a\tb".to_vec(), Some(row))));
        }
        assert_eq!(parse(removal(b"a\n").trim_end()), Some((b"a\n".to_vec(), None)));
        for bad in ["", "a", "a\t/1", "a\t-\t1", "\\q\t/1/1/0/0000000000000000", "\\q\t-"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
