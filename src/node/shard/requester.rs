//! Sends requests to shards and waits for their answers, for a shard and for the main thread alike.

use std::sync::Arc;

use super::message::Message;
use super::remote::{AwaitedAnswers, RemoteAnswer, RemoteKind, RemoteRequest, RequestOrigin};
use super::shared::Shared;
use crate::base::types::ShardId;
use crate::runtime::Handle;

/// Sends the requests of one thread to shards and receives the answers.
pub struct Requester {
    origin: RequestOrigin,
    handle: Handle,
    shared: Arc<Shared>,
    awaited: AwaitedAnswers,
}

impl Requester {
    /// Creates the requester of a thread, for the tasks of its runtime.
    #[must_use]
    pub fn new(origin: RequestOrigin, handle: &Handle, shared: &Arc<Shared>) -> Self {
        let awaited = AwaitedAnswers::new(handle);
        Self { origin, handle: handle.clone(), shared: Arc::clone(shared), awaited }
    }

    /// Sends a request to a shard and waits for its outcome. The caller must not have more requests under
    /// way than mailboxes have room for: [`MESSAGES_IN_FLIGHT`](crate::base::limits::MESSAGES_IN_FLIGHT) of
    /// a shard, [`ORDERS_MAX`](crate::base::limits::ORDERS_MAX) of the main thread to one shard.
    pub async fn ask<R: RemoteKind>(&self, shard: ShardId, request: R) -> R::Outcome {
        let awaited = R::awaited(&self.awaited);
        let number = awaited.expect();
        let request = RemoteRequest { from: self.origin, number, request: request.into_any() };
        self.shared.send(&self.handle, shard, Message::Request(request));
        awaited.wait(number).await
    }

    /// Number of requests without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.awaited.count()
    }

    /// Passes an answer to the task that awaits it.
    ///
    /// # Panics
    /// When it answers no request of this requester.
    pub fn fulfil(&self, answer: RemoteAnswer) {
        self.awaited.fulfil(answer);
    }
}
