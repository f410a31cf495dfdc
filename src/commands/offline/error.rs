//! Errors of the commands that work on data directories.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::types::VolumeId;
use crate::node::datadir::DataDirError;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// A data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A selected volume does not exist.
    #[error("there is no volume {id} in the data directories; {}", there_text(there))]
    NoSuchVolume {
        /// Number of the volume.
        id: VolumeId,
        /// Volumes that exist.
        there: Vec<VolumeId>,
    },
    /// The file system has no direct I/O.
    #[error(
        "{} is on a file system without direct I/O ({error}); add --buffered, with which it is read \
         through the page cache", path.display()
    )]
    NoDirectIo {
        /// A volume file on it.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
    /// The device requires a larger alignment than the format has.
    #[error(
        "{} is on a device that reads in blocks of {bytes} bytes, and its needles are aligned to 512; \
         add --buffered, with which it is read through the page cache", path.display()
    )]
    Alignment {
        /// A volume file on it.
        path: PathBuf,
        /// Alignment that the device requires (bytes).
        bytes: u32,
    },
    /// The output file exists.
    #[error("{} exists; name another file, or replace it with --force", path.display())]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The output exists and is not a regular file.
    #[error(
        "{} is not a regular file; name another file, or write to standard output (-o -) and redirect it",
        path.display()
    )]
    NotAFile {
        /// Path of the output.
        path: PathBuf,
    },
    /// Standard output is a terminal.
    #[error("a tar is not for a terminal; name a file (-o FILE), or redirect or pipe it")]
    Terminal,
    /// The output could not be written.
    #[error(
        "cannot write {what}: {error}; no complete tar was written: free space, or fix the cause, and start \
         again"
    )]
    Write {
        /// Name of the output.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// Another step failed, named by a verb phrase.
    #[error("cannot {0}: {1}; check the limits of this user and the kernel log")]
    Step(&'static str, io::Error),
}

fn there_text(there: &[VolumeId]) -> String {
    match there {
        [] => "there is none at all: name the directory that has it (--data)".to_owned(),
        [only] => format!("there is only volume {only}"),
        several => {
            let several: Vec<_> = several.iter().map(VolumeId::to_string).collect();
            format!("there are {}", several.join(", "))
        }
    }
}
