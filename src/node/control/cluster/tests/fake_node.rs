//! A node with volumes on its board only, and the services for a cluster.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::super::{
    ClusterNode, ClusterState, CopiesParts, MarkStore, Marks, Orders, spawn_copies,
    spawn_heartbeats, spawn_server,
};
use crate::base::cluster::Collection;
use crate::base::host_port::HostPort;
use crate::base::threads::Threads;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{Board, DiskBoard, DiskState, ShardInfo, VolumeInfo, VolumeState};
use crate::node::control::{Compactions, ControlHandle, ControlPlane, ControlRequest};
use crate::node::metrics::{Metrics, NodeInfo, VolumeMetrics};

/// Longest time for what must happen.
const LONG: Duration = Duration::from_secs(20);

/// A node with volumes on its board only.
pub(super) struct FakeNode {
    pub(super) node: Arc<ClusterNode>,
    pub(super) state: Arc<ClusterState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) compactions: Arc<Compactions>,
    requests_in: mpsc::Sender<ControlRequest>,
    /// Requests sent to the main thread.
    pub(super) requests: Option<mpsc::Receiver<ControlRequest>>,
    control: Option<ControlHandle>,
}

impl FakeNode {
    /// A node with one disk of 10,000 MiB that is free.
    pub(super) fn new(masters: &[&HostPort]) -> Self {
        let node = ClusterNode {
            masters: masters.iter().copied().cloned().collect(),
            ip: "10.0.0.8".to_owned(),
            port: 8080,
            grpc_port: 18_080,
            public_url: "photos:80".to_owned(),
            data_center: "dc1".to_owned(),
            rack: "r1".to_owned(),
            volumes_max: None,
            directories: vec!["a directory".to_owned()],
        };
        let shards = [ShardInfo { id: ShardId::from_index(0), core: 0, port: None }];
        let disk = DiskBoard::new("/data/a", DiskState::Ok);
        disk.size_bytes.set(20_000 << 20);
        disk.free_bytes.set(10_000 << 20);
        disk.reserve_bytes.set(0);
        let info = NodeInfo { version: "1.2.3".to_owned(), ..NodeInfo::default() };
        let metrics = Metrics::new(info, Board::new(&shards, vec![disk]));
        let (requests_in, requests) = mpsc::channel();
        Self {
            node: Arc::new(node),
            state: Arc::default(),
            metrics,
            compactions: Arc::default(),
            requests_in,
            requests: Some(requests),
            control: None,
        }
    }

    /// Adds a volume that belongs to no cluster.
    pub(super) fn own_volume(&self, id: u32) -> Arc<VolumeMetrics> {
        let (id, shard) = (VolumeId(id), ShardId::from_index(0));
        let info = VolumeInfo { id, shard, disk: 0, durable: true };
        self.metrics.register_volume(info, VolumeState::Writable)
    }

    /// Adds a volume of the cluster, which is shown as writable at the end.
    pub(super) fn volume(&self, id: u32, collection: &str) -> Arc<VolumeMetrics> {
        let (id, shard) = (VolumeId(id), ShardId::from_index(0));
        let info = VolumeInfo { id, shard, disk: 0, durable: true };
        let volume = self.metrics.register_volume(info, VolumeState::Recovering);
        volume.board.cluster.collection.set(Collection::new(collection).unwrap()).unwrap();
        volume.board.cluster.is_of_cluster.set(1);
        volume.board.state.set(VolumeState::Writable);
        volume
    }

    /// Starts the heartbeats.
    pub(super) fn start(&mut self) {
        let mut plane = ControlPlane::new().unwrap();
        let (node, state) = (Arc::clone(&self.node), Arc::clone(&self.state));
        let metrics = Arc::clone(&self.metrics);
        let beats = spawn_heartbeats(plane.runtime(), plane.stop(), node, state, metrics);
        plane.add(beats);
        self.control = Some(plane.start(&Threads::default()).unwrap());
    }

    /// Starts the heartbeats and the replication task, with the marks of an earlier start.
    /// Returns what it saves.
    pub(super) fn start_with_copies(&mut self, marks: Marks) -> mpsc::Receiver<Marks> {
        let mut plane = ControlPlane::new().unwrap();
        let (node, state) = (Arc::clone(&self.node), Arc::clone(&self.state));
        let metrics = Arc::clone(&self.metrics);
        let beats = spawn_heartbeats(plane.runtime(), plane.stop(), node, state, metrics);
        plane.add(beats);
        let (saved_in, saved) = mpsc::channel();
        let parts = CopiesParts {
            node: Arc::clone(&self.node),
            state: Arc::clone(&self.state),
            metrics: Arc::clone(&self.metrics),
            orders: Orders::new(self.requests_in.clone(), Arc::clone(&self.compactions)),
            marks,
            store: MarkStore::new(vec![Some(saved_in)]),
        };
        let copies = spawn_copies(plane.runtime(), plane.stop(), parts);
        plane.add(copies);
        self.control = Some(plane.start(&Threads::default()).unwrap());
        saved
    }

    /// Stops what was started.
    pub(super) fn stop(&mut self) {
        self.control.take().expect("it was started").shutdown().unwrap();
    }

    /// Starts the server of the orders. Returns its address.
    pub(super) fn serve(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut plane = ControlPlane::new().unwrap();
        let parts = (Arc::clone(&self.node), Arc::clone(&self.state));
        let orders = Orders::new(self.requests_in.clone(), Arc::clone(&self.compactions));
        let metrics = Arc::clone(&self.metrics);
        let server = spawn_server(plane.runtime(), plane.stop(), listener, parts, metrics, orders);
        plane.add(server.unwrap());
        self.control = Some(plane.start(&Threads::default()).unwrap());
        address
    }

    /// Waits until a condition holds.
    pub(super) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited for {what}: {:?}", self.state.link());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the node is registered with this master.
    pub(super) fn wait_for_master(&self, master: &HostPort) {
        let name = master.to_string();
        self.wait_until(&name, |it| it.state.link().master.as_deref() == Some(&name));
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.shutdown().unwrap();
        }
    }
}
