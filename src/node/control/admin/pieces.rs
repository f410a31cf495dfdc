//! Answers that are made piece by piece while they are sent.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;

use super::connection::Connection;
use super::error::ApiError;
use super::limits::AdminLimits;
use super::streamed_body::{Cut, StreamedBody};
use crate::node::control::Refused;

/// Makes the pieces of an answer.
pub(super) trait Pieces: Send + 'static {
    /// Makes the next piece. Returns its bytes, and whether it is the last one.
    fn next(&mut self) -> impl Future<Output = Result<(Bytes, bool), ApiError>> + Send;
}

/// Returns an answer that consists of these pieces. The next one is made when the client has taken the one
/// before. `turn` is kept until the end.
///
/// # Errors
/// The error of the first piece.
pub(super) async fn answer(
    mut pieces: impl Pieces,
    media_type: &'static str,
    (turn, connection, limits): (OwnedSemaphorePermit, Connection, AdminLimits),
) -> Result<Response, ApiError> {
    let first = pieces.next().await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = send(pieces, first, &sender, &connection, limits).await {
            tracing::warn!("a list or a stream of records was cut short: {error}");
            let _ = sender.send(Err(Cut)).await;
        }
        drop(turn);
    });
    let body = Body::new(StreamedBody::new(receiver));
    Ok(([(header::CONTENT_TYPE, media_type)], body).into_response())
}

async fn send(
    mut pieces: impl Pieces,
    first: (Bytes, bool),
    sender: &mpsc::Sender<Result<Bytes, Cut>>,
    connection: &Connection,
    limits: AdminLimits,
) -> Result<(), ApiError> {
    let (mut bytes, mut is_last) = first;
    loop {
        // It waits here as long as the client does not read.
        if sender.send(Ok(bytes)).await.is_err() || is_last {
            return Ok(());
        }
        connection.keep(limits.stream_silence);
        (bytes, is_last) = next_surely(&mut pieces, limits).await?;
    }
}

/// Makes the next piece, also if the shard has to be asked again: the client knows of no 503 by now.
async fn next_surely(
    pieces: &mut impl Pieces,
    limits: AdminLimits,
) -> Result<(Bytes, bool), ApiError> {
    let mut left = limits.stream_attempts;
    loop {
        match pieces.next().await {
            Err(ApiError::Refused(Refused::Unavailable(why))) if left > 0 => {
                tracing::debug!("a list or a stream of records waits: {why}");
                left -= 1;
                sleep(limits.stream_pause).await;
            }
            other => return other,
        }
    }
}
