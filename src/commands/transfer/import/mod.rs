//! Stores many photos: every file of a directory ([`tree`]), or the photos of a tar ([`archive`]).
//!
//! An import that was interrupted resumes when it is run again, and stores nothing twice: every name is
//! durable in the journal ([`ledger`]) before anything is sent under it, or is given by the tar.

pub mod archive;
mod audit;
pub mod escape;
pub mod ledger;
mod pipe;
mod prune;
mod route;
pub mod row;
mod run;
mod sender;
pub mod tree;
mod upload;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use thiserror::Error;

use crate::base::size::ByteSize;
use crate::commands::client::{Body, Client, ClientError, ServerAddress};
use crate::http::head::Method;
use archive::Tar;
use ledger::LedgerError;
use pipe::Pipe;
use volumes::Volumes;

pub use run::{Failure, Progress, Report, Stop};
pub use tree::abandon;
pub use volumes::{CreateError, Unfit, UnfitReason};

/// Parameters of an import.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data API.
    pub server: ServerAddress,
    /// The admin API, which lists the volumes.
    pub admin: ServerAddress,
    /// Whether `admin` is known to belong to `server`: it is asked only then.
    pub paired: bool,
    /// Whether the command runs its own daemon, which no other command can reach.
    pub private: bool,
    /// Volume for all photos, if one is named.
    pub volume: Option<u32>,
    /// For a tar: destination volumes by origin; other photos go to the volume of the same number.
    pub volume_map: BTreeMap<u32, u32>,
    /// Size of volumes that are created where photos need one that does not exist; `None`: none are created.
    pub create_volumes: Option<ByteSize>,
    /// The manifest of a directory, if not `NAME.manifest.tsv`.
    pub manifest: Option<PathBuf>,
    /// Number of photos in flight at once.
    pub parallel: usize,
    /// Whether to import files and directories whose names begin with a dot.
    pub hidden: bool,
    /// Whether to accept a store that has no photo of the manifest, but other photos in its volumes.
    pub restore: bool,
    /// Whether files are stored over photos that were replaced by other means, and such photos are pruned.
    pub overwrite: bool,
    /// Whether photos whose files are gone are deleted.
    pub prune: bool,
    /// Whether the bytes of every photo of the manifest are read from the store and verified.
    pub verify: bool,
}

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

/// Imports a directory, a tar, or a tar from standard input (`-`).
///
/// # Errors
/// [`ImportError`] before anything is stored. Later failures are in the report.
pub fn import(path: &Path, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: path.to_owned(), error };
    if progress.stop.load(Ordering::Relaxed) {
        return Ok(Report::interrupted());
    }
    let mut file = if path.as_os_str() == "-" {
        File::from(io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?)
    } else {
        if std::fs::metadata(path).map_err(cannot)?.is_dir() {
            if !plan.volume_map.is_empty() {
                return Err(ImportError::MappedDirectory);
            }
            return tree::import(path, plan, progress);
        }
        File::open(path).map_err(cannot)?
    };
    if file.metadata().map_err(cannot)?.is_file() {
        let start = file.stream_position().map_err(cannot)?;
        let mut magic = Vec::new();
        (&mut file).take(MAGIC_MAX).read_to_end(&mut magic).map_err(cannot)?;
        refuse_compressed(path, &magic)?;
        file.seek(io::SeekFrom::Start(start)).map_err(cannot)?;
        return archive::import(Tar::File(&mut file), plan, progress);
    }
    let mut stream = BufReader::new(Pipe::new(file, &progress.stop));
    match stream.fill_buf() {
        Ok(begin) => refuse_compressed(path, begin)?,
        Err(_) if progress.stop.load(Ordering::Relaxed) => return Ok(Report::interrupted()),
        Err(error) => return Err(cannot(error)),
    }
    archive::import(Tar::Stream(&mut stream), plan, progress)
}

/// Header field by which the data API names the instance of its daemon.
const INSTANCE: &str = "X-Hayloft-Instance";
/// Number of times that both APIs are asked before they count as two daemons: one may be restarted in
/// between.
const ATTEMPTS: u32 = 2;

/// The fields of the admin API's `/status` that an import needs.
#[derive(Deserialize)]
struct DaemonStatus {
    instance: Option<String>,
    limits: Option<StatusLimits>,
}

#[derive(Deserialize)]
struct StatusLimits {
    /// Bytes.
    largest_body: u64,
}

impl DaemonStatus {
    fn ask(admin: &Client) -> Option<Self> {
        let reply = admin.request(Method::Get, "/status", &[], Body::None).ok()?;
        reply.expect(&[200]).ok()?.json().ok()
    }
}

