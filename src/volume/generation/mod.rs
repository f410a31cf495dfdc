//! One generation of a volume: its file, and the volume while it is open.
//!
//! - `volume`: an open volume ([`Volume`]). `figures`: its figures.
//! - `create`, `remove`: the file.
//! - `generation_file`, `examine`, `choose`: the files of a volume, what is in them, and which of them
//!   counts. `open_current`: opens that one. `other_files`: what becomes of the others. `moving`: the mark of
//!   a volume that moves to another directory.
//! - `open`: from the file to the volume. `expected`, `open_context`: what it needs. `open_report`: what
//!   it found. `read_block`, `superblock_copies`, `hints`: the blocks before the log.
//! - `write_state`: whether a volume may be written. `set_read_only`: what the operator changes about it.
//!   `change_superblock`: changes of the superblock.
//! - `cluster`: what the cluster of a volume says about it.
//! - `own_name`: whether the name of the file leads to it. `close`: the end of a volume.

mod change_superblock;
mod choose;
mod close;
mod cluster;
pub(in crate::volume) mod create;
mod examine;
mod expected;
mod figures;
mod generation_file;
mod hints;
mod moving;
mod open;
mod open_context;
mod open_current;
mod open_report;
mod other_files;
mod own_name;
mod read_block;
pub(in crate::volume) mod remove;
mod serve;
mod set_read_only;
mod superblock_copies;
mod volume;
mod write_state;

pub use choose::{Choice, choose};
pub use create::{Preallocation, create};
pub use examine::{Examined, examine};
pub use expected::Expected;
pub use figures::Figures;
pub use generation_file::GenerationFile;
pub use open::{open, open_read_only, open_with};
pub use open_context::OpenContext;
pub use open_current::open_current;
pub use open_report::{OpenReport, SuperblockCopy};
pub use other_files::OtherFiles;
pub use remove::{NotRemoved, remove, remove_all};
pub use volume::Volume;
pub use write_state::{FenceReason, ReadOnlyReason, WriteState};
