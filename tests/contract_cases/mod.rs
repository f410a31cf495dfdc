//! Helpers of the contract tests; each topic has a file of its own.

mod batch;
mod conditions;
mod connections;
mod errors;
mod expiry;
mod large;
mod model;
mod modified;
mod multi_delete;
mod objects;
mod overload;
mod ranges;
mod unix;
mod uploads;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::daemon_harness::{Daemon, Options, RawConnection, Reply, data_dir, free_ports};

/// Headers of a request.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// A running daemon, and the port of the shard that clients connect to.
pub struct Store {
    pub daemon: Daemon,
    pub dir: tempfile::TempDir,
    client_address: SocketAddr,
    /// Buffer bytes in use before the first client.
    buffers_at_rest: f64,
}

impl Store {
    pub fn start(shards: usize, config: &str, volume_size: &'static str) -> Self {
        let dir = data_dir();
        let base = free_ports(2);
        let args = vec!["--shard-ports".to_owned(), base.to_string()];
        let config = config.to_owned();
        let options = Options { shards, config, volume_size, args, ..Options::default() };
        let daemon = Daemon::start(dir.path(), &options);
        let status: serde_json::Value =
            serde_json::from_slice(&daemon.admin("/status").body).unwrap();
        let owner = status["volumes"][0]["shard"].as_u64().unwrap();
        let client_shard = if shards == 1 { 0 } else { 1 - owner };
        let client_address = ([127, 0, 0, 1], base + u16::try_from(client_shard).unwrap()).into();
        // A shard publishes its metrics in its first event loop iteration.
        await_iterations(&daemon, shards);
        let buffers_at_rest = daemon.metric("hayloft_buffer_used_bytes", "");
        Self { daemon, dir, client_address, buffers_at_rest }
    }

    /// A new connection; with two shards, to the one that does not own the volume.
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.client_address).unwrap()
    }

    /// A request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: Headers, body: Option<&[u8]>) -> Reply {
        self.connect().request(method, path, headers, body).unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], None)
    }

    /// Stores a new photo and returns its entity tag.
    pub fn create(&self, path: &str, body: &[u8]) -> String {
        let reply = self.ask("PUT", path, &[], Some(body));
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        reply.header("etag").unwrap().to_owned()
    }

    /// Waits until the metric of needles is `want`; metrics are updated with a delay.
    pub fn assert_needles(&self, want: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let needles = self.daemon.metric("hayloft_volume_needles", "");
            if needles == want as f64 {
                return;
            }
            assert!(Instant::now() < deadline, "{needles} needles, not {want}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until no connection is left and all buffers are returned.
    fn assert_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let connections = self.daemon.metric("hayloft_connections", "");
            let used = self.daemon.metric("hayloft_buffer_used_bytes", "");
            if connections == 0.0 && used <= self.buffers_at_rest {
                return;
            }
            let before = self.buffers_at_rest;
            let what = format!("{connections} connections, {used} bytes of {before} before");
            assert!(Instant::now() < deadline, "not at rest: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the daemon and checks its log; returns its directory.
    pub fn stop(self) -> tempfile::TempDir {
        let log = self.daemon.log.clone();
        let status = self.daemon.stop();
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.success() && !log.contains("panicked"), "{log}");
        self.dir
    }
}

/// Waits until every shard has begun its second event loop iteration.
fn await_iterations(daemon: &Daemon, shards: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for shard in 0..shards {
        let label = format!("shard=\"{shard}\"");
        while daemon.metric("hayloft_turns_total", &label) < 2.0 {
            assert!(Instant::now() < deadline, "shard {shard} does not run");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs a case with one shard and with two, with this configuration and volume size.
pub fn both_with(config: &str, volume_size: &'static str, test: impl Fn(&Store)) {
    for shards in [1, 2] {
        let store = Store::start(shards, config, volume_size);
        test(&store);
        store.assert_idle();
        store.stop();
    }
}

/// Runs a case with one shard and with two.
pub fn both(test: impl Fn(&Store)) {
    both_with("", "64MiB", test);
}

/// The head of a PUT.
pub fn put_head(path: &str, len: u64, more: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n{more}\r\n")
}

/// The head of a GET.
pub fn get_head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// An entity tag as the contract defines it.
pub fn etag_of(body: &[u8]) -> String {
    format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(body))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Value of a date header (seconds since 1970).
pub fn date_of(reply: &Reply, name: &str) -> u64 {
    let value = reply.header(name).unwrap_or_else(|| panic!("no {name}"));
    hayloft::http::date::parse(value.as_bytes(), now()).unwrap_or_else(|| panic!("{value:?}"))
}

/// The path with another cookie.
pub fn with_foreign_cookie(path: &str) -> String {
    format!("{}{}", &path[..path.len() - 16], "f".repeat(16))
}

/// A tar with these plain files.
pub fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in entries {
        tar.append(&header(tar::EntryType::Regular, name, data.len()), *data).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The header of an entry, with any name: the library refuses some that a client might send.
pub fn header(kind: tar::EntryType, name: &str, len: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(len as u64);
    header.set_cksum();
    header
}
