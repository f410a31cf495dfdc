//! The task that tracks and repairs the copies of volumes on other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::event::Event;
use super::known_copies::KnownCopies;
use super::known_peers::KnownPeers;
use super::location::Located;
use super::lookups::Lookups;
use super::mark_store::{MarkStore, Marks};
use super::replication::{KnownVolume, Offer, PeerName, Replication};
use crate::base::limits::OFFERS_MAX;
use crate::base::sys;
use crate::base::types::VolumeId;
use crate::node::board::VolumeBoard;
use crate::node::control::cluster::node::ClusterNode;
use crate::node::control::cluster::orders::Orders;
use crate::node::control::cluster::shown_copy::ShownCopy;
use crate::node::control::cluster::state::ClusterState;
use crate::node::control::{OfferedPiece, Refused, StopSignal};
use crate::node::metrics::Metrics;

/// Interval between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval at which the master is asked for the copies of all volumes (nanoseconds).
const LOOKUP_EVERY_NS: u64 = 5_000_000_000;
/// Interval at which it is asked for the copies of a volume of which it has not named all (nanoseconds).
const MISSING_EVERY_NS: u64 = 500_000_000;
/// Pause after the master could not be asked (nanoseconds).
const LOOKUP_PAUSE_NS: u64 = 500_000_000;
/// Interval at which what is shown of the copies is renewed (nanoseconds).
const SHOW_EVERY_NS: u64 = 1_000_000_000;
/// Interval at which the marks are saved (nanoseconds).
const SAVE_EVERY_NS: u64 = 5_000_000_000;
/// Number of events that may wait.
const EVENTS_MAX: usize = 64;

/// What the task works with.
pub struct CopiesParts {
    /// What the node says about itself.
    pub node: Arc<ClusterNode>,
    /// State of the node in the cluster.
    pub state: Arc<ClusterState>,
    /// The volumes.
    pub metrics: Arc<Metrics>,
    /// Requests to the main thread.
    pub orders: Orders,
    /// The marks that an earlier start has noted.
    pub marks: Marks,
    /// Where marks are saved.
    pub store: MarkStore,
}

/// Tracks and repairs the copies of volumes, on `runtime`, until `stop` is requested. Returns the task.
#[must_use]
pub fn spawn_copies(runtime: &Handle, stop: StopSignal, parts: CopiesParts) -> JoinHandle<()> {
    let CopiesParts { node, state, metrics, orders, marks, store } = parts;
    let (events_in, events) = mpsc::channel(EVENTS_MAX);
    // One question at a time.
    let (asking, asked) = mpsc::channel(1);
    runtime.spawn(Lookups::new(node.name(), Arc::clone(&state)).run(asked, events_in.clone()));
    let copies = Copies {
        state,
        metrics,
        orders,
        store,
        replication: Replication::new(marks),
        peers: KnownPeers::new(events_in.clone()),
        copies: KnownCopies::default(),
        questions: Questions {
            asking,
            is_asking: false,
            wanted: BTreeSet::new(),
            next_ns: 0,
            next_missing_ns: 0,
            not_before_ns: 0,
        },
        offers: 0,
        events: events_in,
        next_show_ns: 0,
        next_save_ns: 0,
    };
    runtime.spawn(copies.run(events, stop))
}

/// The copies of volumes on other nodes.
struct Copies {
    state: Arc<ClusterState>,
    metrics: Arc<Metrics>,
    orders: Orders,
    store: MarkStore,
    replication: Replication,
    peers: KnownPeers,
    copies: KnownCopies,
    questions: Questions,
    /// Number of pieces that are being offered.
    offers: usize,
    /// Where offers report.
    events: mpsc::Sender<Event>,
    next_show_ns: u64,
    next_save_ns: u64,
}

/// What the master is asked.
struct Questions {
    asking: mpsc::Sender<BTreeSet<VolumeId>>,
    /// Whether it has not answered yet.
    is_asking: bool,
    /// Volumes that shards want to know the copies of.
    wanted: BTreeSet<VolumeId>,
    /// When it is asked for all volumes next.
    next_ns: u64,
    /// When it is asked for those next of which it has not named all copies.
    next_missing_ns: u64,
    /// It is asked for none before.
    not_before_ns: u64,
}

