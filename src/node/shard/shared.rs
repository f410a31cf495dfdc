//! State shared by all shards of a daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::access_queue::AccessQueue;
use super::file_monitor::FileMonitor;
use super::message::Message;
use super::remote::RemoteAnswer;
#[cfg(test)]
use super::remote::RemoteRequest;
use super::slots::Slots;
use crate::base::limits::{HANDED_OVER_MAX, MESSAGES_IN_FLIGHT, ORDERS_MAX};
use crate::base::types::ShardId;
use crate::node::board::Board;
use crate::node::metrics::Metrics;
use crate::runtime::Handle;
use crate::runtime::background::DiskLoad;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::op::Op;

/// State shared by all shards.
pub struct Shared {
    /// Metrics of the daemon, its shards and its volumes.
    pub metrics: Arc<Metrics>,
    /// State of the node that shards decide on.
    pub board: Arc<Board>,
    /// Mailbox of each shard.
    pub(super) mailboxes: Vec<Mailbox<Message>>,
    /// Mailbox of the main thread, which only receives answers to its requests.
    pub main_mailbox: Mailbox<RemoteAnswer>,
    /// Number of connections on their way to each shard. They travel as messages, and are counted apart
    /// because a shard's load must include them before they arrive.
    pub(super) arriving: Vec<AtomicU64>,
    /// Connection slots of all shards.
    pub(super) slots: Arc<Slots>,
    /// Whether each shard is draining and has nothing left to do.
    pub(super) idle: Vec<AtomicBool>,
    /// Queue of the access trace, if there is one.
    pub(super) access: Option<Arc<AccessQueue>>,
    /// Monitors the files of volumes; `None` in simulations.
    pub(super) files: Option<Arc<dyn FileMonitor>>,
    /// Loads of the disks, by the position of their data directory.
    pub(super) disk_loads: Vec<DiskLoad>,
    /// Number of open volumes beyond those that the connection limit leaves descriptors for.
    pub(super) volumes_beyond: AtomicU64,
}

