//! Requests to a daemon. They are never repeated: what is measured happens once.
//!
//! The client of `hayloft::commands` would do, but the development commands are built, and work, without the
//! library that they check.

use std::net::SocketAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Request;

use crate::process::Failed;

/// Timeout of an answer: a daemon may be slow, but not for ever.
const TIMEOUT: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of one server, which keeps its connection.
pub struct Client {
    agent: Agent,
    address: SocketAddr,
}

impl Client {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .timeout_per_write(Some(TIMEOUT))
            .build();
        Self { agent: config.into(), address }
    }

    /// Sends a request without a body and reads the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, method: &str, path: &str) -> Result<Answer, Failed> {
        let request = self.request(method, path).body(());
        self.answer(path, request.map_err(ureq::Error::from).and_then(|it| self.agent.run(it)))
    }

    /// Sends a request with a body and reads the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, Failed> {
        let request = self.request(method, path).body(body);
        self.answer(path, request.map_err(ureq::Error::from).and_then(|it| self.agent.run(it)))
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    fn answer(
        &self,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Failed> {
        let read = response.and_then(|mut response| {
            let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
            Ok(Answer { status: response.status().as_u16(), body })
        });
        read.map_err(|error| Failed(format!("{path} of the daemon at {}: {error}", self.address)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answer_of_any_status_is_read_and_a_missing_one_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client connects");
            let mut request = [0; 4096];
            let got = stream.read(&mut request).expect("a request");
            stream.write_all(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull").expect("sent");
            String::from_utf8_lossy(&request[..got]).into_owned()
        });
        let client = Client::new(address);
        let answer = client.ask("DELETE", "/1/2").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (507, "full"));
        let request = server.join().expect("the server ends");
        assert!(request.starts_with("DELETE /1/2 HTTP/1.1\r\n"), "{request}");
        let error = client.send("POST", "/x", b"body").expect_err("the server is gone");
        assert!(error.0.contains(&address.to_string()), "{}", error.0);
    }
}
