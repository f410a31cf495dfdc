//! `/volumes/{id}/records`: everything in a volume, in the exchange format.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::connection::Connection;
use super::error::ApiError;
use super::objects_query::ObjectsQuery;
use super::pieces::{Pieces, answer};
use super::rights::expect_rights;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::base::stream_position::ExchangeState;
use crate::base::types::VolumeId;
use crate::node::control::{ControlRequest, ExchangeRequest};

/// Media type of the exchange format.
const EXCHANGE: &str = "application/x-hayloft-records";

/// Answers `GET /volumes/{id}/records`. The answer has cookies and bodies.
pub(super) async fn read(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    expect_rights(&connection, &headers, state.token.as_ref())?;
    let id = parse_id(&id)?;
    let query: ObjectsQuery = query.as_deref().unwrap_or_default().parse()?;
    if query.limit.is_some() {
        let sentence = "Records have no limit: end the connection when they are enough.";
        return Err(ApiError::BadRequest(sentence.to_owned()));
    }
    if query.digest || query.buckets.is_some() {
        let sentence =
            "The query of records is since=POSITION and deleted: digests are those of objects.";
        return Err(ApiError::BadRequest(sentence.to_owned()));
    }
    let turn = state.stream_turn()?;
    let limits = state.limits;
    let from = ExchangeState::after(query.since);
    let records = Records { state, id, deletions: query.deleted, from };
    answer(records, EXCHANGE, (turn, connection, limits)).await
}

/// Records that are being sent.
struct Records {
    state: AdminState,
    id: VolumeId,
    deletions: bool,
    from: ExchangeState,
}

impl Pieces for Records {
    async fn next(&mut self) -> Result<(Bytes, bool), ApiError> {
        let (request, answer) = ExchangeRequest::new(self.id, self.from, self.deletions);
        let request = ControlRequest::Exchange(request);
        self.state.requests.send(request).map_err(|_| ApiError::Stopping)?;
        let piece = answer.await.map_err(|_| ApiError::Stopping)??;
        self.from = piece.next;
        Ok((piece.bytes.into(), piece.is_end))
    }
}