impl Shared {
    /// Creates the state of `shards` shards. Each mailbox has room for all messages that can be under way.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, shards: usize) -> Self {
        // Requests of the other shards, answers to this shard's own, handed-over connections (and one more
        // from each shard that checked the length before another one sent), orders.
        let room = MESSAGES_IN_FLIGHT * (shards + 1) + HANDED_OVER_MAX + shards + ORDERS_MAX;
        Self {
            disk_loads: metrics.board.disks.iter().map(|_| DiskLoad::new(shards)).collect(),
            board: Arc::clone(&metrics.board),
            metrics,
            mailboxes: (0..shards).map(|_| Mailbox::new(room)).collect(),
            main_mailbox: Mailbox::new(room),
            arriving: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            slots: Arc::default(),
            idle: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            access: None,
            files: None,
            volumes_beyond: AtomicU64::new(0),
        }
    }

    /// Returns the state with this access trace.
    #[must_use]
    pub fn with_access(self, access: Option<Arc<AccessQueue>>) -> Self {
        Self { access, ..self }
    }

    /// Returns the state with this monitoring of volume files.
    #[must_use]
    pub fn with_files(self, files: Arc<dyn FileMonitor>) -> Self {
        Self { files: Some(files), ..self }
    }

    /// Sets the number of open volumes beyond those that the connection limit leaves descriptors for. The
    /// limit is lowered by this number.
    pub fn set_volumes_beyond(&self, volumes: u64) {
        self.volumes_beyond.store(volumes, Ordering::Relaxed);
    }

    /// Returns the 99th percentile of the time that requests wait for reads at present (nanoseconds), of the
    /// disk with this position; `None` if there are none. `now`: CLOCK_MONOTONIC
    /// (nanoseconds).
    #[must_use]
    pub fn read_p99_ns(&self, disk: usize, now: u64) -> Option<u64> {
        self.disk_loads.get(disk)?.read_p99_ns(now)
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.idle.len()
    }

    /// Sends a message to a shard and wakes the shard if it sleeps. `handle` is of the calling thread's
    /// runtime. A mailbox has room for all messages that can be under way (see [`Self::new`]).
    pub(super) fn send(&self, handle: &Handle, shard: ShardId, message: Message) {
        match self.mailboxes[shard.index()].send(message) {
            Ok(false) => {}
            Ok(true) => drop(handle.submit(Op::Wake { peer: shard.index() })),
            Err(_) => unreachable!("a mailbox has room for every message that may be under way"),
        }
    }

    /// Sends an answer to the main thread, as [`Self::send`] does to a shard.
    pub(super) fn send_to_main(&self, handle: &Handle, answer: RemoteAnswer) {
        // The main thread's ring is the last peer, after those of the shards.
        let main = self.shards();
        match self.main_mailbox.send(answer) {
            Ok(false) => {}
            Ok(true) => drop(handle.submit(Op::Wake { peer: main })),
            Err(_) => unreachable!("a mailbox has room for every answer that is awaited"),
        }
    }

    /// Compares the connection slots in use with the sum of the shards' connections. Valid only while no
    /// shard runs, as in a simulation: connections that a running shard moves make the two differ.
    ///
    /// # Panics
    /// When they differ.
    pub fn audit(&self) {
        let load: u64 = ShardId::all(self.shards()).map(|shard| self.load(shard)).sum();
        assert_eq!(
            self.slots.taken(),
            load,
            "connection slots in use, and connections of the shards"
        );
    }

    /// Number of connections that a shard has or is about to receive.
    pub(super) fn load(&self, shard: ShardId) -> u64 {
        let n = shard.index();
        self.board.shards[n].connections.get() + self.arriving[n].load(Ordering::SeqCst)
    }

    /// Whether all shards are draining, have nothing left to do, and no connection is on its way to one.
    pub(super) fn all_idle(&self) -> bool {
        let on_the_way = self.arriving.iter().any(|arriving| arriving.load(Ordering::SeqCst) > 0);
        !on_the_way && self.idle.iter().all(|idle| idle.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
impl Shared {
    /// Removes and returns the oldest message to a shard, which must be a request. For a test that takes the
    /// place of the shard.
    pub(in crate::node) fn receive_request(&self, shard: usize) -> Option<RemoteRequest> {
        match self.mailboxes[shard].receive()? {
            Message::Request(request) => Some(request),
            Message::Answer(_) | Message::Connection(_) => panic!("a message is not a request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Arrival;
    use super::super::order::LimitDevice;
    use super::super::remote::{AnyOutcome, RemoteKind, RequestOrigin};
    use super::super::start::Start;
    use super::*;
    use crate::runtime::op::Sock;

    /// A sender relies on it: it has nowhere to keep a message.
    #[test]
    fn mailbox_has_room_for_all_messages_that_may_be_under_way() {
        let shards = 8;
        let shared = Start::empty(ShardId::from_index(0), shards).shared;
        let answer = || RemoteAnswer { number: 0, outcome: AnyOutcome::LimitDevice(()) };
        let request = |from| {
            let request = LimitDevice { operations: 1 }.into_any();
            Message::Request(RemoteRequest { from, number: 0, request })
        };
        for (n, mailbox) in shared.mailboxes.iter().enumerate() {
            let others = ShardId::all(shards).filter(|shard| shard.index() != n);
            let requests = others.flat_map(|from| {
                (0..MESSAGES_IN_FLIGHT).map(move |_| request(RequestOrigin::Shard(from)))
            });
            let orders = (0..ORDERS_MAX).map(|_| request(RequestOrigin::Main));
            let answers = (0..MESSAGES_IN_FLIGHT).map(|_| Message::Answer(answer()));
            // As many as one shard lets be there, and one more of each of the others.
            let connections = (0..HANDED_OVER_MAX + shards - 2).map(|_| {
                let slot = shared.slots.take(u64::MAX).expect("unlimited");
                Message::Connection(Arrival::Fresh(Sock(0), slot))
            });
            for message in requests.chain(orders).chain(answers).chain(connections) {
                assert!(mailbox.send(message).is_ok(), "{} messages", mailbox.len());
            }
        }
        for _ in 0..shards * ORDERS_MAX {
            assert!(shared.main_mailbox.send(answer()).is_ok(), "{}", shared.main_mailbox.len());
        }
    }
}
