//! Objects: what a client stores, reads and deletes.
//!
//! - `write`: the decisions of a write. `draft`, `draft_attributes`: a needle that is being received, and
//!   what is stored with it. `precondition`, `look_up`, `origin`: what a write depends on.
//! - `expiry`: when a needle counts as absent. `renew`: a needle with another time of
//!   expiry. `restore`: a deleted needle that comes back. `upload_key`: the number of an upload. `cost`:
//!   space that objects take.
//! - `read`: GET and HEAD. `description`: what is known of a needle without its body. `body`: reading a
//!   multipart object. `walk`: all live needles.

pub(in crate::volume) mod body;
pub(in crate::volume) mod cost;
pub(in crate::volume) mod description;
pub(in crate::volume) mod draft;
pub(in crate::volume) mod draft_attributes;
pub(in crate::volume) mod expiry;
pub(in crate::volume) mod look_up;
mod origin;
pub(in crate::volume) mod precondition;
pub(in crate::volume) mod read;
pub(in crate::volume) mod renew;
pub(in crate::volume) mod restore;
pub(in crate::volume) mod upload_key;
mod walk;
pub(in crate::volume) mod write;

pub use body::Body;
pub use description::NeedleDescription;
pub use draft::Draft;
pub use draft_attributes::{DraftAttributes, Foreseen};
pub use precondition::{Check, Existing};
pub use read::Needle;
pub use walk::{DamagedNeedle, LiveNeedle, Walk};
pub use write::{NewNeedle, Stored};
