//! Requests to a daemon. They are never repeated: what is measured happens once.

use std::net::SocketAddr;

use hayloft::commands::client::{Answer, Body, Client, ClientError, Reply};
use hayloft::http::head::Method;

use crate::process::Failed;

/// A client of the server at `address`.
#[must_use]
pub fn client(address: SocketAddr) -> Client {
    Client::new(address.into(), "--listen").without_retries()
}

/// Sends a request and reads the answer.
///
/// # Errors
/// When there is no answer.
pub fn ask(client: &Client, method: Method, path: &str, body: Body<'_>) -> Result<Answer, Failed> {
    let answer = client.request(method, path, &[], body).and_then(Reply::read);
    answer.map_err(|error: ClientError| Failed(error.to_string()))
}
