//! Receives the body of a request without its framing: of a known length, or chunked.

use super::conn::{Conn, PeerError};
use super::fid::{ChunkEvent, ChunkedDecoder};
use super::head::Head;
use super::reject::Reject;
use crate::base::limits::BODY_PIECE;
use crate::runtime::buffer::Buf;

/// Why a body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReceived {
    /// The peer did not send it.
    Peer(PeerError),
    /// It is malformed.
    Malformed(Reject),
}

impl From<PeerError> for NotReceived {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<Reject> for NotReceived {
    fn from(reject: Reject) -> Self {
        Self::Malformed(reject)
    }
}

enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// The body of the current request of a connection, as far as it was not received.
///
/// The minimum rate of a client holds for each [`BODY_PIECE`] bytes of content, however they are framed.
pub struct BodyReader {
    framing: Framing,
    /// When the current piece must be complete (ns); 0 before the first.
    deadline: u64,
    /// Bytes of the current piece that were received.
    in_piece: usize,
}

impl BodyReader {
    /// The body of the request with this head.
    #[must_use]
    pub fn new(head: &Head) -> Self {
        let framing = match head.is_chunked {
            true => Framing::Chunked(ChunkedDecoder::new()),
            false => Framing::Length(head.content_length.unwrap_or(0)),
        };
        Self { framing, deadline: 0, in_piece: 0 }
    }

    /// Number of bytes that are left; `None` if only the end shows it.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) => None,
        }
    }

    /// Receives into `buf[start..start + len]` until that is full or the body ends. Returns the number of
    /// bytes, and the buffer in either case.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn fill(
        &mut self,
        conn: &mut Conn,
        mut buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<usize, NotReceived>) {
        let mut done = 0;
        while done < len {
            let piece = match self.next_piece(conn, len - done).await {
                Ok(0) => break,
                Ok(piece) => piece,
                Err(error) => return (buf, Err(error)),
            };
            let (back, result) = conn.read_piece(buf, start + done, piece, self.deadline).await;
            buf = back;
            if let Err(error) = result {
                return (buf, Err(error.into()));
            }
            self.note_received(piece);
            done += piece;
        }
        (buf, Ok(done))
    }

    /// Appends some bytes to `out`, at most `most`, without waiting for more than one; none if the body has
    /// ended.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn take_some(
        &mut self,
        conn: &mut Conn,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, NotReceived> {
        let piece = self.next_piece(conn, most).await?;
        if piece == 0 {
            return Ok(0);
        }
        if conn.buffered() == 0 {
            conn.receive_body(self.deadline).await?;
        }
        let len = piece.min(conn.buffered());
        out.extend_from_slice(&conn.unread()[..len]);
        conn.consume(len);
        self.note_received(len);
        Ok(len)
    }

    /// Waits for more content, or the end of the body, without a buffer.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn await_data(&mut self, conn: &mut Conn) -> Result<(), NotReceived> {
        let is_end = self.ends_here(conn).await?;
        if !is_end && conn.buffered() == 0 {
            conn.receive_body(self.deadline).await?;
        }
        Ok(())
    }

    /// Returns whether the body ends here.
    ///
    /// # Errors
    /// See [`NotReceived`].
    pub async fn ends_here(&mut self, conn: &mut Conn) -> Result<bool, NotReceived> {
        Ok(self.next_piece(conn, 1).await? == 0)
    }

    /// Number of bytes of content that come next, at most `most`; 0 at the end. Receives framing that is
    /// before them.
    async fn next_piece(&mut self, conn: &mut Conn, most: usize) -> Result<usize, NotReceived> {
        self.renew_deadline(conn);
        let left = match &mut self.framing {
            Framing::Length(left) => *left,
            Framing::Chunked(decoder) => loop {
                let (consumed, event) = decoder.step(conn.unread())?;
                conn.consume(consumed);
                match event {
                    ChunkEvent::More => conn.receive_body(self.deadline).await?,
                    ChunkEvent::Data(left) => break left,
                    ChunkEvent::End => break 0,
                }
            },
        };
        let most = most.min(BODY_PIECE - self.in_piece);
        Ok(usize::try_from(left).unwrap_or(usize::MAX).min(most))
    }

    fn renew_deadline(&mut self, conn: &Conn) {
        if self.deadline == 0 || self.in_piece == BODY_PIECE {
            let piece = self.left().map_or(BODY_PIECE, |left| {
                usize::try_from(left).unwrap_or(usize::MAX).min(BODY_PIECE)
            });
            self.deadline = conn.body_deadline(piece);
            self.in_piece = 0;
        }
    }

    fn note_received(&mut self, len: usize) {
        self.in_piece += len;
        match &mut self.framing {
            Framing::Length(left) => *left -= len as u64,
            Framing::Chunked(decoder) => decoder.consume(len as u64),
        }
    }
}
