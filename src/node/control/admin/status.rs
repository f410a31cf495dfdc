//! `/status`: the state of the daemon as JSON. Sizes are in bytes; times in milliseconds or
//! seconds, as in the name of the field.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::link_status::LinkStatus;
use super::state::AdminState;
use super::volume_status::{VolumeStatus, all_volumes};
use crate::base::types::ShardId;
use crate::node::board::{DiskBoard, ShardBoard};
use crate::node::label::Label;
use crate::node::metrics::{ReadMetric, ShardMetrics};

/// The response body of `/status`.
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    /// The daemon's version.
    pub version: String,
    /// Random id of this start of the daemon: 16 hexadecimal digits, as in `X-Hayloft-Instance` of the data
    /// API.
    pub instance: String,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// False with `--buffered`: acknowledged writes may not survive a power cut.
    pub durable: bool,
    /// True while the daemon drains.
    pub draining: bool,
    /// True if the buffers are registered with the kernel.
    pub registered_buffers: bool,
    /// Addresses of the data API: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// Limits of the data API.
    pub limits: LimitsStatus,
    /// The shards, by number.
    pub shards: Vec<ShardStatus>,
    /// The data directories, by position in the configuration.
    pub disks: Vec<DiskStatus>,
    /// The node in its cluster; null if it belongs to none.
    pub cluster: Option<LinkStatus>,
    /// The volumes, by id.
    pub volumes: Vec<VolumeStatus>,
}

/// Limits of the data API in `/status`.
#[derive(Debug, Serialize)]
pub struct LimitsStatus {
    /// Largest body of a photo (bytes).
    pub largest_body: u64,
    /// Largest body of a batch put (bytes).
    pub largest_batch: u64,
}

/// One shard in `/status`.
#[derive(Debug, Serialize)]
pub struct ShardStatus {
    /// Number of the shard.
    pub id: ShardId,
    /// The core that it is pinned to.
    pub core: u32,
    /// Its own TCP port, or null.
    pub port: Option<u16>,
    /// Number of event loop iterations.
    pub turns: u64,
    /// Time since its last event loop iteration (milliseconds).
    pub silent_ms: u64,
    /// Open connections.
    pub connections: u64,
    /// Operations submitted and not yet completed.
    pub ops_in_flight: u64,
    /// True while its compactions are paused.
    pub background_paused: bool,
    /// Index candidates whose needle was another one.
    pub false_candidates: u64,
    /// Bytes of its buffer region in use.
    pub buffer_bytes_used: u64,
    /// Bytes of its buffer region.
    pub buffer_bytes_total: u64,
}

impl ShardStatus {
    fn of(shard: &ShardMetrics, board: &ShardBoard, now_ns: u64, started_ns: u64) -> Self {
        Self {
            id: board.info.id,
            core: board.info.core,
            port: board.info.port,
            turns: shard.turns.get(),
            silent_ms: board.silence_ns(now_ns, started_ns) / 1_000_000,
            connections: board.connections.get(),
            ops_in_flight: shard.ops_in_flight.get(),
            background_paused: board.background_paused.get() != 0,
            false_candidates: shard.false_candidates.get(),
            buffer_bytes_used: shard.buffer_bytes_used.get(),
            buffer_bytes_total: shard.buffer_bytes_total.get(),
        }
    }
}

/// One data directory in `/status`.
#[derive(Debug, Serialize)]
pub struct DiskStatus {
    /// Path as configured.
    pub path: String,
    /// `ok`, `missing` or `failed`.
    pub state: &'static str,
    /// Size of its file system (bytes).
    pub size: u64,
    /// Free space of its file system for new volumes (bytes).
    pub free: u64,
    /// True if reads of it take too long, or one does not end.
    pub slow: bool,
}

impl From<&DiskBoard> for DiskStatus {
    fn from(disk: &DiskBoard) -> Self {
        Self {
            path: disk.path.clone(),
            state: disk.state.get().name(),
            size: disk.size_bytes.get(),
            free: disk.free_bytes.get(),
            slow: disk.slow.get() != 0,
        }
    }
}

/// Answers `GET /status`.
pub(super) async fn status(State(state): State<AdminState>) -> Json<NodeStatus> {
    let metrics = &state.metrics;
    let now_ns = (state.now_ns)();
    let started_ns = metrics.node.started_ns;
    let shards = metrics.shards.iter().zip(&metrics.board.shards);
    Json(NodeStatus {
        version: metrics.node.version.clone(),
        instance: format!("{:016x}", metrics.node.instance),
        uptime_seconds: now_ns.saturating_sub(started_ns) / 1_000_000_000,
        durable: metrics.node.durable,
        draining: metrics.board.draining(),
        registered_buffers: metrics.registered_buffers(),
        listen: metrics.node.listen.clone(),
        limits: LimitsStatus {
            largest_body: metrics.node.largest_body,
            largest_batch: metrics.node.largest_batch,
        },
        shards: shards.map(|(s, board)| ShardStatus::of(s, board, now_ns, started_ns)).collect(),
        disks: metrics.board.disks.iter().map(DiskStatus::from).collect(),
        cluster: state.cluster.as_ref().map(|(node, cluster)| LinkStatus::of(node, cluster)),
        volumes: all_volumes(&state),
    })
}
