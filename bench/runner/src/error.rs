//! Why a measurement did not come about, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use hayloft::client::ClientError;
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// A command line that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something that must be there and is not.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// What is missing.
        what: String,
        /// How it is had.
        remedy: String,
    },
    /// Memory cannot be limited.
    #[error(
        "the page cache cannot be limited ({0}), so peers would be served from memory; run as root on a \
         kernel with memory cgroups, or accept that with --without-cgroup"
    )]
    NoCgroup(String),
    /// A file.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A program that failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// Its command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// A server that did not start or ended.
    #[error("{name} {what}; its log {} ends with:\n{tail}", log.display())]
    Server {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        what: &'static str,
        /// Its log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// A figure that a program should have given and did not.
    #[error("{from} gave no {what}; its version may not fit this one of the benchmark")]
    Figure {
        /// Who.
        from: &'static str,
        /// Which figure.
        what: String,
    },
    /// An open loop whose rate is a share of what was not measured.
    #[error("{0} was not measured, which sets the rate")]
    NoPeak(&'static str),
    /// Workloads in which something failed, each told when it did.
    #[error("these workloads failed, see above: {0}; run them again with --only")]
    Workloads(String),
    /// A server that does not answer as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Makes an error of the file system one of ours.
pub fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::File { what, path: path.to_owned(), error }
}
