//! One connection of a load: sends requests, receives and verifies answers, and reconnects when it breaks.
//!
//! An idle connection holds no buffer. The receive of an answer is submitted together with the send of its
//! request, so that one system call covers both.

use std::collections::VecDeque;
use std::io;
use std::os::fd::IntoRawFd;
use std::rc::Rc;
use std::time::Duration;

use hayloft::base::sys::monotonic_ns;
use hayloft::runtime::Operation;
use hayloft::runtime::buffer::Buf;
use hayloft::runtime::op::{Op, Returned, Sock};
use socket2::{Domain, Protocol, Socket, Type};

use crate::batch;
use crate::buffers::BUFFER_MAX;
use crate::content::Source;
use crate::error::Error;
use crate::operation::{Effect, Kind, Request};
use crate::plan::Endpoint;
use crate::receive::{ReceiveError, Receiver, Reply};
use crate::stats::Sample;
use crate::target::HEAD_MAX;
use crate::verdict::Verdict;
use crate::worker::{Job, Worker};

/// Timeout of the connections made before a load begins.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay after a failed reconnect (nanoseconds).
const RECONNECT_DELAY: u64 = 100_000_000;
/// Maximum attempts of a request whose connection broke before the answer began: a server may close idle
/// connections.
const ATTEMPTS: u8 = 2;
/// Delay before a refused request is retried (nanoseconds), like Hayloft's `Retry-After`.
const RETRY_DELAY: u64 = 1_000_000_000;

