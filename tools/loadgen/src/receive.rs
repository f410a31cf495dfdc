//! Receiving answers: heads and bodies out of a stream, each byte compared with what it must be.

use std::fmt;
use std::rc::Rc;

use hayloft::buffer::Buf;
use hayloft::op::{Op, Returned, Sock};
use hayloft::runtime::Operation;

use crate::content::{Content, STAMP, Source};
use crate::operation::{Kind, Request};
use crate::plan::Verify;
use crate::reply::{Garbled, Head, parse};
use crate::verdict::Verdict;
use crate::worker::Worker;

/// Room for the head of an answer beside its body (bytes).
const HEAD_ROOM: usize = 1024;
/// What of an unexpected answer is shown (bytes).
const EXCERPT_MAX: usize = 120;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The server closed before the answer began.
    Closed,
    /// The same with an error.
    Errno(i32),
    /// The connection ended in the middle of the answer.
    Short,
    /// The answer cannot be read.
    Garbled(Garbled),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed without an answer"),
            Self::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Self::Short => f.write_str("the connection ended in the middle of the answer"),
            Self::Garbled(Garbled::Malformed) => f.write_str("the answer is no HTTP/1"),
            Self::Garbled(Garbled::NoLength) => f.write_str("the answer has no Content-Length"),
        }
    }
}

/// An answer.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// What that means.
    pub verdict: Verdict,
    /// Whether the connection ends with it.
    pub closes: bool,
    /// Bytes of the object that came or went.
    pub payload: u64,
    /// When its last byte was there (nanoseconds of the monotonic clock).
    pub end: u64,
    /// The beginning of a body that is no object.
    pub excerpt: Vec<u8>,
}

/// The receiving end of a connection.
pub struct Receiver {
    worker: Rc<Worker>,
    /// Whether there may be other answers behind the one that is read.
    is_pipelined: bool,
    /// Absent while it is being received to, and while nothing is at hand.
    buf: Option<Buf>,
    /// What is at hand: `start..end` of the buffer.
    start: usize,
    end: usize,
}

/// Where in the object a body is, and what it must be.
struct Body {
    position: u64,
    left: u64,
    source: Option<Source>,
    check: bool,
    wrong: bool,
}

impl Receiver {
    /// Nothing at hand.
    pub fn new(worker: &Rc<Worker>, is_pipelined: bool) -> Self {
        Self { worker: Rc::clone(worker), is_pipelined, buf: None, start: 0, end: 0 }
    }

    /// Forgets what is at hand.
    pub fn clear(&mut self) {
        if let Some(buf) = self.buf.take() {
            self.worker.buffers.give_back(buf);
        }
        (self.start, self.end) = (0, 0);
    }

    /// Begins to receive the answer to `request`.
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

    /// Receives at most `limit` bytes behind what is at hand.
    fn submit(&mut self, sock: Sock, limit: usize, whole: bool) -> Operation {
        let buf = self.buf.take().expect("a buffer to receive to");
        let len = u32::try_from((buf.len() - self.end).min(limit)).expect("at most BUFFER_MAX");
        let start = u32::try_from(self.end).expect("at most BUFFER_MAX");
        self.worker.handle.submit(Op::Recv { sock, buf, start, len, whole })
    }

    async fn take(&mut self, receive: Operation) -> Result<(), i32> {
        let completion = receive.await;
        let Returned::One(buf) = completion.returned else {
            unreachable!("a receive has one buffer")
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

    /// Whether nothing is at hand.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn at_hand(&self) -> &[u8] {
        self.buf.as_deref().map_or(&[], |buf| &buf[self.start..self.end])
    }

    /// Receives the answer to `request`. `first` is what [`Self::begin`] began.
    pub async fn reply(
        &mut self,
        sock: Sock,
        request: &Request,
        first: Option<Operation>,
    ) -> Result<Reply, Broken> {
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
            self.gather(sock, shown).await?;
            excerpt
                .extend_from_slice(&self.at_hand()[..usize::try_from(shown).expect("a few bytes")]);
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
    ) -> Result<Head, Broken> {
        loop {
            if first.is_none() && self.start < self.end {
                match parse(self.at_hand()) {
                    Ok(Some(head)) => {
                        self.start += head.len;
                        return Ok(head);
                    }
                    Ok(None) => self.make_room()?,
                    Err(garbled) => return Err(Broken::Garbled(garbled)),
                }
            }
            let has_begun = self.start < self.end;
            let receive = match first.take() {
                Some(receive) => receive,
                None => self.begin(sock, request),
            };
            self.take(receive).await.map_err(|errno| match errno {
                _ if has_begun => Broken::Short,
                0 => Broken::Closed,
                errno => Broken::Errno(errno),
            })?;
        }
    }

    /// Moves what is at hand to the front when there is no room behind it.
    fn make_room(&mut self) -> Result<(), Broken> {
        let buf = self.buf.as_mut().expect("something is at hand");
        if self.end < buf.len() {
            return Ok(());
        }
        if self.start == 0 {
            return Err(Broken::Garbled(Garbled::Malformed));
        }
        buf.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        Ok(())
    }

    /// Receives until `len` bytes, a few, are at hand.
    async fn gather(&mut self, sock: Sock, len: u64) -> Result<(), Broken> {
        while (self.at_hand().len() as u64) < len {
            self.make_room()?;
            let receive = self.submit(sock, usize::MAX, false);
            self.take(receive).await.map_err(|_| Broken::Short)?;
        }
        Ok(())
    }

    async fn body(&mut self, sock: Sock, request: &Request, body: &mut Body) -> Result<(), Broken> {
        if body.check && request.kind == Kind::Get {
            self.gather(sock, body.left.min(STAMP as u64)).await?;
        }
        loop {
            let len = self.at_hand().len().min(usize::try_from(body.left).unwrap_or(usize::MAX));
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
            self.take(receive).await.map_err(|_| Broken::Short)?;
        }
    }

    /// Compares the next `len` bytes with what they must be.
    fn verify(&self, request: &Request, body: &mut Body, len: usize) {
        if !body.check || body.wrong {
            return;
        }
        let bytes = &self.at_hand()[..len];
        let Worker { shared, .. } = &*self.worker;
        let source = *body.source.get_or_insert_with(|| {
            // A range is of the object as it was filled: only the beginning says which version it is.
            let stamped = (request.kind == Kind::Get).then(|| Content::version_in(bytes)).flatten();
            let version = stamped.unwrap_or(0);
            body.wrong = version < request.version;
            shared.content.source(&request.object, version)
        });
        let len = if shared.verify == Verify::Full { len } else { len.min(STAMP) };
        body.wrong |= !shared.content.matches(&source, body.position, &bytes[..len]);
        // The head is at the beginning.
        body.check = shared.verify == Verify::Full;
    }
}
