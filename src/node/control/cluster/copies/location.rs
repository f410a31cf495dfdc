//! Where the copies of volumes are, as the master says.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::replication::PeerName;
use crate::base::types::VolumeId;

/// A copy of a volume on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The node.
    pub(super) name: PeerName,
    /// Address of its data API.
    pub(super) address: SocketAddr,
    /// Whether the master takes the copy for read-only.
    pub(super) is_read_only: bool,
}

/// Where the copies of volumes are.
pub(super) type Located = BTreeMap<VolumeId, Vec<Location>>;
