//! What the copies of all volumes may lack, and what is offered to them next. Without I/O, and with the time
//! as a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::copy_state::CopyState;
use super::mark_store::Marks;
use super::peer_state::{PeerAnswer, PeerChange, PeerState};
use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;

/// Name of a node in the cluster: `HOST:PORT`.
pub type PeerName = Arc<str>;

/// A volume that has copies on other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownVolume {
    /// Volume id.
    pub id: VolumeId,
    /// Its highest version; 0 if it is empty.
    pub newest: u64,
    /// Number of copies that it is to have on other nodes, at least one.
    pub copies: usize,
}

/// A piece of changes that is to be offered to a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Volume id.
    pub volume: VolumeId,
    /// The node.
    pub peer: PeerName,
    /// Where the piece begins.
    pub from: StreamPosition,
    /// Tells this offer from all others.
    number: u64,
}

/// A copy as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyView {
    /// The node.
    pub peer: PeerName,
    /// Whether the master lists it.
    pub is_listed: bool,
    /// Whether it may lack something.
    pub is_behind: bool,
    /// Version up to which both nodes have everything.
    pub mark: u64,
}

/// What the copies of all volumes may lack. Times are in nanoseconds of any clock that does not go back.
#[derive(Debug, Default)]
pub struct Replication {
    volumes: BTreeMap<VolumeId, VolumeState>,
    peers: BTreeMap<PeerName, PeerState>,
    /// Marks of volumes that are not open.
    remembered: Marks,
    /// Number of offers so far.
    offers: u64,
}

#[derive(Debug)]
struct VolumeState {
    newest: u64,
    /// Number of copies that it is to have on other nodes.
    wanted: usize,
    copies: BTreeMap<PeerName, CopyState>,
}

impl Replication {
    /// Begins with the marks that an earlier start has noted.
    #[must_use]
    pub fn new(remembered: Marks) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Looks at all volumes that have copies. `is_there` tells whether a volume exists that is not among
    /// them, for instance because it is being recovered: its marks are kept.
    pub fn look(
        &mut self,
        volumes: &[KnownVolume],
        is_there: impl Fn(VolumeId) -> bool,
        now_ns: u64,
    ) {
        let present: BTreeSet<VolumeId> = volumes.iter().map(|volume| volume.id).collect();
        let gone = self.volumes.extract_if(.., |id, _| !present.contains(id));
        self.remembered.extend(gone.map(|(id, volume)| (id, volume.marks())));
        for volume in volumes {
            self.look_at(volume, now_ns);
        }
        self.remembered.retain(|id, _| is_there(*id));
        self.forget_peers();
    }

    fn look_at(&mut self, volume: &KnownVolume, now_ns: u64) {
        let KnownVolume { id, newest, copies: wanted } = *volume;
        let remembered = &mut self.remembered;
        let state = self.volumes.entry(id).or_insert_with(|| {
            let marks = remembered.remove(&id).unwrap_or_default().into_iter();
            // A volume that was brought back from a backup may end before its mark.
            let copy = |mark: u64| CopyState::remembered(mark.min(newest), now_ns);
            let copies = marks.map(|(peer, mark)| (peer.into(), copy(mark))).collect();
            VolumeState { newest, wanted, copies }
        });
        (state.newest, state.wanted) = (newest, wanted);
        for (peer, copy) in &mut state.copies {
            let node = self.peers.entry(Arc::clone(peer)).or_insert_with(|| PeerState::new(now_ns));
            copy.look(newest, now_ns);
            copy.settle(node.well_since_ns(), now_ns);
        }
    }

    /// Takes the copies of a volume that the master lists. One that it does not list any more is remembered
    /// until the volume has all its copies elsewhere.
    pub fn listed(&mut self, volume: VolumeId, peers: &[PeerName], now_ns: u64) {
        let Some(state) = self.volumes.get_mut(&volume) else { return };
        for peer in peers {
            let newest = state.newest;
            let node = self.peers.entry(Arc::clone(peer)).or_insert_with(|| PeerState::new(now_ns));
            let unknown = || {
                let mut copy = CopyState::unknown(newest, now_ns);
                if !node.answers() {
                    copy.trouble(now_ns);
                }
                copy
            };
            let copy = state.copies.entry(Arc::clone(peer)).or_insert_with(unknown);
            copy.set_listed(true, now_ns);
        }
        if peers.len() >= state.wanted {
            state.copies.retain(|peer, _| peers.contains(peer));
        }
        for (peer, copy) in &mut state.copies {
            if !peers.contains(peer) {
                copy.set_listed(false, now_ns);
            }
        }
        self.forget_peers();
    }

    /// An exchange about a volume with a node failed, or is overdue: the copy may lack a change.
    pub fn copy_failed(&mut self, volume: VolumeId, peer: &str, now_ns: u64) {
        if let Some(copy) = self.copy(volume, peer) {
            copy.trouble(now_ns);
        }
    }

    /// An exchange with a node failed, or is overdue, whatever it was about.
    pub fn exchange_failed(&mut self, peer: &str, now_ns: u64) {
        let change = self.peers.get_mut(peer).map(|state| state.exchange_failed(now_ns));
        self.follow(peer, change, now_ns);
    }

