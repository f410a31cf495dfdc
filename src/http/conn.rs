//! One connection: request heads and bodies in, replies out, each within its deadline.
//!
//! Knows operations and buffers, not what is asked for. While it waits for a request it holds no
//! buffer.

use std::cell::RefCell;
use std::rc::Rc;

use nix::libc;
use slab::Slab;

use super::head::{Head, HeadLimits, HeadProgress, parse};
use super::reject::Reject;
use super::status::Status;
use crate::buffer::Buf;
use crate::limits::{BODY_PIECE, HEAD_BUFFER, RECEIVE_HEADROOM};
use crate::op::{Op, Returned, Sock, Token};
use crate::runtime::Handle;
use crate::sabotage::{Sabotage, chosen};

/// Deadlines in nanoseconds, rates in bytes per second. Bodies and replies are held to them in
/// pieces of [`BODY_PIECE`], so that a fast beginning earns no right to a slow rest.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first byte of a head to its last.
    pub head: u64,
    /// Between requests.
    pub idle: u64,
    /// For a piece of a body, besides what its length allows at `rate`.
    pub body: u64,
    /// For a peer to take anything of a reply; for a piece of it, besides what its length allows at
    /// `rate`.
    pub send: u64,
    /// Slowest client that is waited for.
    pub rate: u64,
    /// For the peer to take the last reply and close.
    pub linger: u64,
}

impl Deadlines {
    fn allowance(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(1_000_000_000) / self.rate
    }
}

/// What came of waiting for a request.
pub enum Next {
    /// A request; its head stands in [`Conn::head_bytes`].
    Request(Head),
    /// Bytes that are no request.
    Malformed(Reject),
    /// The peer closed, or the connection broke.
    Closed,
    /// Nothing came between requests.
    Idle,
    /// A head began and did not end in time.
    Late,
}

/// Why a body did not arrive, or a reply was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// Too slow.
    Late,
    /// The connection ended.
    Closed,
}

/// Waits that end when the shard drains: idle connections and listeners.
pub type Waiting = RefCell<Slab<Option<Wait>>>;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub token: Token,
    /// Whether it is the first request of a connection: one that has come so far as to be accepted is
    /// most likely about to be used.
    pub is_fresh: bool,
}

/// A connection between two shards, with a request whose head has come.
pub struct Detached {
    sock: Sock,
    buf: Option<Buf>,
    request: Head,
    head_start: usize,
    unread: usize,
    filled: usize,
    progress: HeadProgress,
    began: u64,
}

/// A connection.
pub struct Conn {
    handle: Handle,
    sock: Sock,
    deadlines: Deadlines,
    waiting: Rc<Waiting>,
    waiting_slot: usize,
    /// The bytes at hand: those of the current head, and what came behind it.
    buf: Option<Buf>,
    /// The few that had come when the buffer was given up to wait for more.
    kept: Vec<u8>,
    head_start: usize,
    unread: usize,
    filled: usize,
    progress: HeadProgress,
    /// The current request.
    request: Option<Head>,
    /// Whether it came with the connection from another shard.
    has_moved: bool,
    /// When the first byte of the current request was there.
    began: u64,
    /// Status of the answer to it.
    answer: Option<Status>,
}

const LIMITS: HeadLimits = HeadLimits::DEFAULT;

impl Conn {
    /// Takes charge of a connected socket.
    #[must_use]
    pub fn new(handle: &Handle, sock: Sock, deadlines: Deadlines, waiting: &Rc<Waiting>) -> Self {
        let waiting_slot = waiting.borrow_mut().insert(None);
        Self {
            handle: handle.clone(),
            sock,
            deadlines,
            waiting: Rc::clone(waiting),
            waiting_slot,
            buf: None,
            kept: Vec::new(),
            head_start: 0,
            unread: 0,
            filled: 0,
            progress: HeadProgress::default(),
            request: None,
            has_moved: false,
            began: 0,
            answer: None,
        }
    }

    /// The bytes that the spans of the current head refer to.
    #[must_use]
    pub fn head_bytes(&self) -> &[u8] {
        self.buf.as_ref().map_or(&[], |buf| &buf[self.head_start..])
    }

    /// Whether the request at hand is a HEAD, also when it was refused.
    #[must_use]
    pub fn is_head_request(&self) -> bool {
        self.progress.is_head_request(self.head_bytes())
    }

