//! The monitored volume files. Shards add the files that they open; the monitoring thread looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::types::VolumeId;
use crate::node::shard::FileMonitor;

/// Identity of a file: device and inode.
pub type Identity = (u64, u64);

/// Returns the identity of a file. Symbolic links are not followed.
///
/// # Errors
/// The file cannot be inspected.
pub fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether the name now belongs to another file, or to none. Any other error, as of the device, is no loss.
pub fn is_lost(now: Result<&Identity, &io::Error>, then: Identity) -> bool {
    match now {
        Ok(now) => *now != then,
        Err(error) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Watched {
    generation: u64,
    path: PathBuf,
    identity: Identity,
}

#[derive(Default)]
struct List {
    files: BTreeMap<VolumeId, Watched>,
    /// Directories that were lost: no file in them can be monitored any more.
    lost_directories: BTreeSet<PathBuf>,
    /// Volumes whose last file was removed, and that were not reported yet.
    without_file: Vec<VolumeId>,
}

/// The monitored volume files: one of each volume at a time. Clones share the list.
#[derive(Clone, Default)]
pub struct WatchedFiles(Arc<Mutex<List>>);

impl WatchedFiles {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the monitoring of all files in a directory that was lost as a whole. Returns these files. From
    /// now on no file in it can be monitored.
    pub fn lose_all_in(&self, dir: &Path) -> Vec<(VolumeId, u64)> {
        let mut list = self.lock();
        list.lost_directories.insert(dir.to_owned());
        let inside = |_: &VolumeId, file: &mut Watched| file.path.parent() == Some(dir);
        let lost = list.files.extract_if(.., inside);
        lost.map(|(volume, file)| (volume, file.generation)).collect()
    }

    /// Removes and returns the files that are no longer at their paths: volume, generation and path.
    pub fn take_lost(&self) -> Vec<(VolumeId, u64, PathBuf)> {
        // A disk can block while it is asked, and shards must not wait for it: they need the list.
        let copy: Vec<(VolumeId, Watched)> =
            self.lock().files.iter().map(|(volume, file)| (*volume, file.clone())).collect();
        let is_lost = |file: &Watched| is_lost(identity(&file.path).as_ref(), file.identity);
        let lost: Vec<_> = copy.into_iter().filter(|(_, file)| is_lost(file)).collect();
        let files = &mut self.lock().files;
        // Meanwhile a file may have been removed on purpose, or replaced by that of a newer generation.
        let mut is_still_there = |(volume, file): &(VolumeId, Watched)| {
            let is_same = files.get(volume) == Some(file);
            is_same && files.remove(volume).is_some()
        };
        let lost = lost.into_iter().filter(|entry| is_still_there(entry));
        lost.map(|(volume, file)| (volume, file.generation, file.path)).collect()
    }

    /// Removes and returns the volumes that have no file any more.
    pub fn take_without_file(&self) -> Vec<VolumeId> {
        std::mem::take(&mut self.lock().without_file)
    }
}

impl FileMonitor for WatchedFiles {
    fn watch(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        let identity = identity(&path)?;
        let mut list = self.lock();
        // Its name may lead to another file by now: a directory in the place of the lost one.
        if path.parent().is_some_and(|dir| list.lost_directories.contains(dir)) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its data directory was lost"));
        }
        list.files.insert(volume, Watched { generation, path, identity });
        Ok(())
    }

    fn replace(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        if let Some(watched) = self.lock().files.get(&volume) {
            let older = watched.generation;
            assert!(older < generation, "volume {volume}: {generation} does not replace {older}");
        }
        self.watch(volume, generation, path)
    }

    fn forget(&self, volume: VolumeId) {
        self.lock().files.remove(&volume);
    }

    fn report_without_file(&self, volume: VolumeId) {
        self.lock().without_file.push(volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: VolumeId = VolumeId(1);

    #[test]
    fn file_is_lost_when_its_path_is_gone_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.0.vol");
        fs::write(&path, "a").unwrap();
        let files = WatchedFiles::default();
        files.watch(ONE, 0, path.clone()).unwrap();
        assert_eq!(files.take_lost(), []);
        fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(files.take_lost(), [(ONE, 0, path.clone())]);
        assert_eq!(files.take_lost(), [], "reported once");
        fs::rename(dir.path().join("moved"), &path).unwrap();
        files.watch(ONE, 0, path.clone()).unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "another").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(files.take_lost(), [(ONE, 0, path.clone())], "not the same file");
        files.watch(ONE, 0, path.clone()).unwrap();
        files.forget(ONE);
        fs::remove_file(&path).unwrap();
        assert_eq!(files.take_lost(), [], "removed on purpose");
    }

    #[test]
    fn file_that_cannot_be_inspected_is_not_monitored() {
        let dir = tempfile::tempdir().unwrap();
        let files = WatchedFiles::default();
        let absent = files.watch(ONE, 0, dir.path().join("absent"));
        assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.take_lost(), []);
    }

    #[test]
    fn file_in_a_lost_directory_is_not_monitored() {
        let dir = tempfile::tempdir().unwrap();
        let path = |id: u32| dir.path().join(format!("{id}.0.vol"));
        for id in [1, 2] {
            fs::write(path(id), "").unwrap();
        }
        let files = WatchedFiles::default();
        files.watch(ONE, 4, path(1)).unwrap();
        assert_eq!(files.lose_all_in(Path::new("/elsewhere")), []);
        assert_eq!(files.lose_all_in(dir.path()), [(ONE, 4)]);
        assert_eq!(files.lose_all_in(dir.path()), [], "reported once, for the whole directory");
        let late = files.watch(VolumeId(2), 0, path(2)).unwrap_err();
        assert_eq!(late.to_string(), "its data directory was lost");
        fs::remove_file(path(1)).unwrap();
        assert_eq!(files.take_lost(), []);
    }

    #[test]
    fn newer_generation_replaces_the_monitored_file_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = |generation: u64| dir.path().join(format!("1.{generation}.vol"));
        for generation in [0, 1] {
            fs::write(path(generation), "").unwrap();
        }
        let files = WatchedFiles::default();
        files.watch(ONE, 0, path(0)).unwrap();
        files.replace(ONE, 2, path(2)).unwrap_err();
        files.replace(ONE, 1, path(1)).unwrap();
        fs::remove_file(path(0)).unwrap();
        assert_eq!(files.take_lost(), [], "it is no longer monitored");
        fs::remove_file(path(1)).unwrap();
        assert_eq!(files.take_lost(), [(ONE, 1, path(1))]);
    }

    #[test]
    fn failed_replacement_keeps_the_older_file_monitored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.0.vol");
        fs::write(&path, "").unwrap();
        let files = WatchedFiles::default();
        files.watch(ONE, 0, path.clone()).unwrap();
        files.replace(ONE, 1, dir.path().join("1.1.vol")).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert_eq!(files.take_lost(), [(ONE, 0, path)]);
    }

    #[test]
    #[should_panic(expected = "volume 1: 3 does not replace 3")]
    fn generation_does_not_replace_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.3.vol");
        fs::write(&path, "").unwrap();
        let files = WatchedFiles::default();
        files.watch(ONE, 3, path.clone()).unwrap();
        let _ = files.replace(ONE, 3, path);
    }

    #[test]
    fn device_error_is_not_a_loss() {
        let error = io::Error::from_raw_os_error(nix::libc::EIO);
        assert!(!is_lost(Err(&error), (1, 1)));
    }
}
