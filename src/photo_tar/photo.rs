//! What an entry says about a photo, and which entries are none.

use std::fmt;

use super::header::{Header, Kind, Number};
use super::pax::{Field, Records};
use super::{TarError, VOLUME, shown};
use crate::http::digits::{DigitsError, parse_decimal};
use crate::http::reply::valid_content_type;
use crate::http::{modified, target};

/// A photo in a tar, without its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    /// Key.
    pub key: u64,
    /// Alternate key.
    pub alt: u32,
    /// What readers must know.
    pub cookie: u64,
    /// Bytes.
    pub size: u64,
    /// Media type: 1 to 255 visible ASCII characters, and blanks between them.
    pub content_type: Option<String>,
    /// Nanoseconds since 1970, 0 for any time before; nothing when there is no pax record of it and the
    /// header says nothing, 0, or a time before 1970.
    pub modified_ns: Option<u64>,
    /// The volume that it comes from, if the tar says so.
    pub volume: Option<u32>,
}

impl Photo {
    /// The name of its entry, without a `./` in front.
    #[must_use]
    pub fn name(&self) -> String {
        let Self { key, alt, cookie, .. } = self;
        format!("{key}/{alt}/{cookie:016x}")
    }

    /// An error about its entry.
    #[must_use]
    pub fn refused(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> TarError {
        TarError::Entry { name: self.name(), what: what.into() }
    }
}

impl fmt::Debug for Photo {
    /// A cookie is never printed whole: it works like a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, alt, cookie, size, .. } = self;
        write!(f, "{key}/{alt}/{:04x}.. of {size} bytes", cookie >> 48)
    }
}

/// What stands in front of the header of an entry.
#[derive(Debug, Default)]
pub struct Extensions {
    /// Its name, from a GNU header.
    pub long_name: Option<Vec<u8>>,
    /// There was a GNU header with the target of a link.
    pub long_link: bool,
    /// Its pax records.
    pub records: Option<Records>,
}

impl Extensions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.long_name.is_none() && !self.long_link && self.records.is_none()
    }
}

/// Reads what an entry says; nothing for a directory on the way to a photo.
///
/// # Errors
/// [`TarError::Entry`]: it is no photo, or could be understood in two ways.
pub fn judge(
    header: &Header,
    extensions: Extensions,
    global: &Records,
) -> Result<Option<Photo>, TarError> {
    let local = extensions.records.unwrap_or_default();
    let path = match (&local.path, &extensions.long_name) {
        (Field::Unsaid, None) => &header.name[..],
        (Field::Unsaid, Some(name)) => name,
        (Field::Deleted, None) => &[],
        (Field::Said(path), None) => path,
        (_, Some(name)) => {
            return Err(TarError::entry(name, "has its name in a GNU header and a pax record"));
        }
    };
    let refused = |what: &'static str| TarError::entry(path, what);
    if header.kind == Kind::Sparse || local.sparse.is_some() {
        let name = local.sparse_name.as_deref().unwrap_or(path);
        let mark = local.sparse.as_deref().unwrap_or(b"type S");
        return Err(sparse(name, mark));
    }
    if let Some(record) = &local.partial {
        let what = format!("is a part of a file, which a tar in volumes has ({})", shown(record));
        return Err(TarError::entry(path, what));
    }
    let name = path.strip_prefix(b"./").unwrap_or(path);
    if local.is_special || extensions.long_link {
        return Err(refused("is no plain file"));
    }
    match header.kind {
        Kind::File | Kind::Directory => {}
        _ => return Err(refused("is no plain file")),
    }
    let size = size(header, &local).map_err(refused)?;
    if header.kind == Kind::Directory {
        return match (is_directory_of_names(name), size) {
            (false, _) => Err(refused("is a directory, and not {key}/ or {key}/{alt}/")),
            (true, 0) => Ok(None),
            (true, _) => Err(refused("is a directory with bytes")),
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
        volume: volume(local.volume.or(&global.volume))
            .map_err(|()| TarError::entry(path, format!("has no volume's number in {VOLUME}")))?,
    }))
}

