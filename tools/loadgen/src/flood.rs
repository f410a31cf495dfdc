//! Misbehaving clients, many at once: a server must withstand them without failing well-behaved clients.
//!
//! Each client is a task that repeats the same behaviour; when the server closes its connection, it opens a
//! new one. The result describes the server: how long it kept connections open, and its answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use hayloft::base::sys::monotonic_ns;
use hayloft::ring::{Ring, RingOptions};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{Op, Returned, Sock};
use hayloft::runtime::{Handle, Runtime};
use hdrhistogram::Histogram;
use serde::Serialize;
use socket2::Socket;

use crate::buffers::Buffers;
use crate::connection::reopen;
use crate::error::Error;
use crate::object::Objects;
use crate::operation::{Kind, Request};
use crate::plan::Endpoint;
use crate::random::Random;
use crate::reactor::ring_for;
use crate::reply::parse;
use crate::stats::histogram;
use crate::target::{HEAD_MAX, Target};

const SECOND: u64 = 1_000_000_000;
/// Delay before a failed connect is retried (nanoseconds).
const RETRY_DELAY: u64 = 100_000_000;
/// `Content-Length` of an upload (bytes).
const BODY: u64 = 1 << 20;
/// Requests that a slow reader pipelines.
const PIPELINED: usize = 16;
/// Bytes of garbage sent at once.
const GARBAGE: usize = 256;
/// Receive buffer of a slow reader's socket (bytes): small, so that the server's sends block.
const RECEIVE_BUFFER: usize = 4096;

/// Behaviour of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// Send an endless request head, one byte per second
    SlowHead,
    /// PUT 1 MiB, one byte per second
    SlowBody,
    /// Pipeline many GETs and read one byte per second
    SlowRead,
    /// Connect and send nothing
    HalfOpen,
    /// Send bytes that are not HTTP
    Garbage,
    /// Send half of a PUT, then reset the connection
    Reset,
}

/// Parameters of a flood.
pub struct Flood {
    pub kind: Misbehaviour,
    /// Servers to connect to.
    pub endpoints: Vec<Endpoint>,
    /// Kind of server, which determines the form of requests.
    pub target: Target,
    /// Objects to request; those below `count` are stored.
    pub objects: Objects,
    /// Number of stored objects.
    pub count: u64,
    /// Number of concurrent clients.
    pub connections: usize,
    /// Duration (nanoseconds).
    pub duration: u64,
}

/// Result of a flood.
pub struct FloodResult {
    /// Connections opened or attempted.
    pub opened: u64,
    /// Connections that the server closed.
    pub ended: u64,
    /// Connections that could not be made.
    pub refused: u64,
    /// Number of first responses on a connection, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Lifetimes of the connections that the server closed (nanoseconds).
    pub lifetimes: Histogram<u64>,
}

/// State shared by the client tasks.
struct FloodState {
    flood: Flood,
    handle: Handle,
    buffers: Buffers,
    random: RefCell<Random>,
    end: u64,
    live: Cell<usize>,
    result: RefCell<FloodResult>,
}

/// Reason for the end of a connection.
enum ConnectionEnd {
    /// The server closed it.
    Server,
    /// It could not be made.
    NotConnected,
    /// The client closed it, or the flood is over.
    Client,
}

/// Runs the flood on this thread until its duration is over.
///
/// # Errors
/// When the ring cannot be set up.
pub fn run(flood: Flood) -> Result<FloodResult, Error> {
    let (prepared, region) = ring_for(flood.connections)?;
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: 1, buffered: false };
    let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
    let mut ring = ring.map_err(|error| Error::Failed(format!("cannot start a ring: {error}")))?;
    let mut runtime =
        Runtime::new(&ring, pool.clone(), || unreachable!("clients draw from their own generator"));
    let handle = runtime.handle().clone();
    let (opened, ended, refused) = (0, 0, 0);
    let result =
        FloodResult { opened, ended, refused, statuses: BTreeMap::new(), lifetimes: histogram() };
    let state = Rc::new(FloodState {
        random: RefCell::new(Random::new(flood.objects.seed, 0)),
        end: monotonic_ns() + flood.duration,
        live: Cell::new(flood.connections),
        buffers: Buffers::new(&pool, flood.connections),
        result: RefCell::new(result),
        handle: handle.clone(),
        flood,
    });
    for client in 0..state.flood.connections {
        handle.spawn(Rc::clone(&state).behave(client));
    }
    while state.live.get() > 0 {
        runtime.run_ready();
        runtime.exchange(&mut ring, monotonic_ns() + SECOND);
    }
    drop(runtime);
    let state = Rc::into_inner(state).expect("all client tasks have ended");
    Ok(state.result.into_inner())
}

impl FloodState {
    /// Task of one client: opens a connection after the other until the flood is over.
    async fn behave(self: Rc<Self>, client: usize) {
        let endpoint = &self.flood.endpoints[client % self.flood.endpoints.len()];
        while self.handle.now() < self.end {
            let began = self.handle.now();
            self.result.borrow_mut().opened += 1;
            let prepare = |socket: &Socket| match self.flood.kind {
                Misbehaviour::SlowRead => socket.set_recv_buffer_size(RECEIVE_BUFFER),
                // Close sends a reset.
                Misbehaviour::Reset => socket.set_linger(Some(Duration::ZERO)),
                _ => Ok(()),
            };
            let end = match reopen(endpoint, prepare) {
                Ok(sock) => {
                    let end = self.client(sock).await;
                    self.handle.submit(Op::Close { sock }).await;
                    end
                }
                Err(_) => ConnectionEnd::NotConnected,
            };
            self.count(&end, self.handle.now() - began);
            if matches!(end, ConnectionEnd::NotConnected) {
                self.handle.sleep_until(self.handle.now() + RETRY_DELAY).await;
            }
        }
        self.live.set(self.live.get() - 1);
    }