fn socket(endpoint: &Endpoint) -> io::Result<Socket> {
    let domain = Domain::for_address(endpoint.address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Connects before a load begins, with a timeout of 5 s.
///
/// # Errors
/// When the connection cannot be made.
pub fn open(endpoint: &Endpoint) -> Result<Socket, Error> {
    let connected = socket(endpoint).and_then(|socket| {
        socket.connect_timeout(&endpoint.address.into(), CONNECT_TIMEOUT)?;
        Ok(socket)
    });
    connected.map_err(|error| {
        let address = endpoint.address;
        Error::Failed(format!(
            "cannot connect to {address}: {error}; check that the server is running and --url is right"
        ))
    })
}

/// Starts a connect during a load without waiting; sends wait for the connection. `prepare` sets further
/// socket options.
///
/// # Errors
/// Error of a system call.
pub fn reopen(
    endpoint: &Endpoint,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Sock> {
    let socket = socket(endpoint)?;
    prepare(&socket)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&endpoint.address.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    // The ring waits for operations on blocking sockets; on nonblocking ones they fail with EAGAIN.
    socket.set_nonblocking(false)?;
    Ok(Sock(socket.into_raw_fd()))
}

/// A request without an answer.
struct Pending {
    request: Request,
    /// Time from which its latency counts (nanoseconds of the monotonic clock).
    start: u64,
    attempts: u8,
    /// Time of the first refusal or connection failure (nanoseconds of the monotonic clock).
    failing: Option<u64>,
}

/// A connection.
struct Connection {
    worker: Rc<Worker>,
    endpoint: usize,
    sock: Option<Sock>,
    /// Whether an answer was received on this socket.
    is_proven: bool,
    receiver: Receiver,
    pending: VecDeque<Pending>,
    /// Number of requests at the end of `pending` that must be sent (again).
    unsent: usize,
    depth: usize,
    /// Maximum number of requests in flight.
    /// Time since which it is idle (nanoseconds).
    free: u64,
    /// Body of a batch put.
    tar: Vec<u8>,
}

/// Task of a connection: sends requests until the source has no more.
pub async fn serve(worker: Rc<Worker>, endpoint: usize, socket: Socket, depth: usize) {
    let mut connection = Connection {
        receiver: Receiver::new(&worker, depth > 1),
        endpoint,
        sock: Some(Sock(socket.into_raw_fd())),
        is_proven: false,
        pending: VecDeque::with_capacity(depth),
        unsent: 0,
        depth,
        free: worker.handle.now(),
        tar: Vec::new(),
        worker,
    };
    if !connection.worker.is_open {
        // Answers before the start of the load would not be counted.
        let start = connection.worker.times.start;
        connection.worker.handle.sleep_until(start).await;
    }
    while connection.take().await {
        match connection.exchange().await {
            Ok(reply) => connection.answered(reply).await,
            Err(broken) => connection.broken(broken).await,
        }
    }
    connection.close().await;
    connection.worker.connection_ended();
}

impl Connection {
    /// Takes as many requests as may be in flight; returns whether there are any.
    async fn take(&mut self) -> bool {
        while self.pending.len() < self.depth {
            let job = if self.pending.is_empty() {
                self.worker.next(self.endpoint, self.free).await
            } else {
                self.worker.next_now(self.endpoint)
            };
            let Some(Job { request, intended, .. }) = job else { break };
            let start = intended.unwrap_or_else(monotonic_ns);
            self.pending.push_back(Pending { request, start, attempts: 0, failing: None });
            self.unsent += 1;
        }
        !self.pending.is_empty()
    }

    /// Sends unsent requests, and receives the answer to the oldest one.
    async fn exchange(&mut self) -> Result<Reply, ReceiveError> {
        let sock = self.connected()?;
        let request = self.pending.front().expect("take() returned true").request;
        if self.unsent == 0 {
            return self.receiver.reply(sock, &request, None).await;
        }
        let (buf, len, sent, body) = self.compose();
        self.unsent = 0;
        self.worker.interval.borrow_mut().sent += len as u64 + (body - sent);
        let send = self.worker.handle.submit(Op::Send { sock, buf, start: 0, len });
        if sent == body {
            // Pipelined answers may already be in the receiver.
            let first = self.receiver.is_empty().then(|| self.receiver.begin(sock, &request));
            let reply = self.receiver.reply(sock, &request, first).await;
            self.finish_send(sock, send, len).await;
            return reply;
        }
        self.send_rest(sock, &request, send, len, sent, body).await;
        // Even after an incomplete send there may be an answer that gives the reason.
        self.receiver.reply(sock, &request, None).await
    }

    fn connected(&mut self) -> Result<Sock, ReceiveError> {
        if let Some(sock) = self.sock {
            return Ok(sock);
        }
        let endpoint = &self.worker.shared.endpoints[self.endpoint];
        let sock = reopen(endpoint, |_| Ok(()))
            .map_err(|error| ReceiveError::Errno(error.raw_os_error().unwrap_or(0)))?;
        self.worker.interval.borrow_mut().reconnects += 1;
        self.sock = Some(sock);
        Ok(sock)
    }

    /// Writes the unsent requests to a buffer, with as much of the body as fits. Returns the buffer, its
    /// filled length, the bytes of the body in it, and the length of the body.
    fn compose(&mut self) -> (Buf, u32, u64, u64) {
        let shared = &self.worker.shared;
        let host = &shared.endpoints[self.endpoint].host;
        let first = &self.pending[self.pending.len() - self.unsent].request;
        let body = match first.kind {
            Kind::Put => first.object.size,
            Kind::Batch => {
                batch::write(shared, first, &mut self.tar);
                self.tar.len() as u64
            }
            _ => 0,
        };
        let room = usize::try_from(body).unwrap_or(BUFFER_MAX).min(BUFFER_MAX);
        let mut buf = self.worker.buffers.take(HEAD_MAX * self.unsent + room);
        let mut len = 0;
        for pending in self.pending.range(self.pending.len() - self.unsent..) {
            let out = &mut buf[len..];
            len += shared.target.write_head(host, shared.fsync, &pending.request, body, out);
        }
        let sent = (buf.len() - len).min(usize::try_from(body).unwrap_or(usize::MAX));
        let request = *first;
        self.write_body(&request, 0, &mut buf[len..len + sent]);
        let len = u32::try_from(len + sent).expect("at most BUFFER_MAX");
        (buf, len, sent as u64, body)
    }

    fn write_body(&self, request: &Request, position: u64, out: &mut [u8]) {
        match request.kind {
            Kind::Batch => {
                let start = usize::try_from(position).expect("usize has 64 bits");
                out.copy_from_slice(&self.tar[start..start + out.len()]);
            }
            _ => {
                let content = &self.worker.shared.content;
                let source: Source = content.source(&request.object, request.version);
                content.write(&source, position, out);
            }
        }
    }

    /// Awaits a send and sends the rest after a short write; returns whether all was sent.
    async fn finish_send(&self, sock: Sock, send: Operation, len: u32) -> bool {
        let (mut send, mut start) = (send, 0);
        loop {
            let completion = send.await;
            let Returned::One(buf) = completion.returned else {
                unreachable!("a send returns one buffer")
            };
            match u32::try_from(completion.result) {
                Ok(sent) if sent > 0 && start + sent < len => {
                    start += sent;
                    let rest = Op::Send { sock, buf, start, len: len - start };
                    send = self.worker.handle.submit(rest);
                }
                result => {
                    self.worker.buffers.give_back(buf);
                    return result.is_ok();
                }
            }
        }
    }

    /// Sends the part of a body that did not fit into the buffer of its head.
    async fn send_rest(
        &self,
        sock: Sock,
        request: &Request,
        first: Operation,
        len: u32,
        sent: u64,
        body: u64,
    ) {
        let (mut send, mut len, mut sent) = (first, len, sent);
        while self.finish_send(sock, send, len).await && sent < body {
            let left = usize::try_from(body - sent).unwrap_or(BUFFER_MAX);
            let mut buf = self.worker.buffers.take(left);
            let piece = left.min(buf.len());
            self.write_body(request, sent, &mut buf[..piece]);
            sent += piece as u64;
            len = u32::try_from(piece).expect("at most BUFFER_MAX");
            send = self.worker.handle.submit(Op::Send { sock, buf, start: 0, len });
        }
    }

    async fn answered(&mut self, reply: Reply) {
        let Pending { request, start, failing, .. } =
            self.pending.pop_front().expect("an answer belongs to a pending request");
        self.is_proven = true;
        self.free = reply.end;
        let sample = Sample {
            kind: request.kind,
            verdict: reply.verdict,
            status: reply.status,
            start,
            end: reply.end,
            payload: reply.payload,
        };
        if reply.verdict == Verdict::Rejected && self.worker.retries_refused {
            let (since, patience) = (failing.unwrap_or(reply.end), self.worker.times.patience);
            if reply.end - since + RETRY_DELAY <= patience {
                self.worker.count(&sample);
                return self.retry(request, since, &reply).await;
            }
            let mut interval = self.worker.interval.borrow_mut();
            interval.errors += 1;
            interval.note(|| {
                let what = describe(&request, &reply);
                format!("{what}; still refused after --patience, see the server's log or raise it")
            });
        }
        let effect = Effect::of(request.kind, reply.verdict, reply.status);
        if matches!(reply.verdict, Verdict::Wrong | Verdict::Unexpected) {
            let mut interval = self.worker.interval.borrow_mut();
            interval.wrong += u64::from(reply.verdict == Verdict::Wrong);
            interval.errors += u64::from(reply.verdict == Verdict::Unexpected);
            interval.note(|| describe(&request, &reply));
        }
        self.worker.answered(&request, &sample, effect);
        if reply.closes {
            self.close().await;
            self.unsent = self.pending.len();
        }
    }

    /// Retries a request that is refused since `since`, after a delay.
    async fn retry(&mut self, request: Request, since: u64, reply: &Reply) {
        if reply.closes {
            self.close().await;
        }
        self.worker.handle.sleep_until(reply.end + RETRY_DELAY).await;
        let (start, failing) = (monotonic_ns(), Some(since));
        self.pending.push_front(Pending { request, start, attempts: 0, failing });
        self.unsent = self.pending.len();
    }

    /// Handles a broken connection: the pending requests are sent again on a new one, unless the oldest has
    /// used up its attempts.
    async fn broken(&mut self, broken: ReceiveError) {
        let (was_proven, retries_refused) = (self.is_proven, self.worker.retries_refused);
        let (now, patience) = (self.worker.handle.now(), self.worker.times.patience);
        self.close().await;
        self.unsent = self.pending.len();
        let oldest = self.pending.front_mut().expect("exchange() had a pending request");
        oldest.attempts += 1;
        let since = *oldest.failing.get_or_insert(now);
        let is_cut_off = match broken {
            ReceiveError::Closed | ReceiveError::Errno(_) => true,
            ReceiveError::Short => retries_refused,
            _ => false,
        };
        // A repeated DELETE would not find what the first one deleted.
        let again = is_cut_off
            && oldest.request.kind != Kind::Delete
            && match retries_refused {
                // The server may be restarting.
                true => now + RECONNECT_DELAY <= since + patience,
                false => was_proven && oldest.attempts < ATTEMPTS,
            };
        if !again {
            let Pending { request, .. } = self.pending.pop_front().expect("it was the front above");
            self.unsent -= 1;
            self.worker.unanswered(&request, || match broken {
                ReceiveError::Closed if !was_proven => {
                    format!("{}: connection refused, or closed before any answer", name(&request))
                }
                _ => format!("{}: {broken}", name(&request)),
            });
        }
        // Avoids a busy loop of reconnects to a server that does not answer.
        if !was_proven {
            self.worker.handle.sleep_until(self.worker.handle.now() + RECONNECT_DELAY).await;
        }
        self.free = self.worker.handle.now();
    }

    async fn close(&mut self) {
        self.receiver.clear();
        self.is_proven = false;
        if let Some(sock) = self.sock.take() {
            self.worker.handle.submit(Op::Close { sock }).await;
        }
    }
}

/// Description of a request for error messages.
fn name(request: &Request) -> String {
    let object = &request.object;
    let kind = request.kind.name();
    format!("{kind} of object {} (volume {}, key {})", object.index, object.volume, object.key)
}

fn describe(request: &Request, reply: &Reply) -> String {
    let what = name(request);
    if reply.verdict == Verdict::Wrong {
        return format!(
            "{what}: received {} bytes that differ from the stored object",
            reply.payload
        );
    }
    let text = String::from_utf8_lossy(&reply.excerpt);
    format!("{what}: status {} {:?}", reply.status, text.trim())
}
