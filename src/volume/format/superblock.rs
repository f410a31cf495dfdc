//! The superblock: identity and geometry of a volume file. It is stored in three copies; one valid copy
//! is enough, and of several the one with the highest revision counts.

use thiserror::Error;

use super::checksum::checksum;
use super::cluster::ClusterProperties;
use super::field::{Decoder, Encoder};
use super::replica::Replica;
use super::rising::RISING_MAX;
use crate::base::limits::{BLOCK, CHUNK, LOG_START, TRAILER, UNIT, VOLUME_SIZE_MAX};
use crate::base::types::VolumeId;

/// The format version that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Ro-compat feature: the blocks of the log are reserved in steps. A writer must reserve the blocks of what
/// it appends before it admits it, and clears the bit when all are reserved.
pub const PARTIAL: u32 = 1;
/// Ro-compat feature *moving*: the next generation of the volume is, or was, being written into another data
/// directory, and may count instead of this file although this file does not show it.
const MOVING: u32 = 1 << 1;
/// Ro-compat feature *replica*: the volume is a copy of another one, and takes no writes but those of its
/// source. Held as [`Superblock::replica`].
const REPLICA: u32 = 1 << 2;
/// Ro-compat feature *cluster*: the volume belongs to a SeaweedFS cluster, and what is written to it carries
/// what that needs. Held as [`Superblock::cluster`].
const CLUSTER: u32 = 1 << 3;
/// Incompat feature: the log holds records of losses or of damaged ranges.
pub const INCOMPAT_LOSSES: u32 = 1;
/// Incompat features of this build.
const INCOMPAT_KNOWN: u32 = INCOMPAT_LOSSES;
/// Ro-compat features of this build, without those that have a field.
const RO_COMPAT_KNOWN: u32 = PARTIAL | MOVING;

const MAGIC: [u8; 8] = *b"HAYLSUPR";
const LEN: usize = 512;
const CHECKSUM_AT: usize = LEN - 8;
/// Checksum id of XXH3-64.
const CHECKSUM_XXH3: u32 = 1;
const COPIES_SEED: u64 = 0x4841_594c_4f46_5400;
const LINEAGE_SEED: u64 = 0x4841_594c_4c49_4e45;

/// Offsets of the superblock copies in a file of `size` bytes.
#[must_use]
pub fn superblock_offsets(size: u64) -> [u64; 3] {
    [0, BLOCK, size - TRAILER]
}

/// State of a volume, as stored in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuperblockState {
    /// Being created or written by a compaction; not served.
    Building,
    /// Writable.
    Live,
    /// Closed permanently.
    Sealed,
    /// Closed to writes by the operator.
    ReadOnly,
}

impl SuperblockState {
    fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Building,
            1 => Self::Live,
            2 => Self::Sealed,
            3 => Self::ReadOnly,
            _ => return None,
        })
    }

    fn code(self) -> u32 {
        match self {
            Self::Building => 0,
            Self::Live => 1,
            Self::Sealed => 2,
            Self::ReadOnly => 3,
        }
    }
}

/// Identity and geometry of a volume file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Features that a reader and a writer may ignore.
    pub compat: u32,
    /// Features that a reader may ignore and a writer may not.
    pub ro_compat: u32,
    /// Features without which nothing can be read.
    pub incompat: u32,
    /// Number of the volume.
    pub volume: VolumeId,
    /// Incarnation: random number of this file.
    pub incarnation: u64,
    /// Incarnation of the file from which this one was made; 0 for none.
    pub parent: u64,
    /// Generation: rises with every compaction.
    pub generation: u64,
    /// State of the volume.
    pub state: SuperblockState,
    /// Length of the file (bytes).
    pub size: u64,
    /// Alignment of needles (bytes).
    pub unit: u32,
    /// Length of a checksum chunk (bytes).
    pub chunk: u32,
    /// Seed of the hash of the index in memory.
    pub hash_seed: u64,
    /// Id of the store that created the file.
    pub store: [u8; 16],
    /// Time of creation (nanoseconds since 1970).
    pub created_ns: u64,
    /// Revision: rises with every change of the superblock.
    pub revision: u64,
    /// Version from which on the history of changes is complete: tombstones of lower versions may have been
    /// left out by a compaction. 0 if it is complete.
    pub history_from: u64,
    /// Begin of the last scrub that found nothing wrong in this file (nanoseconds since 1970); 0 for none.
    pub verified_ns: u64,
    /// Whose copy the volume is; `None` if it is no copy.
    pub replica: Option<Replica>,
    /// What its cluster says about the volume; `None` if it belongs to none.
    pub cluster: Option<ClusterProperties>,
}

