//! Heartbeats as messages.

use std::collections::HashMap;

use hayloft_proto::master_pb::Heartbeat;

use super::announced::{Announced, AnnouncedFigures};
use super::capacity::{file_size, free_slots, volumes_max};
use super::node::ClusterNode;
use crate::node::board::Board;

/// Returns a heartbeat with all volumes. `limit`: size at which the master takes a volume for full (bytes);
/// as long as it is not known, no more volumes are offered. `may_have_more`: whether volumes are being
/// recovered, so that an empty list does not say that there is none.
pub(super) fn full(
    node: &ClusterNode,
    board: &Board,
    volumes: &[(Announced, AnnouncedFigures)],
    limit: Option<u64>,
    may_have_more: bool,
) -> Heartbeat {
    let free = limit.map_or(0, |limit| free_slots(board, file_size(limit)));
    let most = volumes_max(volumes.len(), free, node.volumes_max);
    Heartbeat {
        // The key is the type of the disks; the default one is empty.
        max_volume_counts: HashMap::from([(String::new(), most)]),
        max_file_key: volumes.iter().map(|(_, figures)| figures.key_max).max().unwrap_or(0),
        volumes: volumes.iter().map(|(volume, figures)| volume.entry(*figures)).collect(),
        has_no_volumes: volumes.is_empty() && !may_have_more,
        has_no_ec_shards: true,
        ..identity(node)
    }
}

/// Returns the heartbeat of a node that leaves: it has no volumes.
pub(super) fn farewell(node: &ClusterNode) -> Heartbeat {
    Heartbeat { has_no_volumes: true, has_no_ec_shards: true, ..identity(node) }
}

/// Returns a heartbeat with changes only.
pub(super) fn changes(node: &ClusterNode, new: &[Announced], gone: &[Announced]) -> Heartbeat {
    Heartbeat {
        new_volumes: new.iter().map(Announced::short).collect(),
        deleted_volumes: gone.iter().map(Announced::short).collect(),
        ..identity(node)
    }
}

/// Returns a heartbeat that only says which node this is.
fn identity(node: &ClusterNode) -> Heartbeat {
    Heartbeat {
        ip: node.ip.clone(),
        port: node.port.into(),
        public_url: node.public_url.clone(),
        data_center: node.data_center.clone(),
        rack: node.rack.clone(),
        grpc_port: node.grpc_port.into(),
        location_uuids: node.directories.clone(),
        ..Heartbeat::default()
    }
}
