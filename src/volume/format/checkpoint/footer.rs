//! The last piece of a checkpoint: totals of all others.

use super::lens::{FOOTER_LEN, PAYLOAD_AT};
use super::piece::{PieceKind, finish_piece};
use super::position::LogPosition;
use crate::base::limits::BLOCK;
use crate::volume::format::field::{Decoder, Encoder};

/// The last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFooter {
    /// Reached position: the end of the log when the last segment and the parts had been written. Nothing
    /// in the pieces is from after it.
    pub reached: LogPosition,
    /// Number of entries in the stash.
    pub stash: u64,
    /// Number of segments.
    pub segments: u64,
    /// Number of entries in the segments.
    pub entries: u64,
    /// Number of manifests with parts.
    pub parts: u64,
    /// Number of damaged ranges.
    pub damage: u64,
    /// Number of properties, those of unknown types included.
    pub properties: u64,
    /// Length of all pieces, this one included (bytes).
    pub len: u64,
    /// Checksum over the checksums of all preceding pieces.
    pub sums: u64,
}

impl CheckpointFooter {
    /// Encodes the payload into `out` and completes it as piece `number`. Returns its length (bytes).
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it. If `out` is shorter than a block.
    pub fn encode(&self, number: u64, incarnation: u64, out: &mut [u8]) -> usize {
        assert!(self.fits(), "no reader accepts {self:?}");
        self.put(number, incarnation, out)
    }

    pub(super) fn put(&self, number: u64, incarnation: u64, out: &mut [u8]) -> usize {
        let mut fields = Encoder::new(&mut out[PAYLOAD_AT..]);
        self.reached.encode(&mut fields);
        fields.u64(self.stash).u64(self.segments).u64(self.entries).u64(self.parts);
        fields.u64(self.damage).u64(self.properties).u64(self.len).u64(self.sums);
        let len = fields.len();
        finish_piece(PieceKind::Footer, number, 1, len, incarnation, out).0
    }

    /// Decodes the payload of a footer. Returns `None` when it is not valid.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != FOOTER_LEN {
            return None;
        }
        let mut input = Decoder::new(payload);
        let footer = Self {
            reached: LogPosition::decode(&mut input),
            stash: input.u64(),
            segments: input.u64(),
            entries: input.u64(),
            parts: input.u64(),
            damage: input.u64(),
            properties: input.u64(),
            len: input.u64(),
            sums: input.u64(),
        };
        footer.fits().then_some(footer)
    }

    /// Conditions of encoder and decoder, independent of the volume file: a possible position, and a
    /// length of whole blocks, at least two (header and footer).
    fn fits(&self) -> bool {
        self.reached.fits(u64::MAX) && self.len >= 2 * BLOCK && self.len.is_multiple_of(BLOCK)
    }
}
