//! The admin listener: health, readiness, metrics and status, on a thread of its own.
//!
//! It runs axum on a current-thread tokio runtime, apart from the shards, so that it answers while
//! they hang: it reads the shared counters of [`crate::node::metrics`] and never waits for a shard. Changes
//! to volumes are sent to the daemon's main thread, which sends orders to the shards.
//!
//! | file | holds |
//! | --- | --- |
//! | `server` | start of the admin thread, and its server |
//! | `handle` | [`AdminHandle`]: stop of the admin thread |
//! | `bounded` | the listener: bounds on the number and the lifetime of connections |
//! | `routes` | routes, and the handling common to all requests |
//! | `state` | [`AdminState`]: what the handlers share |
//! | `limits` | [`AdminLimits`] |
//! | `accept` | content negotiation of `/metrics` |
//! | `health` | `/healthz`, `/readyz` |
//! | `status`, `volume_status` | `/status`, and the state of a volume |
//! | `volumes` | `/volumes` |
//! | `change` | requests for changes, sent to the main thread |
//! | `creation` | volumes that are being created |
//! | `refused` | why a change was refused |
//! | `error` | errors as JSON |

mod accept;
mod bounded;
mod change;
mod creation;
mod error;
mod handle;
mod health;
mod limits;
mod refused;
mod routes;
mod server;
mod state;
mod status;
mod volume_status;
mod volumes;

pub use change::{ChangeRequest, NewVolume, VolumeChange};
pub use creation::{Creation, Creations};
pub use error::ApiError;
pub use handle::AdminHandle;
pub use health::{Readiness, SilentShard};
pub use limits::AdminLimits;
pub use refused::Refused;
pub use routes::router;
pub use server::spawn;
pub use state::AdminState;
pub use status::{DiskStatus, LimitsStatus, NodeStatus, ShardStatus};
pub use volume_status::VolumeStatus;

#[cfg(test)]
mod tests;
