//! Clients that behave badly, many at once: what a server must bear without failing those that behave.
//!
//! Each connection is a task that does the same over and over, and a new connection takes the place of one
//! that the server ends. What is wanted is what the server did: how long it bore them, and what it
//! answered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use hayloft::buffer::Pool;
use hayloft::op::{Op, Returned, Sock};
use hayloft::ring::{Ring, RingOptions};
use hayloft::runtime::{Handle, Runtime};
use hayloft::sys::monotonic_ns;
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
/// Before a connection that failed is tried again (nanoseconds).
const PAUSE: u64 = 100_000_000;
/// What a slow upload says it will send (bytes).
const BODY: u64 = 1 << 20;
/// Requests that a slow reader asks for at once.
const ASKED: usize = 16;
/// Bytes of garbage at once.
const GARBAGE: usize = 256;
/// The kernel keeps little for a slow reader (bytes), so that the server notices.
const RECEIVE_BUFFER: usize = 4096;

/// How clients behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// A request head, a byte a second, without an end
    SlowHead,
    /// A PUT of 1 MiB, a byte a second
    SlowBody,
    /// Many GETs at once, and a byte a second of the answers is taken
    SlowRead,
    /// Connected, and silent
    HalfOpen,
    /// Bytes that are no HTTP, again and again
    Garbage,
    /// Half of a PUT, then a reset, again and again
    Reset,
}

/// A flood.
pub struct Flood {
    /// How clients behave.
    pub kind: Misbehaviour,
    /// Where they connect to.
    pub endpoints: Vec<Endpoint>,
    /// What is asked for, and how.
    pub target: Target,
    /// The objects; those below `count` were filled.
    pub objects: Objects,
    /// How many.
    pub count: u64,
    /// Clients at once.
    pub connections: usize,
    /// How long (nanoseconds).
    pub duration: u64,
}

/// What came of it.
pub struct Endured {
    /// Connections that were made, or tried.
    pub opened: u64,
    /// Of them, those that the server ended.
    pub ended: u64,
    /// Of them, those that could not be made.
    pub refused: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// How long those lived that the server ended (nanoseconds).
    pub lives: Histogram<u64>,
}

/// What the tasks share.
struct Crowd {
    flood: Flood,
    handle: Handle,
    buffers: Buffers,
    random: RefCell<Random>,
    end: u64,
    live: Cell<usize>,
    endured: RefCell<Endured>,
}

/// Why a client is through with its connection.
enum Through {
    /// The server ended it.
    Ended,
    /// It was never made.
    Refused,
    /// The client did.
    Left,
}

/// Floods on this thread until the time is over.
///
/// # Errors
/// When it cannot begin.
pub fn run(flood: Flood) -> Result<Endured, Error> {
    let (prepared, region) = ring_for(flood.connections)?;
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: 1, buffered: false };
    let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
    let mut ring = ring.map_err(|error| Error::Failed(format!("cannot start a ring: {error}")))?;
    let mut runtime =
        Runtime::new(&ring, pool.clone(), || unreachable!("clients draw their own numbers"));
    let handle = runtime.handle().clone();
    let (opened, ended, refused) = (0, 0, 0);
    let endured = Endured { opened, ended, refused, statuses: BTreeMap::new(), lives: histogram() };
    let crowd = Rc::new(Crowd {
        random: RefCell::new(Random::new(flood.objects.seed, 0)),
        end: monotonic_ns() + flood.duration,
        live: Cell::new(flood.connections),
        buffers: Buffers::new(&pool, flood.connections),
        endured: RefCell::new(endured),
        handle: handle.clone(),
        flood,
    });
    for client in 0..crowd.flood.connections {
        handle.spawn(Rc::clone(&crowd).behave(client));
    }
    while crowd.live.get() > 0 {
        runtime.run_ready();
        runtime.exchange(&mut ring, monotonic_ns() + SECOND);
    }
    drop(runtime);
    let crowd = Rc::into_inner(crowd).expect("all clients have left");
    Ok(crowd.endured.into_inner())
}

