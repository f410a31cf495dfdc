//! Writing the pieces of a checkpoint.

use super::not_written::NotWritten;
use crate::runtime::background::{BackgroundRun, WorkBuffer};
use crate::runtime::buffer::Buf;
use crate::runtime::op::Piece;
use crate::volume::format::{PAYLOAD_AT, PIECE_LEN_MAX, PieceKind, chain, finish_piece};
use crate::volume::io::VolumeFile;

/// Returns a length or a number of entries within a piece.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a piece is at most 256 KiB long")
}

/// Writes pieces one after the other. Each is a step of the run.
pub(super) struct PieceWriter<'a, 'r> {
    pub(super) run: &'a mut BackgroundRun<'r>,
    pub(super) file: &'a VolumeFile,
    /// The piece that is being assembled.
    pub(super) buf: &'a mut WorkBuffer,
    pub(super) incarnation: u64,
    /// Length of its payload so far (bytes).
    pub(super) filled: usize,
    /// Number of entries in the payload.
    pub(super) count: u32,
    /// Number of the piece.
    pub(super) number: u64,
    /// Offset of the piece in the file (bytes).
    pub(super) at: u64,
    pub(super) sums: u64,
}

impl PieceWriter<'_, '_> {
    /// Returns the buffer.
    pub(super) fn buf(&mut self) -> &mut Buf {
        self.buf.memory()
    }

    /// Returns the space that is left in the payload.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let from = PAYLOAD_AT + self.filled;
        &mut self.buf()[from..PIECE_LEN_MAX]
    }

    /// Writes the piece, unless it is empty, and begins the next one.
    pub(super) async fn flush(&mut self, kind: PieceKind) -> Result<(), NotWritten> {
        if self.count == 0 {
            return Ok(());
        }
        let (number, count, filled) = (self.number, self.count, self.filled);
        let incarnation = self.incarnation;
        let (len, sum) = finish_piece(kind, number, count, filled, incarnation, self.buf());
        self.write(len, sum).await
    }

    /// Writes the first `len` bytes of the buffer, a piece with this checksum.
    pub(super) async fn write(&mut self, len: usize, sum: u64) -> Result<(), NotWritten> {
        let piece = Piece { buf: 0, start: 0, len: count(len) };
        let written = self.file.write(vec![self.buf.take()], vec![piece], self.at, false).await;
        let mut bufs = written.map_err(|error| NotWritten::Failed("write the file", error))?;
        self.buf.put_back(bufs.pop().expect("a write returns its buffer"));
        self.at += len as u64;
        self.number += 1;
        self.sums = chain(self.sums, sum);
        (self.filled, self.count) = (0, 0);
        Ok(self.run.end_step(len as u64).await?)
    }
}
