//! Changes to volumes that the control plane requests from the daemon's main thread, and their results.

use serde::Deserialize;
use tokio::sync::oneshot;

use super::refused::Refused;
use crate::base::cluster::{Collection, ReplicaPlacement, Ttl};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;

/// What the cluster of a new volume says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewClusterVolume {
    /// Its collection.
    pub collection: Collection,
    /// Where its copies are.
    pub placement: ReplicaPlacement,
    /// How long its needles live; `None` for ever.
    pub ttl: Option<Ttl>,
}

/// The body of `POST /volumes`: a volume to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVolume {
    /// Volume id; absent: one above the highest id in use.
    pub id: Option<VolumeId>,
    /// Size of the file; absent: `volume_size` of the configuration.
    pub size: Option<ByteSize>,
    /// Position of the data directory; absent: the one with the most free space.
    pub disk: Option<u32>,
    /// Whether it is to be a copy of a volume of another store, and takes no other writes.
    #[serde(default)]
    pub replica: bool,
    /// What its cluster says about it; `None` for a volume that belongs to none. Only a cluster makes volumes
    /// of a cluster, so that this is no part of the body.
    #[serde(skip)]
    pub cluster: Option<NewClusterVolume>,
}

/// The body of `POST /volumes/{id}/compact`: how a volume is to be compacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedCompaction {
    /// Whether data that cannot be read may be left behind.
    #[serde(default)]
    pub accept_losses: bool,
    /// Size of the new file; absent: as the old one.
    pub size: Option<ByteSize>,
    /// Position of the data directory of the new file; absent: that of the old one.
    pub disk: Option<u32>,
}

/// A change to volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeChange {
    /// Create a volume. Answered once the creation is accepted; its progress is in
    /// [`Creations`](super::Creations).
    Create(NewVolume),
    /// Delete a volume, or the record of a creation that failed.
    Delete(VolumeId),
    /// Delete a volume in which no photo lives.
    DeleteIfEmpty(VolumeId),
    /// Close a volume of the cluster to writes, by order of the cluster.
    CloseForCluster {
        /// Volume id.
        id: VolumeId,
        /// Whether it takes deletes all the same.
        takes_deletes: bool,
    },
    /// Open a volume of the cluster that the cluster has closed.
    OpenForCluster(VolumeId),
    /// Make a volume read-only or writable.
    SetReadOnly {
        /// Volume id.
        id: VolumeId,
        /// True for read-only, false for writable.
        read_only: bool,
    },
    /// Compact a volume. Answered once the compaction has begun, or waits for another one; its progress is in
    /// [`Compactions`](super::Compactions) and on the board.
    Compact {
        /// Volume id.
        id: VolumeId,
        /// How it is to be compacted.
        wanted: WantedCompaction,
    },
    /// Cancel the compaction of a volume. Answered once it has ended.
    CancelCompaction(VolumeId),
    /// Scrub a volume. Answered once that is noted; progress and end are on the board.
    Scrub(VolumeId),
    /// End the suspicion of a volume.
    Clear(VolumeId),
    /// Make a volume a copy of another one.
    MakeReplica(VolumeId),
}

/// Result of a change: the id of the volume.
pub type ChangeResult = Result<VolumeId, Refused>;

/// A request for a change, sent to the main thread. Dropping it unanswered means that the daemon stops.
#[derive(Debug)]
pub struct ChangeRequest {
    /// The requested change.
    pub change: VolumeChange,
    reply: oneshot::Sender<ChangeResult>,
}

impl ChangeRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(
        change: VolumeChange,
    ) -> (Self, oneshot::Receiver<ChangeResult>) {
        let (reply, answer) = oneshot::channel();
        (Self { change, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: ChangeResult) {
        if let Err(unsent) = self.reply.send(answer) {
            tracing::debug!("the client of a change has gone: {unsent:?} is not sent");
        }
    }
}