fn sparse(name: &[u8], mark: &[u8]) -> TarError {
    let mark = shown(mark);
    let what = format!(
        "is a sparse file ({mark}), of which a tar has only the parts with data; pack it without --sparse"
    );
    TarError::entry(name, what)
}

/// Whether a directory is `{key}/` or `{key}/{alt}/`, as an archiver writes them that packs files, or
/// the one that they are in.
fn is_directory_of_names(name: &[u8]) -> bool {
    if name.is_empty() || name == b"." {
        return true;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let whole = |rest: &[u8]| target::parse_entry(&[name, rest].concat()).is_some();
    whole(b"/0/0000000000000000") || whole(b"/0000000000000000")
}

/// Bytes of data.
fn size(header: &Header, local: &Records) -> Result<u64, &'static str> {
    match &local.size {
        Field::Said(text) => parse_decimal(text).map_err(|error| match error {
            DigitsError::Malformed => "has a size that is no number",
            DigitsError::Overflow => "has a size beyond 2^64",
        }),
        Field::Deleted => Err("has no size"),
        Field::Unsaid => header_size(header.size, header.kind),
    }
}

/// The size that a header has itself. A directory need not have one.
pub(super) fn header_size(size: Number, kind: Kind) -> Result<u64, &'static str> {
    match size {
        Number::Value(size) => Ok(size),
        Number::Blank if kind == Kind::Directory => Ok(0),
        Number::Blank => Err("has no size"),
        Number::Negative => Err("has a size below 0"),
        Number::Overflow => Err("has a size beyond 2^64"),
        Number::Malformed => Err("has a size that is no number"),
    }
}

fn content_type(field: &Field) -> Result<Option<String>, &'static str> {
    let Field::Said(value) = field else { return Ok(None) };
    // As of a header field of HTTP: blanks around it are no part of it.
    let is_text = |byte: &u8| !b" \t".contains(byte);
    let Some(begin) = value.iter().position(is_text) else { return Ok(None) };
    let value = &value[begin..=value.iter().rposition(is_text).unwrap_or(begin)];
    let text = str::from_utf8(value).ok().filter(|_| valid_content_type(value));
    let text = text.ok_or("has a media type that is not 1 to 255 visible characters")?;
    Ok(Some(text.to_owned()))
}

fn modified_ns(header: &Header, field: &Field) -> Result<Option<u64>, &'static str> {
    let malformed = "has a time of modification that is no number";
    match (field, header.modified) {
        (Field::Said(value), _) => modified::parse_pax(value).map(Some).ok_or(malformed),
        (Field::Deleted, _) => Ok(None),
        // What archivers write who know no time.
        (Field::Unsaid, Number::Blank | Number::Negative | Number::Value(0)) => Ok(None),
        (Field::Unsaid, Number::Value(seconds)) => Ok(Some(seconds.saturating_mul(1_000_000_000))),
        (Field::Unsaid, Number::Overflow) => Ok(Some(u64::MAX)),
        (Field::Unsaid, Number::Malformed) => Err(malformed),
    }
}

fn volume(field: &Field) -> Result<Option<u32>, ()> {
    let Field::Said(value) = field else { return Ok(None) };
    let number: Option<u32> = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.filter(|number| number.to_string().as_bytes() == value).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_on_the_way_to_photos_are_passed_over() {
        for name in ["", ".", "1/", "1", "18446744073709551615/", "1/0/", "7/4294967295"] {
            assert!(is_directory_of_names(name.as_bytes()), "{name}");
        }
        for name in ["/", "./", "../", "01/", "1/01/", "a/", "1/0/0123456789abcdef/", "1//", "-1/"]
        {
            assert!(!is_directory_of_names(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn volumes_have_one_spelling() {
        let parse = |text: &str| volume(&Field::Said(text.as_bytes().to_vec()));
        assert_eq!((parse("0"), parse("4294967295")), (Ok(Some(0)), Ok(Some(u32::MAX))));
        for bad in ["", "01", "+1", "-1", "4294967296", "1 ", "x"] {
            assert_eq!(parse(bad), Err(()), "{bad:?}");
        }
    }
}
