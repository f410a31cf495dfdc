//! Digests of objects: equal on all replicas of a volume, wherever and in how many parts they are stored.

use xxhash_rust::xxh3::Xxh3;

use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::checksum;
use crate::volume::format::field::Encoder;

/// Seed of the digests of objects.
const SEED: u64 = 0x4841_594c_4449_4753;
/// Seed of the digests of objects that cannot be read.
const SEED_DAMAGED: u64 = 0x4841_594c_4449_4744;
/// Length of what is before the attributes (bytes).
const FIXED_LEN: usize = 48;

/// What the digest of an object is made of: everything but its version and its place.
#[derive(Clone, Copy, Debug)]
pub struct DigestedObject<'a> {
    /// Id of the object.
    pub id: NeedleId,
    /// Cookie that a reader of the object must present.
    pub cookie: Cookie,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Length of the body (bytes).
    pub body_len: u64,
    /// XXH3-64 of the body.
    pub body_checksum: u64,
    /// The attributes as they are stored.
    pub attributes: &'a [u8],
}

impl DigestedObject<'_> {
    /// Returns the digest.
    ///
    /// # Panics
    /// If the attributes are longer than a needle can have.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let attributes_len = u32::try_from(self.attributes.len()).expect("at most 4096 bytes");
        let mut fixed = [0; FIXED_LEN];
        let mut fields = Encoder::new(&mut fixed);
        fields.u64(self.id.key.0).u32(self.id.alt.0).u32(attributes_len);
        fields.u64(self.cookie.0).u64(self.modified_ns).u64(self.body_len).u64(self.body_checksum);
        debug_assert_eq!(fields.len(), FIXED_LEN);
        let mut hash = Xxh3::with_seed(SEED);
        hash.update(&fixed);
        hash.update(self.attributes);
        hash.digest()
    }
}

/// Returns the digest of an object that lives and cannot be read.
#[must_use]
pub fn damaged_digest(id: NeedleId) -> u64 {
    let mut name = [0; 12];
    Encoder::new(&mut name).u64(id.key.0).u32(id.alt.0);
    checksum(&name, SEED_DAMAGED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twox_hash::XxHash3_64;

    use super::*;

    const OBJECT: DigestedObject<'_> = DigestedObject {
        id: NeedleId::new(7, 2),
        cookie: Cookie(0x0123_4567_89ab_cdef),
        modified_ns: 1_700_000_000_000_000_001,
        body_len: 1000,
        body_checksum: 99,
        attributes: b"\x01\x00\x02\x00ab",
    };

    #[test]
    fn digest_is_fixed_by_the_format() {
        let bytes = b"\x07\0\0\0\0\0\0\0\x02\0\0\0\x06\0\0\0\
            \xef\xcd\xab\x89\x67\x45\x23\x01\x01\0\x2a\x36\xfe\x9c\x97\x17\
            \xe8\x03\0\0\0\0\0\0\x63\0\0\0\0\0\0\0\
            \x01\0\x02\0ab";
        assert_eq!(OBJECT.digest(), XxHash3_64::oneshot_with_seed(SEED, bytes));
        assert_eq!(OBJECT.digest(), 5_034_786_299_196_133_819);
        let name = b"\x07\0\0\0\0\0\0\0\x02\0\0\0";
        let expected = XxHash3_64::oneshot_with_seed(SEED_DAMAGED, name);
        assert_eq!(damaged_digest(OBJECT.id), expected);
    }

    #[test]
    fn every_field_changes_the_digest() {
        let objects = [
            OBJECT,
            DigestedObject { id: NeedleId::new(8, 2), ..OBJECT },
            DigestedObject { id: NeedleId::new(7, 3), ..OBJECT },
            DigestedObject { cookie: Cookie(1), ..OBJECT },
            DigestedObject { modified_ns: 1_700_000_000_000_000_000, ..OBJECT },
            DigestedObject { body_len: 1001, ..OBJECT },
            DigestedObject { body_checksum: 98, ..OBJECT },
            DigestedObject { attributes: b"\x01\x00\x02\x00ac", ..OBJECT },
            DigestedObject { attributes: b"", ..OBJECT },
        ];
        let mut digests: BTreeSet<u64> = objects.iter().map(DigestedObject::digest).collect();
        digests.insert(damaged_digest(OBJECT.id));
        digests.insert(damaged_digest(NeedleId::new(8, 2)));
        digests.insert(damaged_digest(NeedleId::new(7, 3)));
        assert_eq!(digests.len(), objects.len() + 3);
    }
}
