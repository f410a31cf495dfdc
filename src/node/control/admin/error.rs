//! Errors of the admin API: a status and one sentence, as `{"error": "..."}`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::node::control::Refused;

/// Error response of the admin API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 404: no route has this path.
    #[error("There is nothing at {0}.")]
    NoSuchRoute(String),
    /// 404: no volume has this id.
    #[error("There is no volume {0}.")]
    NoSuchVolume(String),
    /// 405: the path does not support the method.
    #[error("{0} is not possible here.")]
    MethodNotAllowed(String),
    /// 400: the request is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 413: the body is larger than any request needs.
    #[error("The body is longer than any request here needs.")]
    TooLong,
    /// 403: the request comes from a web page.
    #[error(
        "Requests that change something are not taken from web pages (the Origin header); use \
         hayloft volume, or curl."
    )]
    FromWebPage,
    /// 401: the admin token is another one, or there is none.
    #[error("This is not the admin token (admin_token_file).")]
    WrongToken,
    /// 403: the client is on another machine.
    #[error(
        "Records have cookies and bodies, and digests are made of them: they are sent to clients on this \
         machine (the loopback address), and to others with the admin token (admin_token_file)."
    )]
    NotLocal,
    /// 403: the client is on another machine.
    #[error(
        "Photos are taken back for clients on this machine (the loopback address), and for others with the \
         admin token (admin_token_file)."
    )]
    UndeleteNotLocal,
    /// 400, 404, 409, 410, 500, 503 or 507: a change was refused.
    #[error("{0}")]
    Refused(Refused),
    /// 503: as many lists are being sent as possible.
    #[error("Too many lists are being sent; try again when one has ended.")]
    TooManyStreams,
    /// 400: the client has gone, or sent nothing for too long.
    #[error("The body was cut short.")]
    Cut,
    /// 503: the daemon is stopping.
    #[error("The daemon is stopping.")]
    Stopping,
    /// 503: the handler took too long.
    #[error("The answer took too long.")]
    TooSlow,
    /// 500: the metrics could not be formatted, which is a bug.
    #[error("The metrics could not be written as text.")]
    Export,
}

impl ApiError {
    /// HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute(_) | Self::NoSuchVolume(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::BadRequest(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::FromWebPage | Self::NotLocal | Self::UndeleteNotLocal => StatusCode::FORBIDDEN,
            Self::Refused(refused) => refused_status(refused),
            Self::TooSlow | Self::Stopping | Self::TooManyStreams => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Export => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// HTTP status of the response to a change that was refused.
fn refused_status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoSuchVolume(_) | Refused::NotThere(_) => StatusCode::NOT_FOUND,
        Refused::Invalid(_) => StatusCode::BAD_REQUEST,
        Refused::Conflict(_) | Refused::Exists(_) => StatusCode::CONFLICT,
        Refused::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Gone(_) => StatusCode::GONE,
        Refused::Busy | Refused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchVolume(id) => Self::NoSuchVolume(id.to_string()),
            other => Self::Refused(other),
        }
    }
}

/// `Retry-After` of a 503 (seconds). Short, since a probe that waits longer delays traffic.
const RETRY_AFTER: (HeaderName, HeaderValue) = (header::RETRY_AFTER, HeaderValue::from_static("2"));

#[derive(Serialize)]
struct ErrorBody {
    error: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = self.to_string();
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => unavailable(ErrorBody { error }),
            status => (status, Json(ErrorBody { error })).into_response(),
        }
    }
}

/// A 503 response with `Retry-After` and a JSON body.
pub(super) fn unavailable(body: impl Serialize) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [RETRY_AFTER], Json(body)).into_response()
}
