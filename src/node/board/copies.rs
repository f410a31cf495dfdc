//! Where the copies of the cluster's volumes are on other nodes, on the board.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::base::types::VolumeId;

/// Another node of the cluster. The control plane is the only writer, except for `failures`.
#[derive(Debug)]
pub struct Peer {
    /// Its name in the cluster: `HOST:PORT`.
    pub name: String,
    /// Address of its data API.
    pub address: SocketAddr,
    /// False while it does not answer: nothing is sent to it then, so that no client waits for a timeout.
    pub answers: AtomicBool,
    /// Number of exchanges with it that failed or were overdue. Shards add to it.
    pub failures: AtomicU64,
}

impl Peer {
    /// Creates a peer that answers.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        let (answers, failures) = (AtomicBool::new(true), AtomicU64::new(0));
        Self { name: name.into(), address, answers, failures }
    }
}

/// A copy of a volume on another node.
#[derive(Debug)]
pub struct VolumeCopy {
    /// The node.
    pub peer: Arc<Peer>,
    /// Number of changes of the volume that the copy may lack: the node did not confirm them in time. Shards
    /// add to it.
    pub unconfirmed: AtomicU64,
}

impl VolumeCopy {
    /// Creates a copy without unconfirmed changes.
    #[must_use]
    pub fn new(peer: Arc<Peer>) -> Self {
        Self { peer, unconfirmed: AtomicU64::new(0) }
    }

    /// Records that a change may be missing there: an exchange with the node failed, or is overdue.
    pub fn failed(&self) {
        self.unconfirmed.fetch_add(1, Relaxed);
        self.peer.failures.fetch_add(1, Relaxed);
    }
}

/// The copies of a volume on other nodes, as the master knows them.
#[derive(Clone, Debug, Default)]
pub struct VolumeCopies {
    /// Each copy.
    pub list: Vec<Arc<VolumeCopy>>,
    /// Number of those that the master takes for writable.
    pub writable: usize,
}

/// The copies of all volumes. The control plane writes what shards read.
#[derive(Debug, Default)]
pub struct CopiesBoard {
    volumes: RwLock<BTreeMap<VolumeId, Arc<VolumeCopies>>>,
    wanted: Mutex<BTreeSet<VolumeId>>,
    /// Number of times that the master was asked.
    lookups: AtomicU64,
}

impl CopiesBoard {
    /// Returns the copies of a volume; `None` as long as the master was not asked.
    #[must_use]
    pub fn of(&self, volume: VolumeId) -> Option<Arc<VolumeCopies>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&volume).cloned()
    }

    /// Replaces what is known of all volumes.
    pub fn set(&self, volumes: BTreeMap<VolumeId, Arc<VolumeCopies>>) {
        *self.volumes.write().unwrap_or_else(PoisonError::into_inner) = volumes;
        self.lookups.fetch_add(1, Relaxed);
    }

    /// Returns how often what is known was replaced.
    #[must_use]
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Relaxed)
    }

    /// Asks for the present copies of a volume: what is known is not enough to write to it.
    pub fn want(&self, volume: VolumeId) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(volume);
    }

    /// Takes the volumes whose copies were asked for.
    #[must_use]
    pub fn take_wanted(&self) -> BTreeSet<VolumeId> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_gives_back_what_was_set_and_wanted() {
        let board = CopiesBoard::default();
        assert!(board.of(VolumeId(3)).is_none() && board.take_wanted().is_empty());
        let peer = Arc::new(Peer::new("10.0.0.2:8080", "10.0.0.2:8080".parse().unwrap()));
        let copy = Arc::new(VolumeCopy::new(Arc::clone(&peer)));
        let copies = VolumeCopies { list: vec![Arc::clone(&copy)], writable: 1 };
        board.set(BTreeMap::from([(VolumeId(3), Arc::new(copies))]));
        let known = board.of(VolumeId(3)).unwrap();
        known.list[0].failed();
        assert_eq!((copy.unconfirmed.load(Relaxed), peer.failures.load(Relaxed)), (1, 1));
        assert!(peer.answers.load(Relaxed) && board.of(VolumeId(4)).is_none());
        board.want(VolumeId(4));
        board.want(VolumeId(4));
        assert_eq!(board.take_wanted(), BTreeSet::from([VolumeId(4)]));
        assert!(board.take_wanted().is_empty());
        board.set(BTreeMap::new());
        assert!(board.of(VolumeId(3)).is_none());
        assert_eq!(board.lookups(), 2);
    }
}
