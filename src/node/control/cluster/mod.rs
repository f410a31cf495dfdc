//! A SeaweedFS cluster whose volume server the node is, with tonic: the heartbeats to the master, and the
//! orders of the cluster. A service of the control plane.
//!
//! The node tells the master by a stream of heartbeats which volumes it has. The master, its shell and other
//! nodes order by gRPC what becomes of them. Both know the volumes of the cluster only; those of the node's
//! own world do not exist there.
//!
//! | file | holds |
//! | --- | --- |
//! | `node` | [`ClusterNode`]: what the node says about itself |
//! | `state` | [`ClusterState`]: the connection to the master, as the rest of the node sees it |
//! | `copies/` | the copies of volumes on other nodes; `shown_copy`: as they are shown |
//! | `announced` | a volume as the master knows it |
//! | `capacity` | size of a volume, and how many fit |
//! | `announcements` | what is to be sent, and when |
//! | `beat` | heartbeats as messages |
//! | `masters` | which master is next |
//! | `session` | one connection to a master |
//! | `heartbeats` | [`spawn_heartbeats`]: the connections, one after the other |
//! | `orders` | changes of volumes, as requests to the main thread |
//! | `service` | the calls of the protocol; `refusal`: their errors |
//! | `batch_delete` | deletions of many photos |
//! | `vacuum` | compactions by order of the master |
//! | `ping` | time of an answer, and of that of a master |
//! | `counted_stream`, `incoming` | the listener: a bound on the number of connections |
//! | `server` | [`spawn_server`]: the server of the orders |

mod announced;
mod announcements;
mod batch_delete;
mod beat;
mod capacity;
mod copies;
mod counted_stream;
mod heartbeats;
mod incoming;
mod masters;
mod node;
mod orders;
mod ping;
mod refusal;
mod server;
mod service;
mod session;
mod shown_copy;
mod state;
mod vacuum;

pub use copies::{
    CopiesParts, CopyView, KnownVolume, MarkStore, Marks, Offer, PeerAnswer, PeerName, Replication,
    spawn_copies,
};
pub use heartbeats::spawn_heartbeats;
pub use node::ClusterNode;
pub use orders::Orders;
pub use server::spawn_server;
pub use shown_copy::ShownCopy;
pub use state::{ClusterLink, ClusterState, LinkError};

#[cfg(test)]
mod tests;
