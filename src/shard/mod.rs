//! One core: its thread, its ring, its connections, its volumes. The only place where HTTP meets
//! volumes.
//!
//! `reactor` is the loop. `listen` accepts, `slots` bounds the connections of all shards. `session` reads
//! requests and hands them to `download`, `store`, `upload` or `batch`, as far as `admission` lets them;
//! `receive` verifies what digests came for, and `answer` makes the replies. `access` notes what was asked,
//! `audit` who deleted what. `route` takes a task to the shard that owns the volume, `volumes` does it.

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

use crate::accept::Failures;
use crate::account::{AUDITED, Account};
use crate::http::conn::{Deadlines, Waiting};
use crate::http::date;
use crate::limits::{HANDED_OVER_MAX, MESSAGES_IN_FLIGHT, ORDERS_MAX};
use crate::mailbox::Mailbox;
use crate::metrics::{Metrics, ShardMetrics};
use crate::op::DriverCounts;
use crate::runtime::{Handle, Queue, Replies};
use crate::throttle::Throttle;
use admission::Admission;
use route::{Asked, Routes};
use slots::Slots;
use task::Outcome;
use volumes::Volumes;

/// What all shards share.
pub struct Shared {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// One for each shard, and the main thread's.
    pub mailboxes: Vec<Mailbox<Message>>,
    /// Connections on their way to each shard: part of the messages, counted apart since they must
    /// be known before they arrive.
    arriving: Vec<AtomicU64>,
    /// Open connections of all shards.
    slots: Arc<Slots>,
    /// Whether each shard, draining, has nothing left to do.
    idle: Vec<AtomicBool>,
    /// Where requests are put for the access trace, if there is one.
    access: Option<Arc<AccessQueue>>,
    /// Volumes beyond those that the bound of connections leaves descriptors for.
    volumes_beyond: AtomicU64,
}

impl Shared {
    /// For so many shards, with room in each mailbox for all that can be under way.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, shards: usize) -> Self {
        // The others' questions, the answers to ours, fresh connections (and one more from each
        // shard that looked before another one sent), orders.
        let room = MESSAGES_IN_FLIGHT * (shards + 1) + HANDED_OVER_MAX + shards + ORDERS_MAX;
        Self {
            metrics,
            mailboxes: (0..=shards).map(|_| Mailbox::new(room)).collect(),
            arriving: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            slots: Arc::default(),
            idle: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            access: None,
            volumes_beyond: AtomicU64::new(0),
        }
    }

    /// The same, with an access trace.
    #[must_use]
    pub fn with_access(self, access: Option<Arc<AccessQueue>>) -> Self {
        Self { access, ..self }
    }

    /// Says how many volumes are open beyond those that the bound of connections leaves descriptors for: as
    /// many connections fewer are accepted.
    pub fn set_volumes_beyond(&self, volumes: u64) {
        self.volumes_beyond.store(volumes, Ordering::Relaxed);
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.idle.len()
    }

    /// The number of the main thread's mailbox: the one after the shards'.
    #[must_use]
    pub fn main(&self) -> usize {
        self.shards()
    }

    /// Compares the connections of the daemon with those of its shards. While a shard is running, others on
    /// their way make a difference: this is for who runs them in turn.
    ///
    /// # Panics
    /// When they differ.
    pub fn audit(&self) {
        let load: u64 = (0..self.shards()).map(|shard| self.load(shard)).sum();
        assert_eq!(self.slots.taken(), load, "places of connections, and connections");
    }

    /// Connections that shard `n` has or is about to get.
    fn load(&self, n: usize) -> u64 {
        self.metrics.shards[n].connections.get() + self.arriving[n].load(Ordering::SeqCst)
    }

    fn all_idle(&self) -> bool {
        let on_the_way = self.arriving.iter().any(|arriving| arriving.load(Ordering::SeqCst) > 0);
        !on_the_way && self.idle.iter().all(|idle| idle.load(Ordering::SeqCst))
    }
}

/// What a shard is told at its start.
pub struct ShardConfig {
    /// Deadlines of connections.
    pub deadlines: Deadlines,
    /// `Cache-Control` of objects.
    pub cache_control: String,
    /// Largest body of a photo (bytes).
    pub body_max: u64,
    /// Largest batch (bytes).
    pub batch_max: u64,
    /// Connections of the whole daemon.
    pub connections_max: u64,
    /// Connections beyond that which this shard tells so at once; more are just closed.
    pub refusals_max: u64,
    /// How long requests under way may take when it drains (nanoseconds).
    pub drain_ns: u64,
    /// Whether a configured data directory is missing, so that an unknown volume may be in it.
    pub disk_missing: bool,
    /// Whether deletes and failed writes are logged.
    pub audit_log: bool,
}

/// One shard.
pub struct Shard {
    id: u16,
    handle: Handle,
    config: ShardConfig,
    shared: Arc<Shared>,
    volumes: Volumes,
    admission: Admission,
    routes: Routes,
    replies: Replies<Outcome>,
    asked: Queue<Asked>,
    waiting: Rc<Waiting>,
    connections: Account,
    refusing: Account,
    /// Listeners that still accept.
    accepting: Account,
    date: Cell<(u64, [u8; date::LEN])>,
    /// A limit that the ring has yet to hear of.
    device_limit: Cell<Option<usize>>,
    listeners: RefCell<Vec<Listener>>,
    accept_failures: Failures,
    /// Of large bodies that could not be read to their end.
    damage_warnings: Throttle,
    /// Warnings that connections are refused above the limit.
    refusal_warnings: Throttle,
}

/// What a shard begins with.
pub struct Start {
    /// Its number.
    pub id: u16,
    /// What it is told.
    pub config: ShardConfig,
    /// What it shares.
    pub shared: Arc<Shared>,
    /// Its volumes.
    pub assignments: Vec<Assignment>,
    /// Who owns which volume.
    pub owners: HashMap<u32, u16>,
    /// Where it accepts connections.
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

    fn draining(&self) -> bool {
        self.shared.metrics.draining()
    }

    /// Seconds since 1970.
    fn now_seconds(&self) -> u64 {
        self.handle.wall() / 1_000_000_000
    }

    /// The `Date` header, made once a second.
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

    /// Notes a turn of the loop.
    fn turn(&self, now: u64, counts: DriverCounts) {
        let metrics = self.metrics();
        metrics.turn(now);
        metrics.turn_duration.record(now.saturating_sub(self.handle.now()));
        metrics.enters.add(counts.enters - metrics.enters.get());
        metrics.completions.add(counts.completions - metrics.completions.get());
        metrics.ops_in_flight.set(self.handle.ops_in_flight() as u64);
        metrics.buffer_bytes_used.set(self.handle.pool().used() as u64);
        if AUDITED && self.connections.held() == 0 && self.refusing.held() == 0 {
            self.expect_nobody();
        }
    }

    /// Without connections nothing is admitted, asked or set aside.
    fn expect_nobody(&self) {
        self.admission.expect_nothing();
        assert!(self.replies.is_empty(), "answers are awaited, and there are no connections");
        self.volumes.expect_no_uploads();
    }

    /// Makes the figures of the volumes known.
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
            counter.add(total - counter.get());
        }
        self.volumes.publish();
    }
}
