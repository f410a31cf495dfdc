//! Requests to the daemon. They are never repeated: without an answer, the effect of a request is unknown.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hayloft::commands::client::{Answer, Body, Client, Reply};
use hayloft::http::head::Method;

/// Timeout of an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns a client of the server at `address`.
pub fn client(address: SocketAddr) -> Client {
    Client::new(address.into(), "--listen").with_timeout(TIMEOUT).without_retries()
}

/// Sends a request and reads the answer.
pub fn ask(client: &Client, method: Method, path: &str, body: Body<'_>) -> io::Result<Answer> {
    let is_multi_delete = path.ends_with("/delete");
    let headers: &[_] = if is_multi_delete { &[("Content-Type", "text/plain")] } else { &[] };
    client.request(method, path, headers, body).and_then(Reply::read).map_err(io::Error::other)
}
