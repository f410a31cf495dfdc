//! The node as a volume server of a SeaweedFS cluster: what the main thread does for that.
//!
//! | file | holds |
//! | --- | --- |
//! | `join` | [`Joining`]: the services of the control plane for the cluster |
//! | `leave` | telling the master that the node stops |
//! | `allocate` | volumes that the cluster wants |
//! | `changes` | other orders of the cluster |
//! | `expired` | volumes whose time to live is over |
//! | `fid_deletions` | deletions of photos |
//! | `offers` | changes that are offered to the copies of volumes |
//! | `mark_files` | up to when those have everything, in the data directories |
//! | `space` | space of the disks that the master is told of |
//! | `own_ids`, `own_volumes` | volumes that belong to no cluster, and their ids |

mod allocate;
mod changes;
mod expired;
mod fid_deletions;
mod join;
mod leave;
mod mark_files;
mod offers;
mod own_ids;
mod own_volumes;
mod space;

pub use join::Joining;
pub use leave::leave;
pub use mark_files::{MarkFiles, read_marks};
pub use own_ids::next_own_id;

#[cfg(test)]
mod tests;
