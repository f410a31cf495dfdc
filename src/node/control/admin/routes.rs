//! The routes of the admin API, and the handling common to all requests.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use super::error::ApiError;
use super::state::AdminState;
use super::{
    absence, accept, background, damage, digest, health, objects, pulls, records, status, undelete,
    volumes,
};
use crate::base::sys;
use crate::http;

/// Largest request body (bytes).
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
        .route("/volumes/{id}/compact", post(volumes::compact))
        .route("/volumes/{id}/cancel-compaction", post(volumes::cancel_compaction))
        .route("/volumes/{id}/scrub", post(volumes::scrub))
        .route("/volumes/{id}/clear", post(volumes::clear))
        .route("/volumes/{id}/replica", post(pulls::make_replica))
        .route("/volumes/{id}/damage", get(damage::list))
        .route(
            "/volumes/{id}/absent",
            post(absence::list).layer(DefaultBodyLimit::max(absence::BODY_MAX)),
        )
        .route("/volumes/{id}/digest", get(digest::digest))
        .route("/volumes/{id}/objects", get(objects::list))
        .route("/volumes/{id}/records", get(records::read))
        .route(
            "/volumes/{id}/undelete",
            get(undelete::show)
                .post(undelete::begin)
                .layer(DefaultBodyLimit::max(undelete::BODY_MAX)),
        )
        .route("/background/pause", post(background::pause))
        .route("/background/resume", post(background::resume))
        .layer(DefaultBodyLimit::max(BODY_MAX));
    let routes = timed(routes, &state)
        // Takes as long as its body; the connection ends when nothing more arrives.
        .route("/volumes/{id}/records", post(pulls::store));
    guarded(routes, state)
}

/// Adds the handling common to all requests: errors as JSON, one request per connection.
pub(super) fn guarded(routes: Router<AdminState>, state: AdminState) -> Router {
    routes
        .fallback(async |uri: Uri| ApiError::NoSuchRoute(uri.path().to_owned()))
        .method_not_allowed_fallback(async |method: Method| {
            ApiError::MethodNotAllowed(method.to_string())
        })
        // Added last, so that the layer applies to the fallbacks too.
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Adds a deadline to requests.
pub(super) fn timed(routes: Router<AdminState>, state: &AdminState) -> Router<AdminState> {
    routes.layer(middleware::from_fn_with_state(state.clone(), answer_in_time))
}

async fn answer_in_time(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    match timeout(state.limits.answer_within, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => ApiError::TooSlow.into_response(),
    }
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // One request per connection: the deadline of the connection is that of the request, and no idle client
    // occupies one of the few connections. A scrape every few seconds can afford a connection.
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::DATE, date(sys::wall_ns() / 1_000_000_000));
    response
}

/// Returns the value of `Date`, as in the data API. hyper's own stays in the future when the clock is set
/// back: hyper renews it only once the clock has passed it.
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
