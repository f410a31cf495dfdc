//! The body of a request that is longer than memory, in pieces.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use tokio::time::timeout;

use super::connection::Connection;
use super::error::ApiError;

/// Length of a piece (bytes). The last one may be shorter.
const PIECE: usize = 1 << 20;
/// Largest part of a body that is received although its request was refused (bytes), so that the client reads
/// the answer.
const IGNORED_MAX: usize = 64 << 20;

/// The body of a request, as it arrives.
pub(super) struct ReceivedBody {
    body: Body,
    connection: Connection,
    /// Longest time without a byte of it.
    silence: Duration,
    /// Whether the client waits for a sign before it sends the body.
    is_announced: bool,
    has_begun: bool,
    has_ended: bool,
}

impl ReceivedBody {
    /// Begins to receive a body.
    pub(super) fn new(
        (headers, body): (&HeaderMap, Body),
        connection: Connection,
        silence: Duration,
    ) -> Self {
        let is_announced = headers.contains_key(header::EXPECT);
        Self { body, connection, silence, is_announced, has_begun: false, has_ended: false }
    }

    /// Receives the next piece; `None` at the end of the body.
    ///
    /// # Errors
    /// [`ApiError::Cut`] if the client has gone, or sends nothing more.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        self.has_begun = true;
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE && !self.has_ended {
            self.connection.keep(self.silence);
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = timeout(self.silence, frame).await.map_err(|_elapsed| ApiError::Cut)?;
            match frame {
                None => self.has_ended = true,
                Some(Err(_)) => return Err(ApiError::Cut),
                Some(Ok(frame)) => {
                    piece.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
                }
            }
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// Receives the rest and ignores it: a client that still sends would not see the answer.
    pub(super) async fn ignore(&mut self) {
        if self.is_announced && !self.has_begun {
            return;
        }
        let mut left = IGNORED_MAX;
        while left > 0
            && let Ok(Some(piece)) = self.next().await
        {
            left = left.saturating_sub(piece.len());
        }
    }
}
