//! A volume across its generations. A [`Volume`](crate::volume::Volume) is one generation, one file; what
//! outlives it is here: the locks of ids, the gate that lets a compaction exchange the generation, and
//! the uploads in progress.
//!
//! - `slot`: the volume and its current generation. `compaction_progress`: how far the next one is.
//!   `scrub_state`: its scrubs. `damage_list`: what they have found.
//! - `uploads`: the uploads in progress. `upload`: one of them, as its receiver sees it.
//! - `write`: PUT, DELETE and batch puts. `multi_delete`: the delete of many needles.
//!   `expiry`: changing when an object expires. `read`: GET and HEAD.
//!   `absent`: which ids are not there.
//!   `undelete`: the last step of taking a deleted photo back. `undelete_state`: how far that is.
//! - `state`: changes and the end of the volume.

mod absent;
pub(in crate::volume) mod compaction_progress;
mod damage_list;
mod expiry;
mod multi_delete;
mod read;
pub(in crate::volume) mod scrub_state;
#[expect(clippy::module_inception, reason = "the file of `Slot`")]
mod slot;
mod state;
mod undelete;
pub(in crate::volume) mod undelete_state;
mod upload;
pub(in crate::volume) mod uploads;
mod write;

pub use compaction_progress::{CompactionPhase, CompactionProgress};
pub use damage_list::FoundDamage;
pub use scrub_state::ScrubProgress;
pub use slot::Slot;
pub use undelete_state::{UndeleteProgress, UndeletedPhoto};
pub use upload::Upload;
