//! Data directory and shard of each volume.

use std::collections::{BTreeMap, HashMap};

use super::volume_files::FoundVolume;
use crate::base::types::{ShardId, VolumeId};

/// Data directory, generation and shard of one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Position of its data directory.
    pub store: usize,
    /// Generation of its file.
    pub generation: u64,
    /// Its shard.
    pub shard: ShardId,
}

/// Data directory, generation and shard of all volumes.
#[derive(Clone, Debug)]
pub struct Placement {
    shards: usize,
    placed: BTreeMap<VolumeId, Placed>,
}

impl Placement {
    /// An empty placement for `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self { shards, placed: BTreeMap::new() }
    }

    /// Assigns a volume to the shard with the fewest volumes.
    pub fn place(&mut self, volume: &FoundVolume) -> Placed {
        let load = |shard: &ShardId| self.placed.values().filter(|p| p.shard == *shard).count();
        let shard =
            ShardId::all(self.shards).min_by_key(load).expect("a daemon has at least one shard");
        let placed = Placed { store: volume.store, generation: volume.generation, shard };
        self.placed.insert(volume.id, placed);
        placed
    }

    /// Removes a volume, if it is present.
    pub fn remove(&mut self, id: VolumeId) {
        self.placed.remove(&id);
    }

    /// Returns the placement of a volume.
    pub fn get(&self, id: VolumeId) -> Option<Placed> {
        self.placed.get(&id).copied()
    }

    /// All volumes, by ascending id.
    pub fn all(&self) -> impl Iterator<Item = (VolumeId, Placed)> {
        self.placed.iter().map(|(id, placed)| (*id, *placed))
    }

    /// Ids of the volumes in the data directory at position `store`, ascending.
    pub fn in_store(&self, store: usize) -> Vec<VolumeId> {
        let inside = self.placed.iter().filter(|(_, placed)| placed.store == store);
        inside.map(|(id, _)| *id).collect()
    }

    /// The shard of each volume, by volume id.
    pub fn owners(&self) -> HashMap<VolumeId, ShardId> {
        self.placed.iter().map(|(id, placed)| (*id, placed.shard)).collect()
    }

    /// Number of shards that have volumes in the same data directory as this shard; the largest of these
    /// numbers if the shard uses several directories. At least 1.
    pub fn sharing(&self, shard: ShardId) -> usize {
        let has = |shard, store| {
            self.placed.values().any(|placed| (placed.store, placed.shard) == (store, shard))
        };
        let mine = self.placed.values().filter(|placed| placed.shard == shard);
        let sharing = mine.map(|placed| {
            ShardId::all(self.shards).filter(|&other| has(other, placed.store)).count()
        });
        sharing.max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: u32, store: usize) -> FoundVolume {
        FoundVolume { store, id: VolumeId(id), generation: 0 }
    }

    fn shard(index: usize) -> ShardId {
        ShardId::from_index(index)
    }

    #[test]
    fn volumes_are_placed_on_the_shard_with_the_fewest() {
        let mut placement = Placement::new(2);
        let shards = [1, 2, 3].map(|id| placement.place(&volume(id, 0)).shard.index());
        assert_eq!(shards, [0, 1, 0]);
        placement.remove(VolumeId(1));
        placement.remove(VolumeId(3));
        assert_eq!(
            placement.place(&volume(7, 1)),
            Placed { store: 1, generation: 0, shard: shard(0) }
        );
        assert_eq!(
            placement.owners(),
            HashMap::from([(VolumeId(2), shard(1)), (VolumeId(7), shard(0))])
        );
        assert_eq!(
            (placement.get(VolumeId(7)).map(|p| p.store), placement.get(VolumeId(1))),
            (Some(1), None)
        );
        assert_eq!(placement.in_store(0), [VolumeId(2)]);
    }

    #[test]
    fn shards_with_volumes_in_one_data_directory_share_its_device() {
        let mut placement = Placement::new(3);
        assert_eq!(placement.sharing(shard(0)), 1, "nothing to share");
        for (id, store) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            placement.place(&volume(id, store));
        }
        // Shard 0 has volume 1 in directory 0 and volume 4 in directory 2.
        assert_eq!([0, 1, 2].map(|index| placement.sharing(shard(index))), [1, 2, 2]);
        placement.remove(VolumeId(3));
        assert_eq!([0, 1, 2].map(|index| placement.sharing(shard(index))), [1, 1, 1]);
    }
}
