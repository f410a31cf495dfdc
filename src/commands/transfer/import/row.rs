//! Line of the manifest or journal: maps the path of a file to its photo.
//!
//! `path<TAB>url<TAB>size<TAB>modified<TAB>etag` for a photo that is stored; `path<TAB>url` for a name that
//! was drawn, under which the photo may have been sent; `path<TAB>-` for one that was removed (only in a
//! journal).

use super::escape::{escape, unescape};
use crate::commands::transfer::file::Stamp;
use crate::commands::transfer::name::PhotoName;
use crate::http::digits::parse_hex16;
use crate::http::modified;

/// Placeholder for the URL in the line of a photo that was removed.
const REMOVED: &str = "-";

/// A photo that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size and time of the file when it was stored.
    pub stamp: Stamp,
    /// XXH3-64 of its bytes.
    pub etag: u64,
}

/// State of a photo in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// The store was not asked.
    #[default]
    Unknown,
    /// Present, with the checksum in the manifest.
    Same,
    /// Absent (404).
    Nothing,
    /// Damaged in its volume (500).
    Damaged,
    /// Replaced by other means: the store has other bytes, with this XXH3-64.
    Other(u64),
}

impl Found {
    /// Returns whether the photo cannot be read.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Nothing | Self::Damaged)
    }
}

/// Entry of a path in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name in the store.
    pub name: PhotoName,
    /// What was stored under the name, if anything is known to be.
    pub stored: Option<Stored>,
    /// State in the store in this run. Only in memory.
    pub found: Found,
    /// Whether the walk visited a file with this path. Only in memory.
    pub visited: bool,
}

impl Row {
    /// Returns a row with an unknown state in the store, not visited.
    #[must_use]
    pub fn new(name: PhotoName, stored: Option<Stored>) -> Self {
        Self { name, stored, found: Found::Unknown, visited: false }
    }
}

/// Formats the line of a row.
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

/// Formats the line that removes a row.
pub(super) fn removal(path: &[u8]) -> String {
    format!("{}\t{REMOVED}\n", escape(path))
}

/// Parses a line without its end. Returns the path, and the row unless the line removes it; `None` if the
/// line is malformed.
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
    use crate::base::types::VolumeId;

    #[test]
    fn lines_are_parsed_back_and_malformed_ones_refused() {
        let name = PhotoName { volume: VolumeId(1), key: 2, alt: 0, cookie: 0xc0ffee };
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
