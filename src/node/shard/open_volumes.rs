//! Opens the volumes of a shard.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::assignment::Assignment;
use super::order::OrderError;
use super::shard_files::Settled;
use super::volume_entry::{EntryState, VolumeEntry};
use super::volume_summary::VolumeSummary;
use super::volumes::{Volumes, four_at_a_time};
use crate::base::types::VolumeId;
use crate::runtime::Handle;
use crate::volume::{
    self, DamageSource, GenerationFile, OpenContext, OpenError, Progress, Slot, Volume,
};

/// Pause between two attempts to open a volume while no buffer is free (nanoseconds).
const RETRY_NS: u64 = 100_000_000;
/// Interval between recovery progress messages (nanoseconds).
const PROGRESS_INTERVAL_NS: u64 = 5_000_000_000;
/// Time from the beginning of a recovery to its first progress message (nanoseconds).
const PROGRESS_DELAY_NS: u64 = 1_000_000_000;

impl Volumes {
    /// Opens all volumes, four at a time. Each serves as soon as it is open.
    pub async fn open_all(&self, handle: &Handle, assignments: Vec<Assignment>) {
        for assignment in &assignments {
            self.insert_recovering(assignment);
        }
        let open = async |assignment: Assignment| self.open(handle, &assignment).await;
        four_at_a_time(assignments, open).await;
    }

    /// Opens a volume that was just created. Returns a summary of it.
    ///
    /// # Errors
    /// [`OrderError::NotOpened`].
    pub async fn open_one(
        &self,
        handle: &Handle,
        assignment: Assignment,
    ) -> Result<VolumeSummary, OrderError> {
        self.insert_recovering(&assignment);
        self.open(handle, &assignment).await;
        let slot = self.slot_to_change(assignment.volume)?;
        Ok(VolumeSummary::of(&slot.volume()))
    }

    pub(super) fn insert_recovering(&self, assignment: &Assignment) {
        let entry = VolumeEntry {
            state: EntryState::Recovering,
            files: Vec::new(),
            published_commits: Cell::new(0),
            is_full_logged: Cell::new(false),
            totals: Default::default(),
            metrics: Arc::clone(&assignment.metrics),
        };
        self.entries.borrow_mut().insert(assignment.volume, entry);
    }

    async fn open(&self, handle: &Handle, assignment: &Assignment) {
        let id = assignment.volume;
        let files = self.files.of(handle, assignment).await;
        let began = handle.now();
        let checkpoint_queue =
            self.checkpoint_queue.get_or_init(|| Rc::new(volume::checkpoint_queue(handle)));
        let (metrics, log_at) = (&assignment.metrics, Cell::new(began + PROGRESS_DELAY_NS));
        let progress = |Progress { done, total }: Progress| {
            metrics.recovered_bytes.set(done);
            metrics.to_recover_bytes.set(total);
            if handle.now() >= log_at.get() {
                log_at.set(handle.now() + PROGRESS_INTERVAL_NS);
                tracing::info!(volume = id.0, "reading the log: {done} of about {total} bytes");
            }
        };
        let pace = |dir| self.paces.of(handle, self.files.disk_of(dir));
        let opened = loop {
            let checkpoint_queue = Some(checkpoint_queue);
            let all_directories = assignment.all_directories;
            let pace = Some(&pace as _);
            let context =
                OpenContext { progress: &progress, checkpoint_queue, pace, all_directories };
            match volume::open_current(handle, &files, context).await {
                // Requests to other volumes hold all buffers at the moment.
                Err(OpenError::NoBuffer) => handle.sleep_until(handle.now() + RETRY_NS).await,
                opened => break opened,
            }
        };
        let ms = (handle.now() - began) / 1_000_000;
        match self.files.settle(handle, assignment, files, opened).await {
            Settled::Open(volume, others) => {
                metrics.open_ms.set(ms);
                let slot = Slot::new(Rc::clone(&volume));
                self.apply_health(&slot, assignment).await;
                self.set_opened(id, EntryState::Open(Rc::clone(&slot)), others);
                log_opened(&volume, ms);
                self.start_scrubs(handle, &slot);
                self.start_probes(&slot, metrics);
            }
            Settled::Failed(error, files) => {
                self.set_opened(id, EntryState::Failed(error.clone()), files);
                let place = assignment.place();
                tracing::error!(volume = id.0, "cannot open the volume {place}: {error}");
            }
            Settled::WithoutFile => drop(self.entries.borrow_mut().remove(&id)),
        }
    }

    fn set_opened(&self, id: VolumeId, state: EntryState, files: Vec<GenerationFile>) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(&id).expect("insert_recovering added the entry");
        (entry.state, entry.files) = (state, files);
        drop(entries);
        self.publish();
    }
}

fn log_opened(volume: &Volume, ms: u64) {
    let id = volume.id();
    for place in volume.damage() {
        let (at, whose) = (place.at, place.id.map(|id| id.to_string()));
        let whose = whose.as_deref().unwrap_or("unknown");
        match place.source {
            DamageSource::File => tracing::error!(
                volume = id.0,
                "damage at byte {}, {} bytes, needle {whose}: the data around it is served",
                at.offset,
                at.len
            ),
            DamageSource::Loss => tracing::error!(
                volume = id.0,
                "lost in a compaction, record at byte {}, needle {whose}: a GET answers 500; store it again",
                at.offset
            ),
            DamageSource::Generation(generation) => tracing::warn!(
                volume = id.0,
                "damage in generation {generation} at byte {}, {} bytes: needles and deletions in it may be \
                 lost; hayloft check says what to do",
                at.offset,
                at.len
            ),
        }
    }
    let figures = volume.figures();
    let (from, read) = (figures.checkpoint.opened_from, figures.checkpoint.opened_read);
    // Recovery also reads up to the length of the longest commit behind the log: a commit found there proves
    // damage rather than a torn tail.
    let log = volume.open_report().end.tail - from;
    tracing::info!(
        volume = id.0,
        "open after {ms} ms, {log} bytes of log and {} bytes behind it looked through: {} needles, {} bytes \
         used of {}, {} extents",
        read.saturating_sub(log),
        figures.needles,
        figures.used,
        figures.size,
        figures.extents
    );
}
