//! `/volumes/{id}/undelete`: taking deleted photos back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::error::ApiError;
use super::rights::expect_rights;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::node::control::{ControlRequest, UndeleteRequest, UndeleteStatus};

/// Digits of a cookie.
const COOKIE_DIGITS: usize = 16;

/// The body of a request: the name of a photo, as in its URL.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedPhoto {
    key: u64,
    alt: u32,
    cookie: String,
}

impl WantedPhoto {
    /// Returns the name and the cookie, if that is written as in a URL.
    fn parse(body: &[u8]) -> Result<(NeedleId, Cookie), ApiError> {
        let bad = |why: &str| {
            let example = r#"{"key": 42, "alt": 0, "cookie": "0123456789abcdef"}"#;
            ApiError::BadRequest(format!("The body is not {example}: {why}."))
        };
        // Its message could have a cookie in it.
        let photo: Self = serde_json::from_slice(body)
            .map_err(|error| bad(&format!("it is wrong at column {}", error.column())))?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let cookie = photo.cookie.as_str();
        let is_cookie = cookie.len() == COOKIE_DIGITS && cookie.bytes().all(is_digit);
        let cookie = is_cookie.then(|| u64::from_str_radix(cookie, 16).ok()).flatten();
        let cookie = cookie.ok_or_else(|| bad("a cookie has 16 digits, 0-9 and a-f"))?;
        Ok((NeedleId::new(photo.key, photo.alt), Cookie(cookie)))
    }
}

/// An order to take a photo back, and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct ShownUndelete {
    volume: VolumeId,
    /// Random number of the order, as 16 digits.
    operation: String,
    key: u64,
    alt: u32,
    /// `running` or `done`.
    state: &'static str,
    /// Part of the log that was searched, from 0 to 1.
    progress: f64,
    /// The result as an HTTP status: 201 for a photo that is back. Null while it is running.
    status: Option<u16>,
    /// The same as a sentence.
    message: Option<String>,
}

impl ShownUndelete {
    fn of(volume: VolumeId, undelete: UndeleteStatus) -> Self {
        let UndeleteStatus { operation, id, done, total, result } = undelete;
        let is_done = result.is_some();
        let (status, message) =
            result.map_or((None, None), |it| (Some(it.status), Some(it.sentence)));
        Self {
            volume,
            operation: format!("{operation:016x}"),
            key: id.key.0,
            alt: id.alt.0,
            state: if is_done { "done" } else { "running" },
            progress: if is_done { 1.0 } else { share(done, total) },
            status,
            message,
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
    photo: Option<(NeedleId, Cookie)>,
) -> Result<ShownUndelete, ApiError> {
    let (request, answer) = UndeleteRequest::new(id, photo);
    state.requests.send(ControlRequest::Undelete(request)).map_err(|_| ApiError::Stopping)?;
    let status = answer.await.map_err(|_| ApiError::Stopping)??;
    Ok(ShownUndelete::of(id, status))
}

/// Answers `POST /volumes/{id}/undelete`: 202 once the photo is being looked for.
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
    let photo = WantedPhoto::parse(&body.map_err(|_| ApiError::TooLong)?)?;
    let shown = ask(&state, id, Some(photo)).await?;
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
    use crate::node::control::UndeleteResult;

    #[test]
    fn wanted_photo_is_named_as_in_its_url() {
        let body = br#"{"key": 42, "alt": 1, "cookie": "0123456789abcdef"}"#;
        let (id, cookie) = WantedPhoto::parse(body).unwrap();
        assert_eq!(id, NeedleId::new(42, 1));
        assert!(cookie.matches(Cookie(0x0123_4567_89ab_cdef)));
        for bad in [
            "",
            "{}",
            r#"{"key": 42, "cookie": "0123456789abcdef"}"#,
            r#"{"key": 42, "alt": 1, "cookie": "0123456789ABCDEF"}"#,
            r#"{"key": 42, "alt": 1, "cookie": "+123456789abcdef"}"#,
            r#"{"key": 42, "alt": 1, "cookie": "0123456789abcde"}"#,
            r#"{"key": 42, "alt": 1, "cookie": 81985529216486895}"#,
            r#"{"key": -1, "alt": 1, "cookie": "0123456789abcdef"}"#,
            r#"{"key": 42, "alt": 1, "cookie": "0123456789abcdef", "more": 1}"#,
        ] {
            let error = WantedPhoto::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{bad}");
            assert!(!error.to_string().contains("81985529216486895"), "{error}");
        }
    }

    #[test]
    fn order_shows_its_progress_its_result_and_no_cookie() {
        let running = UndeleteStatus {
            operation: 0xab,
            id: NeedleId::new(42, 1),
            done: 50,
            total: 200,
            result: None,
        };
        let shown = serde_json::to_value(ShownUndelete::of(VolumeId(3), running.clone())).unwrap();
        let expected = json!({
            "volume": 3, "operation": "00000000000000ab", "key": 42, "alt": 1, "state": "running",
            "progress": 0.25, "status": null, "message": null,
        });
        assert_eq!(shown, expected);
        let result = Some(UndeleteResult { status: 410, sentence: "Gone.".to_owned() });
        let done = UndeleteStatus { result, total: 0, ..running };
        let shown = serde_json::to_value(ShownUndelete::of(VolumeId(3), done)).unwrap();
        assert_eq!((&shown["state"], &shown["progress"]), (&json!("done"), &json!(1.0)));
        assert_eq!((&shown["status"], &shown["message"]), (&json!(410), &json!("Gone.")));
    }
}
