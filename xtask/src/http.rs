//! A minimal HTTP client on a connection that is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::process::Failed;

/// Timeout of a response: a daemon may be slow, but not for ever.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection to a server.
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub fn open(address: SocketAddr) -> Result<Self, Failed> {
        let connected = TcpStream::connect(address).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| {
            Failed(format!("cannot connect to the daemon at {address}: {error}"))
        })?;
        Ok(Self { stream, address })
    }

    /// Sends a request and receives its response.
    ///
    /// # Errors
    /// When the connection breaks, or the response is not HTTP with a length.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Reply, Failed> {
        let address = self.address;
        let failed = |why: String| Failed(format!("{method} {path} at {address}: {why}"));
        let length = match (method, body.is_empty()) {
            ("GET" | "DELETE", true) => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n");
        let sent = self.stream.write_all(head.as_bytes());
        sent.and_then(|()| self.stream.write_all(body))
            .map_err(|error| failed(error.to_string()))?;
        let mut got = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            if let Some(reply) = parse(&got).map_err(&failed)? {
                return Ok(reply);
            }
            match self.stream.read(&mut piece).map_err(|error| failed(error.to_string()))? {
                0 => return Err(failed("the connection was closed".to_owned())),
                len => got.extend_from_slice(&piece[..len]),
            }
        }
    }
}

/// Parses a response; `None` while it is incomplete.
fn parse(got: &[u8]) -> Result<Option<Reply>, String> {
    let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| format!("not a response: {head}"))?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = match length {
        Some(length) => length.trim().parse().map_err(|_| format!("no length: {length}"))?,
        None => 0,
    };
    let body = got.get(end + 4..end + 4 + length);
    Ok(body.map(|body| Reply { status, body: body.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_parsed_once_they_are_complete() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        let reply = parse(text).unwrap().unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (201, "abc"));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().status, 204);
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