impl Copies {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, mut stop: StopSignal) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.requested() => break,
                Some(event) = events.recv() => self.take(event),
                _ = ticks.tick() => self.look(),
            }
        }
        self.save();
    }

    fn take(&mut self, event: Event) {
        let now_ns = sys::monotonic_ns();
        match event {
            Event::Located(None) => {
                self.questions.is_asking = false;
                self.questions.not_before_ns = now_ns + LOOKUP_PAUSE_NS;
                self.questions.next_ns = self.questions.not_before_ns;
            }
            Event::Located(Some(located)) => {
                self.questions.is_asking = false;
                self.located(located, now_ns);
            }
            Event::Probed(peer, answer) => self.replication.probed(&peer, answer, now_ns),
            Event::Offered(offered) => {
                let (offer, result) = *offered;
                self.offered(&offer, result, now_ns);
            }
        }
    }

    /// Takes what the master has said.
    fn located(&mut self, located: Located, now_ns: u64) {
        for (volume, locations) in located {
            if !self.replication.knows(volume) {
                continue;
            }
            let mut peers = Vec::new();
            for location in locations {
                let (peer, has_moved) = self.peers.at(&location.name, location.address);
                if has_moved {
                    // Exchanges with the former address may fail unseen.
                    self.replication.peer_failed(&location.name, now_ns);
                }
                peers.push((location.name, peer, location.is_read_only));
            }
            let names: Vec<PeerName> = peers.iter().map(|(name, ..)| Arc::clone(name)).collect();
            // First: what shards do with the copies from now on is known of them.
            self.replication.listed(volume, &names, now_ns);
            self.copies.listed(volume, peers);
        }
        self.show_to_shards();
        self.show_holds();
    }

    fn offered(&mut self, offer: &Offer, result: Result<OfferedPiece, Refused>, now_ns: u64) {
        self.offers -= 1;
        let numbers = &self.metrics.cluster;
        let piece = match result {
            Ok(OfferedPiece { next, is_end, objects, deletions }) => {
                numbers.offered_objects.add(objects);
                numbers.offered_deletions.add(deletions);
                Some((next, is_end))
            }
            Err(refused) => {
                numbers.failed_offers.inc();
                tracing::debug!(
                    volume = offer.volume.0,
                    "not offered to {}: {refused}",
                    offer.peer
                );
                None
            }
        };
        self.replication.offered(offer, piece, now_ns);
        self.offer(now_ns);
    }

    /// The regular look.
    fn look(&mut self) {
        let now_ns = sys::monotonic_ns();
        self.copies.pass_failures(&mut self.replication, now_ns);
        self.peers.pass_failures(&mut self.replication, now_ns);
        let board = &self.metrics.board;
        let volumes = board.volumes();
        let known: Vec<KnownVolume> = volumes.iter().filter_map(|it| with_copies(it)).collect();
        let is_there = |id| volumes.iter().any(|volume| volume.info.id == id);
        self.replication.look(&known, is_there, now_ns);
        self.copies.tidy(&self.replication);
        if self.peers.show(&self.replication) {
            self.show_to_shards();
        }
        self.ask(&known, now_ns);
        self.offer(now_ns);
        self.show_holds();
        if now_ns >= self.next_show_ns {
            self.next_show_ns = now_ns + SHOW_EVERY_NS;
            self.show(&known);
        }
        if now_ns >= self.next_save_ns {
            self.next_save_ns = now_ns + SAVE_EVERY_NS;
            self.save();
        }
    }

    /// Asks the master for copies, if that is due.
    fn ask(&mut self, known: &[KnownVolume], now_ns: u64) {
        let questions = &mut self.questions;
        questions.wanted.append(&mut self.metrics.board.copies.take_wanted());
        let may_ask = !questions.is_asking && now_ns >= questions.not_before_ns;
        if !may_ask || self.state.link().master.is_none() {
            return;
        }
        let is_due = now_ns >= questions.next_ns;
        let are_missing_due = now_ns >= questions.next_missing_ns;
        let is_missing = |volume: &KnownVolume| self.copies.listed_of(volume.id) < volume.copies;
        let is_asked = |volume: &&KnownVolume| {
            let is_wanted = questions.wanted.contains(&volume.id);
            is_due || is_wanted || are_missing_due && is_missing(volume)
        };
        let volumes: BTreeSet<_> = known.iter().filter(is_asked).map(|volume| volume.id).collect();
        if is_due {
            questions.next_ns = now_ns + LOOKUP_EVERY_NS;
        }
        if are_missing_due {
            questions.next_missing_ns = now_ns + MISSING_EVERY_NS;
        }
        questions.wanted.clear();
        if !volumes.is_empty() {
            questions.is_asking = questions.asking.try_send(volumes).is_ok();
        }
    }

    /// Offers what is to be offered now.
    fn offer(&mut self, now_ns: u64) {
        for offer in self.replication.next_offers(OFFERS_MAX - self.offers, now_ns) {
            self.offers += 1;
            let (orders, events) = (self.orders.clone(), self.events.clone());
            let address = self.peers.address(&offer.peer);
            tokio::spawn(async move {
                let result = match address {
                    Some(address) => orders.offer(offer.volume, address, offer.from).await,
                    None => Err(Refused::Unavailable("Its address is not known.".to_owned())),
                };
                // Without a receiver the daemon stops.
                let _ = events.send(Event::Offered(Box::new((offer, result)))).await;
            });
        }
    }

    /// Shows the copies to shards.
    fn show_to_shards(&self) {
        self.metrics.board.copies.set(self.copies.shown());
    }

    /// Shows which volumes are held, and has the master told of what has changed.
    fn show_holds(&self) {
        let mut has_changed = false;
        for volume in self.metrics.board.volumes() {
            let (id, cluster) = (volume.info.id, &volume.cluster);
            cluster.lowest_mark.set(self.replication.lowest_mark(id));
            let is_held = self.replication.is_held(id);
            if cluster.is_held.swap(is_held, Relaxed) == is_held {
                continue;
            }
            has_changed = true;
            match is_held {
                true => tracing::info!(
                    volume = id.0,
                    "held: a copy on another node may lack something; the master assigns nothing to it until \
                     the copy has everything"
                ),
                false => {
                    tracing::info!(volume = id.0, "no longer held: all copies have everything")
                }
            }
        }
        if has_changed {
            self.state.volumes_changed();
        }
    }

    /// Shows the state of the copies to people.
    fn show(&self, known: &[KnownVolume]) {
        let mut shown: BTreeMap<VolumeId, Vec<ShownCopy>> = BTreeMap::new();
        for volume in known {
            let copies = self.replication.copies(volume.id).map(|copy| ShownCopy {
                answers: self.replication.answers(&copy.peer),
                peer: copy.peer.to_string(),
                is_listed: copy.is_listed,
                is_behind: copy.is_behind,
                mark: copy.mark,
            });
            shown.insert(volume.id, copies.collect());
        }
        let numbers = &self.metrics.cluster;
        let (peers, answering) = self.peers.count();
        numbers.peers.set(peers);
        numbers.peers_answering.set(answering);
        numbers.copies.set(shown.values().map(|copies| copies.len() as u64).sum());
        let behind = shown.values().flatten().filter(|copy| copy.is_behind);
        numbers.copies_behind.set(behind.count() as u64);
        let held = known.iter().filter(|volume| self.replication.is_held(volume.id));
        numbers.volumes_held.set(held.count() as u64);
        self.state.set_copies(shown);
    }

    /// Saves the marks that have changed.
    fn save(&mut self) {
        let board = &self.metrics.board;
        let disk_of = |id| board.volume(id).map(|volume| volume.disk_position());
        self.store.save(&self.replication.marks(), disk_of);
    }
}

/// Returns a volume that is to have copies on other nodes; `None` for others.
fn with_copies(board: &VolumeBoard) -> Option<KnownVolume> {
    let cluster = &board.cluster;
    cluster.collection().filter(|_| board.state.get().serves())?;
    let copies = cluster.placement().copies().saturating_sub(1) as usize;
    let (id, newest) = (board.info.id, board.newest_ns.get());
    (copies > 0).then_some(KnownVolume { id, newest, copies })
}
