//! Receives answers: parses heads and bodies out of the stream, and verifies every byte.

use std::fmt;
use std::rc::Rc;

use hayloft::runtime::Operation;
use hayloft::runtime::buffer::Buf;
use hayloft::runtime::op::{Op, Returned, Sock};

use crate::content::{Content, STAMP, Source};
use crate::operation::{Kind, Request};
use crate::plan::Verify;
use crate::reply::{Head, ParseError, parse};
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Buffer space for the head of an answer (bytes).
const HEAD_ROOM: usize = 1024;
/// Maximum length of the excerpt of an unexpected answer (bytes).
const EXCERPT_MAX: usize = 120;

/// Failure to receive an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The server closed the connection before the answer began.
    Closed,
    /// The connection failed before the answer began (errno).
    Errno(i32),
    /// The connection ended within the answer.
    Short,
    /// The answer cannot be parsed.
    Invalid(ParseError),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed without an answer"),
            Self::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Self::Short => f.write_str("the connection ended before the end of the answer"),
            Self::Invalid(ParseError::Malformed) => f.write_str("the answer is not HTTP/1"),
            Self::Invalid(ParseError::NoLength) => f.write_str("the answer has no Content-Length"),
        }
    }
}

/// A received answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Assessment of the status and content.
    pub verdict: Verdict,
    /// Whether the server closes the connection after it.
    pub closes: bool,
    /// Object bytes received or sent.
    pub payload: u64,
    /// Time of its last byte (nanoseconds of the monotonic clock).
    pub end: u64,
    /// Beginning of the body of an unexpected answer.
    pub excerpt: Vec<u8>,
}

/// Receiving side of a connection.
pub struct Receiver {
    worker: Rc<Worker>,
    /// Whether further answers may follow the current one.
    is_pipelined: bool,
    /// Receive buffer; `None` while a receive is in flight, and while nothing is buffered.
    buf: Option<Buf>,
    /// Unconsumed bytes: `start..end` of the buffer.
    start: usize,
    end: usize,
}

/// Body being received: position in the object, bytes left, expected content.
struct Body {
    position: u64,
    left: u64,
    source: Option<Source>,
    check: bool,
    wrong: bool,
}

impl Receiver {
    /// Creates a receiver without buffered bytes.
    pub fn new(worker: &Rc<Worker>, is_pipelined: bool) -> Self {
        Self { worker: Rc::clone(worker), is_pipelined, buf: None, start: 0, end: 0 }
    }

    /// Discards buffered bytes.
    pub fn clear(&mut self) {
        if let Some(buf) = self.buf.take() {
            self.worker.buffers.give_back(buf);
        }
        (self.start, self.end) = (0, 0);
    }

    /// Starts to receive the answer to `request`.
    pub fn begin(&mut self, sock: Sock, request: &Request) -> Operation {
        let body = match request.kind {
            Kind::Get => request.object.size,
            Kind::Range => request.range.1,
            _ => 0,
        };
        if self.buf.is_none() {
            let len = HEAD_ROOM.saturating_add(usize::try_from(body).unwrap_or(usize::MAX));
            self.buf = Some(self.worker.buffers.take(len));
        }
        self.submit(sock, usize::MAX, false)
    }

    /// Receives at most `limit` bytes behind the buffered ones.
    fn submit(&mut self, sock: Sock, limit: usize, whole: bool) -> Operation {
        let buf = self.buf.take().expect("no receive is in flight");
        let len = u32::try_from((buf.len() - self.end).min(limit)).expect("at most BUFFER_MAX");
        let start = u32::try_from(self.end).expect("at most BUFFER_MAX");
        self.worker.handle.submit(Op::Recv { sock, buf, start, len, whole })
    }

    async fn take(&mut self, receive: Operation) -> Result<(), i32> {
        let completion = receive.await;
        let Returned::One(buf) = completion.returned else {
            unreachable!("a receive returns one buffer")
        };
        self.buf = Some(buf);
        match usize::try_from(completion.result) {
            Ok(0) => Err(0),
            Ok(len) => {
                self.end += len;
                self.worker.interval.borrow_mut().received += len as u64;
                Ok(())
            }
            Err(_) => Err(i32::try_from(-completion.result).unwrap_or(nix::libc::EIO)),
        }
    }

