//! The other nodes that have copies, as shards see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::Event;
use super::probe::probe;
use super::replication::{PeerName, Replication};
use crate::node::board::Peer;

/// The other nodes that have copies. Each is probed as long as it is known.
pub(super) struct KnownPeers {
    peers: BTreeMap<PeerName, KnownPeer>,
    events: mpsc::Sender<Event>,
}

struct KnownPeer {
    peer: Arc<Peer>,
    /// Number of its failed exchanges that were seen.
    failures: u64,
    probing: JoinHandle<()>,
}

impl Drop for KnownPeer {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

impl KnownPeers {
    /// Knows none. The answers to probes are sent to `events`.
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { peers: BTreeMap::new(), events }
    }

    /// Returns a node at this address, and whether it was known at another one.
    pub(super) fn at(&mut self, name: &PeerName, address: SocketAddr) -> (Arc<Peer>, bool) {
        let known = self.peers.get(name);
        if let Some(known) = known.filter(|known| known.peer.address == address) {
            return (Arc::clone(&known.peer), false);
        }
        let has_moved = known.is_some();
        let peer = Arc::new(Peer::new(&**name, address));
        let probing = tokio::spawn(probe(Arc::clone(name), address, self.events.clone()));
        let known = KnownPeer { peer: Arc::clone(&peer), failures: 0, probing };
        self.peers.insert(Arc::clone(name), known);
        (peer, has_moved)
    }

    /// Returns the address of a node.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.peers.get(name).map(|known| known.peer.address)
    }

    /// Passes on the exchanges that have failed since the last call.
    pub(super) fn pass_failures(&mut self, replication: &mut Replication, now_ns: u64) {
        for (name, known) in &mut self.peers {
            let failures = known.peer.failures.load(Relaxed);
            for _ in known.failures..failures.min(known.failures + 2) {
                replication.exchange_failed(name, now_ns);
            }
            known.failures = failures;
        }
    }

    /// Forgets the nodes that have no copies any more, and shows which of the others answer. Returns whether
    /// that has changed.
    pub(super) fn show(&mut self, replication: &Replication) -> bool {
        let has_copies = |name: &PeerName| replication.peers().any(|peer| peer == name);
        self.peers.retain(|name, _| has_copies(name));
        let mut has_changed = false;
        for (name, known) in &self.peers {
            let answers = replication.answers(name);
            if known.peer.answers.swap(answers, Relaxed) == answers {
                continue;
            }
            has_changed = true;
            match answers {
                true => tracing::info!("cluster: {name} answers again"),
                false => tracing::warn!(
                    "cluster: {name} does not answer; nothing is sent to the copies of volumes that it has, \
                     and these volumes are announced to the master as read-only"
                ),
            }
        }
        has_changed
    }

    /// Number of nodes, and of those that answer.
    pub(super) fn count(&self) -> (u64, u64) {
        let answering = self.peers.values().filter(|known| known.peer.answers.load(Relaxed));
        (self.peers.len() as u64, answering.count() as u64)
    }
}
