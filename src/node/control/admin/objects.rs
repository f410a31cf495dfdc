//! `/volumes/{id}/objects`: what a volume holds, while it serves.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::bucket_filter::BucketFilter;
use super::connection::Connection;
use super::error::ApiError;
use super::listed_lines::{Lines, STREAMED};
use super::objects_query::ObjectsQuery;
use super::pieces::{Pieces, answer};
use super::rights::expect_rights;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;
use crate::node::control::{ControlRequest, ListRequest};

/// Largest number of objects in a piece.
const PIECE_OBJECTS: usize = 2000;

/// Answers `GET /volumes/{id}/objects`: an object a line, in the order in which they were stored.
pub(super) async fn list(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let query: ObjectsQuery = query.as_deref().unwrap_or_default().parse()?;
    if query.digest {
        expect_rights(&connection, &headers, state.token.as_ref())?;
    }
    let turn = state.stream_turn()?;
    let limits = state.limits;
    let listing = Listing {
        state,
        id,
        deletions: query.deleted,
        digests: query.digest,
        buckets: query.buckets,
        left: query.limit.unwrap_or(u64::MAX),
        at: StreamPosition::after(query.since),
    };
    answer(listing, STREAMED, (turn, connection, limits)).await
}

/// A list that is being sent.
struct Listing {
    state: AdminState,
    id: VolumeId,
    deletions: bool,
    /// Whether objects are listed with their digests.
    digests: bool,
    /// Buckets of which objects are listed; `None` for all.
    buckets: Option<BucketFilter>,
    /// Number of objects that may still be listed.
    left: u64,
    at: StreamPosition,
}

impl Pieces for Listing {
    async fn next(&mut self) -> Result<(Bytes, bool), ApiError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_OBJECTS);
        let (request, answer) = ListRequest::new(self.id, self.at, self.deletions, most);
        self.state.requests.send(ControlRequest::List(request)).map_err(|_| ApiError::Stopping)?;
        let mut piece = answer.await.map_err(|_| ApiError::Stopping)??;
        self.at = piece.next;
        if let Some(buckets) = &self.buckets {
            piece.objects.retain(|object| buckets.has(object.id));
        }
        if !self.digests {
            piece.objects.iter_mut().for_each(|object| object.digest = None);
        }
        self.left = self.left.saturating_sub(piece.objects.len() as u64);
        let is_last = piece.is_end || self.left == 0;
        Ok((Lines::of(&piece, is_last).into(), is_last))
    }
}
