//! A volume as the master knows it.

use std::sync::atomic::Ordering::Relaxed;

use hayloft_proto::master_pb::{VolumeInformationMessage, VolumeShortInformationMessage};

use crate::base::cluster::{Collection, ReplicaPlacement, Ttl};
use crate::base::limits::{LOG_START, TRAILER};
use crate::base::types::VolumeId;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::metrics::{Metrics, ReadMetric, VolumeMetrics};

/// Version of the needles of the cluster's own volumes, which every server announces.
const NEEDLE_VERSION: u32 = 3;
/// Size of an empty volume (bytes): what the cluster's own volumes begin with.
const EMPTY_BYTES: u64 = 8;

/// A volume as the master knows it: what it decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Volume id.
    pub(super) id: VolumeId,
    /// Its collection.
    pub(super) collection: Collection,
    /// Where its copies are.
    pub(super) placement: ReplicaPlacement,
    /// How long its needles live; `None` for ever.
    pub(super) ttl: Option<Ttl>,
    /// Whether it takes no photos.
    pub(super) is_read_only: bool,
    /// Whether it takes deletes while it is read-only.
    pub(super) takes_deletes: bool,
    /// Position of its data directory.
    pub(super) disk: u32,
}

/// What the master is told of a volume besides, and decides nothing on but whether it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AnnouncedFigures {
    /// Bytes of its log, and those of an empty volume.
    pub(super) size: u64,
    /// Number of live needles.
    pub(super) needles: u64,
    /// Bytes of dead needles.
    pub(super) dead: u64,
    /// Number of its compactions.
    pub(super) generation: u64,
    /// Highest key of its needles, also of those that are gone.
    pub(super) key_max: u64,
    /// Time of the last write (seconds since 1970); 0 if it is not known.
    pub(super) modified: u64,
}

impl Announced {
    /// Returns what the master knows of an open volume of the cluster; `None` for other volumes, and for one
    /// whose time to live is over.
    pub(super) fn of(board: &VolumeBoard) -> Option<Self> {
        let (state, cluster) = (board.state.get(), &board.cluster);
        let collection = cluster.collection().filter(|_| state.serves())?;
        if cluster.is_over.get() != 0 {
            return None;
        }
        let takes_writes = state == VolumeState::Writable;
        let is_closed_by_cluster = cluster.is_read_only.get() != 0;
        // What else keeps it from being written keeps it from deletes, too.
        let is_closed_otherwise = state == VolumeState::Poisoned || state == VolumeState::Lost;
        let takes_deletes = is_closed_by_cluster && cluster.takes_deletes.get() != 0;
        // The master assigns nothing to a volume of which a copy may lack something.
        let is_held = cluster.placement().copies() > 1 && cluster.is_held.load(Relaxed);
        let is_closed = is_closed_by_cluster || is_held;
        Some(Self {
            id: board.info.id,
            collection: collection.clone(),
            placement: cluster.placement(),
            ttl: cluster.ttl(),
            is_read_only: !takes_writes || is_closed || board.full.get() != 0,
            takes_deletes: takes_writes || takes_deletes && !is_closed_otherwise,
            disk: u32::try_from(board.disk.get()).unwrap_or(u32::MAX),
        })
    }

    /// Returns the announcement of a new or deleted volume.
    pub(super) fn short(&self) -> VolumeShortInformationMessage {
        VolumeShortInformationMessage {
            id: self.id.0,
            collection: self.collection.to_string(),
            replica_placement: self.placement.0.into(),
            version: NEEDLE_VERSION,
            ttl: ttl_number(self.ttl),
            disk_type: String::new(),
            disk_id: self.disk,
            read_only: self.is_read_only,
            read_only_can_delete: self.is_read_only && self.takes_deletes,
        }
    }

    /// Returns its entry in a full list.
    pub(super) fn entry(&self, figures: AnnouncedFigures) -> VolumeInformationMessage {
        let short = self.short();
        VolumeInformationMessage {
            id: short.id,
            size: figures.size,
            collection: short.collection,
            file_count: figures.needles,
            delete_count: 0,
            deleted_byte_count: figures.dead,
            read_only: short.read_only,
            replica_placement: short.replica_placement,
            version: short.version,
            ttl: short.ttl,
            // The number has 16 bits in the cluster's own volumes.
            compact_revision: u32::from((figures.generation & 0xffff) as u16),
            modified_at_second: i64::try_from(figures.modified).unwrap_or(i64::MAX),
            disk_type: short.disk_type,
            disk_id: short.disk_id,
            read_only_can_delete: short.read_only_can_delete,
        }
    }
}

/// Returns the figures of a volume.
pub(super) fn figures(volume: &VolumeMetrics) -> AnnouncedFigures {
    let board = &volume.board;
    let log = board.used_bytes.get().saturating_sub(LOG_START + TRAILER);
    AnnouncedFigures {
        size: log.saturating_add(EMPTY_BYTES),
        needles: volume.needles.get(),
        dead: board.dead_bytes.get(),
        generation: board.generation.get(),
        key_max: board.cluster.max_key.get(),
        modified: board.newest_ns.get() / 1_000_000_000,
    }
}

/// Returns all volumes of the cluster that are open, by ascending id, and whether others may follow: a volume
/// that is being recovered may be one of the cluster.
pub(super) fn all(metrics: &Metrics) -> (Vec<(Announced, AnnouncedFigures)>, bool) {
    let volumes = metrics.volumes();
    let are_recovering = volumes.iter().any(|volume| is_recovering(volume));
    let known = |volume: &VolumeMetrics| Some((Announced::of(&volume.board)?, figures(volume)));
    (volumes.iter().filter_map(|volume| known(volume)).collect(), are_recovering)
}

fn is_recovering(volume: &VolumeMetrics) -> bool {
    volume.board.state.get() == VolumeState::Recovering
}

/// Returns a time to live as the protocol writes it in a number: count and code of the unit.
fn ttl_number(ttl: Option<Ttl>) -> u32 {
    let [count, unit] = ttl.map_or([0, 0], Ttl::to_bytes);
    u32::from(count) << 8 | u32::from(unit)
}
