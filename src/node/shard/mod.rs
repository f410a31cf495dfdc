//! A shard: one core with its thread, its ring, its connections and its volumes. The only module that
//! connects HTTP with volumes.
//!
//! `reactor` is the event loop. `listen` accepts connections, `slots` limits the connections of all shards.
//! `session` reads requests and passes them to `download`, `store`, `upload` or `batch`, subject to
//! `admission`; `receive` receives bodies and verifies their digests, `answer` makes the replies. `access`
//! writes the access trace, `audit` the audit log. `route` sends a task to the shard that owns the volume,
//! `volumes` performs it.

mod access;
mod admission;
mod answer;
mod audit;
pub mod batch;
mod download;
mod listen;
mod manage;
mod reactor;
mod receive;
mod route;
mod session;
mod slots;
mod store;
mod task;
mod upload;
mod volumes;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use access::AccessQueue;
pub use listen::Listener;
pub use manage::{Order, OrderError};
pub use reactor::{Reactor, run};
pub use task::Message;
pub use volumes::Assignment;

use crate::base::accept::Failures;
use crate::base::account::{AUDITED, Account};
use crate::base::limits::{HANDED_OVER_MAX, MESSAGES_IN_FLIGHT, ORDERS_MAX};
use crate::base::throttle::Throttle;
use crate::http::conn::{Deadlines, Waiting};
use crate::http::date;
use crate::node::board::{Board, ShardBoard};
use crate::node::metrics::{Metrics, ShardMetrics};
use crate::runtime::mailbox::Mailbox;
use crate::runtime::op::DriverCounts;
use crate::runtime::{Handle, Queue, Replies};
use admission::Admission;
use route::{RemoteTask, Routes};
use slots::Slots;
use task::Outcome;
use volumes::Volumes;

/// State shared by all shards.
pub struct Shared {
    /// State of the node that shards decide on.
    pub board: Arc<Board>,
    /// Metrics of the daemon, its shards and its volumes.
    pub metrics: Arc<Metrics>,
    /// Mailbox of each shard, followed by that of the main thread.
    pub mailboxes: Vec<Mailbox<Message>>,
    /// Number of connections on their way to each shard. They travel as messages, and are counted apart
    /// because a shard's load must include them before they arrive.
    arriving: Vec<AtomicU64>,
    /// Connection slots of all shards.
    slots: Arc<Slots>,
    /// Whether each shard is draining and has nothing left to do.
    idle: Vec<AtomicBool>,
    /// Queue of the access trace, if there is one.
    access: Option<Arc<AccessQueue>>,
    /// Number of open volumes beyond those that the connection limit leaves descriptors for.
    volumes_beyond: AtomicU64,
}

impl Shared {
    /// Creates the state of `shards` shards. Each mailbox has room for all messages that can be under way.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, shards: usize) -> Self {
        // Tasks of the other shards, answers to this shard's own, handed-over connections (and one more from
        // each shard that checked the length before another one sent), orders.
        let room = MESSAGES_IN_FLIGHT * (shards + 1) + HANDED_OVER_MAX + shards + ORDERS_MAX;
        Self {
            board: Arc::clone(&metrics.board),
            metrics,
            mailboxes: (0..=shards).map(|_| Mailbox::new(room)).collect(),
            arriving: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            slots: Arc::default(),
            idle: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            access: None,
            volumes_beyond: AtomicU64::new(0),
        }
    }

    /// Returns the state with this access trace.
    #[must_use]
    pub fn with_access(self, access: Option<Arc<AccessQueue>>) -> Self {
        Self { access, ..self }
    }

    /// Sets the number of open volumes beyond those that the connection limit leaves descriptors for. The
    /// limit is lowered by this number.
    pub fn set_volumes_beyond(&self, volumes: u64) {
        self.volumes_beyond.store(volumes, Ordering::Relaxed);
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.idle.len()
    }

    /// Index of the main thread's mailbox, which follows those of the shards.
    #[must_use]
    pub fn main(&self) -> usize {
        self.shards()
    }

    /// Compares the connection slots in use with the sum of the shards' connections. Valid only while no
    /// shard runs, as in a simulation: connections that a running shard moves make the two differ.
    ///
    /// # Panics
    /// When they differ.
    pub fn audit(&self) {
        let load: u64 = (0..self.shards()).map(|shard| self.load(shard)).sum();
        assert_eq!(
            self.slots.taken(),
            load,
            "connection slots in use, and connections of the shards"
        );
    }

    /// Number of connections that shard `n` has or is about to receive.
    fn load(&self, n: usize) -> u64 {
        self.board.shards[n].connections.get() + self.arriving[n].load(Ordering::SeqCst)
    }

    fn all_idle(&self) -> bool {
        let on_the_way = self.arriving.iter().any(|arriving| arriving.load(Ordering::SeqCst) > 0);
        !on_the_way && self.idle.iter().all(|idle| idle.load(Ordering::SeqCst))
    }
}

/// Configuration of a shard.
pub struct ShardConfig {
    /// Deadlines of connections.
    pub deadlines: Deadlines,
    /// `Cache-Control` of objects.
    pub cache_control: String,
    /// Maximum length of the body of a photo (bytes).
    pub body_max: u64,
    /// Maximum length of a batch (bytes).
    pub batch_max: u64,
    /// Maximum number of connections of the whole daemon.
    pub connections_max: u64,
    /// Maximum number of connections beyond that limit that this shard refuses with a 503 at the same time;
    /// further ones are closed without a reply.
    pub refusals_max: u64,
    /// Maximum time that requests under way may take while the shard drains (nanoseconds).
    pub drain_ns: u64,
    /// Whether a configured data directory is missing, so that an unknown volume may be in it.
    pub disk_missing: bool,
    /// Whether deletes and failed writes are logged.
    pub audit_log: bool,
}

