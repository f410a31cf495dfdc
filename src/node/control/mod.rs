//! The control plane: what runs beside the data path, on a thread and a tokio runtime of its own, apart from
//! the shards, so that it answers while they hang. It reads the board and the metrics, and never waits for a
//! shard. Changes to volumes are sent to the daemon's main thread, which sends orders to the shards.
//!
//! | file | holds |
//! | --- | --- |
//! | `plane` | [`ControlPlane`]: its runtime, its services and its thread |
//! | `handle` | [`ControlHandle`]: stop of a running control plane |
//! | `stop_signal` | [`StopSignal`]: stops its services |
//! | `change` | requests for changes to volumes, sent to the main thread |
//! | `creation` | volumes that are being created |
//! | `refused` | why a change was refused |
//! | `admin/` | a service: health, readiness, metrics, status and volumes over HTTP |
//!
//! A service is a function that spawns its server on the runtime and returns the task, such as
//! [`admin::spawn`].

pub mod admin;
mod change;
mod creation;
mod handle;
mod plane;
mod refused;
mod stop_signal;

pub use change::{ChangeRequest, NewVolume, VolumeChange};
pub use creation::{Creation, Creations};
pub use handle::ControlHandle;
pub use plane::ControlPlane;
pub use refused::Refused;
pub use stop_signal::StopSignal;
