//! Deletes photos of a daemon, many with one request.

use serde::Deserialize;

use super::photo_group::PhotoGroup;
use crate::commands::client::{Body, Client, ClientError};
use crate::http::head::Method;

#[derive(Deserialize)]
struct Outcome {
    key: u64,
    alt: u32,
    status: u16,
}

/// Deletes photos with one request. Returns for each whether it existed and is deleted now.
///
/// # Errors
/// [`ClientError`]: none is deleted, unless the connection broke or the daemon says that a write failed.
pub fn delete(client: &Client, group: &PhotoGroup) -> Result<Vec<bool>, ClientError> {
    let (path, body) = (format!("/{}/delete", group.volume()), group.body());
    let headers = [("Content-Type", "text/plain")];
    let reply = client.request(Method::Post, &path, &headers, Body::Bytes(body.as_bytes()))?;
    let mut reply = reply.expect(&[200])?;
    let text = reply.text()?;
    let outcomes: Result<Vec<Outcome>, _> = serde_json::from_str(&text);
    let outcomes = outcomes.map_err(|error| reply.garbled(&error))?;
    let are_known = outcomes.iter().all(|outcome| matches!(outcome.status, 204 | 404));
    if !are_known || !group.are_ids(outcomes.iter().map(|it| (it.key, it.alt))) {
        return Err(reply.garbled(&"it is about other photos than the request"));
    }
    Ok(outcomes.iter().map(|outcome| outcome.status == 204).collect())
}
