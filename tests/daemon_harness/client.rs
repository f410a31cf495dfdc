//! The client of the commands, for tests.

use std::net::SocketAddr;
use std::time::Duration;

use hayloft::commands::client::{self, Body, ClientError};
use hayloft::http::head::Method;

/// An answer that was read into memory.
pub type Reply = client::Answer;

/// Timeout of an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client that connects when first needed, and never sends a request again. Requests go over one connection
/// as long as the server keeps it. What a test says with it is independent of bytes and connections: where
/// these matter, it needs a [`super::RawConnection`], which has the same functions.
pub struct Client(client::Client);

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let client = client::Client::new(address.into(), "the address of the test");
        Self(client.with_timeout(TIMEOUT).without_retries())
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply, ClientError> {
        let method = Method::from_token(method.as_bytes()).expect("a method of the API");
        let body = body.map_or(Body::None, Body::Bytes);
        self.0.request(method, path, headers, body)?.read()
    }

    pub fn get(&mut self, path: &str) -> Result<Reply, ClientError> {
        self.request("GET", path, &[], None)
    }

    pub fn put(&mut self, path: &str, body: &[u8]) -> Result<Reply, ClientError> {
        self.request("PUT", path, &[("Content-Type", "image/jpeg")], Some(body))
    }
}
