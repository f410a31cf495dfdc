//! A connection to the daemon. Requests are never repeated: without a response, the effect of a request is
//! unknown.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    pub fn request(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Reply> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: powercut\r\n");
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.stream.write_all(&bytes)?;
        self.reply()
    }

    /// Sends a request whose body arrives in pieces of `piece` bytes, with a pause after each.
    pub fn request_in_pieces(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        piece: usize,
        pause: Duration,
    ) -> Result<Reply> {
        let len = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: powercut\r\nContent-Length: {len}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        for piece in body.chunks(piece) {
            self.stream.write_all(piece)?;
            std::thread::sleep(pause);
        }
        self.reply()
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            got => {
                self.unread.extend_from_slice(&chunk[..got]);
                Ok(())
            }
        }
    }

    fn reply(&mut self) -> Result<Reply> {
        let malformed = || Error::from(ErrorKind::InvalidData);
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|_| malformed())?;
        let status =
            head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
        let mut reply = Reply { status, head, body: Vec::new() };
        if status != 204 {
            let len = reply.header("content-length").and_then(|len| len.parse().ok());
            let len: usize = len.ok_or_else(malformed)?;
            while self.unread.len() < len {
                self.fill()?;
            }
            reply.body = self.unread.drain(..len).collect();
        }
        Ok(reply)
    }
}
