//! What a SeaweedFS cluster says about volumes and their needles.
//!
//! - `record_flags`: flags of a stored record. `collection`: the name of a group of volumes. `placement`:
//!   where the copies of a volume are. `ttl`: how long needles live.

mod collection;
mod placement;
pub mod record_flags;
mod ttl;

pub use collection::{COLLECTION_MAX, Collection};
pub use placement::ReplicaPlacement;
pub use ttl::Ttl;
