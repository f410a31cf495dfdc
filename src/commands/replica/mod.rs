//! Replicas: copies of a volume in other stores.
//!
//! - `volume_copy`: a copy in the store of a running daemon; `copy_status`: its state.
//! - `pull`: makes a volume a copy of another one, or brings it up to date. `segment`, `large_segment`: the
//!   requests that store its records; `surplus`: deletes what only the copy has; `not_pulled`: why it fails.
//! - `compare`: compares two copies, first by digests of buckets, then by lists of what is in buckets that
//!   differ. `bucket_digests`: digests of a copy; `object_details`, `details_file`: what is shown of objects;
//!   `comparison`: the result; `not_compared`: why there is none.
//! - `object_lists`: compares two lists of any length, in bounded memory. `listed_id`: an entry of one;
//!   `partition`: entries that are compared together; `differences`: what is found; `difference`: one of it.

mod bucket_digests;
mod compare;
mod comparison;
mod copy_status;
mod details_file;
mod difference;
mod differences;
mod large_segment;
mod listed_id;
mod not_compared;
mod not_pulled;
mod object_details;
mod object_lists;
mod partition;
mod pull;
mod segment;
mod surplus;
mod volume_copy;

pub use compare::compare;
pub use comparison::{ComparedSide, Comparison, FoundDifference};
pub use difference::{Difference, DifferenceKind};
pub use differences::Differences;
pub use listed_id::{ListedId, Side};
pub use not_compared::NotCompared;
pub use not_pulled::NotPulled;
pub use object_details::ObjectDetails;
pub use object_lists::ObjectLists;
pub use pull::{PullReport, PullWanted, pull_volume};
pub use volume_copy::VolumeCopy;