/// A shard.
pub struct Shard {
    id: u16,
    handle: Handle,
    config: ShardConfig,
    shared: Arc<Shared>,
    volumes: Volumes,
    admission: Admission,
    routes: Routes,
    replies: Replies<Outcome>,
    asked: Queue<RemoteTask>,
    waiting: Rc<Waiting>,
    connections: Account,
    refusing: Account,
    /// Number of listeners that still accept.
    accepting: Account,
    date: Cell<(u64, [u8; date::LEN])>,
    /// A new limit of operations in flight per device, not yet passed to the driver.
    device_limit: Cell<Option<usize>>,
    listeners: RefCell<Vec<Listener>>,
    accept_failures: Failures,
    /// Limits the messages about large bodies that could not be read to their end.
    damage_warnings: Throttle,
    /// Limits the warnings that connections are refused above the limit.
    refusal_warnings: Throttle,
}

/// Launch parameters of a shard.
pub struct Start {
    /// Shard number, from 0.
    pub id: u16,
    /// Configuration.
    pub config: ShardConfig,
    /// State shared with the other shards.
    pub shared: Arc<Shared>,
    /// Volumes to open.
    pub assignments: Vec<Assignment>,
    /// Owning shard of each volume of the daemon.
    pub owners: HashMap<u32, u16>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
}

impl Shard {
    fn new(handle: &Handle, start: Start) -> (Rc<Self>, Vec<Assignment>) {
        let Start { id, config, shared, assignments, owners, listeners } = start;
        let accepting = Account::new("listeners");
        accepting.take(listeners.len() as u64);
        let shard = Self {
            id,
            handle: handle.clone(),
            config,
            shared,
            volumes: Volumes::default(),
            admission: Admission::default(),
            routes: Routes::new(owners),
            replies: Replies::new(handle),
            asked: Queue::new(handle),
            waiting: Rc::default(),
            connections: Account::new("connections"),
            refusing: Account::new("connections that are refused"),
            accepting,
            date: Cell::new((u64::MAX, [0; date::LEN])),
            device_limit: Cell::default(),
            listeners: RefCell::new(listeners),
            accept_failures: Failures::default(),
            damage_warnings: Throttle::default(),
            refusal_warnings: Throttle::default(),
        };
        (Rc::new(shard), assignments)
    }

    fn mailbox(&self) -> &Mailbox<Message> {
        &self.shared.mailboxes[usize::from(self.id)]
    }

    fn metrics(&self) -> &ShardMetrics {
        &self.shared.metrics.shards[usize::from(self.id)]
    }

    fn board(&self) -> &ShardBoard {
        &self.shared.board.shards[usize::from(self.id)]
    }

    fn draining(&self) -> bool {
        self.shared.board.draining()
    }

    /// Seconds since 1970.
    fn now_seconds(&self) -> u64 {
        self.handle.wall() / 1_000_000_000
    }

    /// Value of the `Date` field, formatted once a second.
    fn date(&self) -> [u8; date::LEN] {
        let now = self.now_seconds();
        let (second, text) = self.date.get();
        if second == now {
            return text;
        }
        let text = date::format(now);
        self.date.set((now, text));
        text
    }

    fn start(self: &Rc<Self>, assignments: Vec<Assignment>) {
        for listener in self.listeners.take() {
            self.handle.spawn(Rc::clone(self).accept(listener));
        }
        let shard = Rc::clone(self);
        self.handle.spawn(async move {
            shard.volumes.open_all(&shard.handle, assignments).await;
        });
    }

    /// Records the metrics of an event loop iteration.
    fn record_iteration(&self, now: u64, counts: DriverCounts) {
        let metrics = self.metrics();
        self.board().turn(now);
        metrics.turns.inc();
        metrics.turn_duration.record(now.saturating_sub(self.handle.now()));
        metrics.enters.raise_to(counts.enters);
        metrics.completions.raise_to(counts.completions);
        metrics.ops_in_flight.set(self.handle.ops_in_flight() as u64);
        metrics.buffer_bytes_used.set(self.handle.pool().used() as u64);
        if AUDITED && self.connections.held() == 0 && self.refusing.held() == 0 {
            self.expect_no_requests();
        }
    }

    /// Asserts that nothing is admitted, no reply is awaited and no upload has a reservation. Holds whenever
    /// there are no connections.
    fn expect_no_requests(&self) {
        self.admission.expect_nothing();
        assert!(self.replies.is_empty(), "replies are awaited without a connection");
        self.volumes.expect_no_uploads();
    }

    /// Publishes the metrics of the volumes.
    fn publish(&self) {
        let metrics = self.metrics();
        let sum = |counter: fn(&crate::volume::Stats) -> &Cell<u64>| {
            self.volumes.sum(|stats| counter(stats).get())
        };
        let pairs = [
            (&metrics.device_reads, sum(|stats| &stats.get_reads)),
            (&metrics.device_reads_other, sum(|stats| &stats.other_reads)),
            (&metrics.device_read_bytes, sum(|stats| &stats.get_read_bytes)),
            (&metrics.commits, sum(|stats| &stats.commits)),
            (&metrics.commit_needles, sum(|stats| &stats.commit_needles)),
            (&metrics.commit_bytes, sum(|stats| &stats.commit_bytes)),
            (&metrics.flushes, sum(|stats| &stats.durable_writes)),
            (&metrics.hint_writes, sum(|stats| &stats.hints)),
            (&metrics.false_candidates, sum(|stats| &stats.false_candidates)),
            (&metrics.checksum_failures, sum(|stats| &stats.damaged_reads)),
        ];
        for (counter, total) in pairs {
            counter.raise_to(total);
        }
        self.volumes.publish();
    }
}