    /// Whether nothing is buffered.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn buffered(&self) -> &[u8] {
        self.buf.as_deref().map_or(&[], |buf| &buf[self.start..self.end])
    }

    /// Receives the answer to `request`. `first` is the receive started by [`Self::begin`].
    pub async fn reply(
        &mut self,
        sock: Sock,
        request: &Request,
        first: Option<Operation>,
    ) -> Result<Reply, ReceiveError> {
        let head = self.head(sock, request, first).await?;
        let shared = &self.worker.shared;
        let verdict = shared.target.judge(request, head.status);
        let is_object = verdict == Verdict::Done && matches!(request.kind, Kind::Get | Kind::Range);
        let expected =
            if request.kind == Kind::Range { request.range.1 } else { request.object.size };
        let check = is_object && shared.verify != Verify::None;
        let mut body = Body {
            position: request.range.0,
            left: head.body,
            source: None,
            check,
            wrong: is_object && head.body != expected,
        };
        let shown = head.body.min(EXCERPT_MAX as u64);
        let mut excerpt = Vec::new();
        if verdict == Verdict::Unexpected {
            self.receive_at_least(sock, shown).await?;
            excerpt.extend_from_slice(
                &self.buffered()[..usize::try_from(shown).expect("at most EXCERPT_MAX")],
            );
        }
        self.body(sock, request, &mut body).await?;
        let end = self.worker.handle.now();
        if self.is_empty() {
            self.clear();
        }
        let payload = match request.kind {
            Kind::Put | Kind::Batch if verdict == Verdict::Done => request.object.size,
            _ if is_object => head.body,
            _ => 0,
        };
        let verdict = if body.wrong { Verdict::Wrong } else { verdict };
        let Head { status, closes, .. } = head;
        Ok(Reply { status, verdict, closes, payload, end, excerpt })
    }

    async fn head(
        &mut self,
        sock: Sock,
        request: &Request,
        mut first: Option<Operation>,
    ) -> Result<Head, ReceiveError> {
        loop {
            if first.is_none() && self.start < self.end {
                match parse(self.buffered()) {
                    Ok(Some(head)) => {
                        self.start += head.len;
                        return Ok(head);
                    }
                    Ok(None) => self.make_space()?,
                    Err(error) => return Err(ReceiveError::Invalid(error)),
                }
            }
            let has_begun = self.start < self.end;
            let receive = match first.take() {
                Some(receive) => receive,
                None => self.begin(sock, request),
            };
            self.take(receive).await.map_err(|errno| match errno {
                _ if has_begun => ReceiveError::Short,
                0 => ReceiveError::Closed,
                errno => ReceiveError::Errno(errno),
            })?;
        }
    }

    /// Moves the buffered bytes to the front when the buffer is full.
    fn make_space(&mut self) -> Result<(), ReceiveError> {
        let buf = self.buf.as_mut().expect("bytes are buffered");
        if self.end < buf.len() {
            return Ok(());
        }
        if self.start == 0 {
            return Err(ReceiveError::Invalid(ParseError::Malformed));
        }
        buf.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        Ok(())
    }

    /// Receives until at least `len` bytes are buffered; `len` is small.
    async fn receive_at_least(&mut self, sock: Sock, len: u64) -> Result<(), ReceiveError> {
        while (self.buffered().len() as u64) < len {
            self.make_space()?;
            let receive = self.submit(sock, usize::MAX, false);
            self.take(receive).await.map_err(|_| ReceiveError::Short)?;
        }
        Ok(())
    }

    async fn body(
        &mut self,
        sock: Sock,
        request: &Request,
        body: &mut Body,
    ) -> Result<(), ReceiveError> {
        if body.check && request.kind == Kind::Get {
            self.receive_at_least(sock, body.left.min(STAMP as u64)).await?;
        }
        loop {
            let len = self.buffered().len().min(usize::try_from(body.left).unwrap_or(usize::MAX));
            if len > 0 {
                self.verify(request, body, len);
                self.start += len;
                body.position += len as u64;
                body.left -= len as u64;
            }
            if body.left == 0 {
                return Ok(());
            }
            (self.start, self.end) = (0, 0);
            let limit = if self.is_pipelined { u64::MAX } else { body.left };
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let receive = self.submit(sock, limit, !self.is_pipelined);
            self.take(receive).await.map_err(|_| ReceiveError::Short)?;
        }
    }

    /// Compares the next `len` bytes with the expected content.
    fn verify(&self, request: &Request, body: &mut Body, len: usize) {
        if !body.check || body.wrong {
            return;
        }
        let bytes = &self.buffered()[..len];
        let Worker { shared, .. } = &*self.worker;
        let source = *body.source.get_or_insert_with(|| {
            // A range has no stamp, so ranges are only read from objects of version 0.
            let stamped = (request.kind == Kind::Get).then(|| Content::version_in(bytes)).flatten();
            let version = stamped.unwrap_or(0);
            body.wrong = version < request.version;
            shared.content.source(&request.object, version)
        });
        let len = if shared.verify == Verify::Full { len } else { len.min(STAMP) };
        body.wrong |= !shared.content.matches(&source, body.position, &bytes[..len]);
        // The stamp was in the first bytes.
        body.check = shared.verify == Verify::Full;
    }
}
