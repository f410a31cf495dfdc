//! Writing the pieces of a checkpoint.

use std::cell::Cell;

use super::not_written::NotWritten;
use crate::runtime::Handle;
use crate::runtime::buffer::Buf;
use crate::runtime::op::Piece;
use crate::volume::format::{PAYLOAD_AT, PIECE_LEN_MAX, PieceKind, chain, finish_piece};
use crate::volume::io::VolumeFile;

/// Returns a length or a number of entries within a piece.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a piece is at most 256 KiB long")
}

/// Writes pieces one after the other, at a limited rate.
pub(super) struct PieceWriter<'a> {
    pub(super) handle: &'a Handle,
    pub(super) stop: &'a Cell<bool>,
    pub(super) file: &'a VolumeFile,
    /// The piece that is being assembled.
    pub(super) buf: &'a mut Option<Buf>,
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
    pub(super) began: u64,
    pub(super) rate: u64,
}

impl PieceWriter<'_> {
    /// Returns the buffer.
    pub(super) fn buf(&mut self) -> &mut Buf {
        self.buf.as_mut().expect("the writer holds the buffer between writes")
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
        let buf = self.buf.take().expect("the writer holds the buffer between writes");
        let piece = Piece { buf: 0, start: 0, len: count(len) };
        let written = self.file.write(vec![buf], vec![piece], self.at, false).await;
        let mut bufs = written.map_err(|error| NotWritten::Failed("write the file", error))?;
        *self.buf = bufs.pop();
        self.at += len as u64;
        self.number += 1;
        self.sums = chain(self.sums, sum);
        (self.filled, self.count) = (0, 0);
        if let Some(due) = (self.at * 1000).checked_div(self.rate / 1000) {
            self.handle.sleep_until(self.began + due * 1000).await;
        }
        if self.stop.get() && self.rate > 0 { Err(NotWritten::Stopped) } else { Ok(()) }
    }
}
