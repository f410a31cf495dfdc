//! Converts tar entries to photos; refuses entries that are not photos.

use std::fmt;

use super::error::{TarError, shown};
use super::header::{Header, Kind, Number};
use super::pax::{ATTRIBUTES, EXPIRES, PaxValue, Records, VOLUME};
use crate::base::types::VolumeId;
use crate::http::digits::{DigitsError, parse_decimal};
use crate::http::reply::valid_content_type;
use crate::http::{attributes, modified, target};

/// Metadata of a photo in a tar.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    /// Key (photo id).
    pub key: u64,
    /// Alternate key (size variant).
    pub alt: u32,
    /// Cookie: a secret that readers must know.
    pub cookie: u64,
    /// Size of the data (bytes).
    pub size: u64,
    /// Media type: 1 to 255 visible ASCII characters, with blanks only between them.
    pub content_type: Option<String>,
    /// Modification time (nanoseconds since 1970); 0 for an earlier time in a pax record. `None` if a pax
    /// record deletes it, or if there is no pax record and the time in the header is blank, 0 or before 1970.
    pub modified_ns: Option<u64>,
    /// Time at which the photo expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// What a cluster stores with the photo: see [`attributes`].
    pub attributes: Option<Vec<u8>>,
    /// The volume that the photo was exported from, if the tar has it.
    pub volume: Option<VolumeId>,
}

impl Photo {
    /// The name of the entry, without a leading `./`.
    #[must_use]
    pub fn name(&self) -> String {
        let Self { key, alt, cookie, .. } = self;
        format!("{key}/{alt}/{cookie:016x}")
    }

    /// An error about the entry; `what` is a verb phrase that follows its name.
    #[must_use]
    pub fn refused(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> TarError {
        TarError::Entry { name: self.name(), what: what.into() }
    }
}

impl fmt::Debug for Photo {
    /// Prints only the first four digits of the cookie: it is a secret, like a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, alt, cookie, size, .. } = self;
        write!(f, "{key}/{alt}/{:04x}.. of {size} bytes", cookie >> 48)
    }
}

/// The extension headers before the header of an entry.
#[derive(Debug, Default)]
pub struct Extensions {
    /// The name from a GNU header.
    pub long_name: Option<Vec<u8>>,
    /// Whether there was a GNU header with a link target.
    pub long_link: bool,
    /// The pax records.
    pub records: Option<Records>,
}

impl Extensions {
    /// Returns whether there are no extension headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.long_name.is_none() && !self.long_link && self.records.is_none()
    }
}

/// Converts an entry to a photo; `None` for a directory that may contain photos. `global` are the records of
/// the pax global headers before it.
///
/// # Errors
/// [`TarError::Entry`]: the entry is not a photo, or is ambiguous.
pub fn from_entry(
    header: &Header,
    extensions: Extensions,
    global: &Records,
) -> Result<Option<Photo>, TarError> {
    let local = extensions.records.unwrap_or_default();
    let path = match (&local.path, &extensions.long_name) {
        (PaxValue::Absent, None) => &header.name[..],
        (PaxValue::Absent, Some(name)) => name,
        (PaxValue::Deleted, None) => &[],
        (PaxValue::Value(path), None) => path,
        (_, Some(name)) => {
            return Err(TarError::entry(name, "has a name in both a GNU header and a pax record"));
        }
    };
    let refused = |what: &'static str| TarError::entry(path, what);
    if header.kind == Kind::Sparse || local.sparse.is_some() {
        let name = local.sparse_name.as_deref().unwrap_or(path);
        let mark = local.sparse.as_deref().unwrap_or(b"type S");
        return Err(sparse(name, mark));
    }
    if let Some(record) = &local.partial {
        let what = format!("is a part of a file, as in a multi-volume tar ({})", shown(record));
        return Err(TarError::entry(path, what));
    }
    let name = path.strip_prefix(b"./").unwrap_or(path);
    if local.is_special || extensions.long_link {
        return Err(refused("is not a regular file"));
    }
    match header.kind {
        Kind::File | Kind::Directory => {}
        _ => return Err(refused("is not a regular file")),
    }
    let size = size(header, &local).map_err(refused)?;
    if header.kind == Kind::Directory {
        return match (is_directory_of_names(name), size) {
            (false, _) => Err(refused("is a directory other than {key}/ or {key}/{alt}/")),
            (true, 0) => Ok(None),
            (true, _) => Err(refused("is a directory with data")),
        };
    }
    let named = target::parse_entry(name);
    let (key, alt, cookie) = named.ok_or_else(|| refused("is not {key}/{alt}/{cookie}"))?;
    Ok(Some(Photo {
        key,
        alt,
        cookie,
        size,
        content_type: content_type(local.media_type.or(&global.media_type)).map_err(refused)?,
        modified_ns: modified_ns(header, local.modified.or(&global.modified)).map_err(refused)?,
        expires_ns: expires_ns(local.expires.or(&global.expires))
            .map_err(|()| TarError::entry(path, format!("has no valid time in {EXPIRES}")))?,
        attributes: attributes(&local.attributes)
            .map_err(|()| TarError::entry(path, format!("has no valid base64 in {ATTRIBUTES}")))?,
        volume: volume(local.volume.or(&global.volume))
            .map_err(|()| TarError::entry(path, format!("has no valid volume id in {VOLUME}")))?,
    }))
}

fn sparse(name: &[u8], mark: &[u8]) -> TarError {
    let mark = shown(mark);
    let what = format!(
        "is a sparse file ({mark}), which a tar stores without its holes; pack it without --sparse"
    );
    TarError::entry(name, what)
}

