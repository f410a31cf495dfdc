//! Monitors the data directories while the daemon runs: whether they and the volume files still have the
//! same identity, and how much space is free.
//!
//! An open file outlives its name: a daemon whose data directory was removed, or unmounted lazily, would
//! acknowledge photos that are lost at the next restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::space::space;
use super::store::Store;
use crate::base::threads::{Thread, Threads, name};
use crate::base::types::VolumeId;
use crate::node::board::{Board, DiskState};
use crate::node::datadir::MARKER;

/// Interval between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A lost data directory or volume file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The data directory at this position.
    Disk(usize),
    /// The file of this volume.
    Volume(VolumeId),
}

/// Identity of a file: device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

struct Watched {
    path: PathBuf,
    identity: Identity,
}

/// The monitored volume files. Clones share the list.
#[derive(Clone, Default)]
pub struct WatchedFiles(Arc<Mutex<BTreeMap<VolumeId, Watched>>>);

impl WatchedFiles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Monitors the file of a volume from now on.
    pub fn watch(&self, volume: VolumeId, path: PathBuf) {
        match identity(&path) {
            Ok(identity) => drop(self.lock().insert(volume, Watched { path, identity })),
            // The volume cannot be opened either, and that is logged as an error.
            Err(error) => {
                tracing::debug!(volume = volume.0, "{} is not monitored: {error}", path.display())
            }
        }
    }

    /// Ends the monitoring of a volume's file, which is about to be removed on purpose, or was lost.
    pub fn forget(&self, volume: VolumeId) {
        self.lock().remove(&volume);
    }

    /// Ends the monitoring of all files in a directory that was lost as a whole.
    fn forget_all_in(&self, dir: &Path) {
        self.lock().retain(|_, file| file.path.parent() != Some(dir));
    }

    /// The monitored files that are no longer at their paths.
    pub(super) fn lost(&self) -> Vec<(VolumeId, PathBuf)> {
        let files = self.lock();
        let lost =
            files.iter().filter(|(_, file)| is_lost(identity(&file.path).as_ref(), file.identity));
        lost.map(|(volume, file)| (*volume, file.path.clone())).collect()
    }
}

