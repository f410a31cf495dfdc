//! Offsets of the objects of a data directory, found with the daemon's own recovery and kept in a plain hash
//! table.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hayloft::base::limits::BLOCK;
use hayloft::base::types::VolumeId;
use hayloft::commands::offline::{Offline, Selection};
use hayloft::node::datadir::DataDir;
use hayloft::volume::Superblock;
use nix::libc;

use crate::error::Error;

/// Position of a needle in its volume file (bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first byte.
    pub offset: u64,
    /// Length, including header, checksums and footer.
    pub len: usize,
}

/// A volume file, open for direct reads.
pub struct OpenVolume {
    /// Open with `O_DIRECT`.
    pub file: File,
    /// Incarnation of the volume, which seeds its checksums.
    pub incarnation: u64,
    /// Extents by key and alternate key.
    pub needles: HashMap<(u64, u32), Extent>,
}

/// Reads and verifies every live needle of a data directory; returns the extents by volume. A daemon may be
/// started on the directory afterwards: the lock is released, and needles never move.
///
/// # Errors
/// When the directory is in use or not a data directory, or a volume holds an object that one read cannot
/// return: a damaged needle or a multipart object.
pub fn open(data: &Path) -> Result<HashMap<VolumeId, OpenVolume>, Error> {
    let mut volumes = HashMap::new();
    for file in DataDir::open_read_only(data)?.volumes()? {
        volumes.insert(file.id, open_volume(&file.path)?);
    }
    let selection = Selection { data: vec![data.to_owned()], ..Selection::default() };
    let mut refused = None;
    let listed = Offline::open(&selection)?.table(false, &mut |_| {}, &mut |row| {
        let refusal = match row {
            Ok(row) if row.kind == "needle" => {
                let len = usize::try_from(row.length).expect("a needle is about 1 MiB at most");
                let needles = volumes.get_mut(&row.volume).map(|volume| &mut volume.needles);
                let needles = needles.ok_or_else(|| {
                    io::Error::other("a volume appeared while the directory was listed")
                })?;
                needles.insert((row.key, row.alt), Extent { offset: row.offset, len });
                return Ok(());
            }
            Ok(row) => (row.volume, format!("{}/{} is a multipart object", row.key, row.alt)),
            Err(unlisted) => (unlisted.volume, unlisted.damage),
        };
        refused.get_or_insert(refusal);
        Ok(())
    });
    listed.map_err(|error| Error::Step("list the needles", error))?;
    match refused {
        Some((volume, what)) => Err(Error::Volume { volume, what }),
        None => Ok(volumes),
    }
}

fn open_volume(path: &PathBuf) -> Result<OpenVolume, Error> {
    let failed = |what| move |error| Error::File { what, path: path.clone(), error };
    let mut block = vec![0; usize::try_from(BLOCK).expect("a block is 4 KiB")];
    let plain = File::open(path).map_err(failed("open"))?;
    plain.read_exact_at(&mut block, 0).map_err(failed("read"))?;
    let superblock = Superblock::decode(&block).map_err(|error| {
        failed("read the superblock of")(io::Error::new(io::ErrorKind::InvalidData, error))
    })?;
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(path);
    let file = direct.map_err(failed("open for direct I/O"))?;
    Ok(OpenVolume { file, incarnation: superblock.incarnation, needles: HashMap::new() })
}