impl Crowd {
    /// One client after the other, until the time is over.
    async fn behave(self: Rc<Self>, client: usize) {
        let endpoint = &self.flood.endpoints[client % self.flood.endpoints.len()];
        while self.handle.now() < self.end {
            let began = self.handle.now();
            self.endured.borrow_mut().opened += 1;
            let prepare = |socket: &Socket| match self.flood.kind {
                Misbehaviour::SlowRead => socket.set_recv_buffer_size(RECEIVE_BUFFER),
                // To close is then to reset.
                Misbehaviour::Reset => socket.set_linger(Some(Duration::ZERO)),
                _ => Ok(()),
            };
            let through = match reopen(endpoint, prepare) {
                Ok(sock) => {
                    let through = self.client(sock).await;
                    self.handle.submit(Op::Close { sock }).await;
                    through
                }
                Err(_) => Through::Refused,
            };
            self.count(&through, self.handle.now() - began);
            if matches!(through, Through::Refused) {
                self.handle.sleep_until(self.handle.now() + PAUSE).await;
            }
        }
        self.live.set(self.live.get() - 1);
    }

    /// Counts a connection that lived so long (nanoseconds).
    fn count(&self, through: &Through, life: u64) {
        let mut endured = self.endured.borrow_mut();
        match through {
            Through::Ended => {
                endured.ended += 1;
                endured.lives.saturating_record(life);
            }
            Through::Refused => endured.refused += 1,
            Through::Left => {}
        }
    }

    async fn client(&self, sock: Sock) -> Through {
        match self.flood.kind {
            Misbehaviour::SlowHead => {
                self.dribble(sock, b"GET /1/1/0/0000000000000000 HTTP/1.1\r\nX: ").await
            }
            Misbehaviour::SlowBody => {
                let head = self.head(Kind::Put, BODY);
                self.dribble(sock, &head).await
            }
            Misbehaviour::SlowRead => self.read_slowly(sock).await,
            Misbehaviour::HalfOpen => self.listen(sock, self.end).await,
            Misbehaviour::Garbage => {
                let mut bytes = [0; GARBAGE];
                bytes.fill_with(|| self.random.borrow_mut().next().to_le_bytes()[0]);
                if !self.send(sock, &bytes).await {
                    return Through::Ended;
                }
                self.listen(sock, self.end).await
            }
            Misbehaviour::Reset => self.reset(sock).await,
        }
    }

    /// A request for a random object.
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

    /// Whether the bytes, a few, could be sent.
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

    /// Sends `begin`, and then a byte a second until the server has enough.
    async fn dribble(&self, sock: Sock, begin: &[u8]) -> Through {
        if !self.send(sock, begin).await {
            return Through::Refused;
        }
        while self.handle.now() < self.end {
            let next = (self.handle.now() + SECOND).min(self.end);
            match self.listen(sock, next).await {
                Through::Left => {}
                through => return through,
            }
            if !self.send(sock, b"x").await {
                return Through::Ended;
            }
        }
        Through::Left
    }

    /// Receives until the server ends the connection, or until `deadline`.
    async fn listen(&self, sock: Sock, deadline: u64) -> Through {
        let mut is_first = true;
        loop {
            let completion = self.handle.submit_by(Op::RecvAny { sock }, deadline).await;
            match completion.result {
                len if len > 0 => {
                    let Returned::One(buf) = completion.returned else {
                        unreachable!("bytes stand in a buffer")
                    };
                    let begin = hayloft::limits::RECEIVE_HEADROOM;
                    let len = usize::try_from(len).expect("positive");
                    if is_first && let Ok(Some(head)) = parse(&buf[begin..begin + len]) {
                        *self.endured.borrow_mut().statuses.entry(head.status).or_default() += 1;
                    }
                    is_first = false;
                }
                len if -len == i64::from(nix::libc::ECANCELED) => return Through::Left,
                len if -len == i64::from(nix::libc::ECONNREFUSED) => return Through::Refused,
                _ => return Through::Ended,
            }
        }
    }

    /// Asks for much, and takes a byte a second of it.
    async fn read_slowly(&self, sock: Sock) -> Through {
        for _ in 0..ASKED {
            let head = self.head(Kind::Get, 0);
            if !self.send(sock, &head).await {
                return Through::Refused;
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
                return if is_over { Through::Left } else { Through::Ended };
            }
            self.handle.sleep_until((self.handle.now() + SECOND).min(self.end)).await;
        }
        Through::Left
    }

    /// Sends half of a PUT, and leaves.
    async fn reset(&self, sock: Sock) -> Through {
        let head = self.head(Kind::Put, BODY);
        if !self.send(sock, &head).await {
            return Through::Refused;
        }
        let piece = [0; GARBAGE];
        let sent = self.send(sock, &piece).await;
        if sent { Through::Left } else { Through::Ended }
    }
}
