//! A connection to another node, for one exchange at a time.

use std::net::SocketAddr;
use std::rc::Rc;

use nix::libc;

use super::answer::{ANSWER_HEAD_MAX, AnswerHead};
use super::failure::ExchangeFailure;
use super::patience::Patience;
use crate::base::limits::RECEIVE_HEADROOM;
use crate::node::shard::admission::Admission;
use crate::runtime::Handle;
use crate::runtime::buffer::Lent;
use crate::runtime::op::{Completion, Op, Returned, Sock};

/// Longest body of an answer that is read (bytes); it is one sentence.
const ANSWER_BODY_MAX: usize = 16 << 10;

/// A response of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, or its beginning.
    pub body: Vec<u8>,
    /// Whether the connection can be used again.
    pub keeps_open: bool,
}

/// A connection to another node. Dropping it closes it.
pub struct PeerConnection {
    handle: Handle,
    admission: Rc<Admission>,
    sock: Sock,
    /// Whether an exchange was made over it before, so that the other node may have closed it meanwhile.
    pub is_used: bool,
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        drop(self.handle.submit(Op::Close { sock: self.sock }));
    }
}

impl PeerConnection {
    /// Connects to a node.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    pub async fn connect(
        (handle, admission): (&Handle, &Rc<Admission>),
        address: SocketAddr,
        patience: &Patience,
    ) -> Result<Self, ExchangeFailure> {
        loop {
            let op = Op::Connect { address };
            let completion = handle.submit_by(op, patience.until()).await;
            match i32::try_from(completion.result).unwrap_or(-libc::EIO) {
                sock @ 0.. => {
                    let (handle, admission) = (handle.clone(), Rc::clone(admission));
                    return Ok(Self { handle, admission, sock: Sock(sock), is_used: false });
                }
                error if error == -libc::ECANCELED => patience.late(handle)?,
                error => return Err(ExchangeFailure::Unreachable(-error)),
            }
        }
    }

    async fn perform(&self, op: Op, patience: &Patience) -> Completion {
        self.handle.submit_by(op, patience.until()).await
    }

    /// Returns how many bytes an operation transferred; 0 if it ran out of time, and may be tried again.
    fn transferred(&self, result: i64, patience: &Patience) -> Result<usize, ExchangeFailure> {
        match result {
            1.. => Ok(usize::try_from(result).expect("the length of a buffer")),
            _ if result == -i64::from(libc::ECANCELED) => {
                patience.late(&self.handle)?;
                Ok(0)
            }
            _ => Err(ExchangeFailure::Broken(i32::try_from(-result).unwrap_or(libc::EIO))),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    pub async fn send(&self, bytes: &[u8], patience: &Patience) -> Result<(), ExchangeFailure> {
        let buf = self.admission.buffer(bytes.len());
        let mut buf = buf.ok_or(ExchangeFailure::NoBuffer)?;
        buf[..bytes.len()].copy_from_slice(bytes);
        let mut sent = 0;
        while sent < bytes.len() {
            let op = Op::Send {
                sock: self.sock,
                buf,
                start: to_u32(sent),
                len: to_u32(bytes.len() - sent),
            };
            let completion = self.perform(op, patience).await;
            let Returned::One(back) = completion.returned else {
                unreachable!("the completion of a send returns its buffer")
            };
            buf = back;
            sent += self.transferred(completion.result, patience)?;
        }
        Ok(())
    }

    /// Sends what a buffer lends, from which it is written to disk meanwhile.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    pub async fn send_lent(&self, lent: &Lent, patience: &Patience) -> Result<(), ExchangeFailure> {
        let (len, mut sent, mut lent) = (lent.len(), 0, lent.clone());
        while sent < len {
            let (start, left) = (to_u32(sent), to_u32(len - sent));
            let op = Op::SendLent { sock: self.sock, lent, start, len: left, more: true };
            let completion = self.perform(op, patience).await;
            let Returned::Lent(back) = completion.returned else {
                unreachable!("the completion of a send returns its buffer")
            };
            lent = back;
            sent += self.transferred(completion.result, patience)?;
        }
        Ok(())
    }

    /// Receives the response.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    pub async fn receive(&self, patience: &Patience) -> Result<Answer, ExchangeFailure> {
        let mut received = Vec::new();
        let head = loop {
            match AnswerHead::parse(&received)? {
                // What comes before the answer proper.
                Some(head) if head.status < 200 => drop(received.drain(..head.len)),
                Some(head) => break head,
                None => self.receive_more(&mut received, patience).await?,
            }
        };
        received.drain(..head.len);
        let wanted = head.body_len.unwrap_or(0);
        let kept = wanted.min(ANSWER_BODY_MAX);
        while received.len() < kept {
            self.receive_more(&mut received, patience).await?;
        }
        // Bytes that nobody asked for would be taken for the next answer.
        let keeps_open = head.keeps_open && received.len() == wanted;
        received.truncate(kept);
        Ok(Answer { status: head.status, body: received, keeps_open })
    }

    async fn receive_more(
        &self,
        received: &mut Vec<u8>,
        patience: &Patience,
    ) -> Result<(), ExchangeFailure> {
        if received.len() > ANSWER_HEAD_MAX + ANSWER_BODY_MAX {
            return Err(ExchangeFailure::Malformed);
        }
        let completion = self.perform(Op::RecvAny { sock: self.sock }, patience).await;
        let got = self.transferred(completion.result, patience)?;
        if let Returned::One(buf) = completion.returned {
            received.extend_from_slice(&buf[RECEIVE_HEADROOM..RECEIVE_HEADROOM + got]);
        }
        Ok(())
    }
}

fn to_u32(len: usize) -> u32 {
    u32::try_from(len).expect("offsets and lengths within a buffer fit u32")
}
