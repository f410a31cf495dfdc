//! Tars of photos, as `hayloft export` writes them and as batches and `hayloft import` read them: one
//! reader for both, so that an entry means the same to both or is refused by both.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`header`] | the 512-byte headers of ustar, GNU and older tars |
//! | [`pax`] | records of pax extended headers |
//! | [`photo`] | what an entry and its records say about a photo; which entries are none |
//! | [`reader`] | the photos of a tar, one after the other |
//!
//! The rule: what is read is what the bytes say, to the letter of POSIX.1-2024 (pax, "ustar Interchange
//! Format" and "pax Extended Header"); what could be read in two ways is refused. Knows no volumes and no
//! connections.

pub mod header;
pub mod pax;
pub mod photo;
pub mod reader;

use std::borrow::Cow;
use std::io;

use thiserror::Error;

pub use photo::Photo;
pub use reader::Reader;

/// The pax record of the media type: the extended attribute `user.mime_type` (freedesktop.org, Common
/// Extended Attributes), as GNU tar and others store it.
pub const MEDIA_TYPE: &str = "SCHILY.xattr.user.mime_type";
/// The pax record of the time of modification, in seconds with decimals.
pub const MODIFIED: &str = "mtime";
/// The pax record of the volume that a photo comes from. Vendor names are in capitals (POSIX pax).
pub const VOLUME: &str = "HAYLOFT.volume";

/// Longest part of a name that is shown (bytes).
const SHOWN: usize = 100;

/// Why a tar cannot be read, or read on. Each is one line of printable ASCII.
#[derive(Debug, Error)]
pub enum TarError {
    /// The input cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// It ends before the block of zeros that marks the end of a tar.
    #[error("the tar is cut off: the zeros that mark its end are missing")]
    Cut,
    /// An entry, by its name, has more bytes than are left of the tar.
    #[error("entry \"{0}\" is longer than the tar")]
    Longer(String),
    /// What should be a header is none.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another tar follows behind the end of this one.
    #[error("another tar follows behind the end of the tar: send one at a time")]
    Joined,
    /// A pax global header has a record that cannot be applied to all entries.
    #[error("a pax global header {0}")]
    Global(Cow<'static, str>),
    /// An entry is not what such a tar may hold.
    #[error("entry \"{name}\" {what}")]
    Entry {
        /// Its name, or the beginning of it, escaped.
        name: String,
        /// What is wrong.
        what: Cow<'static, str>,
    },
}

impl TarError {
    fn entry(name: &[u8], what: impl Into<Cow<'static, str>>) -> Self {
        Self::Entry { name: shown(name), what: what.into() }
    }

    /// Whether the rest of the tar is not there or unreadable; else its contents are refused.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Cut | Self::Longer(_) | Self::Damaged(_))
    }
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Read(error),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
