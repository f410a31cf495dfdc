//! Routing state of a shard: owners and size hints of volumes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::base::types::{ShardId, VolumeId};

/// Initial size hint: length of the buffer that is first sent along with a remote read (bytes).
const SIZE_HINT_FIRST: usize = 16 << 10;
/// Maximum size hint (bytes): a read of a longer needle costs a second pair of messages, so that not every
/// remote read takes that much memory.
const SIZE_HINT_MAX: usize = 128 << 10;

/// Routing state of a shard.
pub struct Routes {
    /// Owning shard of each volume.
    owners: RefCell<HashMap<VolumeId, ShardId>>,
    /// Size hint of each volume (bytes): a remote read sends a buffer along before the length of the needle
    /// is known.
    size_hints: RefCell<HashMap<VolumeId, usize>>,
    /// Whether it is logged that no volume has room; reset when one has.
    pub(super) is_no_room_logged: Cell<bool>,
}

impl Routes {
    /// Creates the routing state from the owning shard of each volume.
    #[must_use]
    pub fn new(owners: HashMap<VolumeId, ShardId>) -> Self {
        Self {
            owners: RefCell::new(owners),
            size_hints: RefCell::default(),
            is_no_room_logged: Cell::new(false),
        }
    }

    /// Returns the shard that owns a volume.
    pub(super) fn owner(&self, volume: VolumeId) -> Option<ShardId> {
        self.owners.borrow().get(&volume).copied()
    }

    /// Sets the shard that owns a volume; `None` removes the volume.
    pub(super) fn set_owner(&self, volume: VolumeId, owner: Option<ShardId>) {
        match owner {
            Some(owner) => drop(self.owners.borrow_mut().insert(volume, owner)),
            None => drop(self.owners.borrow_mut().remove(&volume)),
        }
    }

    /// Returns the size hint of a volume (bytes).
    pub(super) fn size_hint(&self, volume: VolumeId) -> usize {
        self.size_hints.borrow().get(&volume).copied().unwrap_or(SIZE_HINT_FIRST)
    }

    /// Updates a size hint: it rises to `needed` bytes at once and falls by at most 1/128 per read.
    pub(super) fn update_size_hint(&self, volume: VolumeId, needed: usize) {
        let mut size_hints = self.size_hints.borrow_mut();
        let hint = size_hints.entry(volume).or_insert(SIZE_HINT_FIRST);
        *hint = needed.clamp(SIZE_HINT_FIRST, SIZE_HINT_MAX).max(*hint - *hint / 128);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_hint_rises_at_once_and_falls_slowly_within_bounds() {
        let routes = Routes::new(HashMap::new());
        assert_eq!(routes.size_hint(VolumeId(1)), SIZE_HINT_FIRST);
        let after = |needed| {
            routes.update_size_hint(VolumeId(1), needed);
            routes.size_hint(VolumeId(1))
        };
        assert_eq!(after(100), SIZE_HINT_FIRST);
        assert_eq!(after(20_000), 20_000);
        assert_eq!(after(100), 20_000 - 20_000 / 128);
        assert_eq!(after(19_900), 19_900);
        assert_eq!(after(SIZE_HINT_MAX), SIZE_HINT_MAX);
        assert_eq!(after(SIZE_HINT_MAX + 1), SIZE_HINT_MAX);
        assert_eq!(after(0), SIZE_HINT_MAX - SIZE_HINT_MAX / 128);
        assert_eq!(routes.size_hint(VolumeId(2)), SIZE_HINT_FIRST, "each volume has its own");
    }

    #[test]
    fn owners_are_set_and_removed() {
        let shard = ShardId::from_index;
        let routes = Routes::new(HashMap::from([(VolumeId(1), shard(0))]));
        let owners = || [1, 2, 3].map(|volume| routes.owner(VolumeId(volume)));
        routes.set_owner(VolumeId(2), Some(shard(3)));
        routes.set_owner(VolumeId(1), Some(shard(4)));
        assert_eq!(owners(), [Some(shard(4)), Some(shard(3)), None]);
        routes.set_owner(VolumeId(1), None);
        assert_eq!(owners(), [None, Some(shard(3)), None]);
    }
}
