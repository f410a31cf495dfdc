//! The footer of a needle. It ends the needle's last unit, so that a scan finds it without the header, and
//! identifies a needle whose header is damaged.

use super::header::NeedleHeader;
use super::kind::Kind;
use super::layout::{FOOTER_LEN, UNITS};
use super::subject::{is_possible, owner};
use crate::base::limits::UNIT;
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::{checksum, seed};
use crate::volume::format::field::{Decoder, Encoder};
use crate::volume::format::rising::RISING_MAX;

const FOOTER_MAGIC: [u8; 4] = *b"HEND";

/// Footer of a needle. It identifies the needle when the header is damaged.
#[derive(Clone, Copy, Debug)]
pub struct Footer {
    /// Kind of the needle.
    pub kind: Kind,
    /// Id of the needle; see [`Self::owner`] for needles without one.
    pub id: NeedleId,
    /// Length of the needle (units).
    pub units: u32,
    /// Sequence of its commit.
    pub sequence: u64,
    /// Epoch of its commit.
    pub epoch: u64,
    /// Position in its commit.
    pub ordinal: u32,
    /// Cookie that a reader must present.
    pub cookie: Cookie,
    /// Offset of the needle (bytes).
    pub start: u64,
}

impl Footer {
    /// Returns the object that the needle belongs to; `None` if it has no id, or the id is not known.
    #[must_use]
    pub fn owner(&self) -> Option<NeedleId> {
        owner(self.kind, self.id)
    }
}

/// Decodes the footer in the last bytes of `unit`, which ends at `end` of the file `incarnation`. Returns
/// `None` when it is not valid there.
#[must_use]
pub fn footer_at(unit: &[u8], incarnation: u64, end: u64) -> Option<Footer> {
    let bytes = unit.last_chunk::<FOOTER_LEN>()?;
    if bytes[..4] != FOOTER_MAGIC {
        return None;
    }
    let mut input = Decoder::new(&bytes[4..]);
    let (alt, key, units) = (input.u32(), input.u64(), input.u32());
    let kind = input.u8();
    input.skip(1);
    let ordinal = u32::from(input.u16());
    let (sequence, epoch, cookie) = (input.u64(), input.u64(), Cookie(input.u64()));
    let sum = input.u64();
    let start = end.checked_sub(u64::from(units) * UNIT)?;
    if checksum(&bytes[..FOOTER_LEN - 8], seed(incarnation, start)) != sum {
        return None;
    }
    let kind = Kind::from_code(kind)?;
    let id = NeedleId::new(key, alt);
    if !UNITS.contains(&units) || sequence >= RISING_MAX || !is_possible(kind, id) {
        return None;
    }
    Some(Footer { kind, id, units, sequence, epoch, ordinal, cookie, start })
}

/// Encodes the footer of a needle at `offset`.
pub(super) fn encode_footer(header: &NeedleHeader, incarnation: u64, offset: u64, out: &mut [u8]) {
    let sum = {
        let mut fields = Encoder::new(&mut out[..FOOTER_LEN - 8]);
        fields.bytes(&FOOTER_MAGIC).u32(header.id.alt.0).u64(header.id.key.0);
        let ordinal =
            u16::try_from(header.ordinal).expect("a commit holds fewer than 65,536 needles");
        fields.u32(header.layout().units()).u8(header.kind.code()).u8(0).u16(ordinal);
        fields.u64(header.sequence).u64(header.epoch).u64(header.cookie.0);
        debug_assert_eq!(fields.len(), FOOTER_LEN - 8);
        checksum(fields.written(), seed(incarnation, offset))
    };
    Encoder::new(&mut out[FOOTER_LEN - 8..]).u64(sum);
}
