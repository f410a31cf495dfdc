//! Names and states of the photos of an import: the manifest, and the journal while the import runs.
//!
//! Both are text: a line `# hayloft import 1<TAB>ROOT`, then a line for each [`Row`], in the manifest sorted
//! by path and only for stored photos. The journal also contains the names that were drawn; they are durable
//! before anything is sent under them. So after any interruption the next run sends the same photo to the
//! same name, and none is stored twice. A line of the journal overrides the manifest and earlier lines.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::escape::escape;
use super::row::{self, Found, Row, Stored};
use crate::commands::transfer::name::PhotoName;

/// Beginning of the first line.
const TITLE: &str = "# hayloft import 1\t";

/// Error of opening or writing the manifest or journal.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// A file operation failed.
    #[error("cannot {what} {}: {error}; choose another place with --manifest", path.display())]
    Io {
        /// The operation, as a verb phrase.
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
    /// Another import has locked the journal.
    #[error("another import uses {} now; let it end, or name another manifest with --manifest", .0.display())]
    Locked(PathBuf),
    /// The manifest or journal is that of another directory.
    #[error(
        "{} is of {other}, not of the directory that is to be imported; name another manifest with \
         --manifest (or, if the directory was moved, change the path in its first line)", path.display()
    )]
    OtherRoot {
        /// The manifest or journal.
        path: PathBuf,
        /// The directory that its first line names.
        other: String,
    },
    /// A line is malformed: the file is damaged, or no manifest.
    #[error(
        "line {line} of {} is malformed; fix it, or move the file away, and everything in it is stored again \
         under other names", path.display()
    )]
    Damaged {
        /// The manifest or journal.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// The manifest and journal of one import.
#[derive(Debug)]
pub struct Ledger {
    manifest: PathBuf,
    journal_path: PathBuf,
    journal: File,
    root: String,
    rows: BTreeMap<Vec<u8>, Row>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn cannot(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |error| LedgerError::Io { what, path, error }
}

impl Ledger {
    /// Opens the manifest of an import of the directory `root`, and its journal, which stays locked until the
    /// ledger is dropped. An absent file counts as empty.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(manifest: &Path, root: &Path) -> Result<Self, LedgerError> {
        let journal_path = with_suffix(manifest, ".journal");
        let open =
            File::options().create(true).truncate(false).read(true).write(true).open(&journal_path);
        let journal = open.map_err(cannot("open", &journal_path))?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerError::Locked(manifest.to_owned())),
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &journal_path)(error)),
        }
        let root = escape(root.as_os_str().as_encoded_bytes());
        let manifest = manifest.to_owned();
        let mut ledger = Self { manifest, journal_path, journal, root, rows: BTreeMap::new() };
        ledger.load_manifest()?;
        ledger.load_journal()?;
        Ok(ledger)
    }

    fn load_manifest(&mut self) -> Result<(), LedgerError> {
        let bytes = match std::fs::read(&self.manifest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(cannot("read", &self.manifest))?,
        };
        let whole = take_lines(&mut self.rows, &self.root, &self.manifest, &bytes)?;
        if whole < bytes.len() {
            let line = bytes[..whole].iter().filter(|byte| **byte == b'\n').count() + 1;
            return Err(LedgerError::Damaged { path: self.manifest.clone(), line });
        }
        Ok(())
    }

    /// Loads the journal, and truncates a torn end: nothing was sent under a name that is not durable.
    fn load_journal(&mut self) -> Result<(), LedgerError> {
        let path = &self.journal_path;
        let mut bytes = Vec::new();
        self.journal.read_to_end(&mut bytes).map_err(cannot("read", path))?;
        let whole = take_lines(&mut self.rows, &self.root, path, &bytes)?;
        self.journal.set_len(whole as u64).map_err(cannot("write", path))?;
        self.journal.seek(SeekFrom::End(0)).map_err(cannot("write", path))?;
        if whole == 0 {
            let title = format!("{TITLE}{}\n", self.root);
            self.journal.write_all(title.as_bytes()).map_err(cannot("write", path))?;
        }
        // The directory entry must survive a power failure, too.
        sync_dir(path).map_err(cannot("sync the directory of", path))
    }

    /// Returns the row of a path.
    #[must_use]
    pub fn row(&self, path: &[u8]) -> Option<Row> {
        self.rows.get(path).copied()
    }

    /// Marks the row of a path as visited by the walk, and returns it as it was before.
    #[must_use]
    pub fn visit(&mut self, path: &[u8]) -> Option<Row> {
        let row = self.rows.get_mut(path)?;
        let before = *row;
        row.visited = true;
        Some(before)
    }

    /// Returns all rows, in the order of their paths.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Row)> {
        self.rows.iter().map(|(path, row)| (&path[..], *row))
    }

    /// Returns the next `count` rows of stored photos after the path `cursor` (empty at first), and moves
    /// `cursor` to the last of them.
    pub fn next_stored(
        &self,
        cursor: &mut Vec<u8>,
        count: usize,
    ) -> Vec<(Vec<u8>, PhotoName, Stored)> {
        let rows = self.rows.range::<[u8], _>((Excluded(&cursor[..]), Unbounded));
        let stored = rows.filter_map(|(path, row)| Some((path.clone(), row.name, row.stored?)));
        let next: Vec<_> = stored.take(count).collect();
        if let Some((last, ..)) = next.last() {
            cursor.clone_from(last);
        }
        next
    }

    /// Notes in memory what was found in the store.
    pub fn note(&mut self, path: &[u8], found: Found) {
        if let Some(row) = self.rows.get_mut(path) {
            row.found = found;
        }
    }

    /// Returns the files of the ledger itself, which are not imported.
    #[must_use]
    pub fn own_files(&self) -> [PathBuf; 3] {
        [self.manifest.clone(), self.journal_path.clone(), with_suffix(&self.manifest, ".new")]
    }

    /// Writes drawn names to the journal. Nothing may be sent under them before the returned [`Unsynced`] was
    /// synced.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn assign(&mut self, names: &[(Vec<u8>, PhotoName)]) -> Result<Unsynced, LedgerError> {
        let mut lines = String::new();
        for (path, name) in names {
            let row = Row { visited: true, ..Row::new(*name, None) };
            lines += &row::line(path, &row);
            self.rows.insert(path.clone(), row);
        }
        let path = &self.journal_path;
        self.journal.write_all(lines.as_bytes()).map_err(cannot("write", path))?;
        let file = self.journal.try_clone().map_err(cannot("write", path))?;
        Ok(Unsynced { file, path: path.clone() })
    }

    /// Writes to the journal that a photo is stored. A power failure may lose the line: the photo is then
    /// stored again, under the same name.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn record(
        &mut self,
        path: &[u8],
        name: PhotoName,
        stored: Stored,
    ) -> Result<(), LedgerError> {
        let row = Row { found: Found::Same, visited: true, ..Row::new(name, Some(stored)) };
        let text = row::line(path, &row);
        self.journal.write_all(text.as_bytes()).map_err(cannot("write", &self.journal_path))?;
        self.rows.insert(path.to_owned(), row);
        Ok(())
    }

    /// Writes to the journal that a photo was deleted from the store. A power failure may lose the line: the
    /// photo is then deleted again.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn forget(&mut self, path: &[u8]) -> Result<(), LedgerError> {
        if let Entry::Occupied(entry) = self.rows.entry(path.to_owned()) {
            let text = row::removal(path);
            self.journal.write_all(text.as_bytes()).map_err(cannot("write", &self.journal_path))?;
            entry.remove();
        }
        Ok(())
    }

    /// Writes the manifest durably, then removes the journal, unless `keep_journal`: the names in it may
    /// still be needed.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; the journal is kept then.
    pub fn finish(&self, keep_journal: bool) -> Result<(), LedgerError> {
        self.write_manifest().map_err(cannot("write", &self.manifest))?;
        if keep_journal {
            return Ok(());
        }
        std::fs::remove_file(&self.journal_path).map_err(cannot("remove", &self.journal_path))
    }

    fn write_manifest(&self) -> io::Result<()> {
        let new = with_suffix(&self.manifest, ".new");
        let mut out = BufWriter::new(File::create(&new)?);
        writeln!(out, "{TITLE}{}", self.root)?;
        for (path, row) in self.rows.iter().filter(|(_, row)| row.stored.is_some()) {
            out.write_all(row::line(path, row).as_bytes())?;
        }
        out.into_inner()?.sync_all()?;
        std::fs::rename(&new, &self.manifest)?;
        sync_dir(&self.manifest)
    }
}

