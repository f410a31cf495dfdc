//! The volume files in a data directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::DataDirError;
use super::listing::{is_regular_file, names_in};
use super::names::FileName;
use crate::base::types::VolumeId;

/// A volume file found in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVolume {
    /// Volume id, as in URLs.
    pub id: VolumeId,
    /// Generation of the file: compaction writes the next one. The highest is not always the valid one.
    pub generation: u64,
    /// Path of the file: the directory as configured, and the file name.
    pub path: PathBuf,
    /// File name: `{id}.{generation}.vol`.
    pub file_name: String,
}

/// Lists the volume files of a directory, by id and then generation.
///
/// # Errors
/// As [`super::DataDir::volumes`].
pub(super) fn volumes_in(directory: &Path) -> Result<Vec<FoundVolume>, DataDirError> {
    let mut volumes = Vec::new();
    for name in names_in(directory)? {
        let Some(file_name) = name.to_str() else {
            continue;
        };
        let FileName::Volume { id, generation } = FileName::parse(file_name) else {
            continue;
        };
        let path = directory.join(file_name);
        if !is_regular_file(&path)? {
            return Err(DataDirError::NotAVolume { path });
        }
        volumes.push(FoundVolume { id, generation, path, file_name: file_name.to_owned() });
    }
    volumes.sort_unstable_by_key(|volume| (volume.id, volume.generation));
    Ok(volumes)
}

/// Returns the number of volume files in these directories. One that cannot be listed counts as empty.
#[must_use]
pub fn count_volumes(paths: &[PathBuf]) -> u64 {
    let names = paths.iter().flat_map(|path| names_in(path).unwrap_or_default());
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(FileName::parse(name), FileName::Volume { .. }))
    };
    names.filter(is_volume).count() as u64
}

/// Returns the first volume file in a directory; `None` if there is none, or the directory cannot be listed.
#[must_use]
pub fn any_volume(path: &Path) -> Option<PathBuf> {
    let is_volume = |name: &OsString| {
        name.to_str().is_some_and(|name| matches!(FileName::parse(name), FileName::Volume { .. }))
    };
    let name = names_in(path).ok()?.into_iter().find(is_volume)?;
    Some(path.join(name))
}
