//! Orders of the main thread to the shards, and their reports.

use std::sync::Arc;

use crate::node::shard::{Message, Order, OrderError, Shared};
use crate::runtime::mailbox::Mailbox;
use crate::runtime::op::Op;
use crate::runtime::{Handle, Replies};

/// Sends orders to the shards and receives their reports.
pub struct Line {
    handle: Handle,
    shared: Arc<Shared>,
    reports: Replies<Result<(), OrderError>>,
}

impl Line {
    /// Creates the sender for the tasks of a runtime.
    pub fn new(handle: Handle, shared: &Arc<Shared>) -> Self {
        let reports = Replies::new(&handle);
        Self { handle, shared: Arc::clone(shared), reports }
    }

    /// Handle of the main thread's runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends an order to a shard and waits for its report. The caller must not have more orders under way
    /// than the mailbox has room for: see [`ORDERS_MAX`](crate::base::limits::ORDERS_MAX).
    ///
    /// # Errors
    /// The shard's reason for not executing the order.
    pub async fn order(&self, shard: usize, order: Order) -> Result<(), OrderError> {
        let number = self.reports.expect();
        match self.shared.mailboxes[shard].send(Message::Order { number, order }) {
            Ok(false) => {}
            Ok(true) => {
                let shard = u16::try_from(shard).expect("at most 1024 shards");
                drop(self.handle.submit(Op::Wake { shard }));
            }
            Err(_) => unreachable!("a mailbox has room for ORDERS_MAX orders"),
        }
        self.reports.wait(number).await
    }

    /// The mailbox of the main thread.
    pub fn mailbox(&self) -> &Mailbox<Message> {
        &self.shared.mailboxes[self.shared.main_mailbox()]
    }

    /// Passes the reports that have arrived to the tasks that wait for them.
    pub fn read_mailbox(&self) {
        while let Some(message) = self.mailbox().receive() {
            match message {
                Message::Report { number, result } => self.reports.fulfil(number, result),
                _ => unreachable!("the main thread's mailbox receives only reports"),
            }
        }
    }
}
