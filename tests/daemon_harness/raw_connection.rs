//! Single connections whose bytes are those that a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::Reply;

/// A connection over TCP or a unix socket, for tests that send or expect particular bytes, or for which it
/// matters how many connections there are and when they end.
pub struct RawConnection<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
}

fn closed() -> std::io::Error {
    std::io::ErrorKind::UnexpectedEof.into()
}

impl RawConnection {
    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self::over(TcpStream::connect(address)?))
    }

    /// Uses a connection that was made elsewhere.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }
}

impl RawConnection<UnixStream> {
    pub fn open_unix(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, buffer: Vec::new() })
    }
}

impl<S: Read + Write> RawConnection<S> {
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> std::io::Result<Reply> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.send(&bytes)?;
        self.reply(method == "HEAD")
    }

    pub fn get(&mut self, path: &str) -> std::io::Result<Reply> {
        self.request("GET", path, &[], None)
    }

    pub fn put(&mut self, path: &str, body: &[u8]) -> std::io::Result<Reply> {
        self.request("PUT", path, &[("Content-Type", "image/jpeg")], Some(body))
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 65_536];
        // When the kernel tears down a thread's ring it interrupts the thread, and a read with a timeout is
        // not restarted (signal(7)).
        let got = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if got == 0 {
            return Err(closed());
        }
        self.buffer.extend_from_slice(&chunk[..got]);
        Ok(())
    }

    pub fn reply(&mut self, is_head: bool) -> std::io::Result<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        self.buffer.drain(..end);
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap()[9..12].parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim_start().to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let bodiless = is_head || status < 200 || status == 204 || status == 304;
        if !bodiless {
            let len = reply.header("content-length").unwrap().parse().unwrap();
            while self.buffer.len() < len {
                self.fill()?;
            }
            reply.body = self.buffer.drain(..len).collect();
        }
        Ok(reply)
    }

    /// Waits for the end of the connection; returns whether it was orderly, with nothing before it. A reset
    /// is not.
    pub fn at_end(&mut self) -> bool {
        self.buffer.is_empty()
            && matches!(self.fill(), Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof)
    }
}
