//! The begin of a compaction: the checks before it, and the order to the shard.

use super::job::Job;
use super::now::Now;
use super::room::{self, CopySizes, Lack};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::size::{ByteSize, rounded};
use crate::base::types::VolumeId;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::config::Config;
use crate::node::control::{CompactionJob, CompactionOrigin, Refused, WantedCompaction};
use crate::node::daemon::machine::Memory;
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::daemon::space::space_soon;
use crate::node::shard::{CompactVolume, CompactionRequest, TargetDir};

impl ManagerState {
    /// Returns the compaction of a volume that is wanted.
    ///
    /// # Errors
    /// [`Refused::NoSuchVolume`]; [`Refused::Invalid`] for a size or a disk that cannot be; and
    /// [`Refused::Conflict`] for a disk that is not in use.
    pub(super) fn compaction_job(
        &self,
        id: VolumeId,
        wanted: WantedCompaction,
        origin: CompactionOrigin,
    ) -> Result<Job, Refused> {
        let board = self.shared.board.volume(id).ok_or(Refused::NoSuchVolume(id))?;
        let source = usize::try_from(board.disk.get()).expect("a position in a list");
        if let Some(size) = wanted.size {
            Config::check_volume_size(size).map_err(|error| {
                Refused::Invalid(format!("No volume can have this size: {error}."))
            })?;
        }
        let target = match wanted.disk {
            None => source,
            Some(disk) => self.store_at(disk)?,
        };
        if self.stores[target].dir.is_none() {
            let path = self.stores[target].path.display();
            let sentence = format!("Data directory {path} is not in use; choose another one.");
            return Err(Refused::Conflict(sentence));
        }
        let (size, accept_losses) = (wanted.size.map(ByteSize::bytes), wanted.accept_losses);
        Ok(Job { volume: id, origin, source, target, size, accept_losses })
    }

    /// Checks that a compaction could begin now, as far as this is known without the shard.
    ///
    /// # Errors
    /// [`Refused::NoSpace`] with figures if the disk cannot hold the new file; [`Refused::Conflict`] if the
    /// volume is not in a state to be compacted, or its live bytes do not fit into the new size.
    pub(super) fn check_compaction(&self, job: &Job) -> Result<(), Refused> {
        let id = job.volume;
        if self.changing.borrow().contains(&id) {
            let sentence = format!("Volume {id} is being changed; try again when that has ended.");
            return Err(Refused::Conflict(sentence));
        }
        let board = self.shared.board.volume(id).ok_or(Refused::NoSuchVolume(id))?;
        if let Some(why) = not_compactable(board.state.get()) {
            return Err(Refused::Conflict(format!("Volume {id} was not compacted: {why}.")));
        }
        if job.source != job.target {
            self.check_move(id)?;
        }
        self.check_compaction_room(job, &board)
    }

    /// Checks that every data directory is in use. One that is not may hold another file of the volume: with
    /// two in different directories besides, it could not be decided which counts.
    fn check_move(&self, id: VolumeId) -> Result<(), Refused> {
        let Some(missing) = self.stores.iter().find(|store| store.dir.is_none()) else {
            return Ok(());
        };
        Err(Refused::Conflict(format!(
            "Volume {id} was not moved: data directory {} is not in use, and it is not known which volumes \
             have files there. Bring it back, or take it out of the configuration, and restart.",
            missing.path.display()
        )))
    }

    fn check_compaction_room(&self, job: &Job, board: &VolumeBoard) -> Result<(), Refused> {
        let (id, live, old) = (job.volume, board.live_bytes.get(), board.size_bytes.get());
        let new = job.size.unwrap_or(old);
        let smallest = room::smallest_size(live);
        if new < old && new < smallest {
            return Err(Refused::Conflict(format!(
                "Volume {id} was not compacted: {} of it live, which need a file of {}, and {} is smaller.",
                rounded(live),
                rounded(smallest),
                ByteSize(new),
            )));
        }
        let (free, disk_size) = space_soon(&self.stores[job.target].path).unwrap_or_default();
        let sizes = CopySizes { live, old, new, moves: job.source != job.target };
        let reserve = self.reserve_with(job.target, disk_size, Some((live, new)));
        room::check(sizes, free, reserve).map_err(|Lack { needed, free }| {
            Refused::NoSpace(format!(
                "Volume {id} was not compacted: the new file needs {} in {}, and {} are free. Make space \
                 there, or compact the volume onto another disk (hayloft volume move).",
                rounded(needed),
                self.stores[job.target].path.display(),
                rounded(free),
            ))
        })
    }

    /// Space of the disk of a data directory that volume creation leaves for compactions (bytes).
    pub(in crate::node::daemon) fn reserve(&self, store: usize, disk_size: u64) -> u64 {
        self.reserve_with(store, disk_size, None)
    }