    /// Counts a connection; `life` is its lifetime (nanoseconds).
    fn count(&self, end: &ConnectionEnd, life: u64) {
        let mut result = self.result.borrow_mut();
        match end {
            ConnectionEnd::Server => {
                result.ended += 1;
                result.lifetimes.saturating_record(life);
            }
            ConnectionEnd::NotConnected => result.refused += 1,
            ConnectionEnd::Client => {}
        }
    }

    async fn client(&self, sock: Sock) -> ConnectionEnd {
        match self.flood.kind {
            Misbehaviour::SlowHead => {
                self.send_slowly(sock, b"GET /1/1/0/0000000000000000 HTTP/1.1\r\nX: ").await
            }
            Misbehaviour::SlowBody => {
                let head = self.head(Kind::Put, BODY);
                self.send_slowly(sock, &head).await
            }
            Misbehaviour::SlowRead => self.read_slowly(sock).await,
            Misbehaviour::HalfOpen => self.listen(sock, self.end).await,
            Misbehaviour::Garbage => {
                let mut bytes = [0; GARBAGE];
                bytes.fill_with(|| self.random.borrow_mut().next().to_le_bytes()[0]);
                if !self.send(sock, &bytes).await {
                    return ConnectionEnd::Server;
                }
                self.listen(sock, self.end).await
            }
            Misbehaviour::Reset => self.reset(sock).await,
        }
    }

    /// Request head for a random object, with a body length of `body` bytes.
    fn head(&self, kind: Kind, body: u64) -> Vec<u8> {
        let flood = &self.flood;
        let index = self.random.borrow_mut().below(flood.count);
        let request = Request::new(kind, flood.objects.get(index));
        let mut head = vec![0; HEAD_MAX];
        let len =
            flood.target.write_head(&flood.endpoints[0].host, false, &request, body, &mut head);
        head.truncate(len);
        head
    }

    /// Sends a few bytes; returns whether all were sent.
    async fn send(&self, sock: Sock, bytes: &[u8]) -> bool {
        let mut buf = self.buffers.take(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        let len = u32::try_from(bytes.len()).expect("a few bytes");
        let completion =
            self.handle.submit_by(Op::Send { sock, buf, start: 0, len }, self.end).await;
        if let Returned::One(buf) = completion.returned {
            self.buffers.give_back(buf);
        }
        completion.result == i64::from(len)
    }

    /// Sends `begin`, then a byte per second until the server closes the connection.
    async fn send_slowly(&self, sock: Sock, begin: &[u8]) -> ConnectionEnd {
        if !self.send(sock, begin).await {
            return ConnectionEnd::NotConnected;
        }
        while self.handle.now() < self.end {
            let next = (self.handle.now() + SECOND).min(self.end);
            match self.listen(sock, next).await {
                ConnectionEnd::Client => {}
                end => return end,
            }
            if !self.send(sock, b"x").await {
                return ConnectionEnd::Server;
            }
        }
        ConnectionEnd::Client
    }

    /// Receives until the connection ends, or until `deadline`.
    async fn listen(&self, sock: Sock, deadline: u64) -> ConnectionEnd {
        let mut is_first = true;
        loop {
            let completion = self.handle.submit_by(Op::RecvAny { sock }, deadline).await;
            match completion.result {
                len if len > 0 => {
                    let Returned::One(buf) = completion.returned else {
                        unreachable!("received bytes come in a buffer")
                    };
                    let begin = hayloft::base::limits::RECEIVE_HEADROOM;
                    let len = usize::try_from(len).expect("positive");
                    if is_first && let Ok(Some(head)) = parse(&buf[begin..begin + len]) {
                        *self.result.borrow_mut().statuses.entry(head.status).or_default() += 1;
                    }
                    is_first = false;
                }
                len if -len == i64::from(nix::libc::ECANCELED) => return ConnectionEnd::Client,
                len if -len == i64::from(nix::libc::ECONNREFUSED) => {
                    return ConnectionEnd::NotConnected;
                }
                _ => return ConnectionEnd::Server,
            }
        }
    }

    /// Pipelines many requests, then reads one byte per second.
    async fn read_slowly(&self, sock: Sock) -> ConnectionEnd {
        for _ in 0..PIPELINED {
            let head = self.head(Kind::Get, 0);
            if !self.send(sock, &head).await {
                return ConnectionEnd::NotConnected;
            }
        }
        while self.handle.now() < self.end {
            let buf = self.buffers.take(1);
            let receive = Op::Recv { sock, buf, start: 0, len: 1, whole: false };
            let completion = self.handle.submit_by(receive, self.end).await;
            if let Returned::One(buf) = completion.returned {
                self.buffers.give_back(buf);
            }
            if completion.result <= 0 {
                let is_over = -completion.result == i64::from(nix::libc::ECANCELED);
                return if is_over { ConnectionEnd::Client } else { ConnectionEnd::Server };
            }
            self.handle.sleep_until((self.handle.now() + SECOND).min(self.end)).await;
        }
        ConnectionEnd::Client
    }

    /// Sends half of a PUT and ends; closing the socket resets it.
    async fn reset(&self, sock: Sock) -> ConnectionEnd {
        let head = self.head(Kind::Put, BODY);
        if !self.send(sock, &head).await {
            return ConnectionEnd::NotConnected;
        }
        let piece = [0; GARBAGE];
        let sent = self.send(sock, &piece).await;
        if sent { ConnectionEnd::Client } else { ConnectionEnd::Server }
    }
}
