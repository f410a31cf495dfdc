//! Files and shard of each volume.

use std::collections::{BTreeMap, HashMap};

use super::volume_files::{FoundFile, FoundVolume};
use crate::base::types::{ShardId, VolumeId};

/// Files and shard of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its files as they were found, by ascending generation. The shard decides which of them counts.
    pub files: Vec<FoundFile>,
    /// Its shard.
    pub shard: ShardId,
}

impl Placed {
    fn is_in(&self, store: usize) -> bool {
        self.files.iter().any(|file| file.store == store)
    }
}

/// Files and shard of all volumes.
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

    /// Assigns a volume, with all its files, to the shard with the fewest volumes. Returns the shard.
    pub fn place(&mut self, volume: &FoundVolume) -> ShardId {
        let load = |shard: &ShardId| self.placed.values().filter(|p| p.shard == *shard).count();
        let shard =
            ShardId::all(self.shards).min_by_key(load).expect("a daemon has at least one shard");
        self.placed.insert(volume.id, Placed { files: volume.files.clone(), shard });
        shard
    }

    /// Records the data directory and the generation of the new file of a volume, which replaces those it
    /// had. Its shard stays the same.
    pub fn renew(&mut self, id: VolumeId, store: usize, generation: u64) {
        if let Some(placed) = self.placed.get_mut(&id) {
            placed.files = vec![FoundFile { store, generation }];
        }
    }

    /// Removes a volume, if it is present.
    pub fn remove(&mut self, id: VolumeId) {
        self.placed.remove(&id);
    }

    /// Returns the placement of a volume.
    pub fn get(&self, id: VolumeId) -> Option<&Placed> {
        self.placed.get(&id)
    }

    /// All volumes, by ascending id.
    pub fn all(&self) -> impl Iterator<Item = (VolumeId, &Placed)> {
        self.placed.iter().map(|(id, placed)| (*id, placed))
    }

    /// The shard of each volume, by volume id.
    pub fn owners(&self) -> HashMap<VolumeId, ShardId> {
        self.placed.iter().map(|(id, placed)| (*id, placed.shard)).collect()
    }

    /// Number of shards that have volumes in the same data directory as this shard; the largest of these
    /// numbers if the shard uses several directories. At least 1. A volume with files in several directories
    /// counts in each.
    pub fn sharing(&self, shard: ShardId) -> usize {
        let has = |shard, store| {
            self.placed.values().any(|placed| placed.shard == shard && placed.is_in(store))
        };
        let mine = self.placed.values().filter(|placed| placed.shard == shard);
        let sharing = mine
            .flat_map(|placed| &placed.files)
            .map(|file| ShardId::all(self.shards).filter(|&other| has(other, file.store)).count());
        sharing.max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: u32, store: usize) -> FoundVolume {
        FoundVolume::single(VolumeId(id), store, 0)
    }

    fn shard(index: usize) -> ShardId {
        ShardId::from_index(index)
    }

    #[test]
    fn volumes_are_placed_on_the_shard_with_the_fewest() {
        let mut placement = Placement::new(2);
        let shards = [1, 2, 3].map(|id| placement.place(&volume(id, 0)).index());
        assert_eq!(shards, [0, 1, 0]);
        placement.remove(VolumeId(1));
        placement.remove(VolumeId(3));
        assert_eq!(placement.place(&volume(7, 1)), shard(0));
        assert_eq!(
            placement.owners(),
            HashMap::from([(VolumeId(2), shard(1)), (VolumeId(7), shard(0))])
        );
        let placed = Placed { files: volume(7, 1).files, shard: shard(0) };
        assert_eq!(placement.get(VolumeId(7)), Some(&placed));
        assert_eq!(placement.get(VolumeId(1)), None);
        placement.renew(VolumeId(2), 1, 3);
        let files = FoundVolume::single(VolumeId(2), 1, 3).files;
        assert_eq!(placement.get(VolumeId(2)), Some(&Placed { files, shard: shard(1) }));
        placement.renew(VolumeId(9), 1, 3);
        assert_eq!(placement.get(VolumeId(9)), None);
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
        // A volume whose second generation is in directory 0: one of the two counts.
        let mut moved = volume(5, 3);
        moved.files.push(FoundFile { store: 0, generation: 1 });
        assert_eq!(placement.place(&moved), shard(2));
        assert_eq!([0, 1, 2].map(|index| placement.sharing(shard(index))), [2, 1, 2]);
    }
}
