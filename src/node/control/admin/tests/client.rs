//! A small blocking HTTP client that sends and returns raw text: the tests look at every byte and at the end
//! of the connection, which the client of the commands hides.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response, read to the end of the connection.
#[derive(Debug)]
pub(super) struct RawReply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl RawReply {
    fn parse(text: &str) -> Self {
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let headers: Vec<_> = lines
            .map(|l| l.split_once(": ").expect("name: value"))
            .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
            .collect();
        Self { status: status.expect("a status line"), headers, body: body.to_owned() }
    }

    /// Returns the value of a header field; panics if it occurs twice.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(k, _)| k == name);
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} twice: {self:?}");
        value
    }

    /// Parses the body as JSON.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Returns the sentence of an error response.
    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

/// Opens a connection with a read timeout of ten seconds.
pub(super) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    stream
}

/// Sends raw bytes and reads until the server closes.
pub(super) fn raw(addr: SocketAddr, request: &str) -> RawReply {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server closes after the answer");
    RawReply::parse(&text)
}

/// Sends one request without a body and returns the response.
pub(super) fn request(addr: SocketAddr, method: &str, target: &str) -> RawReply {
    let reply = raw(addr, &format!("{method} {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
    if reply.status != 204 && method != "HEAD" {
        let length = reply.header("content-length").and_then(|l| l.parse::<usize>().ok());
        let length = length.expect("a length");
        assert_eq!(length, reply.body.len(), "the body is whole");
    }
    assert_eq!(reply.header("connection"), Some("close"));
    reply
}

/// Sends one GET and returns the response.
pub(super) fn get(addr: SocketAddr, target: &str) -> RawReply {
    request(addr, "GET", target)
}
