//! Two simulated nodes of a cluster with a copy of volume 1 each, and a network between them that stalls and
//! breaks. What the control plane of a node does, the test does here.

pub mod client;
pub mod node;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::cluster::ReplicaPlacement;
use hayloft::base::stream_position::StreamPosition;
use hayloft::base::types::{ShardId, VolumeId};
use hayloft::node::board::{Peer, VolumeCopies, VolumeCopy};
use hayloft::node::shard::{OfferChanges, OfferedChanges, OrderError};
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::runtime::{Handle, Runtime};
use hayloft::volume::{
    self, ClusterProperties, ClusterSettings, Preallocation, Superblock, SuperblockState,
};

use client::Client;
use node::Node;

pub const SECOND: u64 = 1_000_000_000;
pub const VOLUME: VolumeId = VolumeId(1);
/// Buffers of each node and of the clients (bytes).
const POOL: usize = 24 << 20;
const VOLUME_LEN: u64 = 96 << 20;

/// Address of the data API of a node.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + u8::try_from(node).unwrap()], 8080))
}

/// Name of the data directory of a node.
pub fn directory(node: usize) -> String {
    format!("data{node}")
}

/// Id of the store of a node.
pub fn store(node: usize) -> [u8; 16] {
    [1 + u8::try_from(node).unwrap(); 16]
}

/// Disk image with an empty volume in the directory of each node.
pub fn empty_disk() -> Image {
    let pool = Pool::new(&Region::map(1, POOL).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, pool, || 7);
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, async move {
        for node in 0..2 {
            handle.submit(Op::OpenDir { path: directory(node).into() }).await;
            let superblock = superblock(node);
            let dir = DirId(u32::try_from(node).unwrap());
            let how = Preallocation::Reserve;
            volume::create(&handle, dir, &superblock, how, |_| ()).await.unwrap();
        }
    });
    world.look(|snapshot| snapshot.image())
}

fn superblock(node: usize) -> Superblock {
    let settings = ClusterSettings { placement: ReplicaPlacement(1), ..ClusterSettings::default() };
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VOLUME,
        incarnation: 0x1bad_b002_dead_beef + node as u64,
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size: VOLUME_LEN,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42 + node as u64,
        store: store(node),
        created_ns: 1_700_000_000_000_000_000,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: Some(ClusterProperties { settings, ..ClusterProperties::default() }),
    }
}

/// The two nodes and their clients.
pub struct Pair {
    pub world: World,
    pub nodes: [Node; 2],
    clients: Runtime,
    client_driver: SimDriver,
    clients_until: Cell<u64>,
}

impl Pair {
    /// Starts both nodes on this disk, and waits until their volumes are open.
    pub fn start(seed: u64, disk: &Image) -> Self {
        let region = Region::map(3, POOL).unwrap();
        let pool = |n| Pool::new(&region, n);
        let world = World::new(seed, disk);
        let directories = [0, 1].map(directory);
        world.name_directories(&directories.each_ref().map(String::as_str));
        let client_driver = world.member(2, &pool(2));
        let clients = Runtime::new(&client_driver, pool(2), || 0);
        let nodes = [0, 1].map(|n| Node::start(&world, n, &pool(n), clients.handle(), seed));
        let mut pair = Self { world, nodes, clients, client_driver, clients_until: Cell::new(0) };
        for n in 0..2 {
            pair.world.listen_at(address(n), Node::listener(n));
            pair.know_copy(n);
        }
        pair.run_until("the volumes to be open", 5 * SECOND, |pair| {
            pair.nodes.iter().all(Node::is_open)
        });
        pair
    }

    /// Tells a node where the copy of its volume is.
    fn know_copy(&self, node: usize) {
        let other = address(1 - node);
        let peer = Peer::new(other.to_string(), other);
        let list = vec![Arc::new(VolumeCopy::new(Arc::new(peer)))];
        let copies = Arc::new(VolumeCopies { list, writable: 1 });
        let board = &self.nodes[node].shared.board;
        board.copies.set(BTreeMap::from([(VOLUME, copies)]));
    }

    /// Connects a client to a node.
    pub fn connect(&self, node: usize, segment: usize) -> Client {
        let sock = self.world.connect(Node::listener(node), segment);
        Client::new(sock, self.clients.handle().clone())
    }

    /// Handle of the clients.
    pub fn clients(&self) -> Handle {
        self.clients.handle().clone()
    }

    /// Spawns a task of a client.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.clients.handle().spawn(task);
        self.clients_until.set(0);
    }

    /// Sends a request to a node and returns the status and the body of the response; `None` if there was
    /// none.
    pub fn ask(&mut self, node: usize, request: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let client = self.connect(node, usize::MAX);
        let asking = client.clone();
        self.spawn(async move { asking.ask(&request).await });
        let watched = client.clone();
        self.run_until("a response", 60 * SECOND, |_| watched.has_ended());
        client.reply()
    }

    /// Offers all changes of a node to the other one.
    ///
    /// # Errors
    /// What the node said.
    pub fn offer_all(&mut self, node: usize) -> Result<(u64, u64), OrderError> {
        let (mut from, mut sent) = (StreamPosition::START, (0, 0));
        loop {
            let offered = self.offer(node, from)?;
            sent = (sent.0 + offered.objects, sent.1 + offered.deletions);
            if offered.is_end {
                return Ok(sent);
            }
            from = offered.next;
        }
    }

    fn offer(&mut self, node: usize, from: StreamPosition) -> Result<OfferedChanges, OrderError> {
        let requester = Rc::clone(&self.nodes[node].requester);
        let outcome = Rc::new(Cell::new(None));
        let answer = Rc::clone(&outcome);
        let order = OfferChanges { volume: VOLUME, peer: address(1 - node), from };
        self.spawn(async move {
            let offered = requester.ask(ShardId::from_index(0), order).await;
            answer.set(Some(offered));
        });
        let waited = Rc::clone(&outcome);
        self.run_until("an offer", 120 * SECOND, |_| {
            let ended = waited.take();
            let has_ended = ended.is_some();
            waited.set(ended);
            has_ended
        });
        outcome.take().expect("waited for")
    }

    /// Runs nodes and clients for `time` (virtual ns).
    pub fn run_for(&mut self, time: u64) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.step(end);
        }
    }

    /// Runs nodes and clients until `holds` returns true.
    ///
    /// # Panics
    /// If that does not happen within `time` (virtual ns).
    pub fn run_until(&mut self, what: &str, time: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.world.now() + time;
        while !holds(self) {
            assert!(self.world.now() < end, "waited {} ms for {what}", time / 1_000_000);
            self.step(end);
        }
    }

    /// Runs the next node or the clients, or advances the clock to `end`.
    fn step(&mut self, end: u64) {
        let mut due: Vec<u64> = self.nodes.iter().map(Node::due).collect();
        due.push(self.clients_until.get().min(end));
        let member = self.world.next(&due).expect("the clients have a deadline");
        match self.nodes.get_mut(member) {
            Some(node) => node.step(&self.world),
            None => {
                self.clients.collect(&mut self.client_driver, 0);
                self.clients.run_ready();
                self.clients.hand_over(&mut self.client_driver);
                self.clients_until.set(self.clients.earliest(u64::MAX));
            }
        }
        for node in &self.nodes {
            if node.take_answers() {
                self.clients_until.set(0);
            }
        }
    }
}
