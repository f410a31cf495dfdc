//! Monitors the data directories while the daemon runs: whether they and the volume files still have the
//! same identity, and how much space is free.
//!
//! An open file outlives its name: a daemon whose data directory was removed, or unmounted lazily, would
//! acknowledge photos that are lost at the next restart.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::space::space;
use super::store::Store;
use super::watched_files::{Identity, WatchedFiles, identity, is_lost};
use crate::base::threads::{Thread, Threads, name};
use crate::base::types::VolumeId;
use crate::node::board::{Board, DiskState};
use crate::node::datadir::MARKER;

/// Interval between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A loss that the daemon reacts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A data directory, with these monitored files in it: volume and generation.
    Disk(Vec<(VolumeId, u64)>),
    /// The file of this generation of a volume.
    Volume(VolumeId, u64),
    /// The last file of a volume, which was removed on purpose: it was not finished.
    LastFile(VolumeId),
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
            let files = self.files.lose_all_in(&dir);
            self.report(Lost::Disk(files));
            tracing::error!(
                "{} is no longer the data directory it was: it was removed, replaced or unmounted. Its \
                 volumes take no more writes, since a restart would not find them; their photos are still \
                 served. Bring the directory back and restart the daemon; if it was removed, first copy \
                 the photos elsewhere: they are lost when this process ends",
                dir.display()
            );
        }
        for (volume, generation, path) in self.files.take_lost() {
            self.report(Lost::Volume(volume, generation));
            tracing::error!(
                volume = volume.0,
                "{} was removed or replaced under the running daemon: the volume takes no more writes, \
                 since a restart would not find them; its photos are still served. Copy the photos \
                 elsewhere before the daemon is restarted: they are lost when this process ends",
                path.display()
            );
        }
        for volume in self.files.take_without_file() {
            self.report(Lost::LastFile(volume));
        }
        self.measure();
    }

    fn report(&self, lost: Lost) {
        if let Err(unsent) = self.lost.send(lost) {
            tracing::debug!("the daemon is stopping: {:?} is not handled", unsent.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::panicking_subscriber::PanickingSubscriber;
    use crate::node::board::DiskBoard;
    use crate::node::shard::FileMonitor;

    #[test]
    fn loss_is_reported_before_it_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let (marker, volume) = (dir.path().join(MARKER), dir.path().join("1.0.vol"));
        let (id, generation) = (VolumeId(1), 3);
        for lost in [Lost::Disk(vec![(id, generation)]), Lost::Volume(id, generation)] {
            fs::write(&marker, "").unwrap();
            fs::write(&volume, "").unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            let files = WatchedFiles::default();
            files.watch(id, generation, volume.clone()).unwrap();
            let identity = identity(&marker).unwrap();
            let markers = vec![Marker { disk: 0, dir: dir.path().to_owned(), identity }];
            let board = Board::new(&[], vec![DiskBoard::new("", DiskState::Ok)]);
            let mut monitor = Monitor { markers, files, board, lost: sender };
            let is_disk = matches!(lost, Lost::Disk(..));
            fs::remove_file(if is_disk { &marker } else { &volume }).unwrap();
            let looked = tracing::subscriber::with_default(PanickingSubscriber, || {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| monitor.look()))
            });
            assert!(looked.is_err(), "it was logged");
            assert_eq!(receiver.try_recv(), Ok(lost));
        }
    }

    #[test]
    fn volume_without_a_file_is_reported_once() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let files = WatchedFiles::default();
        let board = Board::new(&[], Vec::new());
        let mut monitor =
            Monitor { markers: Vec::new(), files: files.clone(), board, lost: sender };
        files.report_without_file(VolumeId(7));
        monitor.look();
        monitor.look();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Lost::LastFile(VolumeId(7))]);
    }

    #[test]
    fn directory_is_monitored_until_it_is_lost_and_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join(MARKER);
        fs::write(&marker, "").unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let identity = identity(&marker).unwrap();
        let markers = vec![Marker { disk: 0, dir: dir.path().to_owned(), identity }];
        let board = Board::new(&[], vec![DiskBoard::new("", DiskState::Ok)]);
        let (files, of) = (WatchedFiles::default(), Arc::clone(&board));
        let mut monitor = Monitor { markers, files, board, lost: sender };
        let disk = &of.disks[0];
        monitor.look();
        monitor.look();
        assert_eq!((receiver.try_iter().count(), disk.state.get()), (0, DiskState::Ok));
        assert!(disk.size_bytes.get() > 0);
        fs::remove_file(&marker).unwrap();
        monitor.look();
        monitor.look();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Lost::Disk(Vec::new())]);
        assert_eq!(disk.state.get(), DiskState::Failed);
    }
}