/// Returns whether a directory is `{key}/` or `{key}/{alt}/`, which archivers write when they pack files with
/// such names, or the top directory (empty or `.`).
fn is_directory_of_names(name: &[u8]) -> bool {
    if name.is_empty() || name == b"." {
        return true;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let whole = |rest: &[u8]| target::parse_entry(&[name, rest].concat()).is_some();
    whole(b"/0/0000000000000000") || whole(b"/0000000000000000")
}

/// Size of the data (bytes): that of the pax record, or else that of the header.
fn size(header: &Header, local: &Records) -> Result<u64, &'static str> {
    match &local.size {
        PaxValue::Value(text) => parse_decimal(text).map_err(|error| match error {
            DigitsError::Malformed => "has a size that is not a number",
            DigitsError::Overflow => "has a size that exceeds 64 bits",
        }),
        PaxValue::Deleted => Err("has no size"),
        PaxValue::Absent => header_size(header.size, header.kind),
    }
}

/// Size in the header (bytes). It may be missing for a directory.
pub(super) fn header_size(size: Number, kind: Kind) -> Result<u64, &'static str> {
    match size {
        Number::Value(size) => Ok(size),
        Number::Blank if kind == Kind::Directory => Ok(0),
        Number::Blank => Err("has no size"),
        Number::Negative => Err("has a negative size"),
        Number::Overflow => Err("has a size that exceeds 64 bits"),
        Number::Malformed => Err("has a size that is not a number"),
    }
}

fn content_type(pax: &PaxValue) -> Result<Option<String>, &'static str> {
    let PaxValue::Value(value) = pax else { return Ok(None) };
    // As in an HTTP header field, blanks around the value are excluded.
    let is_text = |byte: &u8| !b" \t".contains(byte);
    let Some(begin) = value.iter().position(is_text) else { return Ok(None) };
    let value = &value[begin..=value.iter().rposition(is_text).unwrap_or(begin)];
    let text = str::from_utf8(value).ok().filter(|_| valid_content_type(value));
    let text = text.ok_or("has a media type that is not 1 to 255 visible characters")?;
    Ok(Some(text.to_owned()))
}

fn modified_ns(header: &Header, pax: &PaxValue) -> Result<Option<u64>, &'static str> {
    let malformed = "has a modification time that is not a number";
    match (pax, header.modified) {
        (PaxValue::Value(value), _) => modified::parse_pax(value).map(Some).ok_or(malformed),
        (PaxValue::Deleted, _) => Ok(None),
        // Archivers without a modification time write such values.
        (PaxValue::Absent, Number::Blank | Number::Negative | Number::Value(0)) => Ok(None),
        (PaxValue::Absent, Number::Value(seconds)) => {
            Ok(Some(seconds.saturating_mul(1_000_000_000)))
        }
        (PaxValue::Absent, Number::Overflow) => Ok(Some(u64::MAX)),
        (PaxValue::Absent, Number::Malformed) => Err(malformed),
    }
}

fn expires_ns(pax: &PaxValue) -> Result<Option<u64>, ()> {
    let PaxValue::Value(value) = pax else { return Ok(None) };
    modified::parse(value).map(Some).ok_or(())
}

fn attributes(pax: &PaxValue) -> Result<Option<Vec<u8>>, ()> {
    let PaxValue::Value(value) = pax else { return Ok(None) };
    attributes::decode(value).map(Some).ok_or(())
}

fn volume(pax: &PaxValue) -> Result<Option<VolumeId>, ()> {
    let PaxValue::Value(value) = pax else { return Ok(None) };
    let number: Option<u32> = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number
        .filter(|number| number.to_string().as_bytes() == value)
        .map(|number| Some(VolumeId(number)))
        .ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_may_contain_photos_are_recognised() {
        for name in ["", ".", "1/", "1", "18446744073709551615/", "1/0/", "7/4294967295"] {
            assert!(is_directory_of_names(name.as_bytes()), "{name}");
        }
        for name in ["/", "./", "../", "01/", "1/01/", "a/", "1/0/0123456789abcdef/", "1//", "-1/"]
        {
            assert!(!is_directory_of_names(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn time_of_expiry_is_optional_and_checked() {
        let parse = |text: &str| expires_ns(&PaxValue::Value(text.as_bytes().to_vec()));
        assert_eq!(parse("1900000000.5"), Ok(Some(1_900_000_000_500_000_000)));
        assert_eq!(expires_ns(&PaxValue::Absent), Ok(None));
        assert_eq!(expires_ns(&PaxValue::Deleted), Ok(None));
        for bad in ["", "-1", "soon", "1.1234567890"] {
            assert_eq!(parse(bad), Err(()), "{bad:?}");
        }
    }

    #[test]
    fn attributes_are_optional_and_checked() {
        let parse = |text: &str| attributes(&PaxValue::Value(text.as_bytes().to_vec()));
        assert_eq!(parse("BQABAC4="), Ok(Some(vec![5, 0, 1, 0, 0x2e])));
        assert_eq!(attributes(&PaxValue::Absent), Ok(None));
        assert_eq!(attributes(&PaxValue::Deleted), Ok(None));
        assert_eq!(parse("BQABAC4"), Err(()));
    }

    #[test]
    fn volume_ids_have_exactly_one_spelling() {
        let parse = |text: &str| volume(&PaxValue::Value(text.as_bytes().to_vec()));
        assert_eq!(
            (parse("0"), parse("4294967295")),
            (Ok(Some(VolumeId(0))), Ok(Some(VolumeId(u32::MAX))))
        );
        for bad in ["", "01", "+1", "-1", "4294967296", "1 ", "x"] {
            assert_eq!(parse(bad), Err(()), "{bad:?}");
        }
    }
}
