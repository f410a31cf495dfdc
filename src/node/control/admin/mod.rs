//! The admin API: health, readiness, metrics, status and changes to volumes over HTTP, with axum. A service
//! of the control plane.
//!
//! | file | holds |
//! | --- | --- |
//! | `server` | the server |
//! | `bounded` | the listener: bounds on the number and the lifetime of connections |
//! | `routes` | routes, and the handling common to all requests |
//! | `state` | [`AdminState`]: what the handlers share |
//! | `limits` | [`AdminLimits`] |
//! | `accept` | content negotiation of `/metrics` |
//! | `health` | `/healthz`, `/readyz` |
//! | `status`, `volume_status` | `/status`, and the state of a volume |
//! | `link_status` | the node in its cluster, as part of `/status` |
//! | `compaction_status`, `scrub_status` | the state of a compaction and of scrubs, as parts of it |
//! | `volumes` | `/volumes` |
//! | `damage` | `/volumes/{id}/damage` |
//! | `objects` | `/volumes/{id}/objects` |
//! | `objects_query`, `listed_lines` | its query, and its lines |
//! | `pulls`, `received` | copies of volumes of other stores, and the bodies of their records |
//! | `absence` | `/volumes/{id}/absent` |
//! | `bucket_filter` | buckets of which objects are listed |
//! | `digest`, `digest_query`, `volume_digest` | `/volumes/{id}/digest`, its query, and what it answers |
//! | `records`, `rights`, `token` | `/volumes/{id}/records`, and who may read them, and digests |
//! | `undelete` | `/volumes/{id}/undelete` |
//! | `pieces`, `streamed_body` | answers that are made while they are sent |
//! | `connection`, `lifetime` | the connection of a request, as its handler knows it |
//! | `background` | `/background` |
//! | `web_page` | refusal of requests from web pages |
//! | `error` | errors as JSON |

mod absence;
mod accept;
mod background;
mod bounded;
mod bucket_filter;
mod cluster_status;
mod compaction_status;
mod connection;
mod damage;
mod digest;
mod digest_query;
mod error;
mod health;
mod lifetime;
mod limits;
mod link_status;
mod listed_lines;
mod objects;
mod objects_query;
mod pieces;
mod pulls;
mod received;
mod records;
mod rights;
mod routes;
mod scrub_status;
mod server;
mod state;
mod status;
mod streamed_body;
mod token;
mod undelete;
mod volume_digest;
mod volume_status;
mod volumes;
mod web_page;

pub use cluster_status::{ClusterStatus, CopyStatus};
pub use compaction_status::{CompactionStatus, LastCompaction};
pub use error::ApiError;
pub use health::{Readiness, SilentShard};
pub use limits::AdminLimits;
pub use link_status::{LinkErrorStatus, LinkStatus};
pub use routes::router;
pub use scrub_status::{LastScrub, ScrubStatus};
pub use server::spawn;
pub use state::AdminState;
pub use status::{DiskStatus, LimitsStatus, NodeStatus, ShardStatus};
pub use token::AdminToken;
pub use volume_status::{ReplicaStatus, VolumeStatus};

#[cfg(test)]
mod tests;
