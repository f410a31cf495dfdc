//! Tests of the client against a server with scripted answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::commands::client::Source;

/// Serves one connection per script, one at a time, with one request per answer of the script. The thread
/// returns the requests with their bodies.
fn server(scripts: Vec<Vec<&'static str>>) -> (ServerAddress, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for script in scripts {
            let stream = accept(&listener);
            let (mut out, mut input) = (stream.try_clone().unwrap(), BufReader::new(stream));
            for answer in script {
                let Some(request) = read_request(&mut input, &mut out) else { break };
                seen.push(request);
                out.write_all(answer.as_bytes()).unwrap();
            }
        }
        seen
    });
    (address, thread)
}

/// Longest wait of the server for a connection, and for the next bytes of one.
const DEADLINE: Duration = Duration::from_secs(30);

/// # Panics
/// If nobody connects within [`DEADLINE`].
fn accept(listener: &TcpListener) -> TcpStream {
    let began = Instant::now();
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                return stream;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(began.elapsed() < DEADLINE, "nobody connects");
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn read_request(input: &mut impl BufRead, out: &mut impl Write) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    if lower.contains("expect: 100-continue") {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let len = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; len.map_or(0, |len| len.parse().unwrap())];
    input.read_exact(&mut body).ok()?;
    Some(format!("{}\n{}", head.trim_end(), String::from_utf8_lossy(&body)))
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 5\r\n\r\nbusy\n";
/// The client must not send its next request over the same connection, whose end may not have arrived.
const BUSY_AND_CLOSED: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\
     Connection: close\r\nContent-Length: 5\r\n\r\nbusy\n";
const FULL: &str =
    "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 15\r\n\r\nfull\x1b[1m\nmore\n\n\n";

fn client(address: ServerAddress) -> Client {
    Client::new(address, "--server")
}

#[test]
fn connection_is_reused_and_bodies_have_a_content_length() {
    let (address, server) = server(vec![vec![CREATED, NO_CONTENT, NO_CONTENT, NO_CONTENT]]);
    let client = client(address);
    let ask = |method, body| client.request(method, "/1", &[("X-A", "b")], body).unwrap().status;
    assert_eq!(ask(Method::Put, Body::Bytes(b"body")), 201);
    assert_eq!(ask(Method::Put, Body::Bytes(b"")), 204);
    assert_eq!(ask(Method::Post, Body::None), 204);
    assert_eq!(ask(Method::Delete, Body::None), 204);
    let seen = server.join().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen[0].to_lowercase().contains("content-length: 4") && seen[0].ends_with("\nbody"));
    for request in &seen[1..3] {
        assert!(request.to_lowercase().contains("content-length: 0"), "{request}");
    }
    for request in &seen {
        assert!(request.to_lowercase().contains("x-a: b"), "{request}");
        assert!(!request.to_lowercase().contains("transfer-encoding"), "{request}");
    }
}

#[test]
fn put_is_retried_after_503_and_after_a_broken_connection() {
    let (address, server) = server(vec![vec![BUSY, BUSY, ""], vec![CREATED]]);
    let reply = client(address).request(Method::Put, "/1", &[], Body::Bytes(b"x"));
    assert_eq!(reply.unwrap().status, 201);
    assert_eq!(server.join().unwrap().len(), 4);
}

#[test]
fn post_is_never_retried() {
    let (address, server) = server(vec![vec![BUSY_AND_CLOSED], vec![""]]);
    let client = client(address);
    let post = || client.request(Method::Post, "/", &[], Body::Bytes(b"x"));
    let error = post().unwrap().refused();
    assert_eq!(error.to_string(), "POST / was answered with 503: busy");
    assert!(matches!(post(), Err(ClientError::Broken { .. })));
    assert_eq!(server.join().unwrap().len(), 2);
}

#[test]
fn retries_are_bounded_and_can_be_disabled() {
    let (address, server) = server(vec![vec![BUSY; 7]]);
    let (retrying, once) = (client(address.clone()), client(address).without_retries());
    let reply = retrying.request(Method::Get, "/1", &[], Body::None).unwrap();
    assert_eq!(reply.status, 503);
    drop(reply);
    drop(retrying);
    assert!(once.request(Method::Get, "/1", &[], Body::None).is_err() || server.is_finished());
    assert_eq!(server.join().unwrap().len(), 1 + RETRIES as usize);
}

#[test]
fn refusal_reason_is_one_line_without_control_characters() {
    let (address, _server) = server(vec![vec![FULL]]);
    let error = client(address).request(Method::Get, "/1", &[], Body::None).unwrap().refused();
    assert_eq!(error.to_string(), "GET /1 was answered with 507: full[1m");
}

#[test]
fn refused_connection_is_reported_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    drop(listener);
    let error = client(address).request(Method::Get, "/1", &[], Body::None).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.to_string().contains("hayloft serve, or name it with --server"), "{error}");
}

struct ShortSource(&'static [u8]);

impl Source for ShortSource {
    fn len(&self) -> u64 {
        100
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}

#[test]
fn source_shorter_than_its_length_fails_the_request() {
    let (address, server) = server(vec![vec![CREATED]]);
    let result =
        client(address).request(Method::Put, "/1", &[], Body::Source(&ShortSource(b"abc")));
    assert!(matches!(result, Err(ClientError::Source(_))));
    assert_eq!(server.join().unwrap(), [""; 0], "the request did not arrive completely");
}

const PHOTO: &str = "HTTP/1.1 200 OK\r\nX-A: b\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\nbody";
const TORN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo";

#[test]
fn answer_is_read_into_memory_and_leaves_the_connection_for_the_next() {
    let (address, server) = server(vec![vec![PHOTO, NO_CONTENT, TORN]]);
    let client = client(address);
    let get = || client.request(Method::Get, "/1", &[], Body::None).unwrap().read();
    let photo = get().unwrap();
    assert_eq!((photo.status, photo.text().as_str()), (200, "body"));
    assert_eq!((photo.header("X-A"), photo.header("X-B")), (Some("b"), None));
    assert_eq!(photo.headers.len(), 3, "{photo:?}");
    assert_eq!(get().unwrap().body, b"");
    assert!(matches!(get(), Err(ClientError::Garbled { .. })), "a short body is no answer");
    assert_eq!(server.join().unwrap().len(), 3);
}

#[test]
fn answer_is_awaited_for_as_long_as_the_caller_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(listener.local_addr().unwrap().into()).without_retries();
    let client = client.with_timeout(Duration::from_millis(50));
    let error = client.request(Method::Get, "/1", &[], Body::None).unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}
