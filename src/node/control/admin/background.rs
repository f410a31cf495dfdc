//! `/background`: pause and resume background work.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use super::error::ApiError;
use super::state::AdminState;
use super::web_page::refuse_web_pages;
use crate::node::control::{ControlRequest, PauseRequest};

/// The response body of `/background/pause` and `/background/resume`.
#[derive(Debug, Serialize)]
pub(super) struct BackgroundStatus {
    /// Whether compactions are paused.
    paused: bool,
}

async fn set_paused(
    state: &AdminState,
    headers: &HeaderMap,
    paused: bool,
) -> Result<Json<BackgroundStatus>, ApiError> {
    refuse_web_pages(headers)?;
    let (request, answer) = PauseRequest::new(paused);
    state.requests.send(ControlRequest::Pause(request)).map_err(|_| ApiError::Stopping)?;
    answer.await.map_err(|_| ApiError::Stopping)?;
    Ok(Json(BackgroundStatus { paused }))
}

/// Answers `POST /background/pause`: 200 once all shards have paused.
pub(super) async fn pause(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Result<Json<BackgroundStatus>, ApiError> {
    set_paused(&state, &headers, true).await
}

/// Answers `POST /background/resume`: 200 once all shards have resumed.
pub(super) async fn resume(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Result<Json<BackgroundStatus>, ApiError> {
    set_paused(&state, &headers, false).await
}