    /// A node was probed; `None` if it did not answer.
    pub fn probed(&mut self, peer: &str, answer: Option<PeerAnswer>, now_ns: u64) {
        let change = self.peers.get_mut(peer).map(|state| state.probed(answer, now_ns));
        self.follow(peer, change, now_ns);
    }

    fn follow(&mut self, peer: &str, change: Option<PeerChange>, now_ns: u64) {
        if matches!(change, Some(PeerChange::Silent | PeerChange::Restarted)) {
            self.peer_failed(peer, now_ns);
        }
    }

    /// All copies on a node may lack something.
    pub fn peer_failed(&mut self, peer: &str, now_ns: u64) {
        let copies = self.volumes.values_mut().filter_map(|volume| volume.copies.get_mut(peer));
        copies.for_each(|copy| copy.trouble(now_ns));
    }

    /// Returns what is to be offered now, at most `most` pieces, and one at a time to each node.
    pub fn next_offers(&mut self, most: usize, now_ns: u64) -> Vec<Offer> {
        let mut busy: BTreeSet<PeerName> = BTreeSet::new();
        for (peer, copy) in self.volumes.values().flat_map(|volume| &volume.copies) {
            if copy.offering().is_some() {
                busy.insert(Arc::clone(peer));
            }
        }
        let mut offers = Vec::new();
        for (id, volume) in &mut self.volumes {
            for (peer, copy) in &mut volume.copies {
                let answers = self.peers.get(peer).is_some_and(PeerState::answers);
                let is_wanted = answers && copy.wants_offer(now_ns) && !busy.contains(peer);
                if !is_wanted || offers.len() >= most {
                    continue;
                }
                let number = self.offers;
                if let Some(from) = copy.begin_offer(number) {
                    self.offers += 1;
                    busy.insert(Arc::clone(peer));
                    offers.push(Offer { volume: *id, peer: Arc::clone(peer), from, number });
                }
            }
        }
        offers
    }

    /// A piece was offered: where the next one begins, and whether there was no more. `None` if it did not
    /// arrive.
    pub fn offered(&mut self, offer: &Offer, result: Option<(StreamPosition, bool)>, now_ns: u64) {
        let number = Some(offer.number);
        let copy = self.copy(offer.volume, &offer.peer);
        // Another one may have taken its place.
        let Some(copy) = copy.filter(|copy| copy.offering() == number) else { return };
        match result {
            Some((next, is_end)) => copy.offered(next, is_end),
            None => copy.not_offered(now_ns),
        }
    }

    fn copy(&mut self, volume: VolumeId, peer: &str) -> Option<&mut CopyState> {
        self.volumes.get_mut(&volume)?.copies.get_mut(peer)
    }

    fn forget_peers(&mut self) {
        let volumes = &self.volumes;
        let has_copy = |peer: &str| volumes.values().any(|it| it.copies.contains_key(peer));
        self.peers.retain(|peer, _| has_copy(peer));
    }

    /// Whether a volume is among those that have copies.
    #[must_use]
    pub fn knows(&self, volume: VolumeId) -> bool {
        self.volumes.contains_key(&volume)
    }

    /// Whether the master must not assign anything to a volume.
    #[must_use]
    pub fn is_held(&self, volume: VolumeId) -> bool {
        let copies = self.volumes.get(&volume).map(|volume| volume.copies.values());
        copies.into_iter().flatten().any(CopyState::is_held)
    }

    /// Version up to which all copies of a volume have everything; 0 if nothing is known of one of them.
    #[must_use]
    pub fn lowest_mark(&self, volume: VolumeId) -> u64 {
        let Some(volume) = self.volumes.get(&volume) else { return 0 };
        if volume.copies.len() < volume.wanted {
            return 0;
        }
        volume.copies.values().map(CopyState::mark).min().unwrap_or(0)
    }

    /// Whether anything is to be sent to a node.
    #[must_use]
    pub fn answers(&self, peer: &str) -> bool {
        self.peers.get(peer).is_some_and(PeerState::answers)
    }

    /// The nodes that have copies.
    pub fn peers(&self) -> impl Iterator<Item = &PeerName> {
        self.peers.keys()
    }

    /// The copies of a volume.
    pub fn copies(&self, volume: VolumeId) -> impl Iterator<Item = CopyView> {
        let copies = self.volumes.get(&volume).into_iter().flat_map(|volume| &volume.copies);
        copies.map(|(peer, copy)| CopyView {
            peer: Arc::clone(peer),
            is_listed: copy.is_listed(),
            is_behind: copy.is_behind(),
            mark: copy.mark(),
        })
    }

    /// The marks of all volumes, also of those that are not open.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let open = self.volumes.iter().map(|(id, volume)| (*id, volume.marks()));
        let all = self.remembered.clone().into_iter().chain(open);
        all.filter(|(_, marks)| !marks.is_empty()).collect()
    }
}

impl VolumeState {
    fn marks(&self) -> BTreeMap<String, u64> {
        self.copies.iter().map(|(peer, copy)| (peer.to_string(), copy.mark())).collect()
    }
}

#[cfg(test)]
mod tests;
