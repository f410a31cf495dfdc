//! Records of pax extended headers: `LENGTH KEY=VALUE\n`, where the decimal length is that of the whole
//! record (bytes). Only the length determines the end of a record: a value may contain line ends.

use thiserror::Error;

use crate::http::digits::{self, parse_decimal};

/// Key of the pax record of the media type: the extended attribute `user.mime_type` (freedesktop.org, Common
/// Extended Attributes), as GNU tar and others store it.
pub const MEDIA_TYPE: &str = "SCHILY.xattr.user.mime_type";
/// Key of the pax record of the modification time: seconds since 1970 with decimals.
pub const MODIFIED: &str = "mtime";
/// Key of the pax record of the volume that a photo was exported from. POSIX pax reserves keys with a vendor
/// name in upper case for extensions.
pub const VOLUME: &str = "HAYLOFT.volume";

/// Key of the pax record of the time at which a photo expires: seconds since 1970 with up to nine decimals.
pub const EXPIRES: &str = "HAYLOFT.expires";

/// Key of the pax record of what a cluster stores with a photo: its [attributes](crate::http::attributes).
pub const ATTRIBUTES: &str = "HAYLOFT.attributes";

/// A record of a pax extended header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key, without `=`.
    pub key: &'a [u8],
    /// The value: any bytes.
    pub value: &'a [u8],
}

/// Why a record is malformed. The messages follow the name of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// The record does not start with its length: decimal digits without a leading zero and a space.
    #[error("has a pax record that does not start with its length")]
    Length,
    /// The length exceeds the rest of the header.
    #[error("has a pax record that is longer than its header")]
    TooLong,
    /// The last byte is not a line end.
    #[error("has a pax record whose length does not end at a line end")]
    End,
    /// There is no `=`, or the key is empty or starts with a blank.
    #[error("has a pax record without a key")]
    Key,
}

/// Iterates over the records of a header in order; ends after the first error.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, BadRecord>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match first(bytes) {
            Ok((record, rest)) => {
                bytes = rest;
                Some(Ok(record))
            }
            Err(error) => {
                bytes = &[];
                Some(Err(error))
            }
        }
    })
}

/// Returns the first record and the bytes after it.
fn first(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), BadRecord> {
    let digits = bytes.iter().take(digits::U64_DIGITS + 1).position(|&byte| byte == b' ');
    let digits = &bytes[..digits.ok_or(BadRecord::Length)?];
    if digits.starts_with(b"0") {
        return Err(BadRecord::Length);
    }
    let len = match parse_decimal(digits) {
        Ok(len) => usize::try_from(len).map_err(|_| BadRecord::TooLong)?,
        Err(digits::DigitsError::Overflow) => return Err(BadRecord::TooLong),
        Err(digits::DigitsError::Malformed) => return Err(BadRecord::Length),
    };
    let (record, rest) = bytes.split_at_checked(len).ok_or(BadRecord::TooLong)?;
    let text = record.strip_suffix(b"\n").ok_or(BadRecord::End)?;
    let text = text.get(digits.len() + 1..).ok_or(BadRecord::Length)?;
    let equals = text.iter().position(|&byte| byte == b'=').ok_or(BadRecord::Key)?;
    let (key, value) = (&text[..equals], &text[equals + 1..]);
    // Some readers skip blanks here and would see another key.
    if key.first().is_none_or(|byte| b" \t".contains(byte)) {
        return Err(BadRecord::Key);
    }
    Ok((Record { key, value }, rest))
}

/// What the pax records specify for one attribute of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PaxValue {
    /// No record: the value in the header applies.
    #[default]
    Absent,
    /// A record with an empty value: the attribute has no value, not even that in the header.
    Deleted,
    /// A record with this value.
    Value(Vec<u8>),
}

impl PaxValue {
    /// Applies a record, which replaces earlier ones.
    fn set(&mut self, value: &[u8]) {
        *self = if value.is_empty() { Self::Deleted } else { Self::Value(value.to_vec()) };
    }

    /// Returns this attribute, or `other` if there is no record for this one.
    #[must_use]
    pub fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if *self == Self::Absent { other } else { self }
    }
}

/// The attributes that are specified by the records of one or more headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The name of the entry (`path`).
    pub path: PaxValue,
    /// The size of the data in bytes (`size`).
    pub size: PaxValue,
    /// The modification time ([`MODIFIED`]).
    pub modified: PaxValue,
    /// The media type ([`MEDIA_TYPE`]).
    pub media_type: PaxValue,
    /// The volume id ([`VOLUME`]).
    pub volume: PaxValue,
    /// The time of expiry ([`EXPIRES`]).
    pub expires: PaxValue,
    /// What a cluster stores with it ([`ATTRIBUTES`]).
    pub attributes: PaxValue,
    /// The key of a record that marks the entry as a sparse file.
    pub sparse: Option<Vec<u8>>,
    /// The real name of a sparse file, for error messages.
    pub sparse_name: Option<Vec<u8>>,
    /// The key of a record that marks the entry as a part of a file.
    pub partial: Option<Vec<u8>>,
    /// Whether `SCHILY.filetype` is neither a file nor a directory.
    pub is_special: bool,
}

