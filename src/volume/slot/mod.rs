//! A volume across its generations. A [`Volume`](crate::volume::Volume) is one generation, one file; what
//! outlives it is here: the locks of ids, the gate that lets a compaction exchange the generation, and
//! the uploads in progress.
//!
//! - `slot`: the volume and its current generation.
//! - `uploads`: the uploads in progress. `upload`: one of them, as its receiver sees it.
//! - `write`: PUT, DELETE and batch puts. `read`: GET and HEAD. `state`: changes and the end of the volume.

mod read;
#[expect(clippy::module_inception, reason = "the file of `Slot`")]
mod slot;
mod state;
mod upload;
mod uploads;
mod write;

pub use slot::Slot;
pub use upload::Upload;
