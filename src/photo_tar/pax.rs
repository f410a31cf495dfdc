//! Records of pax extended headers: `LENGTH KEY=VALUE\n`, where the length, in decimal, is that of the
//! whole record. A record ends where its length says and nowhere else: a value may hold line ends.

use thiserror::Error;

use super::{MEDIA_TYPE, MODIFIED, VOLUME};
use crate::http::digits::{self, parse_decimal};

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its name, without `=`.
    pub key: &'a [u8],
    /// Its value: any bytes.
    pub value: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// They do not begin with a length: decimal digits, no leading zero, one space.
    #[error("has a pax record without a length in front")]
    Length,
    /// The length goes beyond the header.
    #[error("has a pax record that is longer than its header")]
    TooLong,
    /// The last byte is not a line end.
    #[error("has a pax record that does not end where its length says")]
    End,
    /// There is no `=`, or no name in front of it.
    #[error("has a pax record without a name")]
    Key,
}

/// Splits the records of a header, in order; ends with the first error.
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

/// The first record, and what follows it.
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
    // Some readers pass over blanks here and would see another name.
    if key.first().is_none_or(|byte| b" \t".contains(byte)) {
        return Err(BadRecord::Key);
    }
    Ok((Record { key, value }, rest))
}

/// What records say about one field of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// Nothing: what the header says counts.
    #[default]
    Unsaid,
    /// An empty value: nobody says anything, not even the header.
    Deleted,
    /// This.
    Said(Vec<u8>),
}

impl Field {
    /// A later record counts instead of an earlier one.
    fn set(&mut self, value: &[u8]) {
        *self = if value.is_empty() { Self::Deleted } else { Self::Said(value.to_vec()) };
    }

    /// What is said here, or else there.
    #[must_use]
    pub fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if *self == Self::Unsaid { other } else { self }
    }
}

/// What the records of a header say, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// `path`.
    pub path: Field,
    /// `size`.
    pub size: Field,
    /// `mtime`.
    pub modified: Field,
    /// [`MEDIA_TYPE`].
    pub media_type: Field,
    /// [`VOLUME`].
    pub volume: Field,
    /// The name of a record that makes the entry a sparse file.
    pub sparse: Option<Vec<u8>>,
    /// The real name of a sparse file, for errors.
    pub sparse_name: Option<Vec<u8>>,
    /// The name of a record that makes the entry a part of a file.
    pub partial: Option<Vec<u8>>,
    /// `SCHILY.filetype` names something that is no file and no directory.
    pub is_special: bool,
}

impl Records {
    /// Adds the records of a header. Of a name that comes twice, the last counts.
    ///
    /// # Errors
    /// [`BadRecord`].
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

    /// Names and values.
    type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

    fn all(bytes: &[u8]) -> Result<Pairs<'_>, BadRecord> {
        split(bytes).map(|record| record.map(|Record { key, value }| (key, value))).collect()
    }

    #[test]
    fn records_end_where_their_length_says() {
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
    fn the_last_of_two_counts_and_an_empty_value_deletes() {
        let mut records = Records::default();
        records.add(b"12 mtime=10\n11 mtime=2\n10 path=a\n8 path=\n").unwrap();
        assert_eq!(records.modified, Field::Said(b"2".to_vec()));
        assert_eq!(records.path, Field::Deleted);
        assert_eq!(records.size, Field::Unsaid);
        let mut global = Records::default();
        global.add(b"10 size=1\n10 path=g\n").unwrap();
        assert_eq!(records.path.or(&global.path), &Field::Deleted);
        assert_eq!(records.size.or(&global.size), &Field::Said(b"1".to_vec()));
    }

    /// The records of a header that the library wrote.
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
        fn what_the_library_writes_is_read_back(
            records in prop::collection::vec(
                ("[a-zA-Z.\n]{1,30}", prop::collection::vec(any::<u8>(), 0..200)), 1..6)
        ) {
            let bytes = written(&records);
            let read = all(&bytes).unwrap();
            let want: Vec<_> =
                records.iter().map(|(key, value)| (key.as_bytes(), &value[..])).collect();
            prop_assert_eq!(read, want);
        }

        /// Splitting is total: whatever the bytes, records cover a beginning of them without gaps, and an
        /// error comes last.
        #[test]
        fn any_bytes_are_split_or_refused(bytes in "([0-9]{1,2} [a=\n ]{0,12}\n?|.){0,6}") {
            let bytes = bytes.as_bytes();
            let mut at = 0;
            let mut failed = false;
            for record in split(bytes) {
                prop_assert!(!failed, "nothing comes after an error");
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
