//! `/volumes/{id}/digest`: the digest of what a volume holds, by which copies of it are compared.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::connection::Connection;
use super::digest_query::DigestQuery;
use super::error::ApiError;
use super::pieces::{Pieces, answer};
use super::rights::expect_rights;
use super::state::AdminState;
use super::volume_digest::VolumeDigest;
use super::volumes::parse_id;
use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;
use crate::node::control::{ControlRequest, ListRequest};

/// Media type of the answer.
const JSON: &str = "application/json";

/// Answers `GET /volumes/{id}/digest`: line feeds while the volume is read, and a JSON object at the end.
pub(super) async fn digest(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    expect_rights(&connection, &headers, state.token.as_ref())?;
    let id = parse_id(&id)?;
    let query: DigestQuery = query.as_deref().unwrap_or_default().parse()?;
    let turn = state.stream_turn()?;
    let limits = state.limits;
    let digest = VolumeDigest::new(query.buckets);
    let digesting = Digesting { state, id, at: StreamPosition::START, digest };
    answer(digesting, JSON, (turn, connection, limits)).await
}

/// A digest that is being made.
struct Digesting {
    state: AdminState,
    id: VolumeId,
    at: StreamPosition,
    digest: VolumeDigest,
}

impl Pieces for Digesting {
    async fn next(&mut self) -> Result<(Bytes, bool), ApiError> {
        let (request, answer) = ListRequest::new(self.id, self.at, false, usize::MAX);
        self.state.requests.send(ControlRequest::List(request)).map_err(|_| ApiError::Stopping)?;
        let piece = answer.await.map_err(|_| ApiError::Stopping)??;
        self.at = piece.next;
        for object in &piece.objects {
            self.digest.add(object);
        }
        match piece.is_end {
            true => Ok((self.digest.line(self.at.version).into(), true)),
            false => Ok((Bytes::from_static(b"\n"), false)),
        }
    }
}
