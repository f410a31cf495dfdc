//! The state of a volume as JSON, in `/status` and `/volumes`. Sizes are in bytes, durations in
//! milliseconds, points in time in seconds since 1970.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cluster_status::ClusterStatus;
use super::compaction_status::{CompactionStatus, LastCompaction, ended};
use super::error::ApiError;
use super::scrub_status::{LastScrub, ScrubStatus};
use super::state::AdminState;
use crate::base::sys;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{HealthBoard, ReplicaBoard, ShownWriteState};
use crate::node::control::Creation;
use crate::node::label::Label;
use crate::node::metrics::{ReadMetric, VolumeMetrics};

/// One volume in `/status` and `/volumes`.
#[derive(Debug, Serialize)]
pub struct VolumeStatus {
    /// The id in the URL.
    pub id: VolumeId,
    /// The shard that owns it; null while it is being created.
    pub shard: Option<ShardId>,
    /// Position of its data directory in `disks`.
    pub disk: u64,
    /// `creating`, `creation_failed`, `recovering`, `writable`, `read_only`, `poisoned`,
    /// `lost` or `failed`.
    pub state: &'static str,
    /// `not_open`, `writable`, `full`, `read_only`, `fenced`, `poisoned`, `unknown`, `closing` or `closed`.
    pub write_state: &'static str,
    /// Progress, 0 to 1: the prepared part of the file during creation, the part of the log that was read
    /// during recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Why its creation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// False if writes to it go through the page cache.
    pub durable: bool,
    /// True if it is full: a photo of 1 MiB does not fit.
    pub full: bool,
    /// Size of the file (bytes).
    pub size: u64,
    /// Space of commits (bytes).
    pub used: u64,
    /// Space of live needles (bytes).
    pub live: u64,
    /// Space of superseded and deleted needles (bytes).
    pub dead: u64,
    /// Time since which something in it is dead (seconds since 1970); null when nothing is.
    pub oldest_dead: Option<u64>,
    /// Space of live needles that have expired, without those that did so today (bytes).
    pub expired: u64,
    /// Space that a compaction would free inside the file (bytes).
    pub reclaimable: u64,
    /// True if bytes have been dead for longer than `compaction.erase_within`.
    pub erase_overdue: bool,
    /// Generation of the file: the number of compactions it went through.
    pub generation: u64,
    /// Its compaction that waits or runs.
    pub compaction: Option<CompactionStatus>,
    /// Number of its compactions that have ended since the daemon started.
    pub compactions: u64,
    /// The last of these.
    pub last_compaction: Option<LastCompaction>,
    /// Its scrub that waits or runs.
    pub scrub: Option<ScrubStatus>,
    /// Number of scrubs that were completed since the daemon started.
    pub scrubs: u64,
    /// The last of these.
    pub last_scrub: Option<LastScrub>,
    /// Begin of the last scrub that found nothing wrong, or the creation of the file (seconds since 1970).
    pub verified: u64,
    /// Number of places that scrubs have found damaged, and that are not known to be replaced.
    pub found_damage: u64,
    /// Since when it takes no writes because of errors (seconds since 1970); null if it is not suspect.
    pub suspect: Option<u64>,
    /// Whose copy it is; null if it is no copy.
    pub replica: Option<ReplicaStatus>,
    /// What its cluster says about it; null if it belongs to none.
    pub cluster: Option<ClusterStatus>,
    /// Number of places at which reads failed for good since the daemon started.
    pub hard_errors: u64,
    /// Number of places at which reads failed for a time since the daemon started.
    pub soft_errors: u64,
    /// Number of random needles that were read since the daemon started, to see whether the disk works.
    pub probes: u64,
    /// Number of live needles.
    pub needles: u64,
    /// Number of extents of the file.
    pub extents: u64,
    /// Memory of the index (bytes).
    pub index_bytes: u64,
    /// Memory of the index per live needle (bytes).
    pub index_bytes_per_needle: f64,
    /// Used part of the slots of the index, 0 to 1.
    pub index_load: f64,
    /// Number of needles outside the slots of the index.
    pub index_overflow: u64,
    /// Number of growth steps of the index.
    pub index_steps: u64,
    /// Largest number of needles moved by one growth step.
    pub index_step_max: u64,
    /// Damaged records found since the daemon started.
    pub damage: u64,
    /// Offset at which the next commit starts (bytes).
    pub tail: u64,
    /// Duration of opening it (milliseconds).
    pub open_ms: u64,
    /// Length of log read to open it (bytes).
    pub open_read: u64,
    /// Offset up to which the checkpoint covers the log (bytes); 0 without a checkpoint.
    pub checkpoint_tail: u64,
    /// Length of log after `checkpoint_tail` (bytes).
    pub checkpoint_age: u64,
    /// Duration of the last checkpoint (milliseconds).
    pub checkpoint_ms: u64,
    /// Checkpoints written since the daemon started.
    pub checkpoints: u64,
    /// Checkpoints that failed since the daemon started.
    pub checkpoint_failures: u64,
    /// 1 if the checkpoint found at the start could not be used, else 0.
    pub checkpoints_discarded: u64,
}

