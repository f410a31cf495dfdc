//! Random needles of an index.

use super::index::Index;
use super::location::Location;

/// Segments that are looked at for an entry at most.
const SEGMENTS_MAX: usize = 16;

impl Index {
    /// Returns the location of a needle that a random number picks; `None` if there is none. Looks at one
    /// segment, as a rule. Needles outside the segments, which are few, are picked only if there are no
    /// others.
    #[must_use]
    pub fn sample(&self, random: u64) -> Option<Location> {
        let (table, layout) = (&self.table, self.table.layout());
        let hashes = u64::MAX >> (u64::BITS - layout.hash_bits());
        let mut hash = random & hashes;
        for _ in 0..SEGMENTS_MAX {
            let Some((buckets, next)) = table.segment_of(hash) else { break };
            let entries = || buckets.iter().flat_map(|bucket| bucket.0).filter(|it| *it != 0);
            let count = entries().count() as u64;
            if count > 0 {
                let number = usize::try_from(random.rotate_left(32) % count).expect("a count");
                return entries().nth(number).map(|entry| layout.location(entry));
            }
            hash = next & hashes;
        }
        self.stash(None, 1).next().map(|(_, (_, entry))| layout.location(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;
    use crate::runtime::split_mix;
    use crate::volume::index::Hasher;

    #[test]
    fn every_needle_is_picked_about_equally_often() {
        let (mut index, hasher, mut state) = (Index::for_volume(1 << 30), Hasher::new(3), 5);
        assert_eq!(index.sample(split_mix(&mut state)), None);
        let needles = 3000;
        for n in 0..needles {
            let at = Location { offset: (1 + n) * 1024, len: 1024 };
            assert!(index.insert(hasher.hash(NeedleId::new(n, 1)), at));
        }
        let mut picked = std::collections::BTreeMap::new();
        for _ in 0..100 * needles {
            let at = index.sample(split_mix(&mut state)).unwrap();
            *picked.entry(at.offset).or_insert(0) += 1;
        }
        assert_eq!(picked.len() as u64, needles, "each was picked");
        let most = picked.values().max().unwrap();
        assert!(*most < 400, "{most} times instead of about 100");
    }

    #[test]
    fn last_needle_of_a_table_is_picked() {
        let (mut index, hasher) = (Index::for_volume(1 << 30), Hasher::new(3));
        let at = |n: u64| Location { offset: (1 + n) * 1024, len: 1024 };
        for n in 0..20 {
            index.insert(hasher.hash(NeedleId::new(n, 1)), at(n));
        }
        for n in 1..20 {
            index.remove(hasher.hash(NeedleId::new(n, 1)), at(n).offset);
        }
        assert_eq!(index.sample(7), Some(at(0)));
    }

    #[test]
    fn only_needle_is_picked_whatever_the_number() {
        let (mut index, hasher) = (Index::for_volume(1 << 40), Hasher::new(3));
        let at = Location { offset: 65_536, len: 512 };
        index.insert(hasher.hash(NeedleId::new(7, 1)), at);
        for random in [0, 1, u64::MAX, 1 << 63, 0x1234_5678_9abc_def0] {
            assert_eq!(index.sample(random), Some(at));
        }
    }
}
