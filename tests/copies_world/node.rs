//! A simulated node with one shard.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::ShardId;
use hayloft::http::conn::Deadlines;
use hayloft::http::head::Dialects;
use hayloft::node::board::{Board, DiskBoard, DiskState, ShardInfo, VolumeInfo, VolumeState};
use hayloft::node::metrics::{Metrics, NodeInfo};
use hayloft::node::shard::{
    AssignedFile, Assignment, FidKeys, Listener, Reactor, ReadPlans, RequestOrigin, Requester,
    ShardConfig, Shared, Start,
};
use hayloft::runtime::background::PaceLimits;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::Sock;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::runtime::{Handle, Runtime, split_mix};
use hayloft::volume::Expected;

use super::{SECOND, VOLUME, directory, store};

/// Advance of the clock instead of an iteration of a stopped node (ns).
const STEP: u64 = 1_000_000;

/// A node.
pub struct Node {
    pub shared: Arc<Shared>,
    /// Sends orders, as the main thread of the node does.
    pub requester: Rc<Requester>,
    /// Whether the node is stopped, as by SIGSTOP.
    pub is_stopped: bool,
    reactor: Reactor,
    driver: SimDriver,
}

impl Node {
    /// Listening socket of a node.
    pub fn listener(node: usize) -> Sock {
        Sock(1 + i32::try_from(node).unwrap())
    }

    /// Starts a node, whose orders come from tasks of `orders`.
    pub fn start(world: &World, node: usize, pool: &Pool, orders: &Handle, seed: u64) -> Self {
        let info = ShardInfo { id: ShardId::from_index(0), core: 0, port: None };
        let disks = vec![DiskBoard::new(directory(node), DiskState::Ok)];
        let metrics = Metrics::new(NodeInfo::default(), Board::new(&[info], disks));
        let shared = Arc::new(Shared::new(Arc::clone(&metrics), 1));
        let driver = world.member(node, pool);
        let mut state = seed.wrapping_mul(2).wrapping_add(node as u64);
        let runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        let start = Start {
            id: ShardId::from_index(0),
            config: config(),
            shared: Arc::clone(&shared),
            assignments: vec![assignment(&metrics, node)],
            owners: HashMap::from([(VOLUME, ShardId::from_index(0))]),
            listeners: vec![Listener { sock: Self::listener(node), own: true, socket: None }],
        };
        let reactor = Reactor::new(runtime, start);
        let requester = Rc::new(Requester::new(RequestOrigin::Main, orders, &shared));
        Self { shared, requester, is_stopped: false, reactor, driver }
    }

    /// Whether its volume is open.
    pub fn is_open(&self) -> bool {
        let board = self.shared.board.volume(VOLUME).expect("it was registered");
        board.state.get() == VolumeState::Writable
    }

    /// Number of changes that the other node may lack, as far as this one knows.
    pub fn unconfirmed(&self) -> u64 {
        let copies = self.shared.board.copies.of(VOLUME).expect("it is known");
        copies.list[0].unconfirmed.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Time at which it runs next (ns).
    pub fn due(&self) -> u64 {
        if self.is_stopped { u64::MAX } else { self.reactor.next_iteration_at() }
    }

    /// Runs it once. If it is stopped, what has ended stays queued, and time advances.
    pub fn step(&mut self, world: &World) {
        if self.is_stopped {
            return world.skip_to(world.now() + STEP);
        }
        assert!(self.reactor.run_iteration(&mut self.driver), "the node drains");
    }

    /// Passes the answers to orders on. Returns whether there were any.
    pub fn take_answers(&self) -> bool {
        let answers = std::iter::from_fn(|| self.shared.main_mailbox.receive());
        answers.map(|answer| self.requester.fulfil(answer)).count() > 0
    }
}

fn config() -> ShardConfig {
    ShardConfig {
        deadlines: Deadlines {
            head: 5 * SECOND,
            idle: 75 * SECOND,
            body: 5 * SECOND,
            send: 10 * SECOND,
            rate: 16 << 10,
            linger: SECOND,
        },
        dialects: Dialects::WithFids,
        keys: FidKeys::default(),
        cache_control: "max-age=31536000, immutable".to_owned(),
        body_max: 8 << 20,
        batch_max: 4 << 20,
        connections_max: 10_000,
        refusals_max: 256,
        drain_ns: 30 * SECOND,
        disk_missing: false,
        audit_log: false,
        background: PaceLimits { min: 4 << 20, max: 256 << 20, transfer_max: 0 },
        reads: ReadPlans::default(),
    }
}

fn assignment(metrics: &Metrics, node: usize) -> Assignment {
    let expected = Expected {
        volume: VOLUME,
        generation: 0,
        store: store(node),
        hash_bits: None,
        segments_max: None,
        checkpoints: None,
    };
    let info = VolumeInfo { id: VOLUME, shard: ShardId::from_index(0), disk: 0, durable: true };
    let metrics = metrics.register_volume(info, VolumeState::Recovering);
    let file = AssignedFile { dir: directory(node).into(), disk: 0, expected, health: None };
    Assignment { volume: VOLUME, files: vec![file], all_directories: true, metrics }
}