impl VolumeStatus {
    fn in_the_making(id: VolumeId, creation: &Creation, durable: bool) -> Self {
        let error = creation.failed.clone().map(|why| ApiError::from(why).to_string());
        Self {
            id,
            shard: None,
            disk: creation.disk.into(),
            state: if error.is_some() { "creation_failed" } else { "creating" },
            write_state: ShownWriteState::NotOpen.name(),
            #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
            progress: Some(creation.done as f64 / creation.size as f64),
            error,
            durable,
            full: false,
            size: creation.size,
            used: 0,
            live: 0,
            dead: 0,
            oldest_dead: None,
            expired: 0,
            reclaimable: 0,
            erase_overdue: false,
            generation: 0,
            compaction: None,
            compactions: 0,
            last_compaction: None,
            scrub: None,
            scrubs: 0,
            last_scrub: None,
            verified: 0,
            found_damage: 0,
            suspect: None,
            replica: None,
            cluster: None,
            hard_errors: 0,
            soft_errors: 0,
            probes: 0,
            needles: 0,
            extents: 0,
            index_bytes: 0,
            index_bytes_per_needle: 0.0,
            index_load: 0.0,
            index_overflow: 0,
            index_steps: 0,
            index_step_max: 0,
            damage: 0,
            tail: 0,
            open_ms: 0,
            open_read: 0,
            checkpoint_tail: 0,
            checkpoint_age: 0,
            checkpoint_ms: 0,
            checkpoints: 0,
            checkpoint_failures: 0,
            checkpoints_discarded: 0,
        }
    }
}

