//! `/volumes/{id}/objects`: what a volume holds, while it serves.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;

use super::connection::Connection;
use super::error::ApiError;
use super::listed_lines::{Lines, STREAMED};
use super::objects_query::ObjectsQuery;
use super::state::AdminState;
use super::streamed_body::{Cut, StreamedBody};
use super::volumes::parse_id;
use crate::base::types::VolumeId;
use crate::node::control::{ControlRequest, ListPosition, ListRequest, ListedPiece, Refused};

/// Largest number of objects in a piece.
const PIECE_OBJECTS: usize = 2000;

/// Answers `GET /volumes/{id}/objects`: an object a line, in the order in which they were stored. The next
/// piece is read when the client has taken the one before.
pub(super) async fn list(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let query: ObjectsQuery = query.as_deref().unwrap_or_default().parse()?;
    let turn = Arc::clone(&state.streams).try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::TooManyStreams)?;
    let mut listing = Listing {
        state,
        id,
        deletions: query.deleted,
        left: query.limit.unwrap_or(u64::MAX),
        at: ListPosition { version: query.since, place: None },
        _turn: turn,
    };
    let first = listing.next_piece().await?;
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(listing.send(first, pieces, connection));
    let body = Body::new(StreamedBody::new(body));
    Ok(([(header::CONTENT_TYPE, STREAMED)], body).into_response())
}

/// A list that is being sent.
struct Listing {
    state: AdminState,
    id: VolumeId,
    deletions: bool,
    /// Number of objects that may still be listed.
    left: u64,
    at: ListPosition,
    /// One of the streams that may be sent at the same time.
    _turn: OwnedSemaphorePermit,
}

impl Listing {
    /// Gets the next piece.
    async fn next_piece(&mut self) -> Result<ListedPiece, ApiError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_OBJECTS);
        let (request, answer) = ListRequest::new(self.id, self.at, self.deletions, most);
        self.state.requests.send(ControlRequest::List(request)).map_err(|_| ApiError::Stopping)?;
        let piece = answer.await.map_err(|_| ApiError::Stopping)??;
        self.at = piece.next;
        self.left = self.left.saturating_sub(piece.objects.len() as u64);
        Ok(piece)
    }

    /// Gets the next piece, also if the shard has to be asked again: the client knows of no 503 by now.
    async fn next_piece_surely(&mut self) -> Result<ListedPiece, ApiError> {
        let limits = self.state.limits;
        let mut left = limits.stream_attempts;
        loop {
            match self.next_piece().await {
                Err(ApiError::Refused(Refused::Unavailable(why))) if left > 0 => {
                    tracing::debug!(volume = self.id.0, "the list waits: {why}");
                    left -= 1;
                    sleep(limits.stream_pause).await;
                }
                other => return other,
            }
        }
    }

    async fn send(
        mut self,
        first: ListedPiece,
        pieces: mpsc::Sender<Result<axum::body::Bytes, Cut>>,
        connection: Connection,
    ) {
        let mut piece = first;
        loop {
            let is_last = piece.is_end || self.left == 0;
            let lines = Lines::of(&piece, is_last);
            // It waits here as long as the client does not read.
            if pieces.send(Ok(lines.into())).await.is_err() || is_last {
                return;
            }
            connection.keep(self.state.limits.stream_silence);
            piece = match self.next_piece_surely().await {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::warn!(volume = self.id.0, "a list was cut short: {error}");
                    let _ = pieces.send(Err(Cut)).await;
                    return;
                }
            };
        }
    }
}
