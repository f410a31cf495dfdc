//! Sends requests, one at a time, and retries those that are idempotent.

use std::time::Duration;

use ureq::{Agent, SendBody, http::Request};

use super::address::ServerAddress;
use super::body::{Body, Exact};
use super::error::ClientError;
use super::reply::Reply;
use super::timeout::CONNECT_TIMEOUT;
use crate::http::head::Method;

/// Timeout of waiting for an answer, and of one read or write within a request. Long, since creating a large
/// volume takes time.
const ANSWER: Duration = Duration::from_secs(120);
/// Bodies above this size (bytes) are sent with `Expect: 100-continue`, so that a refusal arrives before the
/// body is sent.
const ANNOUNCED: u64 = 1 << 20;
/// Maximum number of times that an idempotent request is sent again.
const RETRIES: u32 = 5;
/// Maximum pause before a request is sent again, also if `Retry-After` asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A connection pool to one server. Meant for one request at a time: each thread has a client of its own.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    address: ServerAddress,
    /// Flag with which the user names another address.
    flag: &'static str,
    retries: u32,
}

impl Client {
    /// Returns a client of the server at `address`, which the user names with `flag`. Connects when first
    /// needed.
    #[must_use]
    pub fn new(address: ServerAddress, flag: &'static str) -> Self {
        Self { agent: agent(ANSWER), address, flag, retries: RETRIES }
    }

    /// Returns the client with another timeout of waiting for an answer, and of one read or write within a
    /// request, than two minutes.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { agent: agent(timeout), ..self }
    }

    /// Returns the client without retries: for callers that repeat requests themselves.
    #[must_use]
    pub fn without_retries(self) -> Self {
        Self { retries: 0, ..self }
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Sends a request for `path`, which begins with a slash, and waits for the head of the answer.
    ///
    /// Idempotent requests (all but POST) are sent again, up to five times, after a 503 with `Retry-After`,
    /// and after a broken connection. POST is sent once.
    ///
    /// # Errors
    /// [`ClientError`]; no status is an error.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Reply, ClientError> {
        let mut left = if method == Method::Post { 0 } else { self.retries };
        loop {
            let result = self.send(method, path, headers, body);
            let pause = match &result {
                Ok(reply) => reply.retry_after(),
                // A kept-alive connection may have been closed by the daemon in the meantime.
                Err(ClientError::Broken { .. }) => Some(Duration::ZERO),
                Err(_) => None,
            };
            let Some(pause) = pause.filter(|_| left > 0) else { return result };
            left -= 1;
            if let Ok(mut reply) = result {
                // Allows the connection to be reused; if it fails, another one is opened.
                let _ = reply.drain();
            }
            std::thread::sleep(pause.min(PAUSE_MAX));
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Reply, ClientError> {
        let uri = format!("{}{path}", self.address);
        let mut request = Request::builder().method(method.token()).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Body::None if method.has_body() => Body::Bytes(&[]),
            body => body,
        };
        let mut stream = Exact::open(body).map_err(ClientError::Source)?;
        if let Some(stream) = &stream {
            request = request.header("Content-Length", stream.left());
            if stream.left() > ANNOUNCED {
                request = request.header("Expect", "100-continue");
            }
        }
        let result = match &mut stream {
            Some(stream) => request
                .body(SendBody::from_reader(stream))
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
            None => request
                .body(())
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
        };
        match result {
            Ok(response) => Ok(Reply::new(method, path, response)),
            Err(error) => match stream.and_then(Exact::failure) {
                Some(error) => Err(ClientError::Source(error)),
                None => Err(ClientError::of(error, self.flag, &self.address, method, path)),
            },
        }
    }
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("hayloft/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        .build();
    config.into()
}

#[cfg(test)]
mod tests;
