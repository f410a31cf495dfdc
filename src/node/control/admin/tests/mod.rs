//! Tests of the admin API over real sockets on the loopback interface.

mod answers;
mod changes;
mod client;
mod digest;
mod hostile;
mod objects;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use axum::Router;

use super::routes::router;
use super::server::serve;
use super::{AdminLimits, AdminState};
use crate::base::threads::Threads;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{Board, DiskBoard, DiskState, ShardInfo, VolumeInfo, VolumeState};
use crate::node::control::{ControlHandle, ControlPlane, ControlRequest};
use crate::node::metrics::{Metrics, NodeInfo, VolumeMetrics};

const SECOND_NS: u64 = 1_000_000_000;

/// Start time of the daemons of the tests.
const STARTED_NS: u64 = 100 * SECOND_NS;

/// A clock controlled by a test. One for each test, since tests run concurrently.
macro_rules! fake_clock {
    ($name:ident) => {
        mod $name {
            use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
            static NOW_NS: AtomicU64 = AtomicU64::new(super::super::STARTED_NS);
            pub(super) fn now_ns() -> u64 {
                NOW_NS.load(SeqCst)
            }
            #[allow(clippy::allow_attributes, dead_code, reason = "unused where time stands still")]
            pub(super) fn advance_seconds(seconds: u64) {
                NOW_NS.fetch_add(seconds * super::super::SECOND_NS, SeqCst);
            }
        }
    };
}
use fake_clock;

/// A daemon with only counters and the admin listener: two shards, two data directories.
struct TestNode {
    metrics: Arc<Metrics>,
    state: AdminState,
    /// Requests sent to the main thread.
    requests: mpsc::Receiver<ControlRequest>,
}

impl TestNode {
    fn new(now_ns: fn() -> u64, limits: AdminLimits) -> Self {
        let info = NodeInfo {
            version: "1.2.3".into(),
            started_ns: STARTED_NS,
            started_unix_seconds: 1_700_000_000,
            durable: true,
            listen: vec!["127.0.0.1:8080".into()],
            largest_body: 64 << 20,
            largest_batch: 8 << 20,
            ..NodeInfo::default()
        };
        let shards = [
            ShardInfo { id: ShardId::from_index(0), core: 2, port: Some(8180) },
            ShardInfo { id: ShardId::from_index(1), core: 3, port: None },
        ];
        let disks = ["/data/a", "/data/b"].map(|path| DiskBoard::new(path, DiskState::Ok));
        let metrics = Metrics::new(info, Board::new(&shards, disks.into()));
        let (requests_in, requests) = mpsc::channel();
        let (creations, compactions) = Default::default();
        let numbers = Arc::clone(&metrics);
        let state = AdminState::new(numbers, now_ns, limits, requests_in, creations, compactions);
        Self { metrics, state, requests }
    }

    fn volume(&self, id: u32, state: VolumeState) -> Arc<VolumeMetrics> {
        let info =
            VolumeInfo { id: VolumeId(id), shard: ShardId::from_index(1), disk: 0, durable: true };
        self.metrics.register_volume(info, state)
    }

    fn start(&self) -> (ControlHandle, SocketAddr) {
        start(router(self.state.clone()), self.state.limits)
    }
}

/// Starts a control plane whose only service serves `router`.
fn start(router: Router, limits: AdminLimits) -> (ControlHandle, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let mut plane = ControlPlane::new().expect("a runtime");
    let server = serve(plane.runtime(), plane.stop(), listener, router, limits);
    plane.add(server.expect("starts"));
    (plane.start(&Threads::default()).expect("starts"), addr)
}
