//! What a cluster says about one of its volumes, as the superblock holds it.

use super::field::{Decoder, Encoder};
use crate::base::cluster::{COLLECTION_MAX, Collection, ReplicaPlacement, Ttl};

/// Flag: the volume takes no writes, by order of the cluster.
const FLAG_READ_ONLY: u8 = 1;
/// Flag: it takes deletes all the same.
const FLAG_DELETES: u8 = 1 << 1;

/// What the cluster may change about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ClusterSettings {
    /// Where its copies are.
    pub placement: ReplicaPlacement,
    /// Whether it takes no writes.
    pub is_read_only: bool,
    /// Whether it takes deletes while it is read-only.
    pub takes_deletes: bool,
}

/// The properties of a volume of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClusterProperties {
    /// What the cluster may change.
    pub settings: ClusterSettings,
    /// How long its needles live, unless a needle has a time of its own; `None` for ever.
    pub ttl: Option<Ttl>,
    /// Its collection.
    pub collection: Collection,
    /// Highest key of the needles and tombstones of earlier generations, which compactions may have left out
    /// of this file; 0 for none.
    pub key_floor: u64,
}

impl ClusterProperties {
    pub(super) fn put(&self, out: &mut Encoder<'_>) {
        let ClusterSettings { placement, is_read_only, takes_deletes } = self.settings;
        let read_only = if is_read_only { FLAG_READ_ONLY } else { 0 };
        let deletes = if takes_deletes { FLAG_DELETES } else { 0 };
        let ttl = self.ttl.map_or([0, 0], Ttl::to_bytes);
        let name = self.collection.as_str().as_bytes();
        let len = u8::try_from(name.len()).expect("a name has at most 255 bytes");
        out.u8(placement.0).bytes(&ttl).u8(read_only | deletes).u8(len).bytes(name);
        out.zeros_to(out.len() + COLLECTION_MAX - name.len());
        out.u64(self.key_floor);
    }

    /// Reads the properties. Always reads all bytes of them.
    ///
    /// # Errors
    /// Why no volume can have them.
    pub(super) fn take(input: &mut Decoder<'_>) -> Result<Self, &'static str> {
        let placement = ReplicaPlacement(input.u8());
        let (ttl, flags, len) = (input.bytes(), input.u8(), usize::from(input.u8()));
        let (name, key_floor) = (input.bytes::<COLLECTION_MAX>(), input.u64());
        let lives = Ttl::from_bytes(ttl);
        if lives.is_none() && ttl != [0, 0] {
            return Err("an impossible time to live");
        }
        let collection = std::str::from_utf8(&name[..len]).ok().and_then(Collection::new);
        let settings = ClusterSettings {
            placement,
            is_read_only: flags & FLAG_READ_ONLY != 0,
            takes_deletes: flags & FLAG_DELETES != 0,
        };
        let collection = collection.ok_or("an impossible collection")?;
        Ok(Self { settings, ttl: lives, collection, key_floor })
    }
}
