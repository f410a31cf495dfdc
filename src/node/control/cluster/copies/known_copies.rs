//! The copies of volumes on other nodes, as shards see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::replication::{PeerName, Replication};
use crate::base::types::VolumeId;
use crate::node::board::{Peer, VolumeCopies, VolumeCopy};

/// The copies of volumes. A copy keeps its counter as long as it is known, also while the master does not
/// list it.
#[derive(Default)]
pub(super) struct KnownCopies(BTreeMap<VolumeId, BTreeMap<PeerName, KnownCopy>>);

struct KnownCopy {
    copy: Arc<VolumeCopy>,
    /// Number of its unconfirmed changes that were seen.
    unconfirmed: u64,
    /// Whether the master lists it.
    is_listed: bool,
    /// Whether the master takes it for read-only.
    is_read_only: bool,
}

impl KnownCopies {
    /// Takes the copies of a volume that the master lists: the nodes, and whether each copy is read-only.
    pub(super) fn listed(&mut self, volume: VolumeId, peers: Vec<(PeerName, Arc<Peer>, bool)>) {
        let copies = self.0.entry(volume).or_default();
        copies.values_mut().for_each(|known| known.is_listed = false);
        for (name, peer, is_read_only) in peers {
            let new = || KnownCopy {
                copy: Arc::new(VolumeCopy::new(Arc::clone(&peer))),
                unconfirmed: 0,
                is_listed: true,
                is_read_only,
            };
            let known = copies.entry(name).or_insert_with(new);
            if !Arc::ptr_eq(&known.copy.peer, &peer) {
                *known = new();
            }
            (known.is_listed, known.is_read_only) = (true, is_read_only);
        }
    }

    /// Forgets the copies that are not there any more.
    pub(super) fn tidy(&mut self, replication: &Replication) {
        self.0.retain(|volume, copies| {
            let is_there = |name: &PeerName| replication.copies(*volume).any(|it| it.peer == *name);
            copies.retain(|name, _| is_there(name));
            replication.knows(*volume)
        });
    }

    /// Passes on the changes that were not confirmed since the last call.
    pub(super) fn pass_failures(&mut self, replication: &mut Replication, now_ns: u64) {
        for (volume, copies) in &mut self.0 {
            for (name, known) in copies {
                let unconfirmed = known.copy.unconfirmed.load(Relaxed);
                if std::mem::replace(&mut known.unconfirmed, unconfirmed) != unconfirmed {
                    replication.copy_failed(*volume, name, now_ns);
                }
            }
        }
    }

    /// Number of copies of a volume that the master lists.
    pub(super) fn listed_of(&self, volume: VolumeId) -> usize {
        let copies = self.0.get(&volume).into_iter().flat_map(BTreeMap::values);
        copies.filter(|known| known.is_listed).count()
    }

    /// Returns the copies for shards: those that the master lists.
    pub(super) fn shown(&self) -> BTreeMap<VolumeId, Arc<VolumeCopies>> {
        let of_volume = |copies: &BTreeMap<PeerName, KnownCopy>| {
            let listed = copies.values().filter(|known| known.is_listed);
            let is_writable =
                |known: &&KnownCopy| !known.is_read_only && known.copy.peer.answers.load(Relaxed);
            let writable = listed.clone().filter(is_writable).count();
            let list = listed.map(|known| Arc::clone(&known.copy)).collect();
            Arc::new(VolumeCopies { list, writable })
        };
        self.0.iter().map(|(volume, copies)| (*volume, of_volume(copies))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::control::cluster::copies::replication::KnownVolume;

    #[test]
    fn copies_keep_their_counters_while_the_master_does_not_list_them() {
        let (mut copies, mut replication) = (KnownCopies::default(), Replication::default());
        let volume = VolumeId(3);
        let known = KnownVolume { id: volume, newest: 0, copies: 2 };
        replication.look(&[known], |_| true, 0);
        let peer = |name: &str| {
            let peer = Arc::new(Peer::new(name, "10.0.0.2:80".parse().unwrap()));
            (PeerName::from(name), peer)
        };
        let ((first, first_peer), (last, last_peer)) = (peer("a:80"), peer("b:80"));
        let both = || {
            let first = (Arc::clone(&first), Arc::clone(&first_peer), false);
            vec![first, (Arc::clone(&last), Arc::clone(&last_peer), true)]
        };
        assert_eq!(copies.listed_of(volume), 0);
        copies.listed(volume, both());
        replication.listed(volume, &[Arc::clone(&first), Arc::clone(&last)], 0);
        copies.tidy(&replication);
        assert_eq!(copies.listed_of(volume), 2);
        let shown = copies.shown().remove(&volume).unwrap();
        assert_eq!((shown.list.len(), shown.writable), (2, 1), "the other one is read-only");
        first_peer.answers.store(false, Relaxed);
        assert_eq!(copies.shown()[&volume].writable, 0);
        copies.listed(volume, Vec::new());
        replication.listed(volume, &[], 0);
        copies.tidy(&replication);
        assert!(copies.shown()[&volume].list.is_empty());
        shown.list[0].failed();
        copies.pass_failures(&mut replication, 5);
        assert!(replication.is_held(volume));
        copies.listed(volume, both());
        let again = copies.shown().remove(&volume).unwrap();
        assert!(Arc::ptr_eq(&again.list[0], &shown.list[0]));
        // Another address makes it another copy.
        let moved = peer("a:80").1;
        copies.listed(volume, vec![(first, moved, false)]);
        assert!(!Arc::ptr_eq(&copies.shown()[&volume].list[0], &shown.list[0]));
        replication.look(&[], |_| false, 9);
        copies.tidy(&replication);
        assert!(copies.listed_of(volume) == 0 && copies.shown().is_empty());
    }
}