    /// As [`Self::reserve`], with one more volume there: its live bytes and its size.
    fn reserve_with(&self, store: usize, disk_size: u64, more: Option<(u64, u64)>) -> u64 {
        if chosen(Sabotage::IgnoreReserve) {
            return 0;
        }
        let volumes = self.shared.board.volumes();
        let there = volumes.iter().filter(|volume| volume.disk.get() == store as u64);
        let figures = there.map(|volume| (volume.live_bytes.get(), volume.size_bytes.get()));
        let configured = self.config.compaction.reserve.value().map(ByteSize::bytes);
        room::reserve(configured, disk_size, figures.chain(more))
    }

    /// Begins a compaction that waits, and that nothing blocks.
    ///
    /// # Errors
    /// As [`Self::check_compaction`], or the refusal of the shard. The compaction is no longer in the queue.
    ///
    /// # Panics
    /// If it does not wait, or something blocks it.
    pub(super) async fn begin_compaction(&self, id: VolumeId) -> Result<(), Refused> {
        let state = &self.compaction;
        let board = self.shared.board.volume(id);
        let ended = board.as_ref().map_or(0, |board| board.compaction.ended());
        let job = state.queue.borrow_mut().start(id, ended);
        let begun = match self.check_compaction(&job) {
            Ok(()) => self.order_compaction(&job).await,
            Err(refused) => Err(refused),
        };
        match &begun {
            Ok(()) => {
                state.queue.borrow_mut().begun(id);
                self.show_compaction(&job, true);
                let reclaimable = board.map_or(0, |board| board.reclaimable_bytes());
                let path = self.stores[job.target].path.display();
                tracing::info!(
                    volume = id.0,
                    "is being compacted in {path}, as the {} asked: {} are expected to come back",
                    job.origin.name(),
                    rounded(reclaimable)
                );
            }
            Err(_) => {
                state.queue.borrow_mut().remove(id);
                state.shown.set_job(id, None);
            }
        }
        begun
    }

    async fn order_compaction(&self, job: &Job) -> Result<(), Refused> {
        let id = job.volume;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let config = &self.config.compaction;
        let target = (job.target != job.source).then(|| {
            let store = &self.stores[job.target];
            let dir = store.dir.as_ref().expect("compaction_job() has checked that it is in use");
            TargetDir {
                path: store.path.clone(),
                disk: u32::try_from(job.target).expect("at most 256 data directories"),
                store: dir.store_id().0.to_be_bytes(),
            }
        });
        let now = (self.compaction.clock)();
        let lacking_from = self.shared.board.volume(id).and_then(|it| it.cluster.lacking_from());
        // Tombstones that a copy may lack are kept, else its photo would stay there.
        let lacked_ns = lacking_from.map_or(0, |from| now.wall_ns.saturating_sub(from));
        let request = CompactionRequest {
            target,
            size: job.size,
            accept_losses: job.accept_losses,
            tombstone_keep_ns: config.tombstone_keep.nanos().max(lacked_ns),
            drop_expired_before_ns: self.drop_expired_before(now),
            verify: config.verify,
            index_memory_max: Memory::of_this_process().available(),
        };
        let begun = self.ask(shard, CompactVolume { volume: id, request }).await;
        begun.map_err(|error| refused(id, "compacted", error))
    }

    /// Returns the time before which a photo must have expired to be left out by a compaction (nanoseconds
    /// since 1970); 0 for none.
    pub(in crate::node::daemon) fn drop_expired_before(&self, now: Now) -> u64 {
        let grace_ns = self.config.compaction.expiry_grace.nanos();
        self.compaction.clock_guard.drop_before(&self.shared.board, now, grace_ns)
    }

    /// Shows a compaction in `/status`.
    pub(super) fn show_compaction(&self, job: &Job, is_begun: bool) {
        let queue = self.compaction.queue.borrow();
        let waits_for = if is_begun { None } else { queue.blocker(job) };
        let board = self.shared.board.volume(job.volume);
        let of_board = |get: fn(&VolumeBoard) -> u64| board.as_deref().map_or(0, get);
        let shown = CompactionJob {
            origin: job.origin,
            is_begun,
            waits_for,
            disk: u32::try_from(job.target).expect("at most 256 data directories"),
            size: job.size.unwrap_or_else(|| of_board(|board| board.size_bytes.get())),
            expected_gain: of_board(VolumeBoard::reclaimable_bytes),
        };
        self.compaction.shown.set_job(job.volume, Some(shown));
    }
}

/// Why a volume in this state cannot be compacted.
fn not_compactable(state: VolumeState) -> Option<&'static str> {
    match state {
        VolumeState::Writable | VolumeState::ReadOnly => None,
        VolumeState::Recovering => Some("it is recovering; try again when it serves"),
        VolumeState::Poisoned => Some("a write to it failed; restart the daemon first"),
        VolumeState::Lost => {
            Some("its file is no longer where it was; bring it back, or restart the daemon, first")
        }
        VolumeState::Failed => Some("it could not be opened; the log says why"),
    }
}
