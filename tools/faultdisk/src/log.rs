//! What a device was asked to do, in the order in which the requests completed.
//!
//! A log is eight bytes of magic, then entries: four little-endian 64-bit words (0 for a write, 1 for a
//! flush; where on the device; how many bytes; how many entries there were when the request came), and
//! the bytes of a write.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, file};

/// How a log begins.
pub const MAGIC: [u8; 8] = *b"hayfault";
/// Bytes of an entry before its data.
const HEAD: usize = 32;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To write these bytes.
    Write,
    /// To make durable what was written.
    Flush,
}

/// A request that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it was.
    pub kind: Kind,
    /// Where on the device it wrote (bytes).
    pub offset: u64,
    /// How much (bytes).
    pub len: u64,
    /// Number of requests that had completed when this one came. These are what a flush covers.
    pub begun: u64,
}

impl Entry {
    /// The entry as it stands before its data.
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
pub struct Log {
    file: File,
    path: PathBuf,
    entries: Vec<Entry>,
    /// Where the data of each stands in the file.
    data_at: Vec<u64>,
}

impl Log {
    /// Reads the entries. One that is not whole, at the end, is left out.
    ///
    /// # Errors
    /// [`Error::Log`] when it is no log or damaged, [`Error::File`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bad = |what: String| Error::Log { path: path.to_owned(), what };
        let log = File::open(path).map_err(file("open", path))?;
        let end = log.metadata().map_err(file("look at", path))?.len();
        let mut reader = BufReader::new(&log);
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(file("read", path))?;
        if magic != MAGIC {
            return Err(bad(format!("it begins with {magic:?}")));
        }
        let (mut entries, mut data_at, mut at) = (Vec::new(), Vec::new(), 8);
        while at + HEAD as u64 <= end {
            let mut head = [0; HEAD];
            reader.read_exact(&mut head).map_err(file("read", path))?;
            at += HEAD as u64;
            let entry = Entry::decode(&head).filter(|entry| entry.begun <= entries.len() as u64);
            let entry = entry.ok_or_else(|| bad(format!("entry {} is none", entries.len())))?;
            let Some(behind) = at.checked_add(entry.len).filter(|behind| *behind <= end) else {
                break;
            };
            let skip = i64::try_from(entry.len).expect("within a file");
            reader.seek_relative(skip).map_err(file("read", path))?;
            entries.push(entry);
            data_at.push(at);
            at = behind;
        }
        drop(reader);
        Ok(Self { file: log, path: path.to_owned(), entries, data_at })
    }

    /// What was done, in the order in which it was.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes that entry `n` wrote.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn data(&self, n: usize) -> Result<Vec<u8>, Error> {
        let len = usize::try_from(self.entries[n].len).expect("a length in memory");
        let mut data = vec![0; len];
        self.file.read_exact_at(&mut data, self.data_at[n]).map_err(file("read", &self.path))?;
        Ok(data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A log of (where, data or a flush, begun).
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
        let log = Log::open(&written(dir.path(), &entries)).unwrap();
        let shapes: Vec<_> =
            log.entries().iter().map(|e| (e.kind, e.offset, e.len, e.begun)).collect();
        let expected =
            [(Kind::Write, 4096, 1024, 0), (Kind::Flush, 0, 0, 1), (Kind::Write, 512, 512, 1)];
        assert_eq!(shapes, expected);
        let data: Vec<_> = (0..3).map(|n| log.data(n).unwrap()).collect();
        assert_eq!(data, [vec![7; 1024], vec![], vec![9; 512]]);
    }

    #[test]
    fn what_was_cut_off_is_left_out_and_what_is_no_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &[(0, Some(vec![7; 1024]), 0), (0, None, 1)]);
        let whole = std::fs::read(&path).unwrap();
        for (len, entries) in [(whole.len(), 2), (whole.len() - 1, 1), (900, 0), (8, 0)] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(Log::open(&path).unwrap().entries().len(), entries);
        }
        let mut bad = whole.clone();
        bad[8] = 2;
        for bad in [&[0; 4096][..], &whole[..4], &bad] {
            std::fs::write(&path, bad).unwrap();
            assert!(Log::open(&path).is_err());
        }
    }
}