/// Whether the name now belongs to another file, or to none. Any other error, as of the device, is no loss.
fn is_lost(now: Result<&Identity, &io::Error>, then: Identity) -> bool {
    match now {
        Ok(now) => *now != then,
        Err(error) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

/// The monitored marker of a data directory.
struct Marker {
    disk: usize,
    dir: PathBuf,
    identity: Identity,
}

/// The monitoring thread.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Watch {
    /// Starts the thread. Each loss is sent to `lost` once.
    ///
    /// # Errors
    /// The thread cannot be started, or the marker of a data directory cannot be inspected.
    pub fn start(
        stores: &[Store],
        files: &WatchedFiles,
        board: &Arc<Board>,
        lost: Sender<Lost>,
        threads: &Threads,
    ) -> io::Result<Self> {
        let mut markers = Vec::new();
        for (disk, store) in stores.iter().enumerate().filter(|(_, store)| store.dir.is_some()) {
            let identity = identity(&store.path.join(MARKER))?;
            markers.push(Marker { disk, dir: store.path.clone(), identity });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut monitor = Monitor { markers, files: files.clone(), board: Arc::clone(board), lost };
        // The space of the disks is known before the admin API is asked for it.
        monitor.measure();
        let stopped = Arc::clone(&stop);
        let thread = threads.spawn(name::DISKS, move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK_EVERY);
                monitor.look();
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Asks the thread to end, without waiting for it: a hanging disk may block it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

/// State of the monitoring thread.
struct Monitor {
    markers: Vec<Marker>,
    files: WatchedFiles,
    board: Arc<Board>,
    lost: Sender<Lost>,
}

impl Monitor {
    /// Updates size and free space of the disks.
    fn measure(&self) {
        for Marker { disk, dir, .. } in &self.markers {
            let disk = &self.board.disks[*disk];
            match space(dir) {
                Ok((free, size)) => {
                    disk.free_bytes.set(free);
                    disk.size_bytes.set(size);
                }
                Err(error) => {
                    tracing::debug!("cannot read the free space of {}: {error}", dir.display());
                }
            }
        }
    }

    /// Checks all markers and volume files, and reports losses.
    fn look(&mut self) {
        let gone =
            |marker: &Marker| is_lost(identity(&marker.dir.join(MARKER)).as_ref(), marker.identity);
        let (gone, there) = std::mem::take(&mut self.markers).into_iter().partition(gone);
        self.markers = there;
        for Marker { disk, dir, .. } in gone {
            self.board.disks[disk].state.set(DiskState::Failed);
            self.files.forget_all_in(&dir);
            self.report(Lost::Disk(disk));
            tracing::error!(
                "{} is no longer the data directory it was: it was removed, replaced or unmounted. Its \
                 volumes take no more writes, since a restart would not find them; their photos are still \
                 served. Bring the directory back and restart the daemon; if it was removed, first copy \
                 the photos elsewhere: they are lost when this process ends",
                dir.display()
            );
        }
        for (volume, path) in self.files.lost() {
            self.files.forget(volume);
            self.report(Lost::Volume(volume));
            tracing::error!(
                volume = volume.0,
                "{} was removed or replaced under the running daemon: the volume takes no more writes, \
                 since a restart would not find them; its photos are still served. Copy the photos \
                 elsewhere before the daemon is restarted: they are lost when this process ends",
                path.display()
            );
        }
        self.measure();
    }

    fn report(&self, lost: Lost) {
        if self.lost.send(lost).is_err() {
            tracing::debug!("the daemon is stopping: {lost:?} is not handled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::board::DiskBoard;

    #[test]
    fn file_is_lost_when_its_path_is_gone_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.0.vol");
        fs::write(&path, "a").unwrap();
        let files = WatchedFiles::default();
        files.watch(VolumeId(1), path.clone());
        files.watch(VolumeId(2), dir.path().join("absent"));
        assert_eq!(files.lost(), []);
        fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(files.lost(), [(VolumeId(1), path.clone())]);
        fs::write(&path, "another").unwrap();
        assert_eq!(files.lost(), [(VolumeId(1), path.clone())], "not the same file");
        fs::rename(dir.path().join("moved"), &path).unwrap();
        assert_eq!(files.lost(), [], "back again");
        files.forget(VolumeId(1));
        fs::remove_file(&path).unwrap();
        assert_eq!(files.lost(), []);
        fs::write(&path, "again").unwrap();
        files.watch(VolumeId(1), path.clone());
        fs::remove_file(&path).unwrap();
        files.forget_all_in(Path::new("/elsewhere"));
        assert_eq!(files.lost(), [(VolumeId(1), path)]);
        files.forget_all_in(dir.path());
        assert_eq!(files.lost(), [], "reported once, for the whole directory");
    }

    /// A subscriber that panics on every event, as a broken logger might.
    struct Panicking;

    impl tracing::Subscriber for Panicking {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            panic!("cannot log {event:?}");
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn loss_is_reported_before_it_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let (marker, volume) = (dir.path().join(MARKER), dir.path().join("1.0.vol"));
        for lost in [Lost::Disk(0), Lost::Volume(VolumeId(1))] {
            fs::write(&marker, "").unwrap();
            fs::write(&volume, "").unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            let files = WatchedFiles::default();
            files.watch(VolumeId(1), volume.clone());
            let identity = identity(&marker).unwrap();
            let markers = vec![Marker { disk: 0, dir: dir.path().to_owned(), identity }];
            let board = Board::new(&[], vec![DiskBoard::new("", DiskState::Ok)]);
            let mut monitor = Monitor { markers, files, board, lost: sender };
            fs::remove_file(if lost == Lost::Disk(0) { &marker } else { &volume }).unwrap();
            let looked = tracing::subscriber::with_default(Panicking, || {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| monitor.look()))
            });
            assert!(looked.is_err(), "it was logged");
            assert_eq!(receiver.try_recv(), Ok(lost));
        }
    }

    #[test]
    fn device_error_is_not_a_loss() {
        let error = io::Error::from_raw_os_error(nix::libc::EIO);
        assert!(!is_lost(Err(&error), (1, 1)));
    }
}
