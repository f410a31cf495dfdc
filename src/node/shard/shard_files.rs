//! The volume files of a shard: its data directories, which file of a volume is open, and their monitoring.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use nix::libc;

use super::assignment::Assignment;
use super::file_monitor::FileMonitor;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::runtime::Handle;
use crate::runtime::op::{DirId, Op};
use crate::volume::{self, GenerationFile, IoError, NotRemoved, OpenError, OtherFiles, Volume};

/// The data directories of a shard, and the monitoring of the files in them.
#[derive(Default)]
pub struct ShardFiles {
    /// Open data directories.
    dirs: RefCell<BTreeMap<PathBuf, OpenDir>>,
    /// Monitors the files of open volumes; `None` in simulations.
    monitor: Option<Arc<dyn FileMonitor>>,
}

/// An open data directory.
#[derive(Clone, Copy)]
struct OpenDir {
    dir: DirId,
    /// Its position in the configuration.
    disk: u32,
}

/// Result of opening a volume: the volume, if one of its files counts, and the others.
pub type OpenedVolume = Result<(Option<Rc<Volume>>, OtherFiles), OpenError>;

/// What there is of a volume after the attempt to open it.
pub enum Settled {
    /// It is open. These files beside the open one are still there, or may be.
    Open(Rc<Volume>, Vec<GenerationFile>),
    /// It could not be opened, for this reason. These are its files.
    Failed(String, Vec<GenerationFile>),
    /// Its only file was not finished, and was removed.
    WithoutFile,
}

/// Called when the new file of a volume counts: monitors it in the place of the old one. Returns why it
/// cannot.
pub type Monitoring = Box<dyn Fn(&Volume) -> Result<(), IoError>>;

/// Stands for a directory that could not be opened; operations on it fail.
const NO_DIR: DirId = DirId(u32::MAX);

impl ShardFiles {
    /// No open directories. The files of open volumes will be monitored by `monitor`.
    pub fn new(monitor: Option<Arc<dyn FileMonitor>>) -> Self {
        Self { dirs: RefCell::default(), monitor }
    }

    async fn dir(&self, handle: &Handle, path: &Path, disk: u32) -> DirId {
        let known = self.dirs.borrow().get(path).copied();
        if let Some(OpenDir { dir, .. }) = known {
            return dir;
        }
        let opened = handle.submit(Op::OpenDir { path: path.to_owned() }).await.result;
        let Ok(number) = u32::try_from(opened) else { return NO_DIR };
        let dir = DirId(number);
        self.dirs.borrow_mut().insert(path.to_owned(), OpenDir { dir, disk });
        dir
    }

    /// Opens the data directory of a disk, given as its position. Returns `None` if that is not possible.
    pub async fn open_dir(&self, handle: &Handle, path: &Path, disk: u32) -> Option<DirId> {
        Some(self.dir(handle, path, disk).await).filter(|dir| *dir != NO_DIR)
    }

    /// Returns what a compaction into the directory `dir` calls when the new file counts: it monitors that
    /// file in the place of the old one, or returns why it cannot.
    pub fn replacement(&self, dir: DirId) -> Monitoring {
        let (monitor, dir) = (self.monitor.clone(), self.path_of(dir));
        Box::new(move |volume| {
            let (Some(monitor), id) = (&monitor, volume.id()) else { return Ok(()) };
            let path = dir.join(volume::file_name(id, volume.generation()));
            monitor.replace(id, volume.generation(), path).map_err(|error| io_error(&error))
        })
    }

    /// Path of the directory of an open file.
    fn path_of(&self, dir: DirId) -> PathBuf {
        self.find(dir).0
    }

    /// Position of the data directory of an open file.
    pub fn disk_of(&self, dir: DirId) -> u32 {
        self.find(dir).1
    }

    fn find(&self, dir: DirId) -> (PathBuf, u32) {
        let dirs = self.dirs.borrow();
        let known = dirs.iter().find(|(_, known)| known.dir == dir);
        let (path, OpenDir { disk, .. }) =
            known.expect("the directory of an open file was opened by its path");
        (path.clone(), *disk)
    }