impl Records {
    /// Applies the records of a header. If a key occurs twice, the last record applies.
    ///
    /// # Errors
    /// See [`BadRecord`]; the records before it are applied.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), BadRecord> {
        for record in split(bytes) {
            let Record { key, value } = record?;
            match key {
                b"path" => self.path.set(value),
                b"size" => self.size.set(value),
                b"SCHILY.realsize" | b"SUN.holesdata" => self.sparse = Some(key.to_vec()),
                b"SCHILY.filetype" if value == b"sparse" => self.sparse = Some(key.to_vec()),
                b"SCHILY.filetype" => {
                    let plain: [&[u8]; 4] = [b"", b"regular", b"contiguous", b"directory"];
                    self.is_special = !plain.contains(&value);
                }
                b"GNU.volume.label" => {}
                _ if key == MODIFIED.as_bytes() => self.modified.set(value),
                _ if key == MEDIA_TYPE.as_bytes() => self.media_type.set(value),
                _ if key == VOLUME.as_bytes() => self.volume.set(value),
                _ if key == EXPIRES.as_bytes() => self.expires.set(value),
                _ if key == ATTRIBUTES.as_bytes() => self.attributes.set(value),
                _ if key.starts_with(b"GNU.sparse.") => {
                    if key == b"GNU.sparse.name" {
                        self.sparse_name = Some(value.to_vec());
                    }
                    self.sparse = Some(key.to_vec());
                }
                _ if key.starts_with(b"GNU.volume.") || key == b"SCHILY.offset" => {
                    self.partial = Some(key.to_vec());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys and values.
    type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

    fn all(bytes: &[u8]) -> Result<Pairs<'_>, BadRecord> {
        split(bytes).map(|record| record.map(|Record { key, value }| (key, value))).collect()
    }

    #[test]
    fn the_length_determines_the_end_of_a_record() {
        let forged = b"46 comment=x\n29 path=9/0/0123456789abcdef\n\n\n\n\n";
        assert_eq!(all(forged).unwrap(), [(&b"comment"[..], &forged[11..45])]);
        assert_eq!(all(b"").unwrap(), []);
        assert_eq!(all(b"6 a==\n5 b=\n").unwrap(), [(&b"a"[..], &b"="[..]), (b"b", b"")]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for (bytes, error) in [
            (&b"a=b\n"[..], BadRecord::Length),
            (b" 6 a=b\n", BadRecord::Length),
            (b"06 a=b\n", BadRecord::Length),
            (b"0 a=b\n", BadRecord::Length),
            (b"+6 a=b\n", BadRecord::Length),
            (b"6\ta=b\n", BadRecord::Length),
            (b"6", BadRecord::Length),
            (b"\0\0\0\0", BadRecord::Length),
            (b"7 a=b\n", BadRecord::TooLong),
            (b"18446744073709551615 a=b\n", BadRecord::TooLong),
            (b"18446744073709551616 a=b\n", BadRecord::TooLong),
            (b"99999999999999999999999 a=b\n", BadRecord::Length),
            (b"6 a=bc\n", BadRecord::End),
            (b"5 a=b\n", BadRecord::End),
            (b"1 a=b\n", BadRecord::End),
            (b"2 \n", BadRecord::End),
            (b"3 \n", BadRecord::Key),
            (b"4 a\n", BadRecord::Key),
            (b"4 =\n", BadRecord::Key),
            (b"7  a=b\n", BadRecord::Key),
            (b"6 a=b\n\n", BadRecord::Length),
            (b"6 a=b\n\0\0\0", BadRecord::Length),
        ] {
            assert_eq!(all(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_last_record_applies_and_an_empty_value_deletes() {
        let mut records = Records::default();
        records.add(b"12 mtime=10\n11 mtime=2\n10 path=a\n8 path=\n").unwrap();
        assert_eq!(records.modified, PaxValue::Value(b"2".to_vec()));
        assert_eq!(records.path, PaxValue::Deleted);
        assert_eq!(records.size, PaxValue::Absent);
        let mut global = Records::default();
        global.add(b"10 size=1\n10 path=g\n").unwrap();
        assert_eq!(records.path.or(&global.path), &PaxValue::Deleted);
        assert_eq!(records.size.or(&global.size), &PaxValue::Value(b"1".to_vec()));
    }

    /// The records of a header written by the `tar` crate.
    fn written(records: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let records = records.iter().map(|(key, value)| (&key[..], &value[..]));
        tar.append_pax_extensions(records).unwrap();
        let bytes = tar.into_inner().unwrap();
        let size = tar::Header::from_byte_slice(&bytes[..512]).entry_size().unwrap();
        bytes[512..512 + usize::try_from(size).unwrap()].to_vec()
    }

    proptest! {
        #[test]
        fn records_written_by_the_tar_crate_are_read_back(
            records in prop::collection::vec(
                ("[a-zA-Z.\n]{1,30}", prop::collection::vec(any::<u8>(), 0..200)), 1..6)
        ) {
            let bytes = written(&records);
            let read = all(&bytes).unwrap();
            let want: Vec<_> =
                records.iter().map(|(key, value)| (key.as_bytes(), &value[..])).collect();
            prop_assert_eq!(read, want);
        }

        /// For any bytes, the records cover a prefix without gaps, and an error is the last item.
        #[test]
        fn any_bytes_are_split_or_refused(bytes in "([0-9]{1,2} [a=\n ]{0,12}\n?|.){0,6}") {
            let bytes = bytes.as_bytes();
            let mut at = 0;
            let mut failed = false;
            for record in split(bytes) {
                prop_assert!(!failed, "an item follows an error");
                let Ok(Record { key, value }) = record else {
                    failed = true;
                    continue;
                };
                let space = bytes[at..].iter().position(|&byte| byte == b' ').unwrap();
                let len: usize = str::from_utf8(&bytes[at..at + space]).unwrap().parse().unwrap();
                prop_assert_eq!(len, space + 3 + key.len() + value.len());
                at += len;
            }
            prop_assert!(failed || at == bytes.len());
        }
    }
}