/// Lines of the journal that a power failure could still lose.
#[must_use]
pub struct Unsynced {
    file: File,
    path: PathBuf,
}

impl Unsynced {
    /// Makes the lines durable.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn sync(self) -> Result<(), LedgerError> {
        self.file.sync_data().map_err(cannot("sync", &self.path))
    }
}

fn sync_dir(file: &Path) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// Parses all lines into `rows`, up to a torn end that a crash may have left: a line without an end, or
/// zeros. Returns the length of the parsed lines (bytes).
fn take_lines(
    rows: &mut BTreeMap<Vec<u8>, Row>,
    root: &str,
    path: &Path,
    bytes: &[u8],
) -> Result<usize, LedgerError> {
    let mut whole = 0;
    for (number, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if !text.ends_with(b"\n") || text.contains(&0) {
            break;
        }
        let damaged = || LedgerError::Damaged { path: path.to_owned(), line: number };
        let text = str::from_utf8(&text[..text.len() - 1]).map_err(|_| damaged())?;
        if number == 1 {
            let other = text.strip_prefix(TITLE).ok_or_else(damaged)?;
            if other != root {
                let other = other.to_owned();
                return Err(LedgerError::OtherRoot { path: path.to_owned(), other });
            }
        } else {
            match row::parse(text).ok_or_else(damaged)? {
                (path, Some(row)) => rows.insert(path, row),
                (path, None) => rows.remove(&path),
            };
        }
        whole += text.len() + 1;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
