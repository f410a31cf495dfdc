//! Orders: requests by which the daemon's main thread changes the volumes and settings of a shard, each with
//! its own outcome, and the reasons why one is not carried out.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::assignment::Assignment;
use crate::base::stream_position::{ExchangeState, StreamPosition};
use crate::base::types::{NeedleId, ShardId, VolumeId};
use crate::volume::{
    ClusterSettings, NotPulled, NotRemoved, NotStreamed, PieceLimits, Pulled, StateError,
    UndeleteOrder,
};

/// Opens a volume, which the shard owns from then on. Its outcome is a summary of the volume.
pub struct OpenVolume(pub Assignment);

/// Makes a volume of the shard read-only, or writable. Its outcome is a summary of the volume.
pub struct SetReadOnly {
    /// Volume id.
    pub volume: VolumeId,
    /// True for read-only, false for writable.
    pub read_only: bool,
}

/// Changes what its cluster may change about a volume of the shard. Its outcome is a summary of the volume.
pub struct SetCluster {
    /// Volume id.
    pub volume: VolumeId,
    /// The new settings.
    pub settings: ClusterSettings,
}

/// Removes all files of a volume of the shard, and the volume from its table. Its outcome is the last summary
/// on the volume, if it was open.
pub struct DeleteVolume {
    /// Volume id.
    pub volume: VolumeId,
}

/// Fences a volume of the shard: the file of one generation is no longer at its path, so that nothing more is
/// written to it. Its outcome is a summary of the volume; `None` if another generation is open, so that
/// nothing was done.
pub struct FenceVolume {
    /// Volume id.
    pub volume: VolumeId,
    /// Generation of the lost file.
    pub generation: u64,
}

/// Data directory that a volume is moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDir {
    /// Its path.
    pub path: PathBuf,
    /// Its position in the configuration.
    pub disk: u32,
    /// Id of the store to which it belongs.
    pub store: [u8; 16],
}

/// How a volume is to be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionRequest {
    /// Data directory of the new file; `None` for that of the old one.
    pub target: Option<TargetDir>,
    /// Size of the new file (bytes); `None` for that of the old one.
    pub size: Option<u64>,
    /// Whether data that cannot be read may be left behind.
    pub accept_losses: bool,
    /// Age up to which tombstones are kept (nanoseconds).
    pub tombstone_keep_ns: u64,
    /// Photos that expired before this are left out (nanoseconds since 1970); 0 to leave out none.
    pub drop_expired_before_ns: u64,
    /// Whether the new file is read back and verified before the old one is removed.
    pub verify: bool,
    /// Memory that the index of the new file may take (bytes).
    pub index_memory_max: u64,
}

impl Default for CompactionRequest {
    /// A compaction in place, to the same size, that keeps no tombstones, leaves out nothing that lives, and
    /// accepts no losses.
    fn default() -> Self {
        Self {
            target: None,
            size: None,
            accept_losses: false,
            tombstone_keep_ns: 0,
            drop_expired_before_ns: 0,
            verify: true,
            index_memory_max: u64::MAX,
        }
    }
}

/// Begins to compact a volume of the shard. Its outcome comes as soon as the compaction has begun; progress
/// and end are on the board.
pub struct CompactVolume {
    /// Volume id.
    pub volume: VolumeId,
    /// How it is to be compacted.
    pub request: CompactionRequest,
}

/// Cancels the compaction of a volume of the shard. Its outcome comes when the compaction has ended: it is
/// cancelled, or done if the new file had taken the place of the old one already.
pub struct CancelCompaction {
    /// Volume id.
    pub volume: VolumeId,
}

/// Asks for a scrub of a volume of the shard. Its outcome comes at once; progress and end are on the board.
pub struct ScrubVolume {
    /// Volume id.
    pub volume: VolumeId,
}

/// Lists the damage that scrubs have found in a volume of the shard.
pub struct ListDamage {
    /// Volume id.
    pub volume: VolumeId,
}

/// Asks for a burst of reads of a volume of the shard: the neighbourhood of its last error, and random
/// needles. Its outcome comes at once; what is found is on the board.
pub struct BurstVolume {
    /// Volume id.
    pub volume: VolumeId,
    /// Number of random needles.
    pub needles: u32,
}

/// Makes a volume of the shard suspect: it admits no more writes. Its outcome is a summary of the volume.
pub struct SuspectVolume {
    /// Volume id.
    pub volume: VolumeId,
}

/// Ends the suspicion of a volume of the shard. Its outcome is whether the volume was suspect.
pub struct ClearVolume {
    /// Volume id.
    pub volume: VolumeId,
}

/// Lists the places of hard errors of a volume of the shard.
pub struct ListErrors {
    /// Volume id.
    pub volume: VolumeId,
}

