//! Records of what a compaction could not carry over.

use super::header::NeedleHeader;
use super::kind::Kind;
use super::subject::{EarlierRange, HashPrefix};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::data_checksum;

/// What a compaction could not carry over.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// A live object whose id and cookie are known, although its header cannot be read.
    Object {
        /// Id of the object.
        id: NeedleId,
        /// Cookie that a reader must present.
        cookie: Cookie,
        /// Length of its needle (bytes).
        len: u64,
    },
    /// A live object of whose id only leading bits of the hash are known.
    Unidentified {
        /// What is known of the hash.
        hash: HashPrefix,
        /// Length of its needle (bytes).
        len: u64,
    },
    /// A range of an earlier generation that was damaged, and in which no live object is known.
    Range(EarlierRange),
}

impl Loss {
    /// Returns the header of the record, made at `now` (nanoseconds since 1970), without *previous* and what
    /// its commit determines.
    #[must_use]
    pub fn header(&self, now: u64) -> NeedleHeader {
        let (kind, id, cookie, len) = match *self {
            Self::Object { id, cookie, len } => (Kind::Loss, id, cookie, len),
            Self::Unidentified { hash, len } => {
                (Kind::UnidentifiedLoss, hash.as_id(), Cookie(0), len)
            }
            Self::Range(range) => {
                (Kind::DamagedRange, range.as_id(), Cookie(range.generation), range.len)
            }
        };
        NeedleHeader {
            kind,
            id,
            cookie,
            version: 0,
            modified_ns: now,
            attributes_len: 0,
            data_len: 0,
            body_len: len,
            previous: 0,
            epoch: 0,
            sequence: 0,
            ordinal: 0,
            batch: 0,
            batch_ordinal: 0,
            batch_count: 0,
            parts_units: 0,
            data_checksum: data_checksum(&[]),
            expires_ns: None,
            keeps_parts: false,
        }
    }
}
