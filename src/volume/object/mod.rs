//! Objects: what a client stores, reads and deletes.
//!
//! - `write`: the decisions of a write. `draft`: a needle that is being received. `precondition`, `look_up`:
//!   what a write depends on.
//! - `expiry`: when a needle counts as absent. `renew`: a needle with another time of
//!   expiry. `restore`: a deleted needle that comes back. `upload_key`: the number of an upload. `cost`:
//!   space that objects take.
//! - `read`: GET and HEAD. `body`: reading a multipart object. `walk`: all live needles.

pub(in crate::volume) mod body;
pub(in crate::volume) mod cost;
pub(in crate::volume) mod draft;
pub(in crate::volume) mod expiry;
pub(in crate::volume) mod look_up;
pub(in crate::volume) mod precondition;
pub(in crate::volume) mod read;
pub(in crate::volume) mod renew;
pub(in crate::volume) mod restore;
pub(in crate::volume) mod upload_key;
mod walk;
pub(in crate::volume) mod write;

pub use body::Body;
pub use draft::{Draft, DraftAttributes};
pub use precondition::{Check, Existing};
pub use read::Needle;
pub use walk::{DamagedNeedle, LiveNeedle, Walk};
pub use write::{NewNeedle, Stored};
