//! Sends messages to other shards and to the daemon's main thread.

use std::sync::atomic::Ordering;

use super::message::{Arrival, Message};
use super::shard::Shard;
use crate::base::limits::HANDED_OVER_MAX;
use crate::runtime::op::Op;

impl Shard {
    /// Sends a message. A mailbox has room for all messages that can be under way (see
    /// [`super::shared::Shared::new`]).
    pub(super) fn send(&self, to: u16, message: Message) {
        self.metrics().messages_sent.inc();
        match self.shared.mailboxes[usize::from(to)].send(message) {
            Ok(false) => {}
            Ok(true) => drop(self.handle.submit(Op::Wake { shard: to })),
            Err(_) => unreachable!("a mailbox has room for every message that may be under way"),
        }
    }

    /// Whether another shard's mailbox is short enough to hand a connection over to it.
    pub(super) fn may_hand_over(&self, to: u16) -> bool {
        self.shared.mailboxes[usize::from(to)].len() < HANDED_OVER_MAX
    }

    /// Hands a connection over to another shard. To be called only right after [`Self::may_hand_over`]
    /// returned true.
    pub(super) fn hand_over(&self, to: u16, arrival: Arrival) {
        self.metrics().handed_over.inc();
        self.shared.arriving[usize::from(to)].fetch_add(1, Ordering::SeqCst);
        self.send(to, Message::Connection(arrival));
    }
}
