//! The body of an answer that is made while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use http_body::Frame;
use tokio::sync::mpsc;

/// The answer ended early: the connection is closed, so that the client notices.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
pub(super) struct Cut;

/// A body of pieces from a channel.
pub(super) struct StreamedBody {
    pieces: mpsc::Receiver<Result<Bytes, Cut>>,
}

impl StreamedBody {
    /// Creates the body of the pieces that `pieces` receives.
    pub(super) fn new(pieces: mpsc::Receiver<Result<Bytes, Cut>>) -> Self {
        Self { pieces }
    }
}

impl HttpBody for StreamedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
