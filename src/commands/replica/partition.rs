//! A part of two lists that is compared in memory: a temporary file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use super::difference::{Difference, DifferenceKind};
use super::listed_id::{ListedId, Side};

/// Length of an entry in the file (bytes): key, alternate key, side, digest and note.
const ENTRY_LEN: usize = 8 + 4 + 1 + 8 + 8;
/// Length of the buffer of a partition that is written (bytes).
const WRITE_BUFFER: usize = 16 << 10;

/// An entry in memory.
struct Entry {
    id: (u64, u32),
    side: Side,
    digest: u64,
    note: u64,
}

/// A part of two lists, in the order in which the entries were added. The file has no name: it is gone when
/// the process ends.
#[derive(Debug)]
pub(super) struct Partition {
    file: BufWriter<File>,
    entries: usize,
}

impl Partition {
    pub(super) fn create() -> io::Result<Self> {
        let file = BufWriter::with_capacity(WRITE_BUFFER, tempfile::tempfile()?);
        Ok(Self { file, entries: 0 })
    }

    pub(super) fn add(&mut self, side: Side, object: ListedId, note: u64) -> io::Result<()> {
        let mut entry = [0; ENTRY_LEN];
        entry[..8].copy_from_slice(&object.key.to_ne_bytes());
        entry[8..12].copy_from_slice(&object.alt.to_ne_bytes());
        entry[12] = u8::from(side == Side::Second);
        entry[13..21].copy_from_slice(&object.digest.to_ne_bytes());
        entry[21..].copy_from_slice(&note.to_ne_bytes());
        self.entries += 1;
        self.file.write_all(&entry)
    }

    /// Compares the two lists. Returns their differences in the order of the ids.
    pub(super) fn compare(self) -> io::Result<Vec<Difference>> {
        let entries = self.read()?;
        let of_one_object = entries.chunk_by(|one, other| one.id == other.id);
        let differences = of_one_object.filter_map(|entries| {
            let (key, alt) = entries[0].id;
            let last = |side| entries.iter().rfind(|entry| entry.side == side);
            let (first, second) = (last(Side::First), last(Side::Second));
            let kind = match (first, second) {
                (Some(_), None) => DifferenceKind::OnlyFirst,
                (None, Some(_)) => DifferenceKind::OnlySecond,
                (Some(first), Some(second)) if first.digest != second.digest => {
                    DifferenceKind::Differs
                }
                _ => return None,
            };
            let notes = [first, second].map(|entry| entry.map_or(0, |entry| entry.note));
            Some(Difference { key, alt, kind, notes })
        });
        Ok(differences.collect())
    }

    /// Reads the entries. Those of an object stand together, in their order.
    fn read(self) -> io::Result<Vec<Entry>> {
        let mut file = self.file.into_inner()?;
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::new(file);
        let mut entries = Vec::with_capacity(self.entries);
        for _ in 0..self.entries {
            let (mut key, mut alt, mut side) = ([0; 8], [0; 4], [0; 1]);
            let (mut digest, mut note) = ([0; 8], [0; 8]);
            for field in [&mut key[..], &mut alt, &mut side, &mut digest, &mut note] {
                file.read_exact(field)?;
            }
            let side = if side[0] == 0 { Side::First } else { Side::Second };
            let id = (u64::from_ne_bytes(key), u32::from_ne_bytes(alt));
            let (digest, note) = (u64::from_ne_bytes(digest), u64::from_ne_bytes(note));
            entries.push(Entry { id, side, digest, note });
        }
        // Stable: of several entries of an object the last one counts.
        entries.sort_by_key(|entry| entry.id);
        Ok(entries)
    }
}
