//! What its cluster says about a volume, on the board.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use super::cell::Level;
use crate::base::cluster::{Collection, ReplicaPlacement, Ttl};

/// What its cluster says about a volume. The volume's shard is the only writer, except for the fields that
/// name the control plane or the main thread.
#[derive(Debug, Default)]
pub struct ClusterBoard {
    /// 1 if the volume belongs to a cluster.
    pub is_of_cluster: Level,
    /// The collection, which never changes; set when the volume is open.
    pub collection: OnceLock<Collection>,
    /// Where the copies are: a [`ReplicaPlacement`].
    pub placement: Level,
    /// How long needles live: 256 times the count, and the code of the unit; 0 for ever.
    pub ttl: Level,
    /// 1 if the cluster has closed it to writes.
    pub is_read_only: Level,
    /// 1 if it takes deletes all the same.
    pub takes_deletes: Level,
    /// Highest key of all needles and tombstones that it ever had; 0 for none.
    pub max_key: Level,
    /// Whether it is announced to the master as read-only, because a copy of it on another node may lack
    /// changes. Written by the control plane.
    pub is_held: AtomicBool,
    /// Version up to which all copies on other nodes have everything; 0 if nothing is known of one of them.
    /// Written by the control plane.
    pub lowest_mark: Level,
    /// 1 if its time to live is over for everything in it: the master is not told of it any more, and it will
    /// be deleted. Written by the main thread.
    pub is_over: Level,
}

impl ClusterBoard {
    /// Returns the collection, if the volume is open and belongs to a cluster.
    #[must_use]
    pub fn collection(&self) -> Option<&Collection> {
        self.collection.get().filter(|_| self.is_of_cluster.get() != 0)
    }

    /// Returns where the copies are.
    #[must_use]
    pub fn placement(&self) -> ReplicaPlacement {
        ReplicaPlacement(u8::try_from(self.placement.get()).unwrap_or_default())
    }

    /// Returns the version from which on a copy on another node may lack deletions; `None` if there is to be
    /// no copy.
    #[must_use]
    pub fn lacking_from(&self) -> Option<u64> {
        let has_copies = self.is_of_cluster.get() != 0 && self.placement().copies() > 1;
        has_copies.then(|| self.lowest_mark.get())
    }

    /// Returns how long needles live; `None` for ever.
    #[must_use]
    pub fn ttl(&self) -> Option<Ttl> {
        Ttl::from_bytes(u16::try_from(self.ttl.get()).unwrap_or_default().to_be_bytes())
    }

    /// Sets how long needles live. Only the owner may call this.
    pub fn set_ttl(&self, ttl: Option<Ttl>) {
        let bytes = ttl.map_or([0, 0], Ttl::to_bytes);
        self.ttl.set(u16::from_be_bytes(bytes).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_gives_back_what_was_set() {
        let board = ClusterBoard::default();
        assert_eq!((board.collection(), board.ttl(), board.placement().0), (None, None, 0));
        let ttl = Ttl::from_bytes([255, 6]);
        board.set_ttl(ttl);
        board.placement.set(110);
        let collection = Collection::new("photos").unwrap();
        board.collection.set(collection.clone()).unwrap();
        assert_eq!(board.collection(), None, "it is set last");
        board.is_of_cluster.set(1);
        assert_eq!(board.collection(), Some(&collection));
        assert_eq!((board.ttl(), board.placement().0), (ttl, 110));
        assert_eq!(board.lacking_from(), Some(0), "nothing is known of the copies");
        board.lowest_mark.set(7);
        assert_eq!(board.lacking_from(), Some(7));
        board.placement.set(0);
        assert_eq!(board.lacking_from(), None);
        board.set_ttl(None);
        assert_eq!(board.ttl(), None);
    }
}
