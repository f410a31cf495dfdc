//! A client connection: receives request heads and bodies and sends replies, each within its deadline.
//!
//! Knows operations and buffers, but not the meaning of requests. While it waits for a request it holds no
//! buffer.

use std::cell::RefCell;
use std::rc::Rc;

use nix::libc;
use slab::Slab;

use super::head::{Dialects, Head, HeadLimits, HeadProgress, parse_as};
use super::reject::Reject;
use super::status::Status;
use crate::base::limits::{BODY_PIECE, HEAD_BUFFER, RECEIVE_HEADROOM};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{Op, Returned, Sock, Token};

/// Timeouts in nanoseconds and the minimum rate in bytes per second. For bodies and replies they apply to
/// each piece of [`BODY_PIECE`] bytes, so that a fast start does not allow for a slow rest.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first byte of a request head to its last (ns).
    pub head: u64,
    /// Between requests (ns).
    pub idle: u64,
    /// For a piece of a body (ns), in addition to the time that it takes at `rate`.
    pub body: u64,
    /// For the peer to accept any bytes of a reply (ns); for a piece of a reply, in addition to the time that
    /// it takes at `rate`.
    pub send: u64,
    /// Minimum rate of a client (bytes per second); not 0.
    pub rate: u64,
    /// For the peer to receive the last reply and close (ns).
    pub linger: u64,
}

impl Deadlines {
    /// Time allowed for `bytes` at the minimum rate (ns).
    fn allowance(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(1_000_000_000) / self.rate
    }
}

/// Result of waiting for a request.
pub enum Next {
    /// A request; the spans of its head refer to [`Conn::head_bytes`].
    Request(Head),
    /// Bytes that are not a valid request.
    Malformed(Reject),
    /// The peer closed, or the connection broke.
    Closed,
    /// The idle timeout expired, or the wait was cancelled (drain).
    Idle,
    /// The head was not complete within its timeout.
    Late,
}

/// Why a body was not received, or a reply not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// The peer was too slow.
    Late,
    /// The peer closed, or the connection broke.
    Closed,
}

/// Waits that the shard cancels when it drains: those of idle connections and listeners.
pub type Waiting = RefCell<Slab<Option<Wait>>>;

/// A wait that can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The operation to cancel.
    pub token: Token,
    /// Whether the connection waits for its first request. A client that has just connected is most likely
    /// about to send one.
    pub is_fresh: bool,
}

/// A connection on its way from one shard to another, with a request whose head was received.
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

/// A client connection, owned by one shard.
pub struct Conn {
    handle: Handle,
    sock: Sock,
    deadlines: Deadlines,
    /// Grammars of targets that it serves.
    dialects: Dialects,
    waiting: Rc<Waiting>,
    waiting_slot: usize,
    /// Received bytes: the current head, and those after it.
    buf: Option<Buf>,
    /// Unread bytes set aside while the connection waits for more without a buffer; at most
    /// [`RECEIVE_HEADROOM`].
    kept: Vec<u8>,
    /// Index in `buf` of the first byte of the current head.
    head_start: usize,
    /// Index in `buf` of the first byte that was not consumed.
    unread: usize,
    /// Index in `buf` after the last received byte.
    filled: usize,
    progress: HeadProgress,
    /// The current request.
    request: Option<Head>,
    /// Whether the current request was received by another shard, before the connection moved here.
    has_moved: bool,
    /// Start of the current request (ns): the time when its first byte was received, or, if it was received
    /// before, when the previous request was done. 0 before the first request.
    began: u64,
}

const LIMITS: HeadLimits = HeadLimits::DEFAULT;

impl Conn {
    /// Takes ownership of a connected socket.
    #[must_use]
    pub fn new(handle: &Handle, sock: Sock, deadlines: Deadlines, waiting: &Rc<Waiting>) -> Self {
        let waiting_slot = waiting.borrow_mut().insert(None);
        Self {
            handle: handle.clone(),
            sock,
            deadlines,
            dialects: Dialects::Own,
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
        }
    }

    /// Sets the grammars of targets that the connection serves.
    #[must_use]
    pub fn serving(self, dialects: Dialects) -> Self {
        Self { dialects, ..self }
    }

    /// The bytes that the spans of the current head refer to.
    #[must_use]
    pub fn head_bytes(&self) -> &[u8] {
        self.buf.as_ref().map_or(&[], |buf| &buf[self.head_start..])
    }