    /// The target of a refused request, if it got that far.
    #[must_use]
    pub fn refused_target(&self) -> Option<&[u8]> {
        self.progress.target().map(|span| span.of(self.head_bytes()))
    }

    /// The method of a refused request, if it got that far.
    #[must_use]
    pub fn refused_method(&self) -> Option<&[u8]> {
        self.progress.method(self.head_bytes())
    }

    /// Who is at the other end, as the driver names it.
    pub async fn peer(&self) -> Box<str> {
        match self.handle.submit(Op::PeerName { sock: self.sock }).await.returned {
            Returned::Text(name) => name,
            _ => "unknown".into(),
        }
    }

    /// Notes the status of the answer to the current request.
    pub fn note_answer(&mut self, status: Status) {
        self.answer = Some(status);
    }

    /// The status of the answer to the current request, if there is one yet.
    #[must_use]
    pub fn answer(&self) -> Option<Status> {
        self.answer
    }

    /// When the current request began (nanoseconds).
    #[must_use]
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Bytes that have arrived behind the current head.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.filled - self.unread
    }

    /// Waits for the next request. What came behind the last one's head and was not taken as its
    /// body is the start of the next.
    pub async fn next_request(&mut self) -> Next {
        self.progress = HeadProgress::default();
        self.has_moved = false;
        self.answer = None;
        self.head_start = self.unread;
        if self.buffered() == 0 {
            match self.wait_for_bytes().await {
                Ok(()) => {}
                Err(next) => return next,
            }
        }
        self.began = self.handle.now();
        let mut deadline = self.began + self.deadlines.head;
        loop {
            let Some(buf) = &self.buf else { return Next::Closed };
            debug_assert_eq!(self.unread, self.head_start);
            match parse(&buf[self.head_start..self.filled], &LIMITS, &mut self.progress) {
                Ok(Some(head)) => {
                    self.unread = self.head_start + head.len;
                    self.request = Some(head);
                    return Next::Request(head);
                }
                Ok(None) if self.filled - self.head_start == HEAD_BUFFER => {
                    let reason = "the request head is longer than 8 KiB";
                    let status = Status::HEADER_FIELDS_TOO_LARGE;
                    return Next::Malformed(Reject::new(status, reason));
                }
                Ok(None) if self.progress.is_idle() && self.buffered_since_head() >= 2 => {
                    // A stray blank line behind the last request: still idle.
                    self.progress = HeadProgress::behind_blank_line();
                    (self.head_start, self.unread) = (self.filled, self.filled);
                    if let Err(next) = self.wait_for_bytes().await {
                        return next;
                    }
                    self.began = self.handle.now();
                    deadline = self.began + self.deadlines.head;
                    continue;
                }
                Ok(None) => {}
                Err(reject) => return Next::Malformed(reject),
            }
            match self.receive_more(deadline).await {
                Ok(()) => {}
                Err(PeerError::Late) => return Next::Late,
                Err(PeerError::Closed) => return Next::Closed,
            }
        }
    }

    /// Waits until the body of `len` bytes has begun in earnest: all of it has come, or a good deal.
    /// A peer that dawdles is waited for without a buffer. The head's bytes are gone then.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn await_body(&mut self, len: u64) -> Result<(), PeerError> {
        let enough = usize::try_from(len).unwrap_or(usize::MAX).min(RECEIVE_HEADROOM);
        let allowed = self.deadlines.body + self.deadlines.allowance(enough);
        let deadline = self.handle.now() + allowed;
        while self.buffered() < enough {
            self.progress = HeadProgress::default();
            self.receive_more(deadline).await?;
        }
        Ok(())
    }

    fn buffered_since_head(&self) -> usize {
        self.filled - self.head_start
    }

    /// Waits without a buffer.
    async fn wait_for_bytes(&mut self) -> Result<(), Next> {
        self.buf = None;
        let deadline = self.handle.now() + self.deadlines.idle;
        let operation = self.handle.submit_by(Op::RecvAny { sock: self.sock }, deadline);
        let wait = Wait { token: operation.token(), is_fresh: self.began == 0 };
        self.waiting.borrow_mut()[self.waiting_slot] = Some(wait);
        let completion = operation.await;
        self.waiting.borrow_mut()[self.waiting_slot] = None;
        if completion.result == -i64::from(libc::ECANCELED) {
            return Err(Next::Idle);
        }
        let got = usize::try_from(completion.result).unwrap_or(0);
        match completion.returned {
            Returned::One(buf) if got > 0 => {
                self.buf = Some(buf);
                let start = RECEIVE_HEADROOM;
                (self.head_start, self.unread, self.filled) = (start, start, start + got);
                Ok(())
            }
            _ => Err(Next::Closed),
        }
    }

    /// Receives what comes next behind what is unread; what was read is forgotten.
    async fn receive_more(&mut self, deadline: u64) -> Result<(), PeerError> {
        if self.buffered() <= RECEIVE_HEADROOM {
            return self.receive_without_buffer(deadline).await;
        }
        let mut buf = self.buf.take().ok_or(PeerError::Closed)?;
        if self.filled == HEAD_BUFFER {
            // The head began behind earlier ones: move it to the front, where it fits whole.
            buf.copy_within(self.unread..self.filled, 0);
            self.filled -= self.unread;
            (self.head_start, self.unread) = (0, 0);
        }
        let (start, len) = (self.filled, HEAD_BUFFER - self.filled);
        let (buf, got) = self.receive(buf, start, len, false, deadline).await;
        self.buf = Some(buf);
        self.filled += got?;
        Ok(())
    }

    /// The same, with what is unread set aside meanwhile.
    async fn receive_without_buffer(&mut self, deadline: u64) -> Result<(), PeerError> {
        let unread = self.unread..self.filled;
        if let Some(buf) = self.buf.take() {
            self.kept.extend_from_slice(&buf[unread]);
        }
        let op = Op::RecvAny { sock: self.sock };
        let operation = if self.kept.is_empty() {
            self.handle.submit_by(op, deadline)
        } else {
            // Who sends a little at a time must not hold up the others.
            self.handle.submit_in_background(op, deadline)
        };
        let completion = operation.await;
        let got = usize::try_from(completion.result).unwrap_or(0);
        let Returned::One(mut buf) = completion.returned else { return Err(self.ended(deadline)) };
        if got == 0 {
            return Err(self.ended(deadline));
        }
        let start = RECEIVE_HEADROOM - self.kept.len();
        buf[start..RECEIVE_HEADROOM].copy_from_slice(&self.kept);
        self.kept = Vec::new();
        self.buf = Some(buf);
        (self.head_start, self.unread, self.filled) = (start, start, RECEIVE_HEADROOM + got);
        Ok(())
    }

    fn ended(&mut self, deadline: u64) -> PeerError {
        self.progress = HeadProgress::default();
        self.kept = Vec::new();
        (self.head_start, self.unread, self.filled) = (0, 0, 0);
        if self.handle.now() >= deadline { PeerError::Late } else { PeerError::Closed }
    }

    async fn receive(
        &self,
        buf: Buf,
        start: usize,
        len: usize,
        whole: bool,
        deadline: u64,
    ) -> (Buf, Result<usize, PeerError>) {
        let start = u32::try_from(start).expect("inside a buffer");
        let wanted = u32::try_from(len).expect("inside a buffer");
        let op = Op::Recv { sock: self.sock, buf, start, len: wanted, whole };
        let completion = self.handle.submit_by(op, deadline).await;
        let Returned::One(buf) = completion.returned else {
            unreachable!("a receive gives its buffer back")
        };
        let result = match usize::try_from(completion.result) {
            Ok(got) if got == len || (got > 0 && !whole) => Ok(got),
            _ if self.handle.now() >= deadline => Err(PeerError::Late),
            _ => Err(PeerError::Closed),
        };
        (buf, result)
    }

    /// Receives a body of `len` bytes to `buf[start..]`, straight from the socket but for what came
    /// together with the head.
    pub async fn read_body(
        &mut self,
        mut buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<(), PeerError>) {
        let mut done = self.buffered().min(len);
        if done > 0 {
            let source = self.buf.as_ref().expect("bytes at hand are in a buffer");
            buf[start..start + done].copy_from_slice(&source[self.unread..self.unread + done]);
            self.unread += done;
        }
        while done < len {
            let piece = (len - done).min(BODY_PIECE);
            let allowed = self.deadlines.body + self.deadlines.allowance(piece);
            let deadline = self.handle.now() + allowed;
            let (back, result) = self.receive(buf, start + done, piece, true, deadline).await;
            buf = back;
            match result {
                Ok(got) => done += got,
                Err(error) => return (buf, Err(error)),
            }
        }
        (buf, Ok(()))
    }

    /// Forgets `len` bytes of body that have arrived already: whether they had.
    pub fn skip_buffered(&mut self, len: u64) -> bool {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let there = len <= self.buffered();
        if there {
            self.unread += len;
        }
        there
    }

    /// A buffer for a short reply: the one the head came in, when nothing else is in it, or nothing
    /// that will be read: what is refused for want of buffers must not need one to say so. Nothing
    /// when there is none.
    #[must_use]
    pub fn reply_buffer(&mut self, is_last: bool) -> Option<Buf> {
        if self.buffered() > 0 && !is_last {
            return self.handle.pool().alloc(HEAD_BUFFER);
        }
        (self.head_start, self.unread, self.filled) = (0, 0, 0);
        self.buf.take().or_else(|| self.handle.pool().alloc(HEAD_BUFFER))
    }

    /// Sends `buf[start..start + len]`.
    ///
    /// # Errors
    /// See [`PeerError`]; a part may have been taken.
    pub async fn send(&self, mut buf: Buf, mut start: usize, len: usize) -> Result<(), PeerError> {
        let end = start + len;
        let mut piece = (self.handle.now(), start);
        while start < end {
            let now = self.handle.now();
            if start >= piece.1 + BODY_PIECE {
                piece = (now, start);
            }
            let piece_len = BODY_PIECE.min(end - piece.1);
            let piece_end = piece.0 + self.deadlines.send + self.deadlines.allowance(piece_len);
            let any = now + self.deadlines.send;
            let deadline = if chosen(Sabotage::NoReplyRate) { any } else { piece_end.min(any) };
            let begin = u32::try_from(start).expect("inside a buffer");
            let count = u32::try_from(end - start).expect("inside a buffer");
            let op = Op::Send { sock: self.sock, buf, start: begin, len: count };
            let completion = self.handle.submit_by(op, deadline).await;
            let Returned::One(back) = completion.returned else {
                unreachable!("a send gives its buffer back")
            };
            buf = back;
            match usize::try_from(completion.result) {
                Ok(sent) if sent > 0 => start += sent,
                _ if self.handle.now() >= deadline => return Err(PeerError::Late),
                _ => return Err(PeerError::Closed),
            }
        }
        Ok(())
    }

    /// Whether the current request came with the connection from another shard.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Takes the connection apart, to go on with the current request in another shard.
    ///
    /// # Panics
    /// When there is no current request.
    #[must_use]
    pub fn detach(mut self) -> Detached {
        self.waiting.borrow_mut().remove(self.waiting_slot);
        Detached {
            sock: self.sock,
            buf: self.buf.take(),
            request: self.request.expect("a request was read"),
            head_start: self.head_start,
            unread: self.unread,
            filled: self.filled,
            progress: self.progress,
            began: self.began,
        }
    }

    /// Puts a connection together again: with the request that it came with.
    #[must_use]
    pub fn attach(
        handle: &Handle,
        detached: Detached,
        deadlines: Deadlines,
        waiting: &Rc<Waiting>,
    ) -> (Self, Head) {
        let Detached { sock, buf, request, head_start, unread, filled, progress, began } = detached;
        let mut conn = Self::new(handle, sock, deadlines, waiting);
        (conn.buf, conn.progress, conn.began) = (buf, progress, began);
        (conn.head_start, conn.unread, conn.filled) = (head_start, unread, filled);
        (conn.request, conn.has_moved) = (Some(request), true);
        (conn, request)
    }

    /// Closes after an error reply in such a way that the reply arrives: what the peer still sends
    /// is read for a while, since a close with unread bytes would reset the connection and could
    /// destroy the reply on its way (RFC 9112 section 9.6).
    pub async fn linger(mut self) {
        self.buf = None;
        let sock = self.sock;
        self.handle.submit(Op::ShutdownWrite { sock }).await;
        let deadline = self.handle.now() + self.deadlines.linger;
        while self.handle.now() < deadline {
            let completion = self.handle.submit_in_background(Op::RecvAny { sock }, deadline).await;
            if completion.result <= 0 {
                break;
            }
        }
        self.close().await;
    }

    /// Closes.
    pub async fn close(self) {
        self.waiting.borrow_mut().remove(self.waiting_slot);
        self.handle.submit(Op::Close { sock: self.sock }).await;
    }
}
