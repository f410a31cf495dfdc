//! Hash of needle ids.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::types::NeedleId;

/// Hash of a needle's id. The index keeps at least the 35 leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdHash(pub(super) u64);

impl IdHash {
    /// Returns the bits of the hash.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// Hash function for ids. It is seeded per volume, so that nobody can prepare collisions.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    seed: u64,
    /// Number of leading bits of the hash that are discarded; 0 except in tests.
    pub(super) cut: u32,
}

impl Hasher {
    /// Creates the hash function of a volume with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, cut: 0 }
    }

    /// Creates a hash function with only `bits` bits, so that collisions happen; for tests. They are the
    /// leading bits, because the index keeps leading bits.
    #[must_use]
    pub fn with_bits(seed: u64, bits: u32) -> Self {
        Self { seed, cut: u64::BITS - bits }
    }

    /// Returns the hash of `id`.
    #[must_use]
    pub fn hash(&self, id: NeedleId) -> IdHash {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.key.0.to_le_bytes());
        bytes[8..].copy_from_slice(&id.alt.0.to_le_bytes());
        IdHash(xxh3_64_with_seed(&bytes, self.seed).checked_shl(self.cut).unwrap_or(0))
    }
}
