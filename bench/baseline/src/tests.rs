//! Tests of the reference points against a daemon in this process.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hayloft::base::logging::Log;
use hayloft::base::size::ByteSize;
use hayloft::commands::client::{Body, Client, Reply};
use hayloft::http::head::Method;
use hayloft::node::config::Config;
use hayloft::node::daemon::{FirstVolume, Private};

use crate::{null, serve};

const COOKIE: &str = "0123456789abcdef";

/// Temporary directory on the disk of the build: tmpfs may not support direct I/O.
pub fn directory() -> tempfile::TempDir {
    let own = std::env::current_exe().unwrap();
    tempfile::tempdir_in(own.parent().unwrap()).unwrap()
}

fn body(key: usize) -> Vec<u8> {
    let len = [1, 8 << 10, (64 << 10) + 1, 1 << 20][key];
    (0..len).map(|at| (at * 7 + key * 31 + at / 251) as u8).collect()
}

fn client(address: SocketAddr) -> Client {
    Client::new(address.to_string().parse().unwrap(), "--listen")
}

fn bytes(reply: Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply.into_reader().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Starts a server in a thread on a free port; returns its address once it accepts connections.
fn started(start: impl FnOnce(SocketAddr) + Send + 'static) -> SocketAddr {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    // The thread runs until the process exits.
    let server = std::thread::spawn(move || start(address));
    while TcpStream::connect(address).is_err() {
        assert!(!server.is_finished(), "the server ended before it accepted a connection");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    address
}

fn damage(data: &Path, body: &[u8]) {
    let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let file = names.into_iter().find(|path| path.extension().is_some_and(|end| end == "vol"));
    let file = file.unwrap();
    let content = std::fs::read(&file).unwrap();
    let at = content.windows(body.len()).position(|window| window == body).unwrap();
    let open = std::fs::File::options().write(true).open(&file).unwrap();
    open.write_all_at(&[!body[99]], at as u64 + 99).unwrap();
    open.sync_all().unwrap();
}

#[test]
fn serve_returns_stored_objects_and_rejects_damage() {
    let dir = directory();
    let data = dir.path().join("data");
    let config =
        Config { data: vec![data.clone()], volume_size: ByteSize::mib(32), ..Config::default() };
    let daemon = Private::start(&config, &Log::none(), FirstVolume::Create).unwrap();
    let storing = client(daemon.data_address());
    let path = |key: usize| format!("/1/{key}/0/{COOKIE}");
    for key in 0..4 {
        let reply = storing.request(Method::Put, &path(key), &[], Body::Bytes(&body(key)));
        assert_eq!(reply.unwrap().status, 201);
    }
    daemon.stop().unwrap();

    let served = data.clone();
    let reading = client(started(move |address| serve::run(&served, address).unwrap()));
    // The directory is not locked while it is served: a daemon can open it.
    let daemon = Private::start(&config, &Log::none(), FirstVolume::Create).unwrap();
    let theirs = client(daemon.data_address());
    let get =
        |client: &Client, path: &str| client.request(Method::Get, path, &[], Body::None).unwrap();
    for key in (0..4).chain([2, 0]) {
        let (ours, theirs) = (get(&reading, &path(key)), get(&theirs, &path(key)));
        assert_eq!((ours.status, ours.etag()), (200, theirs.etag()), "{key}");
        assert_eq!(ours.header("Content-Type"), theirs.header("Content-Type"));
        assert!(bytes(ours) == body(key), "{key}");
    }
    let wrong = path(1).replace("0123", "1123");
    for (path, status) in [("/1/9/0/0123456789abcdef", 404), (&wrong, 404), ("/1/x", 400)] {
        assert_eq!(get(&reading, path).status, status, "{path}");
    }
    let delete = reading.request(Method::Delete, &path(1), &[], Body::None).unwrap();
    assert_eq!((delete.status, delete.header("Allow")), (405, Some("GET")));
    daemon.stop().unwrap();

    damage(&data, &body(2));
    assert_eq!(get(&reading, &path(2)).status, 500, "damaged data must not be served");
    assert!(bytes(get(&reading, &path(1))) == body(1), "undamaged objects are served");
}

#[test]
fn null_answers_with_the_requested_body_length() {
    let answering = started(|address| drop(null::run(address, ByteSize(70_000))));
    let client = client(answering);
    for path in ["/1/2/0/0123456789abcdef", "/anything"] {
        let reply = client.request(Method::Get, path, &[], Body::None).unwrap();
        assert_eq!((reply.status, reply.content_length()), (200, Some(70_000)));
        let bytes = bytes(reply);
        assert!(bytes.len() == 70_000 && bytes.iter().all(|byte| *byte == bytes[0]));
    }
    for body in [0, (1 << 20) + 1] {
        let error = null::run(answering, ByteSize(body)).unwrap_err().to_string();
        assert!(error.contains("1B to 1MiB"), "{error}");
    }
}
