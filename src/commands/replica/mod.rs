//! Replicas: copies of a volume in other stores.
//!
//! - `compare`: compares two copies, first by digests of buckets, then by lists of what is in buckets that
//!   differ. `volume_copy`: a copy; `bucket_digests`: its digests; `object_details`, `details_file`: what
//!   is shown of objects; `comparison`: the result; `not_compared`: why there is none.
//! - `object_lists`: compares two lists of any length, in bounded memory. `listed_id`: an entry of one;
//!   `partition`: entries that are compared together; `differences`: what is found; `difference`: one of it.

mod bucket_digests;
mod compare;
mod comparison;
mod details_file;
mod difference;
mod differences;
mod listed_id;
mod not_compared;
mod object_details;
mod object_lists;
mod partition;
mod volume_copy;

pub use compare::compare;
pub use comparison::{ComparedSide, Comparison, FoundDifference};
pub use difference::{Difference, DifferenceKind};
pub use differences::Differences;
pub use listed_id::{ListedId, Side};
pub use not_compared::NotCompared;
pub use object_details::ObjectDetails;
pub use object_lists::ObjectLists;
pub use volume_copy::VolumeCopy;
