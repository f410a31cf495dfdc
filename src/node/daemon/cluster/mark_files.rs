//! The marks of the copies of volumes in the data directories, and the threads that write them: one for each,
//! since a dead disk may hang for ever.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::base::threads::{Thread, Threads, name};
use crate::node::control::cluster::{MarkStore, Marks};
use crate::node::daemon::store::Store;
use crate::node::datadir::CopiesRecord;

/// Longest time for which the end of the daemon waits until the marks are written.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Interval at which the end of the threads is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The threads that write the marks. They end with the service that sends them.
#[derive(Default)]
pub struct MarkFiles(Vec<Thread>);

impl MarkFiles {
    /// Starts a thread for each data directory in use. Returns where the marks are sent, too.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(stores: &[Store], threads: &Threads) -> io::Result<(Self, MarkStore)> {
        let (mut files, mut writers) = (Self::default(), Vec::new());
        for (number, store) in stores.iter().enumerate() {
            if store.dir.is_none() {
                writers.push(None);
                continue;
            }
            let (sender, marks): (Sender<Marks>, _) = channel();
            let path = store.path.clone();
            let body = move || write_all(&marks, &path);
            files.0.push(threads.spawn(&name::copies(number), body)?);
            writers.push(Some(sender));
        }
        Ok((files, MarkStore::new(writers)))
    }

    /// Waits until everything is written, but not for long: a dead disk hangs. Nothing is sent any more.
    pub fn end(self) {
        let until = Instant::now() + END_WITHIN;
        while self.0.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Reads the marks in all data directories.
pub fn read_marks(stores: &[Store]) -> Marks {
    let mut all = Marks::new();
    for store in stores.iter().filter(|store| store.dir.is_some()) {
        let volumes = match CopiesRecord::read(&store.path) {
            Ok(found) => found.map(|record| record.volumes).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(
                    "cannot read what the copies of the volumes in {} have: {error}; everything is offered \
                     to them again",
                    store.path.display()
                );
                continue;
            }
        };
        for (id, marks) in volumes {
            let of_volume = all.entry(id).or_default();
            for (peer, mark) in marks {
                // A volume that has moved may be in two of them: the lower mark holds in any case.
                of_volume.entry(peer).and_modify(|known| *known = mark.min(*known)).or_insert(mark);
            }
        }
    }
    all
}

/// Writes marks until nobody sends any more; of several that wait, the last.
fn write_all(marks: &Receiver<Marks>, path: &Path) {
    let mut has_failed = false;
    while let Ok(mut last) = marks.recv() {
        while let Ok(newer) = marks.try_recv() {
            last = newer;
        }
        let written = CopiesRecord::new(last).write(path);
        if let Err(error) = &written
            && !has_failed
        {
            tracing::warn!(
                "cannot write what the copies of the volumes in {} have: {error}; after the next start \
                 more is offered to them again",
                path.display()
            );
        }
        has_failed = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::types::VolumeId;
    use crate::node::board::DiskState;
    use crate::node::datadir::DataDir;

    fn store(path: &Path) -> Store {
        let dir = DataDir::open(path, true).unwrap();
        Store { path: path.to_owned(), dir: Some(dir), state: DiskState::Ok }
    }

    fn marks(volumes: &[(u32, u64)]) -> Marks {
        let of_volume = |(id, mark): &(u32, u64)| {
            (VolumeId(*id), BTreeMap::from([("10.0.0.2:80".to_owned(), *mark)]))
        };
        volumes.iter().map(of_volume).collect()
    }

    #[test]
    fn lower_mark_of_two_directories_counts_and_garbage_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let stores = ["a", "b", "c"].map(|name| store(&dir.path().join(name)));
        assert_eq!(read_marks(&stores), Marks::new());
        CopiesRecord::new(marks(&[(3, 5), (4, 6)])).write(&stores[0].path).unwrap();
        CopiesRecord::new(marks(&[(3, 4), (4, 7)])).write(&stores[1].path).unwrap();
        std::fs::write(stores[2].path.join("copies.json"), "garbage").unwrap();
        assert_eq!(read_marks(&stores), marks(&[(3, 4), (4, 6)]));
    }

    #[test]
    fn last_marks_are_written_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, received) = channel();
        for mark in 0..100 {
            sender.send(marks(&[(3, mark)])).unwrap();
        }
        drop(sender);
        write_all(&received, dir.path());
        let record = CopiesRecord::read(dir.path()).unwrap();
        assert_eq!(record, Some(CopiesRecord::new(marks(&[(3, 99)]))));
        let (sender, received) = channel();
        sender.send(Marks::new()).unwrap();
        drop(sender);
        // It cannot be written, which is no reason to end.
        write_all(&received, &dir.path().join("absent"));
    }
}
