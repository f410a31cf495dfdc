//! Many photos into a store: every file of a directory ([`tree`]), or the photos of a tar ([`archive`]).
//!
//! An import that was interrupted, by whatever, goes on when it is run again, and stores nothing twice:
//! nothing is sent under a name that is not written down ([`ledger`]) or given by the tar.

pub mod archive;
pub mod escape;
pub mod ledger;
mod run;
mod sender;
pub mod tree;
mod volumes;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::client::{Body, Client, ClientError, ServerAddress};
use crate::http::head::Method;
use ledger::LedgerError;
use volumes::Volumes;

pub use run::{Failure, Progress, Report, Stop};

/// What is to be done, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data API.
    pub server: ServerAddress,
    /// The admin API, which tells the volumes; not asked if the volume is named.
    pub admin: ServerAddress,
    /// The volume that takes all of it.
    pub volume: Option<u32>,
    /// The manifest of a directory, if not `NAME.manifest.tsv`.
    pub manifest: Option<PathBuf>,
    /// How many photos are under way at once.
    pub parallel: usize,
    /// Whether to take files and directories whose names begin with a dot.
    pub hidden: bool,
}

/// Why an import could not begin. Nothing was stored.
#[derive(Debug, Error)]
pub enum ImportError {
    /// What is to be imported.
    #[error("cannot read {}: {error}; name a directory, or a tar that hayloft export wrote", path.display())]
    Path {
        /// As named.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
    /// It is compressed.
    #[error("{} is compressed; unpack it on the way: zcat FILE | hayloft import -", .0.display())]
    Compressed(PathBuf),
    /// The daemon, or the way there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The manifest or journal.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What the manifest names is not there.
    #[error(
        "nothing that {} names is in the store at {server}; name the right one with --server, or another \
         manifest with --manifest and everything is stored anew", path.display()
    )]
    OtherStore {
        /// The manifest.
        path: PathBuf,
        /// The store.
        server: ServerAddress,
    },
    /// There is nowhere to put it.
    #[error("no volume takes writes; create one with hayloft volume create")]
    NoVolume,
}

/// Imports a directory, a tar, or a tar from standard input (`-`).
///
/// # Errors
/// [`ImportError`]. What goes wrong later stands in the report.
pub fn import(path: &Path, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: path.to_owned(), error };
    if path.as_os_str() == "-" {
        return tar(path, BufReader::new(io::stdin()), plan, progress);
    }
    if std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return tree::import(path, plan, progress);
    }
    tar(path, BufReader::new(File::open(path).map_err(cannot)?), plan, progress)
}

fn tar(
    path: &Path,
    mut bytes: impl BufRead,
    plan: &Plan,
    progress: &Progress,
) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: path.to_owned(), error };
    let begin = bytes.fill_buf().map_err(cannot)?;
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"];
    if compressed.iter().any(|magic| begin.starts_with(magic)) {
        return Err(ImportError::Compressed(path.to_owned()));
    }
    archive::import(bytes, plan, progress)
}

impl Plan {
    /// A client of the data API that answers at all.
    fn connect(&self) -> Result<Client, ClientError> {
        let client = Client::new(self.server.clone(), "--server");
        // Any answer will do.
        client.request(Method::Get, "/", &[], Body::None)?.drain().ok();
        Ok(client)
    }

    fn volumes(&self) -> Result<Volumes, ImportError> {
        let volumes = match self.volume {
            Some(volume) => Volumes::only(volume),
            None => Volumes::ask(Client::new(self.admin.clone(), "--admin"))?,
        };
        if volumes.all().is_empty() { Err(ImportError::NoVolume) } else { Ok(volumes) }
    }
}

#[cfg(test)]
mod tests;
