//! `/volumes`: show, create, delete, compact and scrub volumes, and make them read-only or writable.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::error::ApiError;
use super::state::AdminState;
use super::volume_status::{VolumeStatus, all_volumes, volume_status};
use super::web_page::refuse_web_pages;
use crate::base::types::VolumeId;
use crate::node::control::{
    ChangeRequest, ControlRequest, NewVolume, VolumeChange, WantedCompaction,
};

/// Time to wait for the end of a creation; after it the response is 202 instead of 201.
const CREATE_WITHIN: Duration = Duration::from_secs(2);
/// Interval at which a creation is checked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Parses a volume id as in the data API: decimal, without sign and leading zeros.
///
/// # Errors
/// [`ApiError::NoSuchVolume`] for any other text.
pub(super) fn parse_id(text: &str) -> Result<VolumeId, ApiError> {
    let id = text.parse().ok().map(VolumeId);
    id.filter(|id| id.to_string() == text).ok_or(ApiError::NoSuchVolume(text.to_owned()))
}

/// Returns the status of a volume.
///
/// # Errors
/// [`ApiError::NoSuchVolume`].
pub(super) fn known(state: &AdminState, id: VolumeId) -> Result<VolumeStatus, ApiError> {
    volume_status(state, id).ok_or(ApiError::NoSuchVolume(id.to_string()))
}

/// Sends a change to the main thread and waits for the result: the id of the volume.
///
/// # Errors
/// The refusal of the main thread, or [`ApiError::Stopping`].
pub(super) async fn change(state: &AdminState, change: VolumeChange) -> Result<VolumeId, ApiError> {
    let (request, answer) = ChangeRequest::new(change);
    state.requests.send(ControlRequest::Change(request)).map_err(|_| ApiError::Stopping)?;
    Ok(answer.await.map_err(|_| ApiError::Stopping)??)
}

/// Parses a body whose fields are optional, as is the body itself.
///
/// # Errors
/// [`ApiError::TooLong`], or [`ApiError::BadRequest`] with the `example`.
fn parse_body<T: Default + DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    example: &str,
) -> Result<T, ApiError> {
    match &body.map_err(|_| ApiError::TooLong)?[..] {
        [] => Ok(T::default()),
        body => serde_json::from_slice(body).map_err(|error| {
            let sentence = format!("The body is not {example}, each of them optional: {error}.");
            ApiError::BadRequest(sentence)
        }),
    }
}

/// Answers `GET /volumes`.
pub(super) async fn list(State(state): State<AdminState>) -> Json<Vec<VolumeStatus>> {
    Json(all_volumes(&state))
}

/// Answers `GET /volumes/{id}`.
pub(super) async fn show(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<VolumeStatus>, ApiError> {
    known(&state, parse_id(&id)?).map(Json)
}

/// Answers `POST /volumes`: 201 once the volume serves, or 202 if the creation takes longer than
/// [`CREATE_WITHIN`].
pub(super) async fn create(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    refuse_web_pages(&headers)?;
    let new: NewVolume =
        parse_body(body, r#"{"id": 2, "size": "100GiB", "disk": 0, "replica": false}"#)?;
    let id = change(&state, VolumeChange::Create(new)).await?;
    let until = Instant::now() + CREATE_WITHIN;
    let status = loop {
        match state.creations.get(id).map(|creation| creation.failed) {
            None => break StatusCode::CREATED,
            Some(Some(failed)) => return Err(failed.into()),
            Some(None) if Instant::now() >= until => break StatusCode::ACCEPTED,
            Some(None) => sleep(LOOK_EVERY).await,
        }
    };
    let location = [(header::LOCATION, format!("/volumes/{id}"))];
    Ok((status, location, Json(known(&state, id)?)).into_response())
}

/// Answers `DELETE /volumes/{id}`.
pub(super) async fn delete(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    refuse_web_pages(&headers)?;
    change(&state, VolumeChange::Delete(parse_id(&id)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_read_only(
    state: &AdminState,
    id: &str,
    headers: &HeaderMap,
    read_only: bool,
) -> Result<Json<VolumeStatus>, ApiError> {
    refuse_web_pages(headers)?;
    let id = change(state, VolumeChange::SetReadOnly { id: parse_id(id)?, read_only }).await?;
    known(state, id).map(Json)
}

/// Answers `POST /volumes/{id}/read-only`.
pub(super) async fn read_only(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<VolumeStatus>, ApiError> {
    set_read_only(&state, &id, &headers, true).await
}

/// Answers `POST /volumes/{id}/writable`.
pub(super) async fn writable(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<VolumeStatus>, ApiError> {
    set_read_only(&state, &id, &headers, false).await
}

/// Answers `POST /volumes/{id}/compact`: 202 once the compaction has begun, or waits for another one.
pub(super) async fn compact(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    refuse_web_pages(&headers)?;
    let id = parse_id(&id)?;
    let example = r#"{"accept_losses": false, "size": "100GiB", "disk": 0}"#;
    let wanted: WantedCompaction = parse_body(body, example)?;
    let id = change(&state, VolumeChange::Compact { id, wanted }).await?;
    let location = [(header::LOCATION, format!("/volumes/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(known(&state, id)?)).into_response())
}

/// Answers `POST /volumes/{id}/cancel-compaction`: 200 once it has ended.
pub(super) async fn cancel_compaction(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<VolumeStatus>, ApiError> {
    refuse_web_pages(&headers)?;
    let id = change(&state, VolumeChange::CancelCompaction(parse_id(&id)?)).await?;
    known(&state, id).map(Json)
}

/// Answers `POST /volumes/{id}/scrub`: 202 once the scrub is noted.
pub(super) async fn scrub(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    refuse_web_pages(&headers)?;
    let id = change(&state, VolumeChange::Scrub(parse_id(&id)?)).await?;
    let location = [(header::LOCATION, format!("/volumes/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(known(&state, id)?)).into_response())
}

/// Answers `POST /volumes/{id}/clear`.
pub(super) async fn clear(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<VolumeStatus>, ApiError> {
    refuse_web_pages(&headers)?;
    let id = change(&state, VolumeChange::Clear(parse_id(&id)?)).await?;
    known(&state, id).map(Json)
}

#[cfg(test)]
mod tests {
    use super::{VolumeId, parse_id};

    #[test]
    fn volume_ids_have_exactly_one_spelling() {
        assert_eq!(parse_id("7").unwrap(), VolumeId(7));
        assert_eq!(parse_id("4294967295").unwrap(), VolumeId(u32::MAX));
        for bad in ["", "07", "+7", "-1", "4294967296", "x", "7 "] {
            assert!(parse_id(bad).is_err(), "{bad:?}");
        }
    }
}
