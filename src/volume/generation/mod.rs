//! One generation of a volume: its file, and the volume while it is open.

pub(in crate::volume) mod create;
pub(in crate::volume) mod findings;
pub(in crate::volume) mod open;
pub(in crate::volume) mod state;
pub(in crate::volume) mod volume;

pub use create::{NotRemoved, Preallocation, create, file_name, remove};
pub use findings::{Findings, SuperblockCopy};
pub use open::{Expected, Surroundings, open, open_among, open_read_only};
pub use volume::{Figures, Volume};
