//! Object names and sizes: key, alternate key, cookie and size follow from the seed and the object's number,
//! so that a fill needs no manifest and every reader knows the expected content.

use clap::ValueEnum;
use serde::Serialize;

use crate::random::mix;
use crate::sizes::Sizes;

/// Domain separator of cookie draws.
const COOKIES: u64 = 0xC00C;
/// First number of objects that are never stored.
const NEVER_STORED: u64 = 1 << 62;

/// Order of the keys of photos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Consecutive, from a number that follows from the seed.
    Sequential,
    /// Scattered over all 64 bits.
    Random,
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Number of the object, from 0 on.
    pub index: u64,
    pub volume: u32,
    /// Key of the photo.
    pub key: u64,
    /// Alternate key: size variant of the photo.
    pub alt: u32,
    /// Secret that a URL must contain.
    pub cookie: u64,
    /// Value that is unique among all objects, unlike `key`, which variants share.
    pub unique: u64,
    /// Length (bytes).
    pub size: u64,
}

/// The set of objects of a seed.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Seed of keys, cookies and sizes.
    pub seed: u64,
    /// Order of the keys.
    pub keys: Keys,
    /// Variants per photo, at least 1.
    pub alts: u32,
    /// Volumes that photos are distributed over evenly, at least one.
    pub volumes: Vec<u32>,
    /// Distribution of the sizes.
    pub sizes: Sizes,
}

impl Objects {
    /// The object with number `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Object {
        self.sized(index, self.sizes.of(self.seed, index))
    }

    /// An object that is never stored; `draw` is any random number.
    #[must_use]
    pub fn missing(&self, draw: u64) -> Object {
        self.sized(NEVER_STORED + draw % NEVER_STORED, 0)
    }

    fn sized(&self, index: u64, size: u64) -> Object {
        let (photo, alt) = (index / u64::from(self.alts), index % u64::from(self.alts));
        let key = self.key(photo);
        Object {
            index,
            volume: self.volumes[usize::try_from(photo % self.volumes.len() as u64)
                .expect("below the number of volumes")],
            key,
            alt: u32::try_from(alt).expect("below the number of variants"),
            cookie: mix(key ^ mix(self.seed ^ COOKIES)),
            unique: self.key(index),
            size,
        }
    }

    /// Unique per number for a given seed: [`mix`] is a permutation.
    fn key(&self, number: u64) -> u64 {
        match self.keys {
            Keys::Random => mix(number.wrapping_add(mix(self.seed))),
            Keys::Sequential => 1 + (mix(self.seed) >> 24) + number,
        }
    }

    /// Number of the `nth` object in the volume at position `slot` of the list.
    #[must_use]
    pub fn index_in_volume(&self, slot: u64, nth: u64) -> u64 {
        let alts = u64::from(self.alts);
        let photo = nth / alts * self.volumes.len() as u64 + slot;
        photo * alts + nth % alts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn objects(keys: Keys, alts: u32, volumes: &[u32]) -> Objects {
        Objects { seed: 5, keys, alts, volumes: volumes.to_vec(), sizes: Sizes::Fixed(100) }
    }

    #[test]
    fn no_two_objects_share_a_name() {
        for keys in [Keys::Random, Keys::Sequential] {
            let objects = objects(keys, 3, &[1, 4]);
            let all =
                (0..3000).map(|n| objects.get(n)).chain((0..3000).map(|n| objects.missing(n)));
            let (mut names, mut uniques) = (HashSet::new(), HashSet::new());
            for object in all {
                assert!(names.insert((object.volume, object.key, object.alt)), "{object:?}");
                assert!(uniques.insert(object.unique), "{object:?}");
                assert!(object.alt < 3);
            }
        }
    }

    #[test]
    fn photos_are_distributed_evenly_and_variants_share_a_volume() {
        let objects = objects(Keys::Random, 2, &[7, 8, 9]);
        for volume in [7, 8, 9] {
            assert_eq!((0..600).filter(|&n| objects.get(n).volume == volume).count(), 200);
        }
        let (first, second) = (objects.get(10), objects.get(11));
        assert_eq!(
            (first.key, first.volume, first.cookie),
            (second.key, second.volume, second.cookie)
        );
        for slot in 0..3 {
            let listed: Vec<u64> = (0..200).map(|n| objects.index_in_volume(slot, n)).collect();
            let volume = objects.volumes[usize::try_from(slot).unwrap()];
            let found: Vec<u64> = (0..600).filter(|&n| objects.get(n).volume == volume).collect();
            assert_eq!(listed, found);
        }
    }

    #[test]
    fn different_seeds_give_different_keys_and_cookies() {
        let one = objects(Keys::Random, 1, &[1]);
        let other = Objects { seed: 6, ..one.clone() };
        assert_ne!(one.get(0).cookie, other.get(0).cookie);
        assert_ne!(one.get(0).key, other.get(0).key);
    }
}
