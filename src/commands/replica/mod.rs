//! Replicas: copies of a volume in other stores.
//!
//! - `object_lists`: compares two lists of any length, in bounded memory. `listed_id`: an entry of one;
//!   `partition`: entries that are compared together; `differences`: what is found; `difference`: one of it.

mod difference;
mod differences;
mod listed_id;
mod object_lists;
mod partition;

pub use difference::{Difference, DifferenceKind};
pub use differences::Differences;
pub use listed_id::{ListedId, Side};
pub use object_lists::ObjectLists;
