//! Another node that answers probes as a test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Another node, which answers probes. It runs until the tests end.
pub(super) struct FakePeer {
    /// Its name in the cluster.
    pub(super) name: String,
    state: Arc<State>,
}

struct State {
    start: AtomicU64,
    is_silent: AtomicBool,
}

impl FakePeer {
    /// Starts a node whose start has this number.
    pub(super) fn start(number: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let (start, is_silent) = (AtomicU64::new(number), AtomicBool::new(false));
        let state = Arc::new(State { start, is_silent });
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.answer(stream.unwrap()));
            }
        });
        Self { name, state }
    }

    /// Lets it answer nothing any more, or answer again, as this start.
    pub(super) fn set(&self, is_silent: bool, start: u64) {
        self.state.start.store(start, Relaxed);
        self.state.is_silent.store(is_silent, Relaxed);
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            request.push(byte[0]);
            if !request.ends_with(b"\r\n\r\n") || self.is_silent.load(Relaxed) {
                continue;
            }
            assert!(request.starts_with(b"GET /healthz HTTP/1.1\r\n"));
            request.clear();
            let start = self.start.load(Relaxed);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Hayloft-Start: {start:016x}\r\nContent-Length: 0\r\n\r\n"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
