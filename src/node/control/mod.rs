//! The control plane: what runs beside the data path, on a thread and a tokio runtime of its own, apart from
//! the shards, so that it answers while they hang. It reads the board and the metrics, and never waits for a
//! shard. Changes to volumes are sent to the daemon's main thread, which sends orders to the shards.
//!
//! | file | holds |
//! | --- | --- |
//! | `plane` | [`ControlPlane`]: its runtime, its services and its thread |
//! | `handle` | [`ControlHandle`]: stop of a running control plane |
//! | `stop_signal` | [`StopSignal`]: stops its services |
//! | `control_request` | [`ControlRequest`]: what is sent to the main thread |
//! | `change`, `pause`, `damage`, `list`, `exchange`, `pull`, `absence`, `undelete`, `offer` | its kinds |
//! | `allocation` | another kind: volumes that the cluster wants |
//! | `creation`, `compactions` | volumes that are being created, or compacted |
//! | `refused` | why a change was refused |
//! | `admin/` | a service: health, readiness, metrics, status and volumes over HTTP |
//! | `cluster/` | services: heartbeats to the master of a cluster, and orders of the cluster over gRPC |
//!
//! A service is a function that spawns its server on the runtime and returns the task, such as
//! [`admin::spawn`].

mod absence;
pub mod admin;
mod allocation;
mod change;
pub mod cluster;
mod compactions;
mod control_request;
mod creation;
mod damage;
mod exchange;
mod fid_deletion;
mod handle;
mod list;
mod offer;
mod pause;
mod plane;
mod pull;
mod refused;
mod stop_signal;
mod undelete;

pub use absence::{AbsenceAnswer, AbsenceRequest};
pub use allocation::{AllocationReply, AllocationRequest};
pub use change::{ChangeRequest, NewClusterVolume, NewVolume, VolumeChange, WantedCompaction};
pub use compactions::{CompactionJob, CompactionOrigin, Compactions, NotBegun};
pub use control_request::ControlRequest;
pub use creation::{Creation, Creations};
pub use damage::{DamageRequest, DamagedPlace};
pub use exchange::{ExchangeAnswer, ExchangeRequest, ExchangedPiece};
pub use fid_deletion::{FidDeleted, FidDeletion, FidDeletionRequest};
pub use handle::ControlHandle;
pub use list::{ListAnswer, ListRequest, ListedObject, ListedPiece, ListedState};
pub use offer::{OfferAnswer, OfferRequest, OfferedPiece};
pub use pause::PauseRequest;
pub use plane::ControlPlane;
pub use pull::{PullAnswer, PullReply, PullRequest, PulledFigures, PulledStep};
pub use refused::Refused;
pub use stop_signal::StopSignal;
pub use undelete::{UndeleteAnswer, UndeleteRequest, UndeleteResult, UndeleteStatus};
