//! The volume engine: an append-only log of needles in a preallocated file, and an index in memory.
//!
//! The engine uses operations ([`crate::runtime::op`]) and tasks ([`crate::runtime`]). It knows no sockets,
//! HTTP, threads, clocks or files: the caller passes in what it needs of them.
//!
//! - `format`: the bytes on disk. `index`: locations of the needles. Both are pure.
//! - `log`: group commit, and the way back from the file to the index.
//! - `blocks`: the blocks of a file that are reserved in steps ahead of the log.
//! - `checkpoint`: the index in a file of its own, so that a start reads little of the log.
//! - `object`: the decisions of a write, reads, multipart objects, and all live needles in file order.
//! - `generation`: an open generation of a volume ([`Volume`]) and its file: create, choose among several,
//!   open, state, remove.
//! - `compaction`: copying what lives to the next generation, and the exchange of the two.
//! - `health`: where reads failed, and reads of random needles that find out whether the disk works.
//! - `pull`: a volume that is a copy of one of another store, and takes its records.
//! - `scrub`: reading and verifying everything while the volume serves.
//! - `stream`: its records in the order of the log, piece by piece.
//! - `undelete`: taking deleted objects back.
//! - `slot`: a volume across its generations ([`Slot`]): PUT, DELETE, multi-deletes, GET, uploads.
//! - `io`: the policy for short and failed transfers. `names`, `sync_dir`: names of files, and making them
//!   durable. `error`: everything that can go wrong.

mod blocks;
mod checkpoint;
mod compaction;
mod error;
pub mod format;
mod generation;
mod health;
pub mod index;
mod io;
mod log;
mod names;
mod object;
mod pull;
mod scrub;
mod slot;
mod stream;
mod sync_dir;
#[cfg(test)]
mod tests;
mod undelete;

pub use checkpoint::{CheckpointFigures, Checkpointing, NotWritten, checkpoint_queue};
pub use compaction::{Carried, Compacted, CompactionOrder, NotCompacted, OnSwap};
pub use error::{BodyError, Damage, GetError, IoError, OpenError, Refusal, StateError, Undecided};
pub use format::{
    AttributeSet, ClusterAttributes, ClusterProperties, ClusterSettings, Replica, Superblock,
    SuperblockState, UnfitAttributes,
};
pub use generation::{
    Choice, Examined, Expected, FenceReason, Figures, GenerationFile, NotRemoved, OpenContext,
    OpenReport, OtherFiles, Preallocation, ReadOnlyReason, SuperblockCopy, Volume, WriteState,
    choose, create, examine, open, open_current, open_read_only, open_with, remove, remove_all,
};
pub use health::{ProbePlan, Probing};
pub use index::{Hasher, Location};
pub use io::Stats;
pub use log::{DamageSource, DamagedRange, Ending, LogEnd, Progress};
pub use names::file_name;
pub use object::{
    Body, Check, DamagedNeedle, Draft, DraftAttributes, Existing, Foreseen, LiveNeedle, Needle,
    NeedleDescription, NewNeedle, Stored, Walk,
};
pub use pull::{NotPulled, Pull, Pulled};
pub use scrub::{Finding, Flaw, ScrubPlan, Scrubbed};
pub use slot::{
    CompactionPhase, CompactionProgress, FoundDamage, ScrubProgress, Slot, UndeleteProgress,
    UndeletedPhoto, Upload,
};
pub use stream::{ExchangePiece, NotStreamed, Piece, PieceLimits, RecordKind, StreamRecord};
pub use undelete::{NotUndeleted, UndeleteOrder};
