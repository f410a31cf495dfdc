//! HEAD requests for many paths, pipelined on one connection.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::address::ServerAddress;
use super::timeout::CONNECT_TIMEOUT;
use crate::http::digits;

/// Timeout of one read or write. Shorter than that of a single request, since the caller can repeat each
/// request by itself.
const SILENCE: Duration = Duration::from_secs(30);
/// Maximum length of the head of an answer (bytes).
const HEAD_MAX: usize = 16 << 10;
/// Maximum number of header fields of an answer.
const FIELDS_MAX: usize = 64;

/// The answer to a HEAD request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadAnswer {
    /// Status code.
    pub status: u16,
    /// Entity tag as a number: the XXH3-64 of the photo.
    pub etag: Option<u64>,
}

/// A connection for pipelined HEAD requests, opened when first needed and again after it ended.
#[derive(Debug)]
pub struct HeadPipeline {
    address: ServerAddress,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Received bytes that belong to later answers.
    received: Vec<u8>,
}

impl HeadPipeline {
    /// Returns a pipeline to the server at `address`.
    #[must_use]
    pub fn new(address: ServerAddress) -> Self {
        Self { address, connection: None }
    }

    /// Sends a HEAD request for each of `paths` and returns the answers, in the order of the paths. A few
    /// hundred requests fit into the buffers of a connection; more could block both sides.
    ///
    /// Returns fewer answers than paths if the connection could not be made or ended early. The rest can be
    /// requested again: HEAD is idempotent.
    pub fn ask(&mut self, paths: &[impl Display]) -> Vec<HeadAnswer> {
        let mut answers = Vec::with_capacity(paths.len());
        // The error is not reported here: a single request for the next path fails with it too, and reports
        // it.
        if self.ask_all(paths, &mut answers).is_err() {
            self.connection = None;
        }
        answers
    }

    fn ask_all(&mut self, paths: &[impl Display], answers: &mut Vec<HeadAnswer>) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection { stream: connect(&self.address)?, received: Vec::new() },
        };
        let host = self.address.authority();
        let mut requests = String::new();
        for path in paths {
            requests += &format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        }
        connection.stream.write_all(requests.as_bytes())?;
        let mut stays = true;
        while answers.len() < paths.len() && stays {
            let answer;
            (answer, stays) = connection.read_answer()?;
            answers.push(answer);
        }
        self.connection = stays.then_some(connection);
        Ok(())
    }
}

fn connect(address: &ServerAddress) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for socket in address.resolve()? {
        match TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

impl Connection {
    /// Reads the next answer. Returns it, and whether the connection can be reused after it.
    fn read_answer(&mut self) -> io::Result<(HeadAnswer, bool)> {
        loop {
            if let Some((len, answer, stays)) = parse(&self.received)? {
                self.received.drain(..len);
                // Interim answers (1xx) come before the final one.
                if answer.status >= 200 {
                    return Ok((answer, stays));
                }
                continue;
            }
            if self.received.len() > HEAD_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut chunk = [0; 16 << 10];
            let got = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.received.extend_from_slice(&chunk[..got]);
        }
    }
}

/// Parses the first answer in `bytes`. Returns its length, the answer, and whether the connection can be
/// reused after it; `None` if it is incomplete. An answer to HEAD ends with its head (RFC 9112 section 6.3).
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, HeadAnswer, bool)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let httparse::Status::Complete(len) = response.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut fields = response.headers.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let tag = field("ETag").and_then(|tag| tag.strip_prefix(b"\"")?.strip_suffix(b"\""));
    let status = response.code.unwrap_or_default();
    let answer = HeadAnswer { status, etag: tag.and_then(digits::parse_hex16) };
    let closes = field("Connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some((len, answer, !closes && response.version == Some(1))))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// Accepts a connection for each of `answers` and writes it after the first bytes of a request.
    fn server(answers: Vec<&'static str>) -> (HeadPipeline, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pipeline = HeadPipeline::new(listener.local_addr().unwrap().into());
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut chunk = [0; 4096];
                let got = stream.read(&mut chunk).unwrap();
                requests.push(String::from_utf8(chunk[..got].to_vec()).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            requests
        });
        (pipeline, thread)
    }

    const FOUND: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\netag: \"00000000000000ff\"\r\n\r\n";
    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n";

    #[test]
    fn pipelined_answers_are_in_request_order() {
        let answers = [FOUND, "HTTP/1.1 103 Early Hints\r\n\r\n", ABSENT, FOUND].concat();
        let (mut pipeline, server) = server(vec![answers.leak()]);
        let found = HeadAnswer { status: 200, etag: Some(255) };
        let absent = HeadAnswer { status: 404, etag: None };
        assert_eq!(pipeline.ask(&["/a", "/b", "/c"]), [found, absent, found]);
        drop(pipeline);
        let requests = server.join().unwrap();
        assert_eq!(requests.len(), 1, "one connection");
        let lines: Vec<&str> = requests[0].lines().filter(|l| l.starts_with("HEAD")).collect();
        assert_eq!(lines, ["HEAD /a HTTP/1.1", "HEAD /b HTTP/1.1", "HEAD /c HTTP/1.1"]);
    }

    #[test]
    fn answers_after_a_closed_or_broken_connection_are_omitted() {
        let closing = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n";
        let old = "HTTP/1.0 404 Not Found\r\n\r\n";
        let torn = [FOUND, &FOUND[..20]].concat();
        let garbled = [FOUND, "SMTP/1.1 200 OK\r\n\r\n"].concat();
        let endless = [FOUND, "HTTP/1.1 200 OK\r\n", &"X: y\r\n".repeat(4000)].concat();
        let answers = vec![closing, old, torn.leak(), garbled.leak(), endless.leak(), FOUND, ""];
        let count = answers.len();
        let (mut pipeline, server) = server(answers);
        for n in 0..count {
            let answers = pipeline.ask(&["/a", "/b"]);
            let want = if n == count - 1 { 0 } else { 1 };
            assert_eq!(answers.len(), want, "connection {n}");
        }
        assert_eq!(server.join().unwrap().len(), count, "a connection for each");
        assert!(pipeline.ask(&["/a"]).is_empty(), "the server has ended");
    }
}
