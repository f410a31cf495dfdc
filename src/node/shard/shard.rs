//! State of one shard, which everything that a shard does works on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::admission::Admission;
use super::assignment::Assignment;
use super::config::ShardConfig;
use super::copies::{OriginClock, PeerPool};
use super::listener::Listener;
use super::message::Message;
use super::paces::Paces;
use super::remote::{RemoteRequest, RequestOrigin};
use super::requester::Requester;
use super::routes::Routes;
use super::shared::Shared;
use super::start::Start;
use super::volumes::Volumes;
use crate::base::accept::Failures;
use crate::base::account::Account;
use crate::base::throttle::Throttle;
use crate::base::types::{ShardId, VolumeId};
use crate::http::conn::Waiting;
use crate::http::date;
use crate::node::board::ShardBoard;
use crate::node::metrics::ShardMetrics;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::{Handle, Queue};

/// A shard.
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) handle: Handle,
    pub(super) config: ShardConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) volumes: Volumes,
    pub(super) admission: Rc<Admission>,
    pub(super) routes: Routes,
    /// Connections to other nodes of the cluster.
    pub(super) peers: PeerPool,
    /// Origin versions of changes.
    origins: OriginClock,
    /// Sends requests to other shards.
    pub(super) requester: Requester,
    /// Requests of other shards and of the main thread to this shard.
    pub(super) remote_requests: Queue<RemoteRequest>,
    pub(super) waiting: Rc<Waiting>,
    pub(super) connections: Account,
    pub(super) refusing: Account,
    /// Number of listeners that still accept.
    pub(super) accepting: Account,
    pub(super) date: Cell<(u64, [u8; date::LEN])>,
    /// A new limit of operations in flight per device, not yet passed to the driver.
    pub(super) device_limit: Cell<Option<usize>>,
    pub(super) listeners: RefCell<Vec<Listener>>,
    pub(super) accept_failures: Failures,
    /// Limits the messages about large bodies that could not be read to their end.
    pub(super) damage_warnings: Throttle,
    /// Limits the warnings that connections are refused above the limit.
    pub(super) refusal_warnings: Throttle,
}

impl Shard {
    pub(super) fn new(handle: &Handle, start: Start) -> (Rc<Self>, Vec<Assignment>) {
        let Start { id, config, shared, assignments, owners, listeners } = start;
        let accepting = Account::new("listeners");
        accepting.take(listeners.len() as u64);
        let requester = Requester::new(RequestOrigin::Shard(id), handle, &shared);
        let paces = Paces::new(id, config.background, &shared.disk_loads);
        let volumes = Volumes::new(shared.files.clone(), paces, config.reads);
        let shard = Self {
            id,
            handle: handle.clone(),
            config,
            shared,
            volumes,
            admission: Rc::new(Admission::new(handle)),
            routes: Routes::new(owners),
            peers: PeerPool::default(),
            origins: OriginClock::new(id.index()),
            requester,
            remote_requests: Queue::new(handle),
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

    pub(super) fn mailbox(&self) -> &Mailbox<Message> {
        &self.shared.mailboxes[self.id.index()]
    }

    pub(super) fn board(&self) -> &ShardBoard {
        &self.shared.board.shards[self.id.index()]
    }

    pub(super) fn metrics(&self) -> &ShardMetrics {
        &self.shared.metrics.shards[self.id.index()]
    }

    pub(super) fn draining(&self) -> bool {
        self.shared.board.draining()
    }

    /// Seconds since 1970.
    pub(super) fn now_seconds(&self) -> u64 {
        self.handle.wall() / 1_000_000_000
    }

    /// What a connection to another node works with.
    pub(super) fn for_peers(&self) -> (&Handle, &Rc<Admission>) {
        (&self.handle, &self.admission)
    }

    /// Returns the origin version of a change that is made now.
    pub(super) fn next_origin(&self) -> u64 {
        self.origins.next(self.handle.wall())
    }

    /// Value of the `Date` field, formatted once a second.
    pub(super) fn date(&self) -> [u8; date::LEN] {
        let now = self.now_seconds();
        let (second, text) = self.date.get();
        if second == now {
            return text;
        }
        let text = date::format(now);
        self.date.set((now, text));
        text
    }

    /// Returns the shard that owns a volume, if there is such a volume.
    pub(super) fn owner_of(&self, volume: VolumeId) -> Option<ShardId> {
        self.routes.owner(volume)
    }
}
