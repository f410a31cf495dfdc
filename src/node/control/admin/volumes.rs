//! `/volumes`: show, create and delete volumes, and make them read-only or writable.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, sleep};

use super::error::ApiError;
use super::state::AdminState;
use super::volume_status::{VolumeStatus, all_volumes, volume_status};
use crate::base::types::VolumeId;
use crate::node::control::{ChangeRequest, NewVolume, VolumeChange};

/// Time to wait for the end of a creation; after it the response is 202 instead of 201.
const CREATE_WITHIN: Duration = Duration::from_secs(2);
/// Interval at which a creation is checked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Parses a volume id as in the data API: decimal, without sign and leading zeros.
///
/// # Errors
/// [`ApiError::NoSuchVolume`] for any other text.
fn parse_id(text: &str) -> Result<VolumeId, ApiError> {
    let id = text.parse().ok().map(VolumeId);
    id.filter(|id| id.to_string() == text).ok_or(ApiError::NoSuchVolume(text.to_owned()))
}

/// Refuses requests of web pages: a page open in an operator's browser must not change anything.
///
/// # Errors
/// [`ApiError::FromWebPage`] if the request has an `Origin` header.
fn refuse_web_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) { Err(ApiError::FromWebPage) } else { Ok(()) }
}

/// Returns the status of a volume.
///
/// # Errors
/// [`ApiError::NoSuchVolume`].
fn known(state: &AdminState, id: VolumeId) -> Result<VolumeStatus, ApiError> {
    volume_status(state, id).ok_or(ApiError::NoSuchVolume(id.to_string()))
}

/// Sends a change to the main thread and waits for the result: the id of the volume.
///
/// # Errors
/// The refusal of the main thread, or [`ApiError::Stopping`].
async fn change(state: &AdminState, change: VolumeChange) -> Result<VolumeId, ApiError> {
    let (request, answer) = ChangeRequest::new(change);
    state.requests.send(request).map_err(|_| ApiError::Stopping)?;
    Ok(answer.await.map_err(|_| ApiError::Stopping)??)
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
    let body = body.map_err(|_| ApiError::TooLong)?;
    let new: NewVolume = match &body[..] {
        [] => NewVolume::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            let example = r#"{"id": 2, "size": "100GiB", "disk": 0}, each of them optional"#;
            ApiError::BadRequest(format!("The body is not {example}: {error}."))
        })?,
    };
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
