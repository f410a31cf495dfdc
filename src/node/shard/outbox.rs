//! Sends messages to other shards, and answers to the daemon's main thread.

use std::sync::atomic::Ordering;

use super::message::{Arrival, Message};
use super::remote::{RemoteAnswer, RequestOrigin};
use super::shard::Shard;
use crate::base::limits::HANDED_OVER_MAX;
use crate::base::types::ShardId;

impl Shard {
    /// Answers a request of another thread.
    pub(super) fn answer(&self, to: RequestOrigin, answer: RemoteAnswer) {
        self.metrics().messages_sent.inc();
        match to {
            RequestOrigin::Shard(shard) => {
                self.shared.send(&self.handle, shard, Message::Answer(answer));
            }
            RequestOrigin::Main => self.shared.send_to_main(&self.handle, answer),
        }
    }

    /// Whether another shard's mailbox is short enough to hand a connection over to it.
    pub(super) fn may_hand_over(&self, to: ShardId) -> bool {
        self.shared.mailboxes[to.index()].len() < HANDED_OVER_MAX
    }

    /// Hands a connection over to another shard. To be called only right after [`Self::may_hand_over`]
    /// returned true.
    pub(super) fn hand_over(&self, to: ShardId, arrival: Arrival) {
        self.metrics().handed_over.inc();
        self.shared.arriving[to.index()].fetch_add(1, Ordering::SeqCst);
        self.metrics().messages_sent.inc();
        self.shared.send(&self.handle, to, Message::Connection(arrival));
    }
}
