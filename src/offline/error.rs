//! Why nothing could be looked at, or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::datadir::DataDirError;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// A data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A volume that was asked for.
    #[error("there is no volume {id} in the data directories; {}", there_text(there))]
    NoSuchVolume {
        /// Its number.
        id: u32,
        /// Those that are there.
        there: Vec<u32>,
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
    /// The device needs larger blocks than the format's.
    #[error(
        "{} is on a device that reads in blocks of {bytes} bytes, and its needles are aligned to 512; \
         add --buffered, with which it is read through the page cache", path.display()
    )]
    Alignment {
        /// A volume file on it.
        path: PathBuf,
        /// What the device needs.
        bytes: u32,
    },
    /// The file to be written is there already.
    #[error("{} exists; name another file, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is to be written to cannot be replaced by a file.
    #[error(
        "{} is not a regular file; name another file, or write to standard output (-o -) and redirect it",
        path.display()
    )]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// Standard output is a terminal.
    #[error("a tar is not for a terminal; name a file (-o FILE), or redirect or pipe it")]
    Terminal,
    /// The output could not be written.
    #[error(
        "cannot write {what}: {error}; no whole tar was written: make room, or mend what is wrong, and \
         start again"
    )]
    Write {
        /// Which output.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// Something else.
    #[error("cannot {0}: {1}; check the limits of this user and the kernel log")]
    Step(&'static str, io::Error),
}

fn there_text(there: &[u32]) -> String {
    match there {
        [] => "there is none at all: name the directory that has it (--data)".to_owned(),
        [only] => format!("there is only volume {only}"),
        several => {
            let several: Vec<_> = several.iter().map(u32::to_string).collect();
            format!("there are {}", several.join(", "))
        }
    }
}
