//! The volumes of one shard: finds, changes and deletes them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::config::ReadPlans;
use super::deletion_memory::DeletionMemory;
use super::file_monitor::FileMonitor;
use super::open_pulls::OpenPulls;
use super::order::OrderError;
use super::paces::Paces;
use super::replica_figures;
use super::request::RequestError;
use super::shard_files::ShardFiles;
use super::volume_entry::{EntryState, VolumeEntry};
use super::volume_summary::VolumeSummary;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::node::metrics::VolumeMetrics;
use crate::runtime::background::BackgroundQueue;
use crate::runtime::op::DirId;
use crate::runtime::{Handle, KeyLocks, join};
use crate::volume::{
    self, ClusterSettings, CompactionPhase, GenerationFile, NotRemoved, Refusal, Slot,
};

/// The volumes of one shard.
#[derive(Default)]
pub struct Volumes {
    pub(super) entries: Rc<RefCell<BTreeMap<VolumeId, VolumeEntry>>>,
    pub(super) files: ShardFiles,
    /// Queue of the volumes that want to write a checkpoint.
    pub(super) checkpoint_queue: OnceCell<Rc<BackgroundQueue>>,
    /// Paces of background work on each disk.
    pub(super) paces: Paces,
    /// The pulls in progress.
    pulls: OpenPulls,
    /// What was deleted lately in the volumes of the cluster.
    pub(super) deletions: DeletionMemory,
    /// How often volumes are read for their own sake.
    pub(super) plans: ReadPlans,
    /// Held during a scrub: one volume at a time in each data directory.
    pub(super) scrub_turns: OnceCell<Rc<KeyLocks<DirId>>>,
    /// Counters of deleted volumes, since the shard's totals must not decrease.
    deleted_stats: volume::Stats,
}

impl Volumes {
    /// No volumes. The files of volumes to come will be monitored by `monitor`, and their background work
    /// keeps these paces.
    pub fn new(monitor: Option<Arc<dyn FileMonitor>>, paces: Paces, plans: ReadPlans) -> Self {
        Self { files: ShardFiles::new(monitor), paces, plans, ..Self::default() }
    }

    fn state(&self, id: VolumeId) -> Result<EntryState, OrderError> {
        let entries = self.entries.borrow();
        entries.get(&id).map(|entry| entry.state.clone()).ok_or(OrderError::NoVolume)
    }

    fn set_state(&self, id: VolumeId, state: EntryState) {
        self.entries
            .borrow_mut()
            .get_mut(&id)
            .expect("one order at a time changes a volume")
            .state = state;
    }

    /// Returns an open volume that is to be changed.
    pub(super) fn slot_to_change(&self, id: VolumeId) -> Result<Rc<Slot>, OrderError> {
        match self.state(id)? {
            EntryState::Open(slot) => Ok(slot),
            EntryState::Recovering => Err(OrderError::Recovering),
            EntryState::Failed(error) | EntryState::FailedAndLost(error) => {
                Err(OrderError::NotOpened(error))
            }
            EntryState::Deleting(_) => Err(OrderError::NoVolume),
        }
    }

