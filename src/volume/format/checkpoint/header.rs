//! The first piece of a checkpoint: of which volume file and which index it is a copy.

use super::lens::{HEADER_LEN, LAYOUT_NUMBERS, PAYLOAD_AT};
use super::piece::{CheckpointPiece, PieceKind, decode_piece, finish_piece};
use super::position::LogPosition;
use crate::base::limits::{BLOCK, TRAILER};
use crate::volume::format::field::{Decoder, Encoder};

/// Version of the format of checkpoints that this build writes, and the only one that it reads.
const VERSION: u32 = 2;

/// The first piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Id of the store.
    pub store: [u8; 16],
    /// Number of the volume.
    pub volume: u32,
    /// Generation of the volume file.
    pub generation: u64,
    /// Incarnation of the volume file.
    pub incarnation: u64,
    /// Length of the volume file (bytes).
    pub size: u64,
    /// Seed of the hash of ids.
    pub hash_seed: u64,
    /// Layout of the index.
    pub layout: [u32; LAYOUT_NUMBERS],
    /// Covered position: the checkpoint contains everything that the log says before it.
    pub covers: LogPosition,
    /// Time at which it was begun (nanoseconds since 1970).
    pub written_ns: u64,
}

/// Offset of the incarnation in the payload of a header (bytes).
const INCARNATION_AT: usize = 32;

impl CheckpointHeader {
    /// Encodes the payload into `out` and completes the piece. Returns its length (bytes) and its
    /// checksum.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it. If `out` is shorter than a block.
    pub fn encode(&self, out: &mut [u8]) -> (usize, u64) {
        assert!(self.fits(), "no reader accepts {self:?}");
        self.put(out)
    }

    pub(super) fn put(&self, out: &mut [u8]) -> (usize, u64) {
        let mut fields = Encoder::new(&mut out[PAYLOAD_AT..]);
        fields.u32(VERSION).u32(self.volume).bytes(&self.store).u64(self.generation);
        fields.u64(self.incarnation).u64(self.size).u64(self.hash_seed);
        for number in self.layout {
            fields.u32(number);
        }
        self.covers.encode(&mut fields);
        fields.u64(self.written_ns);
        let len = fields.len();
        debug_assert_eq!(len, HEADER_LEN);
        finish_piece(PieceKind::Header, 0, 1, len, self.incarnation, out)
    }

    /// Decodes the first piece, of whichever volume file it is. Also returns its checksum. Returns `None`
    /// when it is not valid or of another version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let piece = first_piece(bytes)?;
        let mut input = Decoder::new(piece.payload);
        if input.u32() != VERSION {
            return None;
        }
        let (volume, store, generation) = (input.u32(), input.bytes(), input.u64());
        let (incarnation, size, hash_seed) = (input.u64(), input.u64(), input.u64());
        let layout = std::array::from_fn(|_| input.u32());
        let covers = LogPosition::decode(&mut input);
        let written_ns = input.u64();
        let header = Self {
            store,
            volume,
            generation,
            incarnation,
            size,
            hash_seed,
            layout,
            covers,
            written_ns,
        };
        header.fits().then_some((header, piece.sum))
    }

    /// Condition of encoder and decoder: the covered position is possible in a file of this size.
    fn fits(&self) -> bool {
        self.size.checked_sub(TRAILER).is_some_and(|log_end| self.covers.fits(log_end))
    }
}

/// Decodes the first piece, of whichever volume file and version it is.
fn first_piece(bytes: &[u8]) -> Option<CheckpointPiece<'_>> {
    let bytes = bytes.get(..BLOCK as usize)?;
    let incarnation = Decoder::new(&bytes[PAYLOAD_AT + INCARNATION_AT..]).u64();
    let piece = decode_piece(bytes, 0, incarnation, true)?;
    (piece.kind == PieceKind::Header && piece.payload.len() == HEADER_LEN).then_some(piece)
}

/// Returns the version of the format of the checkpoint that begins with these bytes, if that is not the
/// version that this build reads. Returns `None` when the first piece is not valid.
#[must_use]
pub fn other_checkpoint_version(bytes: &[u8]) -> Option<u32> {
    let version = Decoder::new(first_piece(bytes)?.payload).u32();
    (version != VERSION).then_some(version)
}
