//! Numbers of the node in its cluster.

use super::counter::Counter;
use super::gauge::Gauge;
use super::label::{CounterBy, label_enum};

label_enum! {
    /// A call of the cluster.
    pub enum ClusterCall: "call" {
        /// Create a volume.
        AllocateVolume = "allocate_volume",
        /// Delete a volume.
        VolumeDelete = "volume_delete",
        /// Delete all volumes of a collection.
        DeleteCollection = "delete_collection",
        /// Delete photos.
        BatchDelete = "batch_delete",
        /// State of a volume.
        VolumeStatus = "volume_status",
        /// Close a volume to writes.
        VolumeMarkReadonly = "volume_mark_readonly",
        /// Open a volume to writes.
        VolumeMarkWritable = "volume_mark_writable",
        /// Garbage of a volume.
        VacuumVolumeCheck = "vacuum_volume_check",
        /// Compact a volume.
        VacuumVolumeCompact = "vacuum_volume_compact",
        /// Take a compacted volume into use.
        VacuumVolumeCommit = "vacuum_volume_commit",
        /// Remove what a compaction has left.
        VacuumVolumeCleanup = "vacuum_volume_cleanup",
        /// State of the node.
        VolumeServerStatus = "volume_server_status",
        /// Time of an answer.
        Ping = "ping",
    }
}

label_enum! {
    /// Result of a call of the cluster.
    pub enum ClusterCallResult: "result" {
        /// It was carried out.
        Done = "done",
        /// It was refused, or failed.
        Refused = "refused",
    }
}

/// Counters of the calls, by call.
type Calls = CounterBy<ClusterCall, { ClusterCall::COUNT }>;

/// Numbers of the node in its cluster. The control plane's thread is the only writer.
#[derive(Debug, Default)]
pub struct ClusterMetrics {
    /// Number of masters in the configuration; 0 if the node belongs to no cluster.
    pub masters: Gauge,
    /// 1 while the node is registered with the leader of the masters.
    pub connected: Gauge,
    /// Heartbeats sent.
    pub heartbeats: Counter,
    /// Other nodes that have copies of volumes.
    pub peers: Gauge,
    /// Those of them that answer.
    pub peers_answering: Gauge,
    /// Copies of volumes on other nodes.
    pub copies: Gauge,
    /// Those of them that may lack something.
    pub copies_behind: Gauge,
    /// Volumes that the master assigns nothing to because of such a copy.
    pub volumes_held: Gauge,
    /// Objects that were offered to copies.
    pub offered_objects: Counter,
    /// Deletions that were offered to copies.
    pub offered_deletions: Counter,
    /// Offers that failed.
    pub failed_offers: Counter,
    /// Calls that were carried out.
    done: Calls,
    /// Calls that were refused, or failed.
    refused: Calls,
}

impl ClusterMetrics {
    /// The counters of the calls with this result.
    #[must_use]
    pub fn calls(&self, result: ClusterCallResult) -> &Calls {
        match result {
            ClusterCallResult::Done => &self.done,
            ClusterCallResult::Refused => &self.refused,
        }
    }
}