impl VolumeStatus {
    fn of(state: &AdminState, v: &VolumeMetrics) -> Self {
        let (compactions, last_compaction) = ended(&state.compactions, &v.board);
        Self {
            id: v.board.info.id,
            shard: Some(v.board.info.shard),
            disk: v.board.disk.get(),
            state: v.board.state.get().name(),
            write_state: v.board.write_state.get().name(),
            progress: v.recovery(),
            error: None,
            durable: v.board.info.durable,
            full: v.board.full.get() != 0,
            size: v.board.size_bytes.get(),
            used: v.board.used_bytes.get(),
            live: v.board.live_bytes.get(),
            dead: v.board.dead_bytes.get(),
            oldest_dead: Some(v.board.oldest_dead_ns.get() / 1_000_000_000)
                .filter(|seconds| *seconds > 0),
            expired: v.board.expired_bytes.get(),
            reclaimable: v.board.reclaimable_bytes(),
            erase_overdue: v.board.erase_overdue.get() != 0,
            generation: v.board.generation.get(),
            compaction: CompactionStatus::of(&state.compactions, &v.board, sys::wall_ns()),
            compactions,
            last_compaction,
            scrub: ScrubStatus::of(&v.board.scrub),
            scrubs: v.board.scrub.passes.get(),
            last_scrub: LastScrub::of(&v.board.scrub),
            verified: v.board.scrub.verified_ns.get() / 1_000_000_000,
            found_damage: v.board.scrub.damage.get(),
            suspect: suspect_since(&v.board.health),
            replica: ReplicaStatus::of(&v.board.replica),
            cluster: ClusterStatus::of(&v.board, state.cluster.as_ref().map(|(_, it)| &**it)),
            hard_errors: v.board.health.hard_errors.get(),
            soft_errors: v.board.health.soft_errors.get(),
            probes: v.board.health.probes.get(),
            needles: v.needles.get(),
            extents: v.extents.get(),
            index_bytes: v.index_bytes.get(),
            index_bytes_per_needle: v.index_bytes_per_needle(),
            index_load: v.index_load(),
            index_overflow: v.index_overflow.get(),
            index_steps: v.index_steps.get(),
            index_step_max: v.index_step_max.get(),
            damage: v.damaged_records.get(),
            tail: v.tail_bytes.get(),
            open_ms: v.open_ms.get(),
            open_read: v.open_read_bytes.get(),
            checkpoint_tail: v.checkpoint_tail_bytes.get(),
            checkpoint_age: v.checkpoint_age_bytes.get(),
            checkpoint_ms: v.checkpoint_ms.get(),
            checkpoints: v.checkpoints.get(),
            checkpoint_failures: v.checkpoint_failures.get(),
            checkpoints_discarded: v.checkpoint_discards.get(),
        }
    }
}

/// Whose copy a volume is.
#[derive(Debug, Serialize)]
pub struct ReplicaStatus {
    /// Number of the source, 16 hexadecimal digits; null as long as nothing was copied.
    pub source: Option<String>,
    /// Position of the source up to which everything is here. It is text because it has more digits than some
    /// readers of JSON keep of a number.
    pub position: String,
    /// False if photos may be here that the source has no more.
    pub complete: bool,
}

impl ReplicaStatus {
    fn of(board: &ReplicaBoard) -> Option<Self> {
        let source = Some(board.source.get()).filter(|source| *source > 0);
        (board.is_replica.get() != 0).then(|| Self {
            source: source.map(|source| format!("{source:016x}")),
            position: board.position.get().to_string(),
            complete: board.has_surplus.get() == 0,
        })
    }
}

/// Returns since when a volume is suspect (seconds since 1970), if it is.
fn suspect_since(health: &HealthBoard) -> Option<u64> {
    (health.suspect.get() != 0).then(|| health.suspect_since_ns.get() / 1_000_000_000)
}

/// Returns the status of a volume, or of its creation; `None` if neither exists.
pub(super) fn volume_status(state: &AdminState, id: VolumeId) -> Option<VolumeStatus> {
    // A creation under way has more information than the volume that it creates.
    match state.creations.get(id) {
        Some(creation) => {
            Some(VolumeStatus::in_the_making(id, &creation, state.metrics.node.durable))
        }
        None => state.metrics.volume(id).map(|volume| VolumeStatus::of(state, &volume)),
    }
}

/// Returns the status of all volumes and creations, by id.
pub(super) fn all_volumes(state: &AdminState) -> Vec<VolumeStatus> {
    let creations = state.creations.all();
    let volumes = state.metrics.volumes();
    let there =
        volumes.iter().map(|volume| (volume.board.info.id, VolumeStatus::of(state, volume)));
    let durable = state.metrics.node.durable;
    let making = creations
        .iter()
        .map(|(id, creation)| (*id, VolumeStatus::in_the_making(*id, creation, durable)));
    let all: BTreeMap<VolumeId, VolumeStatus> = there.chain(making).collect();
    all.into_values().collect()
}
