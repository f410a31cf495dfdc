//! The exclusive lock of a daemon on a data directory: flock(2) on `DIR/LOCK`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::DataDirError;
use super::names::LOCK;
use crate::base::new_name;

/// Number of retries. A process that is killed with operations in its ring keeps its files, and so its locks,
/// for some milliseconds: an immediate restart by a supervisor must not fail because of that.
const RETRIES: u32 = 10;
/// Pause before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Holds the lock until dropped. The lock file is not removed: otherwise two processes could lock two files.
#[derive(Debug)]
pub(super) struct Lock(Flock<File>);

impl Lock {
    /// Takes the exclusive lock, waiting up to half a second for it, and writes the id of this process into
    /// the lock file. Also returns whether the lock file was created.
    pub(super) fn take(directory: &Path) -> Result<(Self, bool), DataDirError> {
        let path = directory.join(LOCK);
        let (mut lock, is_new) = loop {
            let (file, is_new) = open_or_make(&path).map_err(|error| cannot_open(&path, error))?;
            let lock = Self::wait(directory, &path, file, FlockArg::LockExclusiveNonblock)?;
            // A start that fails removes a lock file that it created: this file may be that one.
            if lock.is_at(&path) {
                break (lock, is_new);
            }
        };
        if let Err(error) = lock.write_holder() {
            // The process id is used in a message only: a daemon must start on a full disk.
            tracing::warn!(
                path = %path.display(),
                %error,
                "cannot write the process id into the lock file"
            );
        }
        Ok((lock, is_new))
    }

    /// Whether the locked file is still the file at `path`.
    fn is_at(&self, path: &Path) -> bool {
        let identity = |file: std::fs::Metadata| (file.dev(), file.ino());
        let (held, named) =
            (self.0.metadata().map(identity), std::fs::metadata(path).map(identity));
        held.is_ok_and(|held| named.is_ok_and(|named| held == named))
    }

    /// Takes the shared lock of readers, so that no daemon can take the exclusive one; waits up to half a
    /// second for it. `None` if the lock file can neither be opened nor created.
    pub(super) fn share(directory: &Path) -> Result<Option<Self>, DataDirError> {
        let path = directory.join(LOCK);
        let Ok(file) = open(&path).or_else(|_| File::open(&path)) else { return Ok(None) };
        let lock = Self::wait(directory, &path, file, FlockArg::LockSharedNonblock)?;
        // A killed holder has left its process id, which an error message would name as the present holder.
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
        // Before the lock is released (with the field): the next holder writes its own process id.
        if let Err(error) = self.0.set_len(0) {
            tracing::debug!(%error, "cannot clear the process id in the lock file");
        }
    }
}

/// Checks that the lock file of a directory could be opened or created. Changes nothing.
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

/// Opens or creates the lock file. Also returns whether it was created.
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

/// Reads the process id in the lock file; `None` if the holder has not written it yet.
fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
