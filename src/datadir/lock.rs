//! The lock that gives a data directory to one daemon: flock on `DIR/LOCK`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::DataDirError;
use super::names::LOCK;
use crate::new_name;

/// A process that dies with operations in its ring keeps its files, and so its locks, for some
/// milliseconds: a supervisor that restarts at once must not fail for that.
const RETRIES: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Holds the lock until dropped. The file stays: removing it would let two processes lock two files.
#[derive(Debug)]
pub(super) struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock, waiting up to half a second for it, and writes the number of this process into
    /// the file. Also says whether the file was made for it.
    pub(super) fn take(directory: &Path) -> Result<(Self, bool), DataDirError> {
        let path = directory.join(LOCK);
        let (mut lock, is_new) = loop {
            let (file, is_new) = open_or_make(&path).map_err(|error| cannot_open(&path, error))?;
            let lock = Self::wait(directory, &path, file, FlockArg::LockExclusiveNonblock)?;
            // A start that is refused takes a file that it made away again: this may be that one.
            if lock.is_at(&path) {
                break (lock, is_new);
            }
        };
        if let Err(error) = lock.write_holder() {
            // The number only serves a message; a full disk must still start and serve.
            tracing::warn!(
                path = %path.display(),
                %error,
                "cannot write the process id into the lock file"
            );
        }
        Ok((lock, is_new))
    }

    /// Whether the locked file is the one of this name.
    fn is_at(&self, path: &Path) -> bool {
        let identity = |file: std::fs::Metadata| (file.dev(), file.ino());
        let (held, named) =
            (self.0.metadata().map(identity), std::fs::metadata(path).map(identity));
        held.is_ok_and(|held| named.is_ok_and(|named| held == named))
    }

    /// Shares the lock with others who only read, so that no daemon can take it; waits as long. Nothing
    /// where there is no lock file that this user may open, and none can be made.
    pub(super) fn share(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let path = directory.join(LOCK);
        let Ok(file) = open(&path).or_else(|_| File::open(&path)) else { return Ok(None) };
        let lock = Self::wait(directory, &path, file, FlockArg::LockSharedNonblock)?;
        // A holder that was killed has left its number, which would be told to whoever comes now.
        if lock.0.metadata().is_ok_and(|there| there.len() > 0) {
            let _ = lock.0.set_len(0);
        }
        Ok(Some(lock))
    }

    fn wait(
        directory: &Path,
        path: &Path,
        mut file: File,
        how: FlockArg,
    ) -> Result<Self, DataDirError> {
        for attempt in 0..=RETRIES {
            match Flock::lock(file, how) {
                Ok(held) => return Ok(Self(held)),
                Err((still_open, Errno::EWOULDBLOCK)) => file = still_open,
                Err((_, errno)) => {
                    return Err(DataDirError::io("lock", path, errno.into()));
                }
            }
            if attempt < RETRIES {
                sleep(RETRY_DELAY);
            }
        }
        Err(held_by(directory, read_holder(&mut file)))
    }

    fn write_holder(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(format!("{}\n", std::process::id()).as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock goes (with the field): whoever takes it next writes its own number.
        if let Err(error) = self.0.set_len(0) {
            tracing::debug!(%error, "cannot clear the process id in the lock file");
        }
    }
}

/// Whether the lock file of a directory could be opened, or made. Changes nothing.
pub(super) fn look(directory: &Path) -> Result<(), DataDirError> {
    let path = directory.join(LOCK);
    new_name::check_file(&path).map_err(|error| cannot_open(&path, error))
}

fn cannot_open(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::io("open the lock file", path, error)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The lock file, and whether it was made just now.
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((open(path)?, false)),
        other => Ok((other?, true)),
    }
}

fn held_by(directory: &Path, holder: Option<u32>) -> DataDirError {
    let path = directory.to_owned();
    match holder {
        Some(holder) if holder == std::process::id() => DataDirError::LockedBySelf { path, holder },
        _ => DataDirError::Locked { path, holder },
    }
}

/// The number in the file, or none: its holder may not have written it yet.
fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
