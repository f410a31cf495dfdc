//! Copies of volumes of other stores: `/volumes/{id}/replica` makes a volume one, `POST
//! /volumes/{id}/records` stores records.

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use serde::Serialize;

use super::connection::Connection;
use super::error::ApiError;
use super::received::ReceivedBody;
use super::rights::expect_rights;
use super::state::AdminState;
use super::volume_status::{ReplicaStatus, VolumeStatus};
use super::volumes::{change, known, parse_id};
use super::web_page::refuse_web_pages;
use crate::base::types::VolumeId;
use crate::node::control::{ControlRequest, PullRequest, PulledFigures, PulledStep, VolumeChange};

/// What was stored.
#[derive(Debug, Default, Serialize)]
pub(super) struct StoredRecords {
    /// Number of objects that were stored.
    objects: u64,
    /// Length of their bodies (bytes).
    bytes: u64,
    /// Number of objects that were there already.
    known: u64,
    /// Number of objects that were deleted.
    deletions: u64,
    /// Number of objects that the source could not read.
    damaged: u64,
    /// What the volume is a copy of now.
    replica: Option<ReplicaStatus>,
}

impl StoredRecords {
    fn add(&mut self, figures: PulledFigures) {
        self.objects += figures.objects;
        self.bytes += figures.bytes;
        self.known += figures.known;
        self.deletions += figures.deletions;
        self.damaged += figures.damaged;
    }
}

/// Answers `POST /volumes/{id}/replica`.
pub(super) async fn make_replica(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<VolumeStatus>, ApiError> {
    refuse_web_pages(&headers)?;
    let id = change(&state, VolumeChange::MakeReplica(parse_id(&id)?)).await?;
    known(&state, id).map(Json)
}

/// Answers `POST /volumes/{id}/records`, once everything in the body is durable.
pub(super) async fn store(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StoredRecords>, ApiError> {
    let silence = state.limits.stream_silence;
    let mut body = ReceivedBody::new((&headers, body), connection.clone(), silence);
    let stored = store_if_permitted(&state, (&connection, &headers), (&id, query), &mut body).await;
    if stored.is_err() {
        body.ignore().await;
    }
    stored.map(Json)
}

async fn store_if_permitted(
    state: &AdminState,
    (connection, headers): (&Connection, &HeaderMap),
    (id, query): (&str, Option<String>),
    body: &mut ReceivedBody,
) -> Result<StoredRecords, ApiError> {
    expect_rights(connection, headers, state.token.as_ref())?;
    let id = parse_id(id)?;
    let is_complete = match query.as_deref() {
        None | Some("") => false,
        Some("complete") => true,
        Some(other) => {
            let sentence = format!("The query is complete, or none, and not {other}.");
            return Err(ApiError::BadRequest(sentence));
        }
    };
    let _turn = state.stream_turn()?;
    let mut stored = store_all(state, id, is_complete, body).await?;
    stored.replica = known(state, id)?.replica;
    Ok(stored)
}

async fn store_all(
    state: &AdminState,
    id: VolumeId,
    is_complete: bool,
    body: &mut ReceivedBody,
) -> Result<StoredRecords, ApiError> {
    let begun = step(state, id, PulledStep::Begin { is_complete }).await?;
    let mut pull = OpenPull { state, id, pull: begun.pull, has_ended: false };
    let mut stored = StoredRecords::default();
    while let Some(bytes) = body.next().await? {
        let pull = pull.pull;
        stored.add(step(state, id, PulledStep::Bytes { pull, bytes }).await?);
    }
    step(state, id, PulledStep::Finish { pull: pull.pull }).await?;
    pull.has_ended = true;
    Ok(stored)
}

async fn step(
    state: &AdminState,
    id: VolumeId,
    step: PulledStep,
) -> Result<PulledFigures, ApiError> {
    let (request, answer) = PullRequest::new(id, step);
    state.requests.send(ControlRequest::Pull(request)).map_err(|_| ApiError::Stopping)?;
    Ok(answer.await.map_err(|_| ApiError::Stopping)??)
}

/// A pull that has begun. It is abandoned when its client has gone.
struct OpenPull<'a> {
    state: &'a AdminState,
    id: VolumeId,
    pull: u64,
    has_ended: bool,
}

impl Drop for OpenPull<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let abandon = PulledStep::Abandon { pull: self.pull };
            let (request, _answer) = PullRequest::new(self.id, abandon);
            // If the daemon stops, that ends the pull as well.
            let _ = self.state.requests.send(ControlRequest::Pull(request));
        }
    }
}
