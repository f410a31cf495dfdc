//! Errors of reading a tar.

use std::borrow::Cow;
use std::io;

use thiserror::Error;

/// Maximum length of the part of a name that error messages show (bytes).
const SHOWN_MAX: usize = 100;

/// Errors of reading a tar. Each message is one line of printable ASCII.
#[derive(Debug, Error)]
pub enum TarError {
    /// Reading the input failed.
    #[error("{0}")]
    Read(io::Error),
    /// The input ends before the block of zeros that marks the end of a tar.
    #[error("the tar is cut off: the zeros that mark its end are missing")]
    Cut,
    /// An entry, given by its name, has more bytes than the rest of the tar.
    #[error("entry \"{0}\" is longer than the tar")]
    Longer(String),
    /// A header is invalid, missing or in the wrong place.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another tar follows the end of this one.
    #[error("another tar follows the end of the tar: send one at a time")]
    Joined,
    /// A pax global header has a record that cannot apply to all entries.
    #[error("a pax global header {0}")]
    Global(Cow<'static, str>),
    /// An entry is invalid, ambiguous or not a photo.
    #[error("entry \"{name}\" {what}")]
    Entry {
        /// The beginning of its name, escaped.
        name: String,
        /// What is wrong: a verb phrase that follows the name.
        what: Cow<'static, str>,
    },
}

impl TarError {
    pub(super) fn entry(name: &[u8], what: impl Into<Cow<'static, str>>) -> Self {
        Self::Entry { name: shown(name), what: what.into() }
    }

    /// Returns whether the tar is damaged, incomplete or unreadable. Otherwise its contents are refused.
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

/// Escapes at most [`SHOWN_MAX`] bytes for an error message.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string()
}
