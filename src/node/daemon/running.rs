//! A started daemon: its threads, and what the main thread needs to watch and to end them.

use std::sync::Arc;

use super::access::AccessTrace;
use super::cluster::MarkFiles;
use super::disks;
use super::listeners::SocketFile;
use super::machine::OpenFiles;
use super::work::Manager;
use crate::base::threads::{Thread, Threads};
use crate::node::board::Board;
use crate::node::control::ControlHandle;
use crate::node::control::cluster::ClusterState;

/// A started daemon.
pub struct Running {
    pub board: Arc<Board>,
    /// CLOCK_MONOTONIC at the start (nanoseconds).
    pub started_ns: u64,
    pub files: OpenFiles,
    pub manager: Manager,
    /// All threads of the process except the main thread.
    pub threads: Threads,
    pub shards: Vec<Thread>,
    pub control_plane: ControlHandle,
    pub disks: disks::Watch,
    pub access: Option<AccessTrace>,
    /// State of the node in its cluster, if it belongs to one.
    pub cluster: Option<Arc<ClusterState>>,
    /// The threads that write up to when the copies of volumes have everything.
    pub mark_files: MarkFiles,
    /// Files of the unix sockets, removed when the daemon is dropped.
    pub _socket_files: Vec<SocketFile>,
}
