//! The fixed header of a needle.

use super::expiry::expiry_of;
use super::kind::Kind;
use super::layout::{HEADER_LEN, HEADER_ONLY_UNITS, NeedleLayout};
use super::subject::{is_possible, owner};
use crate::base::limits::{ATTRIBUTES_MAX, NEEDLE_DATA_MAX, UNIT};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::{checksum, seed};
use crate::volume::format::field::{Decoder, Encoder};
use crate::volume::format::rising::RISING_MAX;

pub(super) const HEADER_MAGIC: [u8; 4] = *b"HNDL";
pub(super) const HEADER_CHECKSUM_AT: usize = HEADER_LEN - 8;
/// Flag of the second header of a needle that has its header twice.
pub(super) const FLAG_COPY: u8 = 1;
/// Flag of a manifest whose parts are those of the needle that it supersedes.
const FLAG_KEEPS_PARTS: u8 = 2;

/// The fixed header of a needle.
#[derive(Clone, Copy, Debug)]
pub struct NeedleHeader {
    /// Kind of the needle.
    pub kind: Kind,
    /// Id of the needle; see [`Self::owner`] for needles without one.
    pub id: NeedleId,
    /// Cookie that a reader must present.
    pub cookie: Cookie,
    /// Version; the highest version of an id counts.
    pub version: u64,
    /// Time for `Last-Modified` (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Length of the attributes (bytes).
    pub attributes_len: u16,
    /// Length of the data (bytes).
    pub data_len: u32,
    /// Length of the body (bytes): of a manifest the sum of its parts, else `data_len`. In a loss record the
    /// length of what was lost.
    pub body_len: u64,
    /// Offset of the needle that this one supersedes or deletes (bytes); 0 for none.
    pub previous: u64,
    /// Epoch of its commit.
    pub epoch: u64,
    /// Sequence of its commit.
    pub sequence: u64,
    /// Position in its commit, from 0.
    pub ordinal: u32,
    /// Id of the batch put to which the needle belongs; 0 for none.
    pub batch: u64,
    /// Position in the batch put, from 0.
    pub batch_ordinal: u16,
    /// Number of needles in the batch put.
    pub batch_count: u16,
    /// In a manifest: length of its parts on disk (units); else 0.
    pub parts_units: u32,
    /// XXH3-64 of the body, without a seed: the entity tag.
    pub data_checksum: u64,
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never. Not in the header itself:
    /// it is the first attribute, which follows the header in the same block.
    pub expires_ns: Option<u64>,
    /// In a manifest: whether its parts are those of an earlier manifest with the same id.
    pub keeps_parts: bool,
}

impl NeedleHeader {
    /// Returns the layout of this needle.
    #[must_use]
    pub fn layout(&self) -> NeedleLayout {
        match self.kind {
            Kind::Tombstone | Kind::Loss | Kind::UnidentifiedLoss | Kind::DamagedRange => {
                NeedleLayout::header_only()
            }
            Kind::Data | Kind::Part => {
                NeedleLayout::data(usize::from(self.attributes_len), self.data_len as usize)
            }
            Kind::Manifest => {
                NeedleLayout::manifest(usize::from(self.attributes_len), self.data_len as usize)
            }
        }
    }

    /// Returns the object that the needle belongs to; `None` if it has no id, or the id is not known.
    #[must_use]
    pub fn owner(&self) -> Option<NeedleId> {
        owner(self.kind, self.id)
    }

    /// In a manifest: length of its parts on disk (bytes); else 0.
    #[must_use]
    pub fn parts_len(&self) -> u64 {
        u64::from(self.parts_units) * UNIT
    }

    pub(super) fn encode(&self, flags: u8, meta_checksum: u64, seed: u64, out: &mut [u8]) {
        assert!(self.fits(self.layout().units()), "no reader accepts {self:?}");
        self.put(flags, meta_checksum, seed, self.layout().units(), out);
    }

