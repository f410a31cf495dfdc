//! A shard: one core with its thread, its ring, its connections and its volumes. The only module that
//! connects HTTP with volumes. The files, from the bottom up; none needs one that is listed after it:
//!
//! - `assignment`, `request`, `order`, `volume_summary`, `remote`, `slots`, `message`: plain data that
//!   travels between threads. A request, whether to a needle or an order of the main thread, has an outcome
//!   of its own type;
//! - `access_queue`, `file_monitor`, `shared`, `config`, `listener`, `start`: what shards have in common and
//!   begin with;
//! - `requester`: sends requests to shards and waits for their outcomes;
//! - `admission`, `routes`, `volume_entry`, `shard_files`, `volumes`, `preconditions`, `record_size`,
//!   `perform`: the parts of a shard. `admission` limits the memory of bodies, `shard_files` has the data
//!   directories and the monitoring of files, `volumes` opens and changes volumes, `perform` performs
//!   requests on them;
//! - `shard`: the state of one shard, made of these parts;
//! - `plain_reply`, `object_reply`, `photo_description`: replies;
//! - `outbox`, `route`, `pick_volume`: messages to other threads, requests that the owner of a volume
//!   performs, and the volume of an upload that names none;
//! - `object_name`, `answered`, `access`, `audit`: what a request names, how it was answered, and the access
//!   trace and audit log that record it;
//! - `exchange`, `upload_parameters`, `receive`, `stored_photo`, `not_stored`: what the handlers of requests
//!   share;
//! - `download`, `upload`, `store`, `batch`, `delete`, `multi_delete`, `set_expiry`: the handlers;
//! - `token_rule`: own targets that would go past the tokens of a cluster;
//! - `fid`: the handlers of the dialect of SeaweedFS clients;
//! - `session`: a connection, and its requests one after the other;
//! - `listen`, `remote_worker`, `inbox`: new connections, requests of other threads, messages;
//! - `reactor`: the event loop.

mod access;
mod access_queue;
mod admission;
mod answered;
mod assignment;
mod audit;
mod batch;
mod cluster_figures;
mod compaction_progress;
mod compactions;
mod config;
mod copies;
mod delete;
mod deletion_memory;
mod deletions;
mod download;
mod exchange;
mod fid;
mod file_monitor;
mod health;
mod health_figures;
mod inbox;
mod listen;
mod listener;
mod message;
mod multi_delete;
mod not_stored;
mod object_name;
mod object_reply;
mod open_pulls;
mod open_volumes;
mod order;
mod outbox;
mod paces;
mod perform;
mod photo_description;
mod pick_volume;
mod plain_reply;
mod preconditions;
mod pulls;
mod reactor;
mod receive;
mod record_size;
mod remote;
mod remote_worker;
mod replica_figures;
mod request;
mod requester;
mod rising_total;
mod route;
mod routes;
mod scrub_progress;
mod scrubs;
mod session;
mod set_expiry;
#[expect(clippy::module_inception, reason = "a struct is defined in the file named after it")]
mod shard;
mod shard_files;
mod shared;
mod slots;
mod start;
mod store;
mod stored_photo;
mod streams;
mod token_rule;
mod undelete;
mod upload;
mod upload_parameters;
mod volume_entry;
mod volume_summary;
mod volumes;

pub use access_queue::AccessQueue;
pub use assignment::{AssignedFile, Assignment, ErrorPlaces, KnownHealth};
pub use config::{FidKeys, ReadPlans, ShardConfig};
pub use file_monitor::FileMonitor;
pub use listener::Listener;
pub use order::{
    BurstVolume, CancelCompaction, ClearVolume, CompactVolume, CompactionRequest, DeleteVolume,
    FenceVolume, FindAbsent, LimitDevice, ListDamage, ListErrors, OfferChanges, OfferedChanges,
    OpenVolume, OrderError, PauseBackground, PullOrder, PullOutcome, PullStep, ReadExchange,
    ReadRecords, ScrubVolume, SetCluster, SetReadOnly, SetRoute, SuspectVolume, TargetDir,
    UndeleteNeedles,
};
pub use reactor::{Reactor, run};
#[cfg(test)]
pub(in crate::node) use remote::AnyOutcome;
#[cfg(test)]
pub(in crate::node) use remote::AnyRequest;
#[cfg(test)]
pub(in crate::node) use remote::RemoteAnswer;
pub use remote::{RemoteKind, RequestOrigin, ToVolume};
pub use request::{DeleteFid, DeletedFid, RequestError};
pub use requester::Requester;
pub use shared::Shared;
pub use start::Start;
pub use volume_summary::VolumeSummary;
