//! Errors of the admin API: a status and one sentence, as `{"error": "..."}`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 404: no route has this path.
    #[error("There is nothing at {0}.")]
    NoSuchRoute(String),
    /// 404: no volume has this id.
    #[error("There is no volume {0}.")]
    NoSuchVolume(String),
    /// 405: the path exists, the method does not.
    #[error("{0} is not possible here.")]
    MethodNotAllowed(String),
    /// 400: the request says something that is not understood.
    #[error("{0}")]
    BadRequest(String),
    /// 503: the handler took too long.
    #[error("The answer took too long.")]
    TooSlow,
    /// 500: a bug.
    #[error("The metrics could not be written as text.")]
    Export,
}

impl ApiError {
    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute(_) | Self::NoSuchVolume(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Export => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Seconds after which a 503 may be tried again. Short: a probe that waits longer delays traffic.
const RETRY_AFTER: (HeaderName, HeaderValue) = (header::RETRY_AFTER, HeaderValue::from_static("2"));

#[derive(Serialize)]
struct Body {
    error: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = self.to_string();
        match self {
            Self::TooSlow => unavailable(Body { error }),
            _ => (self.status(), Json(Body { error })).into_response(),
        }
    }
}

/// 503 with Retry-After and a JSON body.
pub(super) fn unavailable(body: impl Serialize) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [RETRY_AFTER], Json(body)).into_response()
}
