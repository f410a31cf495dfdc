//! A driver for one connection: the peer's bytes arrive in given pieces, what is sent is kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use hayloft::base::limits::{HEAD_BUFFER, RECEIVE_HEADROOM};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{Completion, Driver, Op, Returned, Token};

/// What passes over the connection.
pub struct Wire {
    pool: Pool,
    /// What the peer sends before it ends the stream.
    incoming: Vec<u8>,
    /// Where its pieces end: no receive goes beyond the next one, unless it waits for all it wants.
    ends: Vec<usize>,
    /// How much of it was received (bytes).
    received: usize,
    /// Bytes that the peer takes at once.
    send_max: usize,
    /// What was sent to it.
    pub sent: Vec<u8>,
    /// Whether the connection was closed.
    pub closed: bool,
    completed: VecDeque<Completion>,
}

impl Wire {
    /// A peer that sends `incoming` in pieces that end at `ends`.
    pub fn new(pool: &Pool, incoming: &[u8], ends: &[usize], send_max: usize) -> Self {
        let mut ends = ends.to_vec();
        ends.push(incoming.len());
        ends.sort_unstable();
        Self {
            pool: pool.clone(),
            incoming: incoming.to_vec(),
            ends,
            received: 0,
            send_max: send_max.max(1),
            sent: Vec::new(),
            closed: false,
            completed: VecDeque::new(),
        }
    }

    fn receive(&mut self, out: &mut [u8], whole: bool) -> usize {
        let border = self.ends.iter().find(|&&end| end > self.received).copied();
        let end = if whole { self.incoming.len() } else { border.unwrap_or(self.received) };
        let len = out.len().min(end - self.received);
        out[..len].copy_from_slice(&self.incoming[self.received..self.received + len]);
        self.received += len;
        len
    }

    fn carry_out(&mut self, op: Op) -> (usize, Returned) {
        assert!(!self.closed, "{op:?} on a closed connection");
        match op {
            Op::RecvAny { .. } => {
                let mut buf = self.pool.alloc(HEAD_BUFFER).expect("one connection needs few");
                match self.receive(&mut buf[RECEIVE_HEADROOM..HEAD_BUFFER], false) {
                    0 => (0, Returned::None),
                    len => (len, Returned::One(buf)),
                }
            }
            Op::Recv { mut buf, start, len, whole, .. } => {
                let start = start as usize;
                let len = self.receive(&mut buf[start..start + len as usize], whole);
                (len, Returned::One(buf))
            }
            Op::Send { buf, start, len, .. } => {
                let (start, len) = (start as usize, (len as usize).min(self.send_max));
                self.sent.extend_from_slice(&buf[start..start + len]);
                (len, Returned::One(buf))
            }
            Op::ShutdownWrite { .. } => (0, Returned::None),
            Op::Close { .. } => {
                self.closed = true;
                (0, Returned::None)
            }
            other => panic!("no operation of a connection: {other:?}"),
        }
    }
}

/// The driver of one [`Wire`]. Everything completes at once; time stands still.
pub struct WireDriver(pub Rc<RefCell<Wire>>);

impl Driver for WireDriver {
    fn submit(&mut self, token: Token, op: Op) {
        let mut wire = self.0.borrow_mut();
        let (len, returned) = wire.carry_out(op);
        let result = i64::try_from(len).expect("a short stream");
        wire.completed.push_back(Completion { token, result, returned });
    }

    fn cancel(&mut self, _: Token) {
        // Everything has completed.
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        let mut wire = self.0.borrow_mut();
        assert!(until == 0 || !wire.completed.is_empty(), "nobody can end what is waited for");
        completed.extend(wire.completed.pop_front());
    }

    fn now(&self) -> u64 {
        1_000_000_000
    }

    fn wall(&self) -> u64 {
        self.now()
    }
}
