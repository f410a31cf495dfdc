//! `/volumes/{id}/undelete`: taking deleted photos back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::connection::Connection;
use super::error::ApiError;
use super::rights::expect_rights;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::base::limits::DELETE_BODY_MAX;
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::http::photo_list::{self, ListedPhoto};
use crate::node::control::{ControlRequest, UndeleteRequest, UndeleteResult, UndeleteStatus};

/// Largest body of an order (bytes).
pub(super) const BODY_MAX: usize = DELETE_BODY_MAX as usize;

/// Parses the body of an order, which names photos as a multi-delete does.
fn photos_of(body: &[u8]) -> Result<Vec<(NeedleId, Cookie)>, ApiError> {
    // The message has no line of the body, so that no cookie is in it.
    let listed = photo_list::parse(body).map_err(|error| {
        let error = error.to_string();
        let (first, rest) = error.split_at(1);
        ApiError::BadRequest(format!("{}{rest}.", first.to_uppercase()))
    })?;
    let name = |photo: ListedPhoto| (NeedleId::new(photo.key, photo.alt), Cookie(photo.cookie));
    Ok(listed.into_iter().map(name).collect())
}

/// An order to take photos back, and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct ShownUndelete {
    volume: VolumeId,
    /// Random number of the order, as 16 digits.
    operation: String,
    /// `running` or `done`.
    state: &'static str,
    /// Part of the log that was searched, from 0 to 1.
    progress: f64,
    /// The photos, in the order in which they were named.
    photos: Vec<ShownPhoto>,
}

/// A photo that is to be taken back.
#[derive(Debug, Serialize)]
struct ShownPhoto {
    key: u64,
    alt: u32,
    /// The result as an HTTP status: 201 for a photo that is back. Null while it is being done.
    status: Option<u16>,
    /// The same as a sentence.
    message: Option<String>,
}

impl ShownUndelete {
    fn of(volume: VolumeId, undelete: UndeleteStatus) -> Self {
        let UndeleteStatus { operation, photos, done, total } = undelete;
        let is_done = photos.iter().all(|(_, result)| result.is_some());
        let shown = |(id, result): (NeedleId, Option<UndeleteResult>)| {
            let (status, message) =
                result.map_or((None, None), |it| (Some(it.status), Some(it.sentence)));
            ShownPhoto { key: id.key.0, alt: id.alt.0, status, message }
        };
        Self {
            volume,
            operation: format!("{operation:016x}"),
            state: if is_done { "done" } else { "running" },
            progress: if is_done { 1.0 } else { share(done, total) },
            photos: photos.into_iter().map(shown).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share that is shown")]
fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { done as f64 / total as f64 }
}

async fn ask(
    state: &AdminState,
    id: VolumeId,
    photos: Option<Vec<(NeedleId, Cookie)>>,
) -> Result<ShownUndelete, ApiError> {
    let (request, answer) = UndeleteRequest::new(id, photos);
    state.requests.send(ControlRequest::Undelete(request)).map_err(|_| ApiError::Stopping)?;
    let status = answer.await.map_err(|_| ApiError::Stopping)??;
    Ok(ShownUndelete::of(id, status))
}

/// Answers `POST /volumes/{id}/undelete`: 202 once the photos are being looked for.
pub(super) async fn begin(
    State(state): State<AdminState>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    // The cookie alone is not enough: whoever has read the photo knows it.
    let rights = expect_rights(&connection, &headers, state.token.as_ref());
    rights.map_err(|error| match error {
        ApiError::NotLocal => ApiError::UndeleteNotLocal,
        error => error,
    })?;
    let id = parse_id(&id)?;
    let photos = photos_of(&body.map_err(|_| ApiError::TooLong)?)?;
    let shown = ask(&state, id, Some(photos)).await?;
    let location = [(header::LOCATION, format!("/volumes/{id}/undelete"))];
    Ok((StatusCode::ACCEPTED, location, Json(shown)).into_response())
}

/// Answers `GET /volumes/{id}/undelete`: how far the last order is, or how it ended.
pub(super) async fn show(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<ShownUndelete>, ApiError> {
    Ok(Json(ask(&state, parse_id(&id)?, None).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn photos_are_named_as_in_a_multi_delete_and_cookies_are_not_repeated() {
        let photos = photos_of(b"42/1/0123456789abcdef\n7/0/00000000000000ff\n").unwrap();
        assert_eq!((photos[0].0, photos[1].0), (NeedleId::new(42, 1), NeedleId::new(7, 0)));
        assert!(photos[0].1.matches(Cookie(0x0123_4567_89ab_cdef)));
        for (bad, part) in [
            ("", "The body names no photo"),
            ("42/1/0123456789ABCDEF", "Line 1 is not key/alt/cookie"),
            ("7/0/00000000000000ff\n42/1/0123456789abcde", "Line 2 is not"),
            ("7/0/00000000000000ff\n7/0/0123456789abcdef", "Line 2 names photo 7/0 again"),
        ] {
            let error = photos_of(bad.as_bytes()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{bad}");
            let error = error.to_string();
            assert!(error.starts_with(part) && !error.contains("abcde"), "{error}");
        }
    }

    #[test]
    fn order_shows_its_progress_its_results_and_no_cookie() {
        let [first, second] = [NeedleId::new(42, 1), NeedleId::new(43, 0)];
        let result = Some(UndeleteResult { status: 410, sentence: "Gone.".to_owned() });
        let running = UndeleteStatus {
            operation: 0xab,
            photos: vec![(first, result.clone()), (second, None)],
            done: 50,
            total: 200,
        };
        let shown = serde_json::to_value(ShownUndelete::of(VolumeId(3), running.clone())).unwrap();
        let expected = json!({
            "volume": 3, "operation": "00000000000000ab", "state": "running", "progress": 0.25,
            "photos": [
                {"key": 42, "alt": 1, "status": 410, "message": "Gone."},
                {"key": 43, "alt": 0, "status": null, "message": null},
            ],
        });
        assert_eq!(shown, expected);
        let done = UndeleteStatus { photos: vec![(first, result)], total: 0, ..running };
        let shown = serde_json::to_value(ShownUndelete::of(VolumeId(3), done)).unwrap();
        assert_eq!((&shown["state"], &shown["progress"]), (&json!("done"), &json!(1.0)));
    }
}