/// Reason why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SuperblockError {
    /// Wrong magic or checksum: not a superblock, or a damaged one.
    #[error("no valid superblock")]
    Damaged,
    /// The format version is unknown.
    #[error("format version {0}; this build reads version {FORMAT_VERSION}")]
    Version(u32),
    /// The file uses features that this build does not have; the numbers are their bits.
    #[error("needs features this build does not have (incompat {0:#x}, ro-compat {1:#x})")]
    Features(u32, u32),
    /// The copy is valid, but describes a volume that this build cannot use.
    #[error("describes an impossible volume: {0}")]
    Geometry(&'static str),
}

fn check_features(incompat: u32, ro_compat: u32) -> Result<(), SuperblockError> {
    match (incompat & !INCOMPAT_KNOWN, ro_compat & !RO_COMPAT_KNOWN) {
        (0, 0) => Ok(()),
        (incompat, ro_compat) => Err(SuperblockError::Features(incompat, ro_compat)),
    }
}

impl Superblock {
    /// Encodes the superblock into its block. The rest of the block is set to zero.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it. If `block` is shorter than 4096 bytes.
    pub fn encode(&self, block: &mut [u8]) {
        if let Err(error) = self.check(CHECKSUM_XXH3) {
            panic!("no reader accepts {self:?}: {error}");
        }
        self.put(block);
    }

    fn put(&self, block: &mut [u8]) {
        let sum = {
            let mut out = Encoder::new(&mut block[..CHECKSUM_AT]);
            out.bytes(&MAGIC).u32(FORMAT_VERSION);
            let replica = self.replica.map_or(0, |_| REPLICA);
            let cluster = self.cluster.as_ref().map_or(0, |_| CLUSTER);
            let ro_compat = self.ro_compat | replica | cluster;
            out.u32(self.compat).u32(ro_compat).u32(self.incompat);
            out.u32(self.volume.0).u32(self.unit).u32(self.chunk).u32(CHECKSUM_XXH3);
            out.u64(self.incarnation).u64(self.parent).u64(self.generation).u64(self.size);
            out.u64(self.hash_seed).u32(self.state.code()).u32(0);
            out.bytes(&self.store).u64(self.created_ns).u64(self.revision).u64(self.history_from);
            out.u64(self.verified_ns);
            self.replica.unwrap_or_default().put(&mut out);
            if let Some(cluster) = &self.cluster {
                cluster.put(&mut out);
            }
            out.zeros_to(CHECKSUM_AT);
            checksum(out.written(), COPIES_SEED)
        };
        Encoder::new(&mut block[CHECKSUM_AT..]).u64(sum);
        block[LEN..BLOCK as usize].fill(0);
    }

    /// Decodes a copy.
    ///
    /// # Errors
    /// See [`SuperblockError`].
    pub fn decode(block: &[u8]) -> Result<Self, SuperblockError> {
        if block.len() < LEN || block[..8] != MAGIC {
            return Err(SuperblockError::Damaged);
        }
        let sum = Decoder::new(&block[CHECKSUM_AT..LEN]).u64();
        if checksum(&block[..CHECKSUM_AT], COPIES_SEED) != sum {
            return Err(SuperblockError::Damaged);
        }
        let mut input = Decoder::new(&block[8..LEN]);
        let version = input.u32();
        if version != FORMAT_VERSION {
            return Err(SuperblockError::Version(version));
        }
        let (compat, features, incompat) = (input.u32(), input.u32(), input.u32());
        let ro_compat = features & !(REPLICA | CLUSTER);
        check_features(incompat, ro_compat)?;
        let volume = VolumeId(input.u32());
        let (unit, chunk, checksum_id) = (input.u32(), input.u32(), input.u32());
        let (incarnation, parent) = (input.u64(), input.u64());
        let (generation, size, hash_seed) = (input.u64(), input.u64(), input.u64());
        let state = input.u32();
        input.skip(4);
        let superblock = Self {
            compat,
            ro_compat,
            incompat,
            volume,
            incarnation,
            parent,
            generation,
            state: SuperblockState::from_code(state)
                .ok_or(SuperblockError::Geometry("an unknown state"))?,
            size,
            unit,
            chunk,
            hash_seed,
            store: input.bytes(),
            created_ns: input.u64(),
            revision: input.u64(),
            history_from: input.u64(),
            verified_ns: input.u64(),
            replica: Some(Replica::take(&mut input)).filter(|_| features & REPLICA != 0),
            cluster: match features & CLUSTER {
                0 => None,
                _ => Some(ClusterProperties::take(&mut input).map_err(SuperblockError::Geometry)?),
            },
        };
        superblock.check(checksum_id)?;
        Ok(superblock)
    }

