//! Data directories that are open for reading, and the volumes in them that were selected.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::OfflineError;
use super::executor::{self, Executor};
use super::location::VolumeLocation;
use super::picked::{Picked, pick};
use crate::base::types::VolumeId;
use crate::node::datadir::{self, DataDir};
use crate::ring::SetupError;

/// Selection of data directories and volumes to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Data directories.
    pub data: Vec<PathBuf>,
    /// Volumes in them; all if empty.
    pub volumes: Vec<VolumeId>,
    /// Whether to use the page cache, for file systems without direct I/O.
    pub buffered: bool,
}

/// Data directories that are open for reading.
pub struct Offline {
    dirs: Vec<DataDir>,
    /// The selected volumes, each with the file that is read.
    pub(super) volumes: BTreeMap<VolumeId, Picked>,
    pub(super) executor: Executor,
}

impl Offline {
    /// Opens the data directories and lists the volumes in them.
    ///
    /// # Errors
    /// See [`OfflineError`]. A volume that cannot be opened is no error here.
    pub fn open(selection: &Selection) -> Result<Self, OfflineError> {
        datadir::check_distinct(&selection.data)?;
        let opened = selection.data.iter().map(|path| DataDir::open_read_only(path));
        let dirs: Vec<DataDir> = opened.collect::<Result<_, _>>()?;
        let mut executor = Executor::start(selection.buffered)?;
        let mut volumes: BTreeMap<VolumeId, Vec<VolumeLocation>> = BTreeMap::new();
        for dir in &dirs {
            let store = dir.store_id().0.to_be_bytes();
            let id = executor.open_dir(dir.path())?;
            for file in dir.volumes()? {
                volumes.entry(file.id).or_default().push(VolumeLocation { file, dir: id, store });
            }
        }
        if let Some(&id) = selection.volumes.iter().find(|id| !volumes.contains_key(id)) {
            let there = volumes.into_keys().collect();
            return Err(OfflineError::NoSuchVolume { id, there });
        }
        volumes.retain(|id, _| selection.volumes.is_empty() || selection.volumes.contains(id));
        if !selection.buffered {
            volumes
                .values()
                .flatten()
                .try_for_each(|place| executor::check_direct_io(&place.file))?;
        }
        let mut picked = BTreeMap::new();
        for (id, places) in volumes {
            picked.insert(id, pick(&mut executor, &places)?);
        }
        Ok(Self { dirs, volumes: picked, executor })
    }

    /// Returns the data directories that could not be locked: a daemon may be using them.
    #[must_use]
    pub fn unlocked(&self) -> Vec<PathBuf> {
        let unlocked = self.dirs.iter().filter(|dir| !dir.is_locked());
        unlocked.map(|dir| dir.path().to_owned()).collect()
    }

    /// Returns why volumes are read with plain reads, if the kernel refused an io_uring.
    #[must_use]
    pub fn without_ring(&self) -> Option<String> {
        self.executor.without_ring().map(SetupError::to_string)
    }

    /// Returns what is to be said about volumes with several files, or with one that was not finished.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let noted = self.volumes.iter().filter_map(|(id, picked)| Some((id, picked.note()?)));
        noted.map(|(id, text)| format!("volume {id}: {text}")).collect()
    }
}
