//! Figures of a volume.

use crate::volume::checkpoint::CheckpointFigures;

/// Figures of a volume, for `/status` and `/metrics`. In bytes unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Length of the file.
    pub size: u64,
    /// Header area, log and trailer that are in use.
    pub used: u64,
    /// Part of the log whose blocks are not reserved yet; 0 unless they are reserved in steps.
    pub unreserved: u64,
    /// Part of the log that cannot be used now, because the file system had no space for its blocks.
    pub unavailable: u64,
    /// Indexed needles and their parts.
    pub live: u64,
    /// Bytes of the log that are not live.
    pub dead: u64,
    /// Time since which something in the log is dead (nanoseconds since 1970): the version of the first
    /// needle or tombstone that superseded another needle, or of the first part of an abandoned upload if
    /// that is lower. A version runs ahead of the wall clock after that went back. `None` when nothing is
    /// dead.
    pub oldest_dead_ns: Option<u64>,
    /// Bytes of `live` that belong to objects whose day of expiry is over.
    pub expired: u64,
    /// Highest key of all needles and tombstones in the log, dead or not; 0 when there are none.
    pub key_max: u64,
    /// Number of indexed needles.
    pub needles: u64,
    /// Memory used by the index.
    pub index: u64,
    /// Number of slots of the index; each needle in the table occupies one.
    pub index_slots: u64,
    /// Number of needles that found no slot because too many ids have the same hash.
    pub index_overflow: u64,
    /// Number of growth steps of the index.
    pub index_steps: u64,
    /// Largest number of needles moved by one growth step.
    pub index_step_max: u64,
    /// Number of extents of the file; 0 when unknown.
    pub extents: u64,
    /// Number of known damaged ranges and lost objects: see
    /// [`Volume::damage`](crate::volume::Volume::damage).
    pub damaged: u64,
    /// Figures of the checkpoints.
    pub checkpoint: CheckpointFigures,
}
