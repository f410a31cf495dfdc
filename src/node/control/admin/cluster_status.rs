//! What its cluster says about a volume, as JSON.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use crate::base::sys;
use crate::base::types::VolumeId;
use crate::node::board::{ClusterBoard, VolumeBoard};
use crate::node::control::cluster::{ClusterState, ShownCopy};

/// What its cluster says about a volume.
#[derive(Debug, Serialize)]
pub struct ClusterStatus {
    /// Its collection; empty for the default collection.
    pub collection: String,
    /// Number of further copies in other data centers, in other racks and on other nodes: three digits.
    pub placement: String,
    /// How long its photos live, such as `5m`; null for ever.
    pub ttl: Option<String>,
    /// True if the cluster has closed it to writes.
    pub read_only: bool,
    /// True if it takes deletes while it is read-only.
    pub takes_deletes: bool,
    /// Highest key of all photos that it ever had; `0` for none. It is text because it may have more digits
    /// than some readers of JSON keep of a number.
    pub max_key: String,
    /// True while it is announced to the master as read-only, because a copy may lack changes.
    pub held: bool,
    /// Its copies on other nodes, by the name of the node.
    pub copies: Vec<CopyStatus>,
}

/// A copy of a volume on another node.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CopyStatus {
    /// Name of the node: `HOST:PORT`.
    pub peer: String,
    /// True if the master lists the copy.
    pub listed: bool,
    /// True if the node answers.
    pub answers: bool,
    /// True if the copy may lack something.
    pub behind: bool,
    /// Age of what it may lack (seconds); 0 if the volume has not changed since, null if it is not known
    /// since when.
    pub lag_seconds: Option<u64>,
}

impl ClusterStatus {
    pub(super) fn of(volume: &VolumeBoard, state: Option<&ClusterState>) -> Option<Self> {
        let board: &ClusterBoard = &volume.cluster;
        let (id, newest): (VolumeId, u64) = (volume.info.id, volume.newest_ns.get());
        let copies = state.map(|state| state.copies(id)).unwrap_or_default();
        Some(Self {
            collection: board.collection()?.to_string(),
            placement: board.placement().to_string(),
            ttl: board.ttl().map(|ttl| ttl.to_string()),
            read_only: board.is_read_only.get() != 0,
            takes_deletes: board.takes_deletes.get() != 0,
            max_key: board.max_key.get().to_string(),
            held: board.is_held.load(Relaxed),
            copies: copies
                .into_iter()
                .map(|it| CopyStatus::of(it, newest, sys::wall_ns()))
                .collect(),
        })
    }
}

impl CopyStatus {
    /// `newest`: highest version of the volume; `now`: the time of the wall clock (nanoseconds since 1970).
    fn of(copy: ShownCopy, newest: u64, now: u64) -> Self {
        let ShownCopy { peer, is_listed: listed, answers, is_behind: behind, mark } = copy;
        let lag_seconds = match mark {
            mark if mark >= newest => Some(0),
            0 => None,
            mark => Some(now.saturating_sub(mark) / 1_000_000_000),
        };
        Self { peer, listed, answers, behind, lag_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_what_is_missing() {
        let lag = |mark, newest| {
            let copy = ShownCopy {
                peer: "n:80".to_owned(),
                is_listed: true,
                answers: false,
                is_behind: true,
                mark,
            };
            CopyStatus::of(copy, newest, 9_900_000_000).lag_seconds
        };
        assert_eq!(lag(0, 0), Some(0), "the volume is empty");
        assert_eq!(lag(0, 5_000_000_000), None);
        assert_eq!(lag(4_000_000_000, 5_000_000_000), Some(5));
        assert_eq!(lag(5_000_000_000, 5_000_000_000), Some(0));
    }
}
