//! What was deleted lately in a volume of the cluster, with origin versions.

use std::collections::{BTreeMap, HashMap};

use crate::base::types::NeedleId;

/// Number of deletions that are remembered. Of more, the oldest are forgotten: their photos would come back
/// if a node that missed the deletion, and as many later ones, sent them again.
const DELETIONS_MAX: usize = 1 << 20;

/// What was deleted lately in a volume of the cluster. The index of the volume does not know it, but a write
/// of another node that arrives late is older than the deletion, or newer.
#[derive(Debug)]
pub struct Deletions {
    origins: HashMap<NeedleId, u64>,
    /// The same by origin version.
    by_origin: BTreeMap<(u64, NeedleId), ()>,
    /// All deletions with this origin version or a higher one are there.
    complete_from: u64,
}

impl Deletions {
    /// Creates an empty memory of all deletions from `complete_from` on (nanoseconds since 1970).
    pub fn new(complete_from: u64) -> Self {
        Self { origins: HashMap::new(), by_origin: BTreeMap::new(), complete_from }
    }

    /// Origin version from which on all deletions are there.
    pub fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// Records that all deletions from `origin` on were added.
    pub fn set_complete_from(&mut self, origin: u64) {
        self.complete_from = self.complete_from.min(origin);
    }

    /// Adds a deletion. The latest of an id counts.
    pub fn add(&mut self, id: NeedleId, origin: u64) {
        let known = self.origins.entry(id).or_default();
        if *known >= origin {
            return;
        }
        self.by_origin.remove(&(*known, id));
        *known = origin;
        self.by_origin.insert((origin, id), ());
        if self.origins.len() > DELETIONS_MAX
            && let Some(((_, oldest), ())) = self.by_origin.pop_first()
        {
            self.origins.remove(&oldest);
        }
    }

    /// Returns the origin version of the last deletion of an id; 0 if there was none.
    pub fn origin_of(&self, id: NeedleId) -> u64 {
        self.origins.get(&id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_deletion_counts_and_the_oldest_are_forgotten() {
        let mut deletions = Deletions::new(90);
        let id = |key| NeedleId::new(key, 0);
        for (key, origin) in [(1, 60), (2, 70), (1, 80), (1, 75)] {
            deletions.add(id(key), origin);
        }
        assert_eq!([1, 2, 3].map(|key| deletions.origin_of(id(key))), [80, 70, 0]);
        deletions.set_complete_from(60);
        deletions.set_complete_from(95);
        assert_eq!(deletions.complete_from(), 60);
        for key in 10..10 + DELETIONS_MAX as u64 - 1 {
            deletions.add(id(key), 1000 + key);
        }
        assert_eq!([1, 2].map(|key| deletions.origin_of(id(key))), [80, 0]);
        assert_eq!(deletions.origins.len(), deletions.by_origin.len());
    }
}