    /// Conditions of encoder and decoder for a superblock.
    fn check(&self, checksum_id: u32) -> Result<(), SuperblockError> {
        check_features(self.incompat, self.ro_compat)?;
        let complaint = if checksum_id != CHECKSUM_XXH3 {
            "an unknown checksum"
        } else if u64::from(self.unit) != UNIT {
            "needles are not aligned to 512 bytes"
        } else if u64::from(self.chunk) != CHUNK {
            "checksum chunks are not 64 KiB"
        } else if self.size > VOLUME_SIZE_MAX
            || self.size < LOG_START + BLOCK + TRAILER
            || !self.size.is_multiple_of(BLOCK)
        {
            "an impossible size"
        } else if self.revision >= RISING_MAX {
            "an impossible revision"
        } else if self.history_from >= RISING_MAX {
            "a history from an impossible version"
        } else if !self.replica.unwrap_or_default().fits() {
            "a copy up to an impossible version"
        } else {
            return Ok(());
        };
        Err(SuperblockError::Geometry(complaint))
    }

    /// Whether the next generation, in another data directory, may count instead of this file.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.ro_compat & MOVING != 0
    }

    /// Returns the superblock with or without the mark *moving*.
    #[must_use]
    pub fn with_moving(self, is_moving: bool) -> Self {
        let other = self.ro_compat & !MOVING;
        Self { ro_compat: if is_moving { other | MOVING } else { other }, ..self }
    }

    /// Returns a number that all generations of this volume have, and practically no other volume.
    #[must_use]
    pub fn lineage(&self) -> u64 {
        let mut bytes = [0; 12];
        Encoder::new(&mut bytes).u64(self.hash_seed).u32(self.volume.0);
        // 0 is none.
        checksum(&bytes, LINEAGE_SEED).max(1)
    }

    /// End of the area for the log (bytes).
    #[must_use]
    pub fn log_end(&self) -> u64 {
        self.size - TRAILER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::cluster::{Collection, ReplicaPlacement, Ttl};
    use crate::volume::format::agreement::{accepts, number};
    use crate::volume::format::cluster::ClusterSettings;

    fn cluster() -> impl Strategy<Value = ClusterProperties> {
        let len = prop_oneof![Just(0), Just(1), 248usize..=255];
        let ttl = any::<[u8; 2]>().prop_map(Ttl::from_bytes);
        (len, ttl, any::<(u8, bool, bool, u64)>()).prop_map(|(len, ttl, of_cluster)| {
            let (placement, is_read_only, takes_deletes, key_floor) = of_cluster;
            let placement = ReplicaPlacement(placement);
            ClusterProperties {
                settings: ClusterSettings { placement, is_read_only, takes_deletes },
                ttl,
                collection: Collection::new(&"c".repeat(len)).unwrap(),
                key_floor,
            }
        })
    }

    /// A superblock of a volume in the collection `photos`, with time to live, as it is encoded.
    fn encoded() -> Vec<u8> {
        let cluster = ClusterProperties {
            ttl: Ttl::from_bytes([5, 1]),
            collection: Collection::new("photos").unwrap(),
            ..ClusterProperties::default()
        };
        let superblock = Superblock {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            volume: VolumeId(1),
            incarnation: 2,
            parent: 0,
            generation: 0,
            state: SuperblockState::Live,
            size: VOLUME_SIZE_MAX,
            unit: 512,
            chunk: 65_536,
            hash_seed: 5,
            store: [6; 16],
            created_ns: 0,
            revision: 1,
            history_from: 0,
            verified_ns: 0,
            replica: None,
            cluster: Some(cluster),
        };
        let mut block = vec![0; BLOCK as usize];
        superblock.encode(&mut block);
        block
    }

    /// Decodes a superblock of which one byte is another one.
    fn decode_with(at: usize, byte: u8) -> Result<Superblock, SuperblockError> {
        let mut block = encoded();
        block[at] = byte;
        let sum = checksum(&block[..CHECKSUM_AT], COPIES_SEED);
        block[CHECKSUM_AT..LEN].copy_from_slice(&sum.to_le_bytes());
        Superblock::decode(&block)
    }

    #[test]
    fn impossible_properties_of_a_cluster_are_refused() {
        let ttl = Err(SuperblockError::Geometry("an impossible time to live"));
        // A count of 0 with a unit, a unit of 0 with a count, and an unknown unit.
        for (at, byte) in [(157, 0), (158, 0), (158, 7)] {
            assert_eq!(decode_with(at, byte), ttl, "byte {at}");
        }
        let collection = Err(SuperblockError::Geometry("an impossible collection"));
        for byte in [0, b'\n', b'/', 0x7f, 0xff] {
            assert_eq!(decode_with(161, byte), collection, "{byte:#x}");
        }
        // A name that is longer than its letters.
        assert_eq!(decode_with(160, 7), collection);
        let named = |at, byte| decode_with(at, byte).unwrap().cluster.unwrap();
        assert_eq!(named(160, 5).collection.as_str(), "photo");
        assert_eq!(named(156, 255).settings.placement.to_string(), "255");
        assert!(named(159, 0xfd).settings.is_read_only, "unknown flags are ignored");
        assert_eq!(named(423, 1).key_floor, 1 << 56);
        // Without the bit nothing of this is read.
        let mut block = encoded();
        (block[16], block[158]) = (0, 7);
        let sum = checksum(&block[..CHECKSUM_AT], COPIES_SEED);
        block[CHECKSUM_AT..LEN].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Superblock::decode(&block).unwrap().cluster, None);
    }

    proptest! {
        #[test]
        fn superblock_is_encoded_exactly_if_it_would_be_decoded(
            (size, revision, created_ns, verified_ns) in (number(), number(), number(), number()),
            (compat, incompat) in (any::<u32>(), 0u32..4),
            // The bits of a copy and of a cluster have a field instead.
            ro_compat in (0u32..8).prop_map(|bits| bits & 3 | (bits & 4) << 2),
            cluster in prop::option::of(cluster()),
            (history_from, position) in (number(), number()),
            (is_replica, has_surplus) in (any::<bool>(), any::<bool>()),
            (unit, chunk, state) in (0u32..2, 0u32..2, 0u32..4),
        ) {
            let superblock = Superblock {
                compat,
                ro_compat,
                incompat,
                volume: VolumeId(1),
                incarnation: 2,
                parent: 3,
                generation: 4,
                state: SuperblockState::from_code(state).expect("0 to 3"),
                size,
                unit: 512 << unit,
                chunk: 65_536 >> chunk,
                hash_seed: 5,
                store: [6; 16],
                created_ns,
                revision,
                history_from,
                verified_ns,
                replica: is_replica.then_some(Replica { source: 7, position, has_surplus }),
                cluster,
            };
            let mut block = [0xee; BLOCK as usize];
            superblock.put(&mut block);
            let read = Superblock::decode(&block);
            prop_assert!(read.as_ref().map_or(true, |read| *read == superblock));
            let mut again = [0; BLOCK as usize];
            prop_assert_eq!(accepts(|| superblock.encode(&mut again)), read.is_ok());
        }
    }

    #[test]
    fn unknown_features_are_refused_by_name_and_known_ones_accepted() {
        assert_eq!(check_features(0, 0), Ok(()));
        assert_eq!(check_features(INCOMPAT_KNOWN, RO_COMPAT_KNOWN), Ok(()));
        for bit in (0..32).map(|bit| 1 << bit) {
            let incompat = check_features(INCOMPAT_LOSSES | bit, 0);
            let is_known = INCOMPAT_KNOWN & bit != 0;
            assert_eq!(
                incompat,
                if is_known { Ok(()) } else { Err(SuperblockError::Features(bit, 0)) }
            );
            let ro_compat = check_features(INCOMPAT_LOSSES, bit);
            let is_known = RO_COMPAT_KNOWN & bit != 0;
            assert_eq!(
                ro_compat,
                if is_known { Ok(()) } else { Err(SuperblockError::Features(0, bit)) }
            );
        }
    }
}
