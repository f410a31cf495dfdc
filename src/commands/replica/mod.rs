//! Replicas: copies of a volume in other stores.
//!
//! - `side`: a volume of a running daemon. `pull`: makes one a copy of another; `segment`, `large_segment`: the
//!   requests that store its records; `surplus`: deletes what only the copy has; `not_pulled`: why it fails.
//! - `object_lists`: compares two lists of any length, in bounded memory. `listed_id`: an entry of one;
//!   `partition`: entries that are compared together; `differences`: what is found; `difference`: one of it.

mod difference;
mod differences;
mod large_segment;
mod listed_id;
mod not_pulled;
mod object_lists;
mod partition;
mod pull;
mod segment;
mod side;
mod surplus;

pub use difference::{Difference, DifferenceKind};
pub use differences::Differences;
pub use listed_id::{ListedId, Side};
pub use not_pulled::NotPulled;
pub use object_lists::ObjectLists;
pub use pull::{PullReport, PullWanted, pull_volume};
pub use side::VolumeSide;
