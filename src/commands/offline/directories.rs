//! Data directories that are open for reading, and the volumes in them that were selected.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::OfflineError;
use super::executor::{self, Executor};
use super::location::VolumeLocation;
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
    /// The selected volumes with their files; a valid volume has one.
    volumes: BTreeMap<VolumeId, Vec<VolumeLocation>>,
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
        Ok(Self { dirs, volumes, executor })
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

    /// Returns the selected volumes that have one file, and those that have several.
    pub(super) fn by_files(&self) -> (Vec<VolumeLocation>, Vec<TwoFiles>) {
        let (mut single, mut double) = (Vec::new(), Vec::new());
        for (&id, places) in &self.volumes {
            match &places[..] {
                [place] => single.push(place.clone()),
                places => {
                    let files = places.iter().map(|place| place.file.path.clone()).collect();
                    double.push(TwoFiles { id, files });
                }
            }
        }
        (single, double)
    }
}

/// A volume with more than one file.
pub(super) struct TwoFiles {
    pub(super) id: VolumeId,
    files: Vec<PathBuf>,
}

impl TwoFiles {
    /// Describes the fault of the volume, and what to do.
    pub(super) fn text(&self) -> String {
        let files: Vec<_> = self.files.iter().map(|path| path.display().to_string()).collect();
        format!(
            "has {} files, {}; move away what does not belong there",
            files.len(),
            files.join(" and ")
        )
    }
}