    /// Returns whether the current request is a HEAD, also if it was refused.
    #[must_use]
    pub fn is_head_request(&self) -> bool {
        self.progress.is_head_request(self.head_bytes())
    }

    /// The target of a refused request, if it was parsed before the refusal.
    #[must_use]
    pub fn refused_target(&self) -> Option<&[u8]> {
        self.progress.target().map(|span| span.of(self.head_bytes()))
    }

    /// The method of a refused request, if it was parsed before the refusal.
    #[must_use]
    pub fn refused_method(&self) -> Option<&[u8]> {
        self.progress.method(self.head_bytes())
    }

    /// The address of the peer as the driver formats it; "unknown" if it cannot be found out.
    pub async fn peer(&self) -> Box<str> {
        match self.handle.submit(Op::PeerName { sock: self.sock }).await.returned {
            Returned::Text(name) => name,
            _ => "unknown".into(),
        }
    }

    /// Start of the current request (ns on the driver's clock): the time when its first byte was received,
    /// or, if it was received before, when the previous request was done.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Number of bytes received but not consumed: those after the current head.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.filled - self.unread
    }

    /// Waits for the next request. It starts with the bytes after the last head that were not consumed as
    /// its body.
    pub async fn next_request(&mut self) -> Next {
        self.progress = HeadProgress::default();
        self.has_moved = false;
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
            let bytes = &buf[self.head_start..self.filled];
            match parse_as(bytes, &LIMITS, self.dialects, &mut self.progress) {
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
                    // A stray blank line after the last request: the connection is still idle.
                    self.progress = HeadProgress::after_blank_line();
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

    /// Waits until the whole body of `len` bytes or its first [`RECEIVE_HEADROOM`] bytes were received.
    /// Waits without a buffer, so that a slow peer does not hold one. Invalidates the bytes of the head if it
    /// has to wait.
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

    /// Number of bytes received from the first byte of the head on.
    fn buffered_since_head(&self) -> usize {
        self.filled - self.head_start
    }

    /// Waits for the first bytes of a request, without a buffer.
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

    /// Appends received bytes to the unread ones; may discard consumed bytes.
    async fn receive_more(&mut self, deadline: u64) -> Result<(), PeerError> {
        if self.buffered() <= RECEIVE_HEADROOM {
            return self.receive_without_buffer(deadline).await;
        }
        let mut buf = self.buf.take().ok_or(PeerError::Closed)?;
        if self.filled == HEAD_BUFFER {
            // The head does not start at the front of the buffer: move it there, where it fits.
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

    /// Like [`Self::receive_more`], but sets the unread bytes aside and waits without a buffer.
    async fn receive_without_buffer(&mut self, deadline: u64) -> Result<(), PeerError> {
        let unread = self.unread..self.filled;
        if let Some(buf) = self.buf.take() {
            self.kept.extend_from_slice(&buf[unread]);
        }
        let op = Op::RecvAny { sock: self.sock };
        let operation = if self.kept.is_empty() {
            self.handle.submit_by(op, deadline)
        } else {
            // A peer that sends small pieces must not delay the other connections.
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

    /// Resets the state after a failed receive and returns its cause.
    fn ended(&mut self, deadline: u64) -> PeerError {
        self.progress = HeadProgress::default();
        self.kept = Vec::new();
        (self.head_start, self.unread, self.filled) = (0, 0, 0);
        if self.handle.now() >= deadline { PeerError::Late } else { PeerError::Closed }
    }

    /// Receives to `buf[start..start + len]`: all of it if `whole`, otherwise at least one byte.
    async fn receive(
        &self,
        buf: Buf,
        start: usize,
        len: usize,
        whole: bool,
        deadline: u64,
    ) -> (Buf, Result<usize, PeerError>) {
        let start = u32::try_from(start).expect("offsets and lengths within a buffer fit u32");
        let wanted = u32::try_from(len).expect("offsets and lengths within a buffer fit u32");
        let op = Op::Recv { sock: self.sock, buf, start, len: wanted, whole };
        let completion = self.handle.submit_by(op, deadline).await;
        let Returned::One(buf) = completion.returned else {
            unreachable!("the completion of a receive returns its buffer")
        };
        let result = match usize::try_from(completion.result) {
            Ok(got) if got == len || (got > 0 && !whole) => Ok(got),
            _ if self.handle.now() >= deadline => Err(PeerError::Late),
            _ => Err(PeerError::Closed),
        };
        (buf, result)
    }

    /// Receives a body of `len` bytes to `buf[start..]`: copies what was received with the head and reads the
    /// rest from the socket. Returns the buffer also on failure.
    pub async fn read_body(
        &mut self,
        mut buf: Buf,
        start: usize,
        len: usize,
    ) -> (Buf, Result<(), PeerError>) {
        let mut done = self.buffered().min(len);
        if done > 0 {
            let source = self.buf.as_ref().expect("buffered bytes are in a buffer");
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

    /// The bytes after the current head that were received and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.buf.as_ref().map_or(&[], |buf| &buf[self.unread..self.filled])
    }

    pub(super) fn consume(&mut self, len: usize) {
        assert!(len <= self.buffered(), "only received bytes are consumed");
        self.unread += len;
    }

    /// When a piece of a body of `len` bytes must be complete (ns).
    pub(super) fn body_deadline(&self, len: usize) -> u64 {
        self.handle.now() + self.deadlines.body + self.deadlines.allowance(len)
    }

    /// Receives at least one byte of a body. Invalidates the bytes of the head.
    pub(super) async fn receive_body(&mut self, deadline: u64) -> Result<(), PeerError> {
        self.progress = Default::default();
        assert!(self.buffered() < HEAD_BUFFER, "what is buffered is consumed first");
        self.receive_more(deadline).await
    }

    /// Receives `len` bytes of a body to `buf[start..]`: copies what is buffered and reads the rest from the
    /// socket.
    pub(super) async fn read_piece(
        &mut self,
        mut buf: Buf,
        start: usize,
        len: usize,
        deadline: u64,
    ) -> (Buf, Result<(), PeerError>) {
        let done = self.buffered().min(len);
        buf[start..start + done].copy_from_slice(&self.unread()[..done]);
        self.consume(done);
        if done == len {
            return (buf, Ok(()));
        }
        let (buf, result) = self.receive(buf, start + done, len - done, true, deadline).await;
        (buf, result.map(drop))
    }

    /// Skips a body of `len` bytes if all of it was received; returns whether it was.
    pub fn skip_buffered(&mut self, len: u64) -> bool {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let is_buffered = len <= self.buffered();
        if is_buffered {
            self.unread += len;
        }
        is_buffered
    }

    /// Returns a buffer for a short reply: that of the request head if it holds no unread bytes, or if the
    /// reply is the last one, so that a refusal for lack of buffers needs no other buffer. `None` if there is
    /// none.
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
    /// See [`PeerError`]; a part may have been sent.
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
            let begin = u32::try_from(start).expect("offsets and lengths within a buffer fit u32");
            let count =
                u32::try_from(end - start).expect("offsets and lengths within a buffer fit u32");
            let op = Op::Send { sock: self.sock, buf, start: begin, len: count };
            let completion = self.handle.submit_by(op, deadline).await;
            let Returned::One(back) = completion.returned else {
                unreachable!("the completion of a send returns its buffer")
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

    /// Returns whether the current request was received by another shard, before the connection moved here.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Detaches the connection from this shard, to continue the current request on another one.
    ///
    /// # Panics
    /// If there is no current request.
    #[must_use]
    pub fn detach(mut self) -> Detached {
        self.waiting.borrow_mut().remove(self.waiting_slot);
        Detached {
            sock: self.sock,
            buf: self.buf.take(),
            request: self.request.expect("only a connection with a current request is detached"),
            head_start: self.head_start,
            unread: self.unread,
            filled: self.filled,
            progress: self.progress,
            began: self.began,
        }
    }

    /// Attaches a detached connection to this shard. Returns it with its current request.
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

    /// Closes after an error reply without losing the reply: reads and discards what the peer still sends,
    /// for at most the linger timeout. A close with unread bytes would reset the connection, and the peer
    /// could lose the reply (RFC 9112 section 9.6).
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

    /// Closes the connection.
    pub async fn close(self) {
        self.waiting.borrow_mut().remove(self.waiting_slot);
        self.handle.submit(Op::Close { sock: self.sock }).await;
    }
}

#[cfg(test)]
mod tests;
