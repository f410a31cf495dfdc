//! Properties of a log in a piece: entries of type, length and value, so that later builds can add types
//! without a new version of the format.

use super::lens::PAYLOAD_LEN_MAX;
use crate::volume::format::field::{Decoder, Encoder};

/// Length of the type and the length of an entry (bytes).
const HEAD_LEN: usize = 2 + 2;
const NUMBER_LEN: usize = 8;
const UNNAMED_LEN: usize = 3 * 8 + 4;
const EXPIRY_DAY_LEN: usize = 4 + 8;
/// Maximum number of days for which a log has sums of the bytes that expire.
pub const EXPIRY_DAYS_MAX: usize = 400;
/// Maximum number of ids in one entry of unnamed parts.
pub const UNNAMED_PER_ENTRY: usize = u16::MAX as usize / UNNAMED_LEN;

const OLDEST_DEAD: u16 = 1;
const KEY_MAX: u16 = 2;
const EXPIRY_SUMS: u16 = 3;
const UNNAMED_PARTS: u16 = 4;

/// A property of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointProperty {
    /// Time since which something in the log is dead (nanoseconds since 1970). Absent when nothing is.
    OldestDead(u64),
    /// Highest key stored so far.
    KeyMax(u64),
    /// Parts that no manifest names yet; at most [`UNNAMED_PER_ENTRY`] ids.
    UnnamedParts(Vec<UnnamedRecord>),
    /// Days since 1970, and the bytes of the objects that expire on them. Absent when none expires.
    ExpirySums(Vec<(u32, u64)>),
}

/// The parts of an id that no manifest names yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnnamedRecord {
    /// Key and alternate key.
    pub id: (u64, u32),
    /// Version of the first of them.
    pub version: u64,
    /// Their length on disk (bytes).
    pub len: u64,
}

impl CheckpointProperty {
    /// Length of the entry (bytes).
    #[must_use]
    pub fn entry_len(&self) -> usize {
        let value = match self {
            Self::OldestDead(_) | Self::KeyMax(_) => NUMBER_LEN,
            Self::UnnamedParts(parts) => parts.len() * UNNAMED_LEN,
            Self::ExpirySums(days) => days.len() * EXPIRY_DAY_LEN,
        };
        HEAD_LEN + value
    }

    /// Encodes the entry. Returns its length (bytes).
    ///
    /// # Panics
    /// If it is too long for its length field. If `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let value_len = u16::try_from(self.entry_len() - HEAD_LEN).expect("at most 64 KiB");
        let mut fields = Encoder::new(out);
        match self {
            Self::OldestDead(at) => fields.u16(OLDEST_DEAD).u16(value_len).u64(*at),
            Self::KeyMax(key) => fields.u16(KEY_MAX).u16(value_len).u64(*key),
            Self::UnnamedParts(parts) => {
                fields.u16(UNNAMED_PARTS).u16(value_len);
                parts.iter().fold(&mut fields, |fields, parts| {
                    let (key, alt) = parts.id;
                    fields.u64(key).u64(parts.version).u64(parts.len).u32(alt)
                })
            }
            Self::ExpirySums(days) => {
                fields.u16(EXPIRY_SUMS).u16(value_len);
                days.iter().fold(&mut fields, |fields, (day, len)| fields.u32(*day).u64(*len))
            }
        };
        fields.len()
    }

    /// Decodes the value of an entry: `Ok(None)` if the type is not known, `Err` if the length is wrong.
    fn decode(kind: u16, value: &[u8]) -> Result<Option<Self>, WrongLength> {
        let mut input = Decoder::new(value);
        let fits = match kind {
            OLDEST_DEAD | KEY_MAX => value.len() == NUMBER_LEN,
            UNNAMED_PARTS => value.len().is_multiple_of(UNNAMED_LEN),
            EXPIRY_SUMS => value.len().is_multiple_of(EXPIRY_DAY_LEN),
            _ => return Ok(None),
        };
        if !fits {
            return Err(WrongLength);
        }
        Ok(Some(match kind {
            OLDEST_DEAD => Self::OldestDead(input.u64()),
            KEY_MAX => Self::KeyMax(input.u64()),
            EXPIRY_SUMS => {
                let days = (0..value.len() / EXPIRY_DAY_LEN).map(|_| (input.u32(), input.u64()));
                Self::ExpirySums(days.collect())
            }
            _ => {
                let parts = (0..value.len() / UNNAMED_LEN).map(|_| {
                    let (key, version, len) = (input.u64(), input.u64(), input.u64());
                    UnnamedRecord { id: (key, input.u32()), version, len }
                });
                Self::UnnamedParts(parts.collect())
            }
        }))
    }
}

/// The length of an entry is not what its type requires.
struct WrongLength;

/// Decodes the properties of a piece; those of unknown types are left out. Returns `None` when `payload`
/// does not hold exactly `count` entries, or when the length of one is wrong.
#[must_use]
pub fn decode_properties(payload: &[u8], count: u32) -> Option<Vec<CheckpointProperty>> {
    let (mut rest, mut found) = (payload, Vec::new());
    for _ in 0..count {
        let (head, behind) = rest.split_at_checked(HEAD_LEN)?;
        let mut head = Decoder::new(head);
        let (kind, len) = (head.u16(), head.u16());
        let (value, behind) = behind.split_at_checked(usize::from(len))?;
        found.extend(CheckpointProperty::decode(kind, value).ok()?);
        rest = behind;
    }
    rest.is_empty().then_some(found)
}

const _: () = assert!(HEAD_LEN + u16::MAX as usize <= PAYLOAD_LEN_MAX);
const _: () = assert!(EXPIRY_DAYS_MAX * EXPIRY_DAY_LEN <= u16::MAX as usize);