    /// Makes a volume read-only, or writable. Returns a summary of it.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn set_read_only(
        &self,
        id: VolumeId,
        read_only: bool,
    ) -> Result<VolumeSummary, OrderError> {
        let slot = self.slot_to_change(id)?;
        let result = slot.set_read_only(read_only).await.map_err(OrderError::State);
        self.publish();
        result.map(|()| VolumeSummary::of(&slot.volume()))
    }

    /// Changes what its cluster may change about a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn set_cluster(
        &self,
        id: VolumeId,
        settings: ClusterSettings,
    ) -> Result<VolumeSummary, OrderError> {
        let slot = self.slot_to_change(id)?;
        let result = slot.set_cluster_properties(settings).await.map_err(OrderError::State);
        self.publish();
        result.map(|()| VolumeSummary::of(&slot.volume()))
    }

    /// Returns a volume that is to be compacted, and its metrics.
    pub(super) fn slot_to_compact(
        &self,
        id: VolumeId,
    ) -> Result<(Rc<Slot>, Arc<VolumeMetrics>), OrderError> {
        let slot = self.slot_to_change(id)?;
        if slot.compaction_progress().phase != CompactionPhase::None {
            // It may be about to remove the old file.
            return Err(OrderError::Compacting);
        }
        let entries = self.entries.borrow();
        let entry = entries.get(&id).ok_or(OrderError::NoVolume)?;
        let is_alone = entry.files.is_empty() && slot.other_files().is_empty();
        if !is_alone && !chosen(Sabotage::CompactBesideOldFile) {
            let reason = "another file of it could not be removed; restart the daemon first";
            return Err(OrderError::NotCompacted(reason.to_owned()));
        }
        Ok((slot, Arc::clone(&entry.metrics)))
    }

    /// The volume files of the shard.
    pub(super) fn files(&self) -> &ShardFiles {
        &self.files
    }

    /// The pulls in progress.
    pub(super) fn pulls(&self) -> &OpenPulls {
        &self.pulls
    }

    /// The paces of the background work of the shard.
    pub(super) fn paces(&self) -> &Paces {
        &self.paces
    }

    /// Fences a volume whose file of this generation is no longer at its path: nothing more is written to it.
    /// Returns a summary on it; `None` if another generation is open, which the loss does not concern.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn fence(
        &self,
        id: VolumeId,
        generation: u64,
    ) -> Result<Option<VolumeSummary>, OrderError> {
        let volume = self.slot_to_change(id)?.volume();
        if volume.generation() != generation && !chosen(Sabotage::FenceById) {
            return Ok(None);
        }
        volume.fence();
        self.publish();
        let summary = VolumeSummary::of(&volume);
        assert!(!summary.write_state.takes_commits(), "volume {id} is fenced, but still written");
        Ok(Some(summary))
    }

    /// Removes a volume and all its files. Until the removal of the name is durable, requests to the volume
    /// are refused; reads under way may finish. Returns the last summary on the volume; `None` if it could
    /// not be opened.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn delete(
        &self,
        handle: &Handle,
        id: VolumeId,
    ) -> Result<Option<VolumeSummary>, OrderError> {
        if self.entries.borrow().get(&id).is_some_and(VolumeEntry::is_lost) {
            return Err(OrderError::Lost);
        }
        let before = self.state(id)?;
        match &before {
            EntryState::Open(slot) => self.set_state(id, EntryState::Deleting(Rc::clone(slot))),
            EntryState::Failed(_) => {}
            EntryState::FailedAndLost(_) => return Err(OrderError::Lost),
            EntryState::Recovering => return Err(OrderError::Recovering),
            EntryState::Deleting(_) => return Err(OrderError::NoVolume),
        }
        if let EntryState::Open(slot) = &before
            && !chosen(Sabotage::CheckpointAfterRemoval)
        {
            self.pulls.remove_all_of(id);
            // A checkpoint that ends later would leave its file behind.
            slot.stop_background().await;
        }
        if let Err(error) = self.remove_files(handle, id, &before).await {
            self.restore(id, before, error);
            return Err(OrderError::NotRemoved(error));
        }
        let mut summary = None;
        if let EntryState::Open(slot) = before {
            summary = Some(VolumeSummary::of(&slot.volume()));
            slot.retire().await;
            self.deleted_stats.add(slot.volume().stats());
        }
        self.entries.borrow_mut().remove(&id);
        self.deletions.forget(id);
        Ok(summary)
    }

    /// Removes the files of a volume. Those that are still there, or may be, stay in its entry.
    async fn remove_files(
        &self,
        handle: &Handle,
        id: VolumeId,
        before: &EntryState,
    ) -> Result<(), NotRemoved> {
        let mut files = self.exchange_files(id, Vec::new());
        let open = match before {
            EntryState::Open(slot) => {
                // What a compaction has left would be back at the next start.
                files.extend(slot.take_other_files());
                files.sort_by_key(GenerationFile::generation);
                Some(slot.volume())
            }
            _ => None,
        };
        let removed = self.files.remove(handle, id, open.as_deref(), &mut files).await;
        self.exchange_files(id, files);
        removed
    }

    fn exchange_files(&self, id: VolumeId, files: Vec<GenerationFile>) -> Vec<GenerationFile> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(&id).expect("one order at a time changes a volume");
        std::mem::replace(&mut entry.files, files)
    }

    /// Restores a volume whose file could not be removed. If the file has lost its name, it fences
    /// the volume.
    fn restore(&self, id: VolumeId, state: EntryState, error: NotRemoved) {
        let is_lost = matches!(error, NotRemoved::Nameless(_));
        let state = match state {
            EntryState::Failed(error) if is_lost => EntryState::FailedAndLost(error),
            state => state,
        };
        if let EntryState::Open(slot) = &state {
            match is_lost {
                true => slot.volume().fence(),
                false => {
                    slot.resume_background();
                    self.files.watch(&slot.volume());
                }
            }
        }
        self.set_state(id, state);
        self.publish();
    }

    fn opened(&self) -> Vec<Rc<Slot>> {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            EntryState::Open(slot) => Some(Rc::clone(slot)),
            _ => None,
        });
        open.collect()
    }

    /// Closes all open volumes: admitted writes are committed, and the indexes are saved in checkpoints.
    pub async fn close_all(&self) {
        self.pulls.clear();
        // Begin to close all before waiting for any: otherwise checkpoints under way would delay the others.
        let opened = self.opened();
        opened.iter().for_each(|slot| slot.begin_to_close());
        let close = async |slot: Rc<Slot>| slot.close().await;
        four_at_a_time(opened, close).await;
        self.publish();
    }

    /// Returns a volume of this shard, if it is open.
    ///
    /// # Errors
    /// The reason why the volume is not available.
    pub fn local(&self, id: VolumeId) -> Result<Rc<Slot>, RequestError> {
        match self.entries.borrow().get(&id).map(|entry| &entry.state) {
            Some(EntryState::Open(slot)) => Ok(Rc::clone(slot)),
            Some(EntryState::Recovering) => Err(RequestError::Recovering),
            Some(EntryState::Deleting(_)) => Err(RequestError::Refused(Refusal::Closing)),
            Some(EntryState::Failed(_) | EntryState::FailedAndLost(_)) => {
                Err(RequestError::NotOpened)
            }
            None => Err(RequestError::NoVolume),
        }
    }

    /// Returns a volume of this shard for a request that names photos by fid.
    ///
    /// # Errors
    /// The reason why the volume is not available; [`RequestError::NoVolume`] if it belongs to no cluster.
    pub fn of_cluster(&self, id: VolumeId) -> Result<Rc<Slot>, RequestError> {
        let slot = self.local(id)?;
        if slot.volume().is_of_cluster() { Ok(slot) } else { Err(RequestError::NoVolume) }
    }

    /// Returns a volume of this shard for a write that does not come from its cluster.
    ///
    /// # Errors
    /// The reason why the volume is not available; [`RequestError::OfCluster`] if it belongs to a cluster,
    /// which alone gives out the keys in it.
    pub fn own(&self, id: VolumeId) -> Result<Rc<Slot>, RequestError> {
        let slot = self.local(id)?;
        if slot.volume().is_of_cluster() && !chosen(Sabotage::WriteBesideCluster) {
            return Err(RequestError::OfCluster);
        }
        Ok(slot)
    }

    /// Returns the writable volume of this shard with the most free space, among those that belong to no
    /// cluster and into which a body of `len` bytes fits.
    pub fn most_free(&self, len: u64) -> Option<VolumeId> {
        let open: Vec<_> = self.opened().iter().map(|slot| slot.volume()).collect();
        let fitting = open.iter().filter(|volume| {
            volume.writable() && !volume.is_of_cluster() && volume.has_space_for(len)
        });
        let most_free = fitting.max_by_key(|volume| {
            let figures = volume.figures();
            figures.size - figures.used - figures.unavailable
        });
        most_free.map(|volume| volume.id())
    }

    /// Publishes the metrics of a volume after a write and before the write is answered, so that a client
    /// whose write is acknowledged sees it in the metrics. Does nothing if another write of the same commit
    /// has published them already. Returns `result`.
    pub fn publish_after_write<T>(
        &self,
        slot: &Slot,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let entries = self.entries.borrow();
        let volume = slot.volume();
        let Some(entry) = entries.get(&volume.id()) else { return result };
        if volume.stats().commits.get() != entry.published_commits.get() {
            entry.publish();
        }
        if matches!(result, Err(Refusal::Full)) {
            entry.log_full(&volume, "an upload did not fit");
        }
        result
    }

    /// Logs an upload that does not fit and returns its refusal.
    pub fn refused_for_room(&self, slot: &Slot) -> Refusal {
        let refused: Result<(), Refusal> = self.publish_after_write(slot, Err(Refusal::Full));
        refused.expect_err("publish_after_write returns the result unchanged")
    }

    /// Returns what publishes the metrics of a volume as long as it is there. It does not keep the volumes.
    pub(super) fn publisher(&self, id: VolumeId) -> Box<dyn Fn()> {
        let entries = Rc::downgrade(&self.entries);
        Box::new(move || {
            if let Some(entries) = entries.upgrade()
                && let Some(entry) = entries.borrow().get(&id)
            {
                entry.publish();
            }
        })
    }

    /// Publishes that records of its source were stored in a volume that is a copy.
    pub(super) fn show_pulled(&self, id: VolumeId) {
        if let Some(entry) = self.entries.borrow().get(&id)
            && let EntryState::Open(slot) = &entry.state
        {
            replica_figures::show_pulled(slot, &entry.metrics.board.replica);
        }
    }

    /// Publishes the metrics of all volumes.
    pub fn publish(&self) {
        self.entries.borrow().values().for_each(VolumeEntry::publish);
    }

    /// Asserts that no volume has a reservation for an upload of a large body, except for that of a pull in
    /// progress: it lasts from one piece of a body to the next.
    ///
    /// # Panics
    /// When there is one.
    pub fn expect_no_uploads(&self) {
        self.each_open(|slot| {
            if !self.pulls.is_open(slot.id()) {
                slot.expect_no_uploads();
            }
        });
    }

    /// Compares the counts of the open volumes with a recount. To be called only while no task uses them.
    ///
    /// # Panics
    /// When a count is wrong.
    pub fn expect_rest(&self) {
        self.each_open(Slot::expect_rest);
    }

    fn each_open(&self, check: impl Fn(&Slot)) {
        for entry in self.entries.borrow().values() {
            if let EntryState::Open(slot) = &entry.state {
                check(slot);
            }
        }
    }

    /// Size of the buffers that volumes keep while they are open, and of those for checkpoints (bytes).
    pub fn buffer_bytes(&self) -> usize {
        let volumes = self.opened().iter().map(|slot| slot.volume().buffer_bytes()).sum::<usize>();
        volumes + self.checkpoint_queue.get().map_or(0, |queue| queue.buffer_bytes())
    }

    /// Returns the sum of one counter over all volumes, including deleted ones.
    #[must_use]
    pub fn sum(&self, counter: impl Fn(&volume::Stats) -> u64) -> u64 {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            EntryState::Open(slot) | EntryState::Deleting(slot) => {
                Some(counter(slot.volume().stats()))
            }
            EntryState::Recovering | EntryState::Failed(_) | EntryState::FailedAndLost(_) => None,
        });
        open.sum::<u64>() + counter(&self.deleted_stats)
    }
}

/// Runs `work` for each item, four at a time.
pub(super) async fn four_at_a_time<T>(items: Vec<T>, work: impl AsyncFn(T)) {
    let items = RefCell::new(items.into_iter());
    let worker = async || {
        loop {
            let next = items.borrow_mut().next();
            let Some(item) = next else { return };
            work(item).await;
        }
    };
    join(join(worker(), worker()), join(worker(), worker())).await;
}

#[cfg(test)]
mod tests;
