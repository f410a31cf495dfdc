//! Objects: what a client stores, reads and deletes.

pub(in crate::volume) mod body;
pub(in crate::volume) mod draft;
pub(in crate::volume) mod read;
pub(in crate::volume) mod upload;
pub(in crate::volume) mod walk;
pub(in crate::volume) mod write;

pub use body::Body;
pub use draft::Draft;
pub use read::Needle;
pub use upload::Upload;
pub use walk::{DamagedNeedle, LiveNeedle, Walk};
pub use write::{Check, Existing, NewNeedle, Stored};
