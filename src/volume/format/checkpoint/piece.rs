//! A piece of a checkpoint: whole blocks with a checksum, which hold entries of one kind.

use super::lens::{DAMAGE_LEN, FOOTER_LEN, HEADER_LEN, PAIR_LEN, PAYLOAD_AT, PAYLOAD_LEN_MAX};
use crate::base::limits::BLOCK;
use crate::volume::format::checksum::{checksum, seed};
use crate::volume::format::field::{Decoder, Encoder};

const MAGIC: [u8; 8] = *b"HAYLCKPT";
const CHECKSUM_LEN: usize = 8;

/// Kind of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Identity of the checkpoint; the first piece.
    Header = 1,
    /// Entries of the stash: pairs of hash and entry.
    Stash = 2,
    /// Segments of the table.
    Segments = 3,
    /// Pairs of the offset of a manifest and the length of its parts (bytes).
    Parts = 4,
    /// Damaged ranges.
    Damage = 5,
    /// Properties of the log: entries of type, length and value.
    Properties = 6,
    /// Totals of all pieces; the last piece.
    Footer = 7,
}

impl PieceKind {
    pub(super) fn of(number: u32) -> Option<Self> {
        let all = [
            Self::Header,
            Self::Stash,
            Self::Segments,
            Self::Parts,
            Self::Damage,
            Self::Properties,
            Self::Footer,
        ];
        all.into_iter().find(|kind| *kind as u32 == number)
    }

    /// Condition of encoder and decoder for a piece: `payload` bytes hold exactly `count` entries of this
    /// kind. Segments and properties differ in length; each contains its own.
    fn fits(self, count: u32, payload: usize) -> bool {
        let count = count as usize;
        let len = match self {
            Self::Header => count.checked_mul(HEADER_LEN).filter(|_| count == 1),
            Self::Footer => count.checked_mul(FOOTER_LEN).filter(|_| count == 1),
            Self::Stash | Self::Parts => count.checked_mul(PAIR_LEN),
            Self::Damage => count.checked_mul(DAMAGE_LEN),
            Self::Segments | Self::Properties => Some(payload),
        };
        payload <= PAYLOAD_LEN_MAX && len == Some(payload)
    }
}

/// A valid piece.
#[derive(Clone, Copy)]
pub struct CheckpointPiece<'a> {
    /// Kind of its entries.
    pub kind: PieceKind,
    /// Number of its entries.
    pub count: u32,
    /// The encoded entries.
    pub payload: &'a [u8],
    /// Checksum of the piece.
    pub sum: u64,
}

fn padded(payload: usize) -> usize {
    (PAYLOAD_AT + payload).next_multiple_of(BLOCK as usize)
}

/// Completes the piece whose payload is in `out` from [`PAYLOAD_AT`] on. Returns its length (bytes) and
/// its checksum.
///
/// # Panics
/// If [`decode_piece`] would refuse it: `payload` is not the length of `count` entries of this kind, or is
/// too long. If `out` is shorter than the piece.
pub fn finish_piece(
    kind: PieceKind,
    number: u64,
    count: u32,
    payload: usize,
    incarnation: u64,
    out: &mut [u8],
) -> (usize, u64) {
    assert!(kind.fits(count, payload), "no reader accepts {count} in {payload} bytes of {kind:?}");
    put_piece(kind, number, count, payload, incarnation, out)
}

pub(super) fn put_piece(
    kind: PieceKind,
    number: u64,
    count: u32,
    payload: usize,
    incarnation: u64,
    out: &mut [u8],
) -> (usize, u64) {
    let len = padded(payload);
    let payload_len = u32::try_from(payload).expect("at most 256 KiB");
    let mut head = Encoder::new(&mut out[CHECKSUM_LEN..PAYLOAD_AT]);
    head.bytes(&MAGIC).u64(number).u32(kind as u32).u32(count).u32(payload_len);
    head.zeros_to(PAYLOAD_AT - CHECKSUM_LEN);
    out[PAYLOAD_AT + payload..len].fill(0);
    let sum = checksum(&out[CHECKSUM_LEN..len], seed(incarnation, number));
    Encoder::new(out).u64(sum);
    (len, sum)
}

/// Returns the length of the piece that begins with these bytes (bytes); `None` when there is none.
#[must_use]
pub fn piece_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < PAYLOAD_AT || bytes[CHECKSUM_LEN..CHECKSUM_LEN + 8] != MAGIC {
        return None;
    }
    let payload = Decoder::new(&bytes[32..]).u32() as usize;
    (payload <= PAYLOAD_LEN_MAX).then(|| padded(payload))
}

/// Decodes piece `number`, which begins with these bytes. Returns `None` when there is no valid one.
/// Without `verified`, the checksum is not compared.
#[must_use]
pub fn decode_piece(
    bytes: &[u8],
    number: u64,
    incarnation: u64,
    verified: bool,
) -> Option<CheckpointPiece<'_>> {
    let bytes = bytes.get(..piece_len(bytes)?)?;
    let sum = Decoder::new(bytes).u64();
    if verified && checksum(&bytes[CHECKSUM_LEN..], seed(incarnation, number)) != sum {
        return None;
    }
    let mut head = Decoder::new(&bytes[CHECKSUM_LEN + 8..]);
    let (found, kind, count, len) = (head.u64(), head.u32(), head.u32(), head.u32() as usize);
    let payload = &bytes[PAYLOAD_AT..PAYLOAD_AT + len];
    let kind = PieceKind::of(kind).filter(|kind| found == number && kind.fits(count, len))?;
    Some(CheckpointPiece { kind, count, payload, sum })
}

/// Adds a checksum to the checksum over all checksums so far.
#[must_use]
pub fn chain(so_far: u64, sum: u64) -> u64 {
    let mut both = [0; 16];
    Encoder::new(&mut both).u64(so_far).u64(sum);
    checksum(&both, 0)
}
