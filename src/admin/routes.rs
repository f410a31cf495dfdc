//! Which path leads where, and what holds for every request.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use super::{AdminState, ApiError, accept, health, status, volumes};
use crate::{http, sys};

/// Longest body of a request (bytes).
const BODY_MAX: usize = 4096;

/// The admin API over `state`.
pub fn router(state: AdminState) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status::status))
        .route("/volumes", get(volumes::list).post(volumes::create))
        .route("/volumes/{id}", get(volumes::show).delete(volumes::delete))
        .route("/volumes/{id}/read-only", post(volumes::read_only))
        .route("/volumes/{id}/writable", post(volumes::writable))
        .layer(DefaultBodyLimit::max(BODY_MAX));
    guarded(routes, state)
}

/// Adds what holds for every request: errors as JSON, a deadline, one request per connection.
pub(super) fn guarded(routes: Router<AdminState>, state: AdminState) -> Router {
    routes
        .fallback(async |uri: Uri| ApiError::NoSuchRoute(uri.path().to_owned()))
        .method_not_allowed_fallback(async |method: Method| {
            ApiError::MethodNotAllowed(method.to_string())
        })
        // Last, so that it surrounds the fallbacks too.
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

async fn guard(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let mut response = match timeout(state.limits.answer_within, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => ApiError::TooSlow.into_response(),
    };
    // One request per connection: then the connection's deadline is the request's, and nobody keeps
    // one of the few connections while asking nothing. A scrape every few seconds can afford it.
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::DATE, date(sys::wall_ns() / 1_000_000_000));
    response
}

/// The `Date` of the data API. That of hyper stays in the future when the clock is set back: it is made anew
/// only once the clock has passed it.
fn date(seconds: u64) -> HeaderValue {
    HeaderValue::from_bytes(&http::date::format(seconds)).expect("a date is visible ASCII")
}

/// Answers `GET /metrics`.
async fn metrics(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = accept::wanted(&headers);
    let text = state.exporter.text(format).map_err(|_| ApiError::Export)?;
    let fields = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    Ok((fields, text).into_response())
}
