//! Log of the requests that a device completed, in the order of completion.
//!
//! Format: eight bytes of magic, then entries. An entry is four little-endian 64-bit words (kind: 0 write,
//! 1 flush; offset on the device in bytes; length in bytes; number of requests that had completed when this
//! one arrived), followed by the data of a write.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, file};

/// First bytes of a log.
pub const MAGIC: [u8; 8] = *b"hayfault";
/// Length of an entry without its data (bytes).
const HEAD: usize = 32;

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes the data of the entry.
    Write,
    /// Makes completed writes durable.
    Flush,
}

/// A completed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Write or flush.
    pub kind: Kind,
    /// Offset of a write on the device (bytes).
    pub offset: u64,
    /// Length of a write (bytes).
    pub len: u64,
    /// Number of requests that had completed when this one arrived: those that a flush covers.
    pub begun: u64,
}

impl Entry {
    /// Encodes the entry without its data.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD] {
        let kind = u64::from(self.kind == Kind::Flush);
        let mut head = [0; HEAD];
        let words = [kind, self.offset, self.len, self.begun];
        for (place, word) in head.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        head
    }

    fn decode(head: &[u8; HEAD]) -> Option<Self> {
        let word = |n: usize| {
            let bytes = head[n * 8..n * 8 + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        let kind = match word(0) {
            0 => Kind::Write,
            1 => Kind::Flush,
            _ => return None,
        };
        Some(Self { kind, offset: word(1), len: word(2), begun: word(3) })
    }
}

/// A log, read from its file.
#[derive(Debug)]
pub struct RequestLog {
    file: File,
    path: PathBuf,
    entries: Vec<Entry>,
    /// Offset of each entry's data in the log file (bytes).
    data_at: Vec<u64>,
}

impl RequestLog {
    /// Reads the entries. An incomplete entry at the end is ignored.
    ///
    /// # Errors
    /// [`Error::Log`] when the file is not a log or is damaged, [`Error::File`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bad = |what: String| Error::Log { path: path.to_owned(), what };
        let log = File::open(path).map_err(file("open", path))?;
        let end = log.metadata().map_err(file("read the length of", path))?.len();
        let mut reader = BufReader::new(&log);
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(file("read", path))?;
        if magic != MAGIC {
            return Err(bad(format!("it begins with {magic:?}, not with {MAGIC:?}")));
        }
        let (mut entries, mut data_at, mut at) = (Vec::new(), Vec::new(), 8);
        while at + HEAD as u64 <= end {
            let mut head = [0; HEAD];
            reader.read_exact(&mut head).map_err(file("read", path))?;
            at += HEAD as u64;
            let entry = Entry::decode(&head).filter(|entry| entry.begun <= entries.len() as u64);
            let entry = entry.ok_or_else(|| bad(format!("entry {} is invalid", entries.len())))?;
            let Some(behind) = at.checked_add(entry.len).filter(|behind| *behind <= end) else {
                break;
            };
            let skip = i64::try_from(entry.len).expect("lengths in a file fit i64");
            reader.seek_relative(skip).map_err(file("read", path))?;
            entries.push(entry);
            data_at.push(at);
            at = behind;
        }
        drop(reader);
        Ok(Self { file: log, path: path.to_owned(), entries, data_at })
    }

    /// The entries, in the order of completion.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Data of the write at entry `n`; empty for a flush.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn data(&self, n: usize) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(self.entries[n].len).expect("usize has 64 bits");
        let mut data = vec![0; len];
        self.file.read_exact_at(&mut data, self.data_at[n]).map_err(file("read", &self.path))?;
        Ok(data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a log of entries (offset, data or `None` for a flush, completed requests on arrival); returns
    /// its path.
    pub(crate) fn written(dir: &Path, entries: &[(u64, Option<Vec<u8>>, u64)]) -> PathBuf {
        let mut bytes = MAGIC.to_vec();
        for (offset, data, begun) in entries {
            let kind = if data.is_some() { Kind::Write } else { Kind::Flush };
            let data = data.clone().unwrap_or_default();
            let entry = Entry { kind, offset: *offset, len: data.len() as u64, begun: *begun };
            bytes.extend(entry.encode());
            bytes.extend(data);
        }
        let path = dir.join("log");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn entries_come_in_order_with_their_data() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [(4096, Some(vec![7; 1024]), 0), (0, None, 1), (512, Some(vec![9; 512]), 1)];
        let log = RequestLog::open(&written(dir.path(), &entries)).unwrap();
        let shapes: Vec<_> =
            log.entries().iter().map(|e| (e.kind, e.offset, e.len, e.begun)).collect();
        let expected =
            [(Kind::Write, 4096, 1024, 0), (Kind::Flush, 0, 0, 1), (Kind::Write, 512, 512, 1)];
        assert_eq!(shapes, expected);
        let data: Vec<_> = (0..3).map(|n| log.data(n).unwrap()).collect();
        assert_eq!(data, [vec![7; 1024], vec![], vec![9; 512]]);
    }

    #[test]
    fn incomplete_last_entries_are_ignored_and_invalid_files_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &[(0, Some(vec![7; 1024]), 0), (0, None, 1)]);
        let whole = std::fs::read(&path).unwrap();
        for (len, entries) in [(whole.len(), 2), (whole.len() - 1, 1), (900, 0), (8, 0)] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(RequestLog::open(&path).unwrap().entries().len(), entries);
        }
        let mut bad = whole.clone();
        bad[8] = 2;
        for bad in [&[0; 4096][..], &whole[..4], &bad] {
            std::fs::write(&path, bad).unwrap();
            assert!(RequestLog::open(&path).is_err());
        }
    }
}
