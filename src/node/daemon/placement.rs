//! Data directory and shard of each volume.

use std::collections::{BTreeMap, HashMap};

use super::volume_files::FoundVolume;

/// Data directory, generation and shard of one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Position of its data directory.
    pub store: usize,
    /// Generation of its file.
    pub generation: u64,
    /// Number of its shard.
    pub shard: usize,
}

/// Data directory, generation and shard of all volumes.
#[derive(Clone, Debug)]
pub struct Placement {
    shards: usize,
    placed: BTreeMap<u32, Placed>,
}

impl Placement {
    /// An empty placement for `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self { shards, placed: BTreeMap::new() }
    }

    /// Assigns a volume to the shard with the fewest volumes.
    pub fn place(&mut self, volume: &FoundVolume) -> Placed {
        let load = |shard: &usize| self.placed.values().filter(|p| p.shard == *shard).count();
        let shard = (0..self.shards).min_by_key(load).expect("a daemon has at least one shard");
        let placed = Placed { store: volume.store, generation: volume.generation, shard };
        self.placed.insert(volume.id, placed);
        placed
    }

    /// Removes a volume, if it is present.
    pub fn remove(&mut self, id: u32) {
        self.placed.remove(&id);
    }

    /// Returns the placement of a volume.
    pub fn get(&self, id: u32) -> Option<Placed> {
        self.placed.get(&id).copied()
    }

    /// All volumes, by ascending id.
    pub fn all(&self) -> impl Iterator<Item = (u32, Placed)> {
        self.placed.iter().map(|(id, placed)| (*id, *placed))
    }

    /// Ids of the volumes in the data directory at position `store`, ascending.
    pub fn in_store(&self, store: usize) -> Vec<u32> {
        let inside = self.placed.iter().filter(|(_, placed)| placed.store == store);
        inside.map(|(id, _)| *id).collect()
    }

    /// The shard of each volume, by volume id.
    pub fn owners(&self) -> HashMap<u32, u16> {
        let owner = |placed: &Placed| u16::try_from(placed.shard).expect("at most 1024 shards");
        self.placed.iter().map(|(id, placed)| (*id, owner(placed))).collect()
    }

    /// Number of shards that have volumes in the same data directory as this shard; the largest of these
    /// numbers if the shard uses several directories. At least 1.
    pub fn sharing(&self, shard: usize) -> usize {
        let has = |shard, store| {
            self.placed.values().any(|placed| (placed.store, placed.shard) == (store, shard))
        };
        let mine = self.placed.values().filter(|placed| placed.shard == shard);
        let sharing =
            mine.map(|placed| (0..self.shards).filter(|&other| has(other, placed.store)).count());
        sharing.max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: u32, store: usize) -> FoundVolume {
        FoundVolume { store, id, generation: 0 }
    }

    #[test]
    fn volumes_are_placed_on_the_shard_with_the_fewest() {
        let mut placement = Placement::new(2);
        let shards = [1, 2, 3].map(|id| placement.place(&volume(id, 0)).shard);
        assert_eq!(shards, [0, 1, 0]);
        placement.remove(1);
        placement.remove(3);
        assert_eq!(placement.place(&volume(7, 1)), Placed { store: 1, generation: 0, shard: 0 });
        assert_eq!(placement.owners(), HashMap::from([(2, 1), (7, 0)]));
        assert_eq!((placement.get(7).map(|p| p.store), placement.get(1)), (Some(1), None));
        assert_eq!(placement.in_store(0), [2]);
    }

    #[test]
    fn shards_with_volumes_in_one_data_directory_share_its_device() {
        let mut placement = Placement::new(3);
        assert_eq!(placement.sharing(0), 1, "nothing to share");
        for (id, store) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            placement.place(&volume(id, store));
        }
        // Shard 0 has volume 1 in directory 0 and volume 4 in directory 2.
        assert_eq!([0, 1, 2].map(|shard| placement.sharing(shard)), [1, 2, 2]);
        placement.remove(3);
        assert_eq!([0, 1, 2].map(|shard| placement.sharing(shard)), [1, 1, 1]);
    }
}