/// Reads a piece of the records of a volume of the shard.
pub struct ReadRecords {
    /// Volume id.
    pub volume: VolumeId,
    /// Where the piece begins.
    pub from: StreamPosition,
    /// Whether deletions are read.
    pub deletions: bool,
    /// Limits of the piece.
    pub limits: PieceLimits,
}

/// Reads a piece of the records of a volume of the shard in the exchange format.
pub struct ReadExchange {
    /// Volume id.
    pub volume: VolumeId,
    /// Where the piece begins.
    pub from: ExchangeState,
    /// Whether deletions are read.
    pub deletions: bool,
}

/// Sends a piece of the changes of a volume of a cluster to another node, which has a copy of it.
pub struct OfferChanges {
    /// Volume id.
    pub volume: VolumeId,
    /// Address of the other node's data API.
    pub peer: SocketAddr,
    /// Where the piece begins: the changes up to there are known to be there.
    pub from: StreamPosition,
}

/// What was offered to another node. It has everything up to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedChanges {
    /// Where the next piece begins.
    pub next: StreamPosition,
    /// Whether nothing was left to be offered.
    pub is_end: bool,
    /// Number of objects that were sent.
    pub objects: u64,
    /// Number of deletions that were sent.
    pub deletions: u64,
}

/// Asks which objects are certainly not in a volume of the shard.
pub struct FindAbsent {
    /// Volume id.
    pub volume: VolumeId,
    /// Ids of objects.
    pub ids: Vec<NeedleId>,
}

/// A step of a pull into a volume of the shard.
pub struct PullOrder {
    /// Volume id.
    pub volume: VolumeId,
    /// The step.
    pub step: PullStep,
}

/// A step of a pull: records of another volume are stored in one that is its copy.
pub enum PullStep {
    /// The volume becomes a copy of another one.
    Become,
    /// Begin.
    Begin {
        /// Whether nothing but what the source has is here at the end.
        is_complete: bool,
    },
    /// Store the records that are complete with these bytes of the stream.
    Bytes {
        /// Number of the pull.
        pull: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End: everything has arrived.
    Finish {
        /// Number of the pull.
        pull: u64,
    },
    /// End: nothing more arrives.
    Abandon {
        /// Number of the pull.
        pull: u64,
    },
}

/// What a step of a pull has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullOutcome {
    /// Number of the pull.
    pub pull: u64,
    /// What was stored.
    pub pulled: Pulled,
}

/// Begins to take deleted photos of a volume of the shard back. Its outcome comes at once: how far the order
/// is; `None` if another one is under way.
pub struct UndeleteNeedles {
    /// Volume id.
    pub volume: VolumeId,
    /// The photos; `None` only asks how far the last order is, and the outcome is `None` if there was none.
    pub begin: Option<UndeleteOrder>,
}

/// Pauses or resumes the compactions and scrubs of the shard. Checkpoints go on. Cannot fail.
pub struct PauseBackground {
    /// True to pause, false to resume.
    pub paused: bool,
}

/// Sets the shard that requests to a volume are sent to. Cannot fail.
pub struct SetRoute {
    /// Volume id.
    pub volume: VolumeId,
    /// Owning shard; `None` when the volume was removed.
    pub owner: Option<ShardId>,
}

/// Limits the operations in flight on each device. Cannot fail.
pub struct LimitDevice {
    /// The shard's share of the limit (number of operations).
    pub operations: usize,
}

/// Reason why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The shard has no such volume.
    #[error("there is no such volume")]
    NoVolume,
    /// The volume is being recovered.
    #[error("it is recovering; try again when it serves")]
    Recovering,
    /// The volume could not be opened.
    #[error("it could not be opened: {0}")]
    NotOpened(String),
    /// The volume could not be made read-only, or writable.
    #[error("{0}")]
    State(StateError),
    /// The volume's file is no longer at its path, where another file may be now.
    #[error("its file is no longer where it was; bring it back, or restart the daemon, first")]
    Lost,
    /// The volume is being compacted already.
    #[error("it is being compacted already")]
    Compacting,
    /// The volume is not being compacted.
    #[error("it is not being compacted")]
    NotCompacting,
    /// The volume cannot be compacted, for this reason.
    #[error("{0}")]
    NotCompacted(String),
    /// No piece of the records was read.
    #[error("{0}")]
    NotStreamed(NotStreamed),
    /// Records of another volume were not stored.
    #[error("{0}")]
    NotPulled(NotPulled),
    /// The other node did not take a change; what it said, or why it could not be asked.
    #[error("{0}")]
    NotOffered(String),
    /// The volume's file could not be removed.
    #[error("{0}; check the kernel log and the disk")]
    NotRemoved(NotRemoved),
}
