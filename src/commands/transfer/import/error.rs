//! Why an import could not start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::ledger::LedgerError;
use crate::commands::client::{ClientError, ServerAddress};

/// Why an import could not start. Nothing was stored.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The directory or tar cannot be read.
    #[error("cannot read {}: {error}; name a directory, or a tar that hayloft export wrote", path.display())]
    Path {
        /// Path as given.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
    /// The tar is compressed.
    #[error("{} is compressed; decompress it into a pipe: zcat FILE | hayloft import -", .0.display())]
    Compressed(PathBuf),
    /// The daemon refused, or the connection failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The manifest or journal cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store has no photo of the manifest, and may be the wrong one.
    #[error(
        "nothing that {} names is in the store at {server}, whose volumes hold other photos, or cannot be \
         asked; name the right store with --server; if this one has lost its photos, --restore stores them \
         under their URLs; with another --manifest everything is stored anew", path.display()
    )]
    OtherStore {
        /// The manifest.
        path: PathBuf,
        /// Data API of the store.
        server: ServerAddress,
    },
    /// The admin API is not known.
    #[error(
        "which volumes {0} has is not known: name its admin API with --admin HOST:PORT (that at \
         127.0.0.1:8081 may be another store's); nothing was stored or created"
    )]
    Unpaired(ServerAddress),
    /// `--volume-map` with a directory.
    #[error("--volume-map is for the photos of a tar; for those of a directory use --volume N")]
    MappedDirectory,
    /// The admin API is that of another daemon.
    #[error(
        "the admin API at {admin} belongs to another daemon than the data API at {server}: name the right \
         one with --admin (or --server); nothing was stored or created"
    )]
    OtherDaemon {
        /// The data API.
        server: ServerAddress,
        /// The admin API.
        admin: ServerAddress,
    },
}
