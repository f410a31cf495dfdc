//! Tracks and repairs the copies of the cluster's volumes on other nodes: where they are, which nodes answer,
//! and what each copy may lack.
//!
//! Shards send each change to the other copies while they make it. When that fails, the copy is *behind*: the
//! volume is held, so that the master assigns nothing to it, and the changes that the copy may lack are
//! offered to it again, from its *mark* on, until both nodes have the same.
//!
//! | file | holds |
//! | --- | --- |
//! | `replication` | [`Replication`]: what each copy may lack, and what is offered next. Without I/O |
//! | `copy_state` | the state of one copy; `lack`: of one that is behind |
//! | `peer_state` | whether a node answers |
//! | `samples`, `hold`, `retry` | marks that advance lazily; time for which a volume is held; pauses |
//! | `lookups` | asks the master where copies are; `location`: its answer; `addresses`: names as addresses |
//! | `probe` | asks other nodes whether they answer |
//! | `known_peers`, `known_copies` | the nodes and copies as shards see them on the board |
//! | `event` | what those tell `task` |
//! | `task` | [`spawn_copies`]: drives all this |
//! | `mark_store` | the marks on their way to the data directories |

mod addresses;
mod copy_state;
mod event;
mod hold;
mod known_copies;
mod known_peers;
mod lack;
mod location;
mod lookups;
mod mark_store;
mod peer_state;
mod probe;
mod replication;
mod retry;
mod samples;
mod task;

pub use mark_store::{MarkStore, Marks};
pub use peer_state::PeerAnswer;
pub use replication::{CopyView, KnownVolume, Offer, PeerName, Replication};
pub use task::{CopiesParts, spawn_copies};
