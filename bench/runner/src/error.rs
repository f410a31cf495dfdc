//! Errors of a measurement, with advice.

use std::io;
use std::path::{Path, PathBuf};

use hayloft::commands::client::ClientError;
use thiserror::Error;

/// Failure of a measurement.
#[derive(Debug, Error)]
pub enum Error {
    /// Invalid command line.
    #[error("{0}")]
    Usage(String),
    /// Missing prerequisite.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// Name of the prerequisite.
        what: String,
        /// How to obtain it.
        remedy: String,
    },
    /// Memory cannot be limited; the reason.
    #[error(
        "the page cache cannot be limited ({0}), so peers would serve from memory; run as root on a \
         kernel with memory cgroups, or accept that with --without-cgroup"
    )]
    NoCgroup(String),
    /// Failed file operation.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// Operation, as a verb.
        what: &'static str,
        path: PathBuf,
        /// Error of the system call.
        error: io::Error,
    },
    /// Failed program.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// Command line.
        command: String,
        /// Exit status.
        status: String,
        /// End of its output.
        output: String,
    },
    /// Server that did not start, or ended.
    #[error("{name} {what}; its log {} ends with:\n{tail}", log.display())]
    Server {
        /// Name of the server.
        name: &'static str,
        /// Description of the failure.
        what: &'static str,
        /// Log file.
        log: PathBuf,
        /// End of the log.
        tail: String,
    },
    /// Missing figure in the output of a program.
    #[error("{from} did not report {what}; its version may be incompatible with this benchmark")]
    Figure {
        /// Program.
        from: &'static str,
        /// Name of the figure.
        what: String,
    },
    /// Open loop whose reference rate was not measured.
    #[error("the rate is relative to {0}, which was not measured")]
    NoPeak(&'static str),
    /// Workloads with failures, which were reported before.
    #[error("these workloads failed, see above: {0}; run them again with --only")]
    Workloads(String),
    /// Failed request to a server.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Returns a function for `map_err` after an operation on a file.
pub fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::File { what, path: path.to_owned(), error }
}