/// Length of the longest magic number of a compressed file (bytes).
const MAGIC_MAX: u64 = 4;

fn refuse_compressed(path: &Path, begin: &[u8]) -> Result<(), ImportError> {
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zX"];
    if compressed.iter().any(|magic| begin.starts_with(magic)) {
        return Err(ImportError::Compressed(path.to_owned()));
    }
    Ok(())
}

impl Plan {
    /// Checks that the data API answers, and that the admin API belongs to the same daemon, as far as both
    /// name their instance. Returns the size of the largest photo that it takes (bytes), if known.
    fn connect(&self) -> Result<Option<u64>, ImportError> {
        let client = Client::new(self.server.clone(), "--server");
        let admin = Client::new(self.admin.clone(), "--admin");
        let mut attempts = ATTEMPTS;
        loop {
            // Any answer is accepted.
            let mut reply = client.request(Method::Get, "/", &[], Body::None)?;
            let instance = reply.header(INSTANCE).map(str::to_owned);
            reply.drain().ok();
            // An admin API that does not answer is no error here: requests that need it report that.
            let Some(status) = DaemonStatus::ask(&admin).filter(|_| self.paired) else {
                return Ok(None);
            };
            if instance.is_none() || status.instance.is_none() || instance == status.instance {
                return Ok(status.limits.map(|limits| limits.largest_body));
            }
            attempts -= 1;
            if attempts == 0 {
                let (server, admin) = (self.server.clone(), self.admin.clone());
                return Err(ImportError::OtherDaemon { server, admin });
            }
        }
    }

    /// Returns the volumes of the store; there may be none.
    fn ask_volumes(&self) -> Result<Volumes, ImportError> {
        let admin = || Client::new(self.admin.clone(), "--admin");
        if !self.paired && (self.volume.is_none() || self.create_volumes.is_some()) {
            return Err(ImportError::Unpaired(self.server.clone()));
        }
        let Some(volume) = self.volume else { return Ok(Volumes::ask(admin())?) };
        if self.create_volumes.is_some() {
            return Ok(Volumes::only(volume, Some(admin())));
        }
        let admin = Some(admin()).filter(|admin| self.paired && Volumes::answers(admin));
        Ok(Volumes::only(volume, admin))
    }

    /// Checks that each volume of `needed` takes photos, and creates those that do not exist if the plan says
    /// so. The error is a sentence without advice about flags that send photos to other volumes; nothing was
    /// stored then.
    fn prepare(
        &self,
        volumes: &Volumes,
        needed: &BTreeSet<u32>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let mut unfit = volumes.unfit(needed).map_err(|error| error.to_string())?;
        if self.create_volumes.is_some() {
            unfit.retain(|unfit| unfit.reason != UnfitReason::Absent);
        }
        if !unfit.is_empty() {
            return Err(self.describe(&unfit));
        }
        let Some(size) = self.create_volumes else { return Ok(()) };
        let created = volumes.create_missing(needed, size, stop);
        created.map(drop).map_err(|error| error.to_string())
    }

    /// Like [`Self::prepare`], and checks that each volume can hold the given number of bytes.
    fn prepare_room(
        &self,
        volumes: &Volumes,
        needed: &BTreeMap<u32, u64>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let small = volumes.too_small(needed, self.create_volumes);
        let small = small.map_err(|error| error.to_string())?;
        if !small.is_empty() {
            return Err(self.describe(&small));
        }
        self.prepare(volumes, &needed.keys().copied().collect(), stop)
    }

    /// Describes that no volume takes a photo, and what to do.
    fn no_volume(&self, volumes: &Volumes) -> String {
        if volumes.is_empty_store() {
            return "the store has no volume yet: --create-volumes SIZE creates volume 1"
                .to_owned();
        }
        let remedy = match self.private {
            true => "--volume N --create-volumes SIZE creates volume N for what is new",
            false => "create one with hayloft volume create",
        };
        format!("no volume with room takes writes any more: {remedy}")
    }

    /// Describes which volumes take no photos, why, and what to do about each.
    fn describe(&self, unfit: &[Unfit]) -> String {
        let at = (!self.private).then(|| format!(" --admin {}", self.admin));
        let describe = |unfit: &Unfit| match unfit.remedy(at.as_deref()) {
            Some(remedy) => format!("{unfit} ({remedy})"),
            None => unfit.to_string(),
        };
        let mut text = unfit.iter().map(describe).collect::<Vec<_>>().join("; ");
        if unfit.iter().any(|unfit| unfit.reason == UnfitReason::Absent) {
            text += "; with --create-volumes SIZE this command creates what is missing";
        }
        text
    }
}

#[cfg(test)]
mod tests;