    pub(super) fn put(&self, flags: u8, meta_checksum: u64, seed: u64, units: u32, out: &mut [u8]) {
        let sum = {
            let mut fields = Encoder::new(&mut out[..HEADER_CHECKSUM_AT]);
            let flags = flags | if self.keeps_parts { FLAG_KEEPS_PARTS } else { 0 };
            fields.bytes(&HEADER_MAGIC).u8(self.kind.code()).u8(flags).u16(self.attributes_len);
            fields.u64(self.id.key.0).u32(self.id.alt.0).u32(units);
            fields.u64(self.cookie.0).u64(self.version).u64(self.modified_ns);
            fields.u32(self.data_len).u16(self.batch_ordinal).u16(self.batch_count);
            fields.u64(self.previous).u64(self.epoch).u64(self.sequence);
            fields.u32(self.ordinal).u32(self.parts_units).u64(self.batch);
            fields.u64(self.data_checksum).u64(meta_checksum).u64(self.body_len);
            debug_assert_eq!(fields.len(), HEADER_CHECKSUM_AT);
            checksum(fields.written(), seed)
        };
        Encoder::new(&mut out[HEADER_CHECKSUM_AT..]).u64(sum);
    }

    /// Conditions of encoder and decoder for the header of a needle of `units` units.
    fn fits(&self, units: u32) -> bool {
        let lengths_fit = if self.kind.is_header_only() {
            self.attributes_len == 0 && self.data_len == 0 && units == HEADER_ONLY_UNITS
        } else {
            usize::from(self.attributes_len) <= ATTRIBUTES_MAX
                && u64::from(self.data_len) <= NEEDLE_DATA_MAX
                && self.layout().units() == units
        };
        lengths_fit
            && is_possible(self.kind, self.id)
            && self.version.max(self.sequence) < RISING_MAX
    }
}

/// Decodes the header at `offset` of the file `incarnation`. Returns `None` when it is not valid there.
/// The second header of a needle is in its second unit: the number returned is the distance back to the
/// start of the needle (bytes). `bytes` should go on up to the end of the unit: otherwise the time at which
/// the needle expires is not known.
#[must_use]
pub fn decode_header(bytes: &[u8], incarnation: u64, offset: u64) -> Option<(NeedleHeader, u64)> {
    if bytes.len() < HEADER_LEN || bytes[..4] != HEADER_MAGIC {
        return None;
    }
    let sum = Decoder::new(&bytes[HEADER_CHECKSUM_AT..]).u64();
    if checksum(&bytes[..HEADER_CHECKSUM_AT], seed(incarnation, offset)) != sum {
        return None;
    }
    let mut input = Decoder::new(&bytes[4..HEADER_LEN]);
    let (kind, flags, attributes_len) = (input.u8(), input.u8(), input.u16());
    let kind = Kind::from_code(kind)?;
    let (key, alt, units) = (input.u64(), input.u32(), input.u32());
    let (cookie, version, modified_ns) = (Cookie(input.u64()), input.u64(), input.u64());
    let (data_len, batch_ordinal, batch_count) = (input.u32(), input.u16(), input.u16());
    let (previous, epoch, sequence) = (input.u64(), input.u64(), input.u64());
    let (ordinal, parts_units) = (input.u32(), input.u32());
    let (batch, data_checksum, _meta) = (input.u64(), input.u64(), input.u64());
    let header = NeedleHeader {
        kind,
        id: NeedleId::new(key, alt),
        cookie,
        version,
        modified_ns,
        attributes_len,
        data_len,
        body_len: input.u64(),
        previous,
        epoch,
        sequence,
        ordinal,
        batch,
        batch_ordinal,
        batch_count,
        parts_units,
        data_checksum,
        expires_ns: expiry_of(
            &bytes[HEADER_LEN..bytes.len().min(HEADER_LEN + usize::from(attributes_len))],
        ),
        keeps_parts: kind == Kind::Manifest && flags & FLAG_KEEPS_PARTS != 0,
    };
    if !header.fits(units) {
        return None;
    }
    let back = match (kind, flags & FLAG_COPY) {
        (_, 0) => 0,
        (kind, _) if kind.is_header_only() => UNIT,
        _ => return None,
    };
    Some((header, back))
}
