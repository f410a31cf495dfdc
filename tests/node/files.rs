//! The files of volumes on the simulated disk, by their names.

use std::path::PathBuf;

use hayloft::base::types::VolumeId;
use hayloft::runtime::op::DirId;
use hayloft::volume;

/// The data directories, in the order of their numbers.
pub const DIRECTORIES: [&str; 2] = ["data", "data2"];
/// The stores to which these directories belong.
pub const STORES: [[u8; 16]; 2] = [*b"a store of tests", *b"a second of them"];
/// Position of the second data directory, into which volumes are moved.
pub const SECOND_DIRECTORY: u32 = 1;

/// A volume file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeFile {
    pub volume: VolumeId,
    pub generation: u64,
    /// Position of its data directory.
    pub dir: u32,
}

impl VolumeFile {
    /// Name of the file on the disk.
    pub fn name(self) -> String {
        let name = volume::file_name(self.volume, self.generation);
        if self.dir == 0 { name } else { format!("{}/{name}", self.dir) }
    }

    pub fn path(self) -> PathBuf {
        PathBuf::from(DIRECTORIES[self.dir as usize])
    }

    pub fn dir_id(self) -> DirId {
        DirId(self.dir)
    }

    /// The volume file of this name; `None` if another file has it.
    pub fn of_name(name: &str) -> Option<Self> {
        let (file, rest) = split(name)?;
        (rest == "vol").then_some(file)
    }

    /// The volume file that a name belongs to: its own, that of an unfinished file, or of a checkpoint.
    pub fn beside(name: &str) -> Option<Self> {
        split(name).map(|(file, _)| file)
    }
}

/// Splits a name into volume, generation and directory, and the rest.
fn split(name: &str) -> Option<(VolumeFile, &str)> {
    let (dir, plain) = match name.split_once('/') {
        Some((dir, plain)) => (dir.parse().ok()?, plain),
        None => (0, name),
    };
    let (volume, rest) = plain.split_once('.')?;
    let (generation, rest) = rest.split_once('.')?;
    let file = VolumeFile {
        volume: VolumeId(volume.parse().ok()?),
        generation: generation.parse().ok()?,
        dir,
    };
    Some((file, rest))
}

/// The volume files among these names, of one volume.
pub fn of_volume(names: &[String], volume: VolumeId) -> Vec<VolumeFile> {
    let files = names.iter().filter_map(|name| VolumeFile::of_name(name));
    files.filter(|file| file.volume == volume).collect()
}
