//! What the entries of a batch name and say about photos. Knows no volumes and no connections.

use std::io::{self, Read};

use tar::{Entry, EntryType};
use thiserror::Error;

use crate::http::modified;
use crate::http::reply::valid_content_type;
use crate::http::target;

/// The extended attribute that carries a media type, as GNU tar and others store it
/// (freedesktop.org, Common Extended Attributes).
const MEDIA_TYPE: &str = "SCHILY.xattr.user.mime_type";
/// The time of modification, which pax archives have to the nanosecond (POSIX pax, "pax Extended Header").
const MODIFIED: &str = "mtime";
/// Entries of a tar are padded to multiples of this (bytes).
pub const TAR_BLOCK: u64 = 512;
/// Longest part of an entry's name, or of an error of the library, that is shown (bytes).
const SHOWN: usize = 100;

/// Key, alternate key and cookie.
pub type Name = (u64, u32, u64);

/// Why a batch is refused as a whole, in a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadBatch {
    /// The bytes make no tar.
    #[error("the body is no tar, or damaged: {0}")]
    Tar(String),
    /// An entry is not what a batch takes.
    #[error("entry \"{name}\" {what}; nothing of the batch was stored")]
    Entry {
        /// Its name, or the beginning of it.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl BadBatch {
    /// The library cannot read on.
    #[must_use]
    pub fn not_a_tar(error: &io::Error) -> Self {
        Self::Tar(shown(error.to_string().as_bytes()))
    }

    /// Something is wrong with this entry.
    #[must_use]
    pub fn entry<R: Read>(entry: &Entry<'_, R>, what: &'static str) -> Self {
        Self::Entry { name: shown(&entry.path_bytes()), what }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string()
}

/// What an entry names; nothing for a directory on the way to one. Whoever packs the directory that he
/// stands in gets names that begin with `./`.
///
/// # Errors
/// [`BadBatch`]: it is no photo.
pub fn name_of<R: Read>(entry: &Entry<'_, R>) -> Result<Option<Name>, BadBatch> {
    let name = entry.path_bytes();
    let name = name.strip_prefix(b"./").unwrap_or(&name);
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory if is_directory_of_names(name) => return Ok(None),
        _ => return Err(BadBatch::entry(entry, "is no plain file")),
    }
    let named = target::parse_entry(name);
    named.ok_or_else(|| BadBatch::entry(entry, "is not {key}/{alt}/{cookie}")).map(Some)
}

/// Whether a directory is `{key}/` or `{key}/{alt}/`, as an archiver writes them that packs files, or
/// the one that they are in.
fn is_directory_of_names(name: &[u8]) -> bool {
    if name.is_empty() {
        return true;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let whole = |rest: &[u8]| target::parse_entry(&[name, rest].concat()).is_some();
    whole(b"/0/0000000000000000") || whole(b"/0000000000000000")
}

/// What a tar says about a photo beside its name and bytes.
#[derive(Default)]
pub struct Attributes {
    /// Media type.
    pub content_type: Option<Box<[u8]>>,
    /// Nanoseconds since 1970; nothing when the tar says nothing, or 0.
    pub modified_ns: Option<u64>,
}

/// Reads what an entry says about its photo; comes before its bytes.
///
/// # Errors
/// [`BadBatch`].
pub fn attributes_of<R: Read>(entry: &mut Entry<'_, R>) -> Result<Attributes, BadBatch> {
    let mut found = Attributes::default();
    let field = entry.header().as_old().mtime;
    let mut modified = match entry.header().mtime() {
        Ok(seconds) => Some(seconds.saturating_mul(1_000_000_000)),
        Err(_) => field.iter().all(|byte| b"\0 ".contains(byte)).then_some(0),
    };
    let records = entry.pax_extensions().map_err(|error| BadBatch::not_a_tar(&error))?;
    for record in records.into_iter().flatten().filter_map(Result::ok) {
        if record.key_bytes() == MEDIA_TYPE.as_bytes() {
            found.content_type.get_or_insert_with(|| record.value_bytes().into());
        } else if record.key_bytes() == MODIFIED.as_bytes() {
            modified = modified::parse_pax(record.value_bytes());
        }
    }
    if found.content_type.as_deref().is_some_and(|value| !valid_content_type(value)) {
        return Err(BadBatch::entry(
            entry,
            "has a media type that is not 1 to 255 visible characters",
        ));
    }
    let Some(modified) = modified else {
        return Err(BadBatch::entry(entry, "has a time of modification that is no number"));
    };
    found.modified_ns = Some(modified).filter(|ns| *ns > 0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_on_the_way_to_photos_are_passed_over() {
        for name in ["", "1/", "1", "18446744073709551615/", "1/0/", "7/4294967295"] {
            assert!(is_directory_of_names(name.as_bytes()), "{name}");
        }
        for name in ["/", "./", "../", "01/", "1/01/", "a/", "1/0/0123456789abcdef/", "1//", "-1/"]
        {
            assert!(!is_directory_of_names(name.as_bytes()), "{name}");
        }
    }
}
