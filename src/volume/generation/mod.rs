//! One generation of a volume: its file, and the volume while it is open.
//!
//! - `volume`: an open volume ([`Volume`]). `figures`: its figures.
//! - `create`, `remove`: the file.
//! - `open`: from the file to the volume. `expected`, `open_context`: what it needs. `open_report`: what
//!   it found. `read_block`, `superblock_copies`, `hints`: the blocks before the log.
//! - `write_state`: whether a volume may be written. `set_read_only`: what the operator changes about it.
//!   `change_superblock`: changes of the superblock.
//! - `close`: the end of a volume.

mod change_superblock;
mod close;
pub(in crate::volume) mod create;
mod expected;
mod figures;
mod hints;
mod open;
mod open_context;
mod open_report;
mod read_block;
pub(in crate::volume) mod remove;
mod serve;
mod set_read_only;
mod superblock_copies;
mod volume;
mod write_state;

pub use create::{Preallocation, create};
pub use expected::Expected;
pub use figures::Figures;
pub use open::{open, open_read_only, open_with};
pub use open_context::OpenContext;
pub use open_report::{OpenReport, SuperblockCopy};
pub use remove::{NotRemoved, remove};
pub use volume::Volume;
pub use write_state::{FenceReason, ReadOnlyReason, WriteState};