    /// Returns the files of an assignment as the engine names them, by ascending generation.
    pub async fn of(&self, handle: &Handle, assignment: &Assignment) -> Vec<GenerationFile> {
        let mut files = Vec::new();
        for file in &assignment.files {
            let dir = self.dir(handle, &file.dir, file.disk).await;
            files.push(GenerationFile { dir, expected: file.expected });
        }
        files.sort_by_key(GenerationFile::generation);
        files
    }

    /// Monitors the file of a volume that was opened, and removes the files that do not count. Both happen
    /// before the volume serves, so that only a removal that fails leaves a second file beside that of a
    /// volume that serves.
    pub async fn settle(
        &self,
        handle: &Handle,
        assignment: &Assignment,
        files: Vec<GenerationFile>,
        opened: OpenedVolume,
    ) -> Settled {
        let (volume, others) = match opened {
            Ok(opened) => opened,
            Err(error) => return Settled::Failed(error.to_string(), files),
        };
        if let Some(volume) = volume {
            // In this order: if the open file cannot be found under its name, the others stay.
            self.watch(&volume);
            self.expect_own_name(&volume).await;
            assignment.metrics.board.disk.set(self.disk_of(volume.dir()).into());
            let left = others.remove(handle, Some(&volume)).await;
            return Settled::Open(volume, left);
        }
        let left = others.remove(handle, None).await;
        if !left.is_empty() {
            let why = "its only file was not finished, and cannot be removed".to_owned();
            return Settled::Failed(why, left);
        }
        if let Some(monitor) = &self.monitor {
            monitor.report_without_file(assignment.volume);
        }
        Settled::WithoutFile
    }

    /// Monitors the file of an open volume. If that is not possible, the volume takes no writes: nobody would
    /// notice that the file is no longer at its path.
    pub fn watch(&self, volume: &Volume) {
        let Some(monitor) = &self.monitor else { return };
        let (id, generation) = (volume.id(), volume.generation());
        let path = self.path_of(volume.dir()).join(volume::file_name(id, generation));
        if chosen(Sabotage::UnmonitoredVolume) {
            return;
        }
        if let Err(error) = monitor.watch(id, generation, path.clone()) {
            volume.end_unmonitored(io_error(&error));
            tracing::error!(
                volume = id.0,
                "{} cannot be monitored: {error}. The volume takes no writes, since a restart might not find \
                 them; its photos are still served",
                path.display()
            );
        }
    }

    /// Ends the writes to a volume that has just been opened and monitored if its name leads to another file
    /// than the open one, which is not monitored then, or if that is not known.
    async fn expect_own_name(&self, volume: &Volume) {
        if self.monitor.is_none() {
            return;
        }
        let why = match volume.has_its_name().await {
            Ok(true) => return,
            Ok(false) => {
                volume.fence();
                "was removed or replaced while it was opened".to_owned()
            }
            Err(error) => {
                volume.end_unmonitored(error);
                format!("cannot be compared with the open file: {error}")
            }
        };
        let path = self.path_of(volume.dir());
        tracing::error!(
            volume = volume.id().0,
            "{} {why}. The volume takes no writes, since a restart might not find them; its photos are still \
             served",
            path.join(volume::file_name(volume.id(), volume.generation())).display()
        );
    }

    /// Removes all files of a volume durably: `files`, and as the last one that of the open volume. Of a
    /// volume that is not open, the newest is the last. `files` has what is still there, or may be.
    pub async fn remove(
        &self,
        handle: &Handle,
        id: VolumeId,
        open: Option<&Volume>,
        files: &mut Vec<GenerationFile>,
    ) -> Result<(), NotRemoved> {
        if let Some(monitor) = &self.monitor {
            // The file is removed on purpose: that is no loss.
            monitor.forget(id);
        }
        if let Some(volume) = open {
            let last = (volume.dir(), id, volume.generation());
            return volume::remove_all(handle, files, last).await;
        }
        let newest = files.pop().expect("a volume that could not be opened has a file");
        let last = (newest.dir, id, newest.generation());
        let removed = volume::remove_all(handle, files, last).await;
        if removed.is_err() {
            files.push(newest);
        }
        removed
    }
}

/// The errno of an error of the file monitor.
fn io_error(error: &io::Error) -> IoError {
    let unnamed = if error.kind() == io::ErrorKind::NotFound { libc::ENOENT } else { libc::EIO };
    IoError::Errno(error.raw_os_error().unwrap_or(unnamed))
}

#[cfg(test)]
mod tests;
