//! An index that is no longer used.

use super::index::Index;
use super::memory::Memory;

/// The memory of an index that is no longer used, to be freed piece by piece: a large one at once would stop
/// all requests of its shard.
pub struct RetiredIndex {
    memory: Memory,
}

impl RetiredIndex {
    /// Frees one piece, of at most a few hundred KiB. Returns whether there was one.
    pub fn free_piece(&mut self) -> bool {
        self.memory.release_slot()
    }
}

impl Index {
    /// Ends the use of the index.
    #[must_use]
    pub fn retire(self) -> RetiredIndex {
        RetiredIndex { memory: self.table.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;
    use crate::volume::index::{Hasher, Location};

    #[test]
    fn every_piece_of_a_retired_index_is_freed_once() {
        let hasher = Hasher::new(1);
        for needles in [0, 1, 100_000] {
            let mut index = Index::for_volume(1 << 30);
            for n in 1..=needles {
                let at = Location { offset: n * 1024, len: 1024 };
                assert!(index.insert(hasher.hash(NeedleId::new(n, 0)), at));
            }
            let (mut retired, mut pieces) = (index.retire(), 0);
            while retired.free_piece() {
                pieces += 1;
            }
            assert_eq!(pieces > 0, needles > 100, "{needles} needles, {pieces} pieces");
            assert!(!retired.free_piece());
        }
    }
}
