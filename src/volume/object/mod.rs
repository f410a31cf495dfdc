//! Objects: what a client stores, reads and deletes.
//!
//! - `write`: PUT, DELETE and batch puts. `draft`: a needle that is being received. `precondition`,
//!   `look_up`: what a write depends on.
//! - `upload`: receiving a multipart object. `cost`: space that objects take.
//! - `read`: GET and HEAD. `body`: reading a multipart object. `walk`: all live needles.

mod body;
pub(in crate::volume) mod cost;
mod draft;
mod look_up;
mod precondition;
mod read;
mod upload;
mod walk;
mod write;

pub use body::Body;
pub use draft::Draft;
pub use precondition::{Check, Existing};
pub use read::Needle;
pub use upload::Upload;
pub use walk::{DamagedNeedle, LiveNeedle, Walk};
pub use write::{NewNeedle, Stored};
