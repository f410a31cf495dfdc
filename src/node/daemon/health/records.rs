//! What is known of the health of the volumes, and the threads that write it to the data directories: one for
//! each, since a dead disk may hang for ever.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::threads::{Threads, name};
use crate::base::types::VolumeId;
use crate::node::daemon::store::Store;
use crate::node::datadir::{HealthRecord, Suspicion, VolumeHealth};
use crate::node::shard::{ErrorPlaces, KnownHealth};

/// Starts in a row in which a write failed, after which a volume is suspect.
const POISONED_STARTS: u32 = 2;
/// Interval at which the end of writing is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is known of the health of the volumes in all data directories.
#[derive(Default)]
pub struct Records {
    disks: Vec<DiskRecord>,
}

/// The record of one data directory.
struct DiskRecord {
    record: HealthRecord,
    /// Whether there was one at the start.
    is_known: bool,
    writer: Option<Writer>,
}

/// The thread that writes the record of one data directory.
struct Writer {
    records: Sender<HealthRecord>,
    /// Number of records that were sent.
    sent: u64,
    /// Number of records that were written, or could not be.
    done: Arc<AtomicU64>,
}

impl Records {
    /// Reads the records of all data directories. `now`: seconds since 1970.
    pub fn read(stores: &[Store], now: u64) -> Self {
        let read = |store: &Store| {
            let found = store.dir.as_ref().and_then(|_| match HealthRecord::read(&store.path) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(
                        "cannot read what is known of the health of the volumes in {}: {error}; they are \
                         probed before they serve",
                        store.path.display()
                    );
                    None
                }
            });
            let is_known = found.is_some();
            let mut record = found.unwrap_or_default();
            record.volumes.values_mut().for_each(|health| begin_start(health, now));
            DiskRecord { record, is_known, writer: None }
        };
        Self { disks: stores.iter().map(read).collect() }
    }

    /// Starts the threads that write the records.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start_writers(&mut self, stores: &[Store], threads: &Threads) -> io::Result<()> {
        for (number, (disk, store)) in self.disks.iter_mut().zip(stores).enumerate() {
            if store.dir.is_none() {
                continue;
            }
            let (sender, records) = channel();
            let (path, done) = (store.path.clone(), Arc::new(AtomicU64::new(0)));
            let written = Arc::clone(&done);
            threads.spawn(&name::health(number), move || write_all(&records, &path, &written))?;
            disk.writer = Some(Writer { records: sender, sent: 0, done });
        }
        Ok(())
    }

    /// Returns what is known of a volume in a data directory; `None` if the record could not be read.
    pub fn known(&self, disk: usize, id: VolumeId) -> Option<KnownHealth> {
        let DiskRecord { record, is_known, .. } = self.disks.get(disk)?;
        let Some(health) = record.volumes.get(&id) else {
            return is_known.then(KnownHealth::default);
        };
        let places = health.places.iter().map(|(start, end)| *start..*end).collect();
        let errors = ErrorPlaces { incarnation: health.incarnation, places };
        let is_suspect = health.suspect.is_some() && !chosen(Sabotage::ForgetSuspicion);
        (*is_known || is_suspect).then_some(KnownHealth { is_suspect, errors })
    }

    /// Returns the health of a volume in a data directory.
    pub fn get(&self, disk: usize, id: VolumeId) -> Option<&VolumeHealth> {
        self.disks.get(disk)?.record.volumes.get(&id)
    }

    /// Changes the health of a volume in a data directory, and has the record written.
    pub fn change(&mut self, disk: usize, id: VolumeId, change: impl FnOnce(&mut VolumeHealth)) {
        if let Some(known) = self.disks.get_mut(disk) {
            let health = known.record.volumes.entry(id).or_default();
            let before = health.clone();
            change(health);
            if *health != before {
                known.write();
            }
        }
    }

    /// Forgets volumes that are in no data directory, or in another one, and writes records that are
    /// missing. `is_there` returns whether a volume is in a data directory.
    pub fn tidy(&mut self, is_there: impl Fn(usize, VolumeId) -> bool) {
        for (number, disk) in self.disks.iter_mut().enumerate() {
            let before = disk.record.volumes.len();
            disk.record.volumes.retain(|id, _| is_there(number, *id));
            if disk.record.volumes.len() != before || !disk.is_known {
                disk.write();
            }
        }
    }

    /// Waits until everything is written, at most for `wait`: a dead disk hangs.
    pub fn flush(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let is_pending = |disk: &DiskRecord| disk.writer.as_ref().is_some_and(Writer::is_pending);
        while self.disks.iter().any(is_pending) && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl DiskRecord {
    fn write(&mut self) {
        self.is_known = true;
        if let Some(writer) = &mut self.writer
            && writer.records.send(self.record.clone()).is_ok()
        {
            writer.sent += 1;
        }
    }
}

impl Writer {
    fn is_pending(&self) -> bool {
        self.done.load(Ordering::Relaxed) < self.sent
    }
}

/// A start begins: whether a write failed is a thing of the one before.
fn begin_start(health: &mut VolumeHealth, now: u64) {
    if !std::mem::take(&mut health.poisoned) {
        health.poisoned_starts = 0;
    }
    if health.poisoned_starts >= POISONED_STARTS && health.suspect.is_none() {
        let why = format!("writes failed in {} starts in a row", health.poisoned_starts);
        health.suspect = Some(Suspicion { since: now, why });
    }
}

/// Writes records until nobody sends any more; of several that wait, the last.
fn write_all(records: &Receiver<HealthRecord>, path: &Path, done: &AtomicU64) {
    let mut has_failed = false;
    while let Ok(mut record) = records.recv() {
        let mut count = 1;
        while let Ok(newer) = records.try_recv() {
            (record, count) = (newer, count + 1);
        }
        let written = record.write(path);
        if let Err(error) = &written
            && !has_failed
        {
            tracing::warn!(
                "cannot write the health of the volumes in {}: {error}; the next start will not know it",
                path.display()
            );
        }
        has_failed = written.is_err();
        done.fetch_add(count, Ordering::Relaxed);
    }
}
