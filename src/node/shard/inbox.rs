//! Handles the messages in a shard's mailbox.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::message::Message;
use super::shard::Shard;

impl Shard {
    /// Handles all messages in the mailbox. Requests are performed by a pool of workers, which grows on
    /// demand and does not shrink.
    pub(super) fn read_mailbox(self: &Rc<Self>) {
        while let Some(message) = self.mailbox().receive() {
            self.metrics().messages_received.inc();
            match message {
                Message::Request(request) => {
                    if !self.remote_requests.push(request) {
                        let shard = Rc::clone(self);
                        self.handle.spawn(async move { shard.serve_remote_requests().await });
                    }
                }
                Message::Answer(answer) => self.requester.fulfil(answer),
                Message::Connection(arrival) => {
                    self.adopt(arrival);
                    // Last: until here the connection counts as arriving, so that no shard ends.
                    let id = self.id.index();
                    self.shared.idle[id].store(false, Ordering::SeqCst);
                    self.shared.arriving[id].fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }
}
