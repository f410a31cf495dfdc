//! The pages that each volume server of a cluster has.

use serde_json::json;

use super::fid_reply::FidReply;
use crate::http::fid::FidPath;
use crate::http::status::Status;
use crate::node::shard::shard::Shard;

/// Answers a GET of a page.
pub fn page(shard: &Shard, path: &FidPath<'_>) -> FidReply {
    match path {
        FidPath::Photo(_) => FidReply::empty(Status::NOT_FOUND),
        FidPath::Status => FidReply::json(Status::OK, &status(shard)),
        FidPath::Health | FidPath::Ready if shard.draining() => {
            FidReply::empty(Status::SERVICE_UNAVAILABLE)
        }
        FidPath::Health | FidPath::Ready => healthy(shard),
    }
}

/// The answer that another node, which has copies of volumes, tells a restart by.
fn healthy(shard: &Shard) -> FidReply {
    let start = shard.shared.metrics.node.instance;
    let more = format!("X-Hayloft-Start: {start:016x}\r\n").into_bytes();
    FidReply { more, ..FidReply::empty(Status::OK) }
}

/// What this node is, and its volumes of the cluster.
fn status(shard: &Shard) -> serde_json::Value {
    let version = concat!("Hayloft ", env!("CARGO_PKG_VERSION"));
    let volumes: Vec<_> = shard
        .shared
        .board
        .volumes()
        .iter()
        .filter(|volume| volume.cluster.is_of_cluster.get() != 0)
        .map(|volume| json!({ "Id": volume.info.id, "Size": volume.used_bytes.get() }))
        .collect();
    json!({ "Version": version, "Volumes": volumes, "DiskStatuses": [] })
}
