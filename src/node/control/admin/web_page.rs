//! Refusal of changes that web pages request.

use axum::http::{HeaderMap, header};

use super::error::ApiError;

/// Refuses requests of web pages: a page open in an operator's browser must not change anything.
///
/// # Errors
/// [`ApiError::FromWebPage`] if the request has an `Origin` header.
pub(super) fn refuse_web_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) { Err(ApiError::FromWebPage) } else { Ok(()) }
}
