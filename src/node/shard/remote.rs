//! Requests that one shard sends to another, and the answers that it awaits.

use super::request::{
    CheckPut, DeleteNeedle, FoundNeedle, PostNeedle, PutNeedle, ReadNeedle, RequestError,
    StoredNeedle,
};
use crate::http::conditional::WriteConditions;
use crate::runtime::buffer::Buf;
use crate::runtime::{Handle, Replies};

/// A request to a volume of another shard.
pub struct RemoteRequest {
    /// Requesting shard.
    pub from: u16,
    /// Number of the request, repeated in the answer.
    pub number: usize,
    /// Volume id.
    pub volume: u32,
    /// The request.
    pub request: AnyRequest,
}

/// A request of any kind.
pub enum AnyRequest {
    /// Read into this buffer of the requesting shard.
    Read(ReadNeedle, Buf),
    /// Store under a given name.
    Put(PutNeedle),
    /// Store under a name that the volume picks.
    Post(PostNeedle),
    /// Check whether a needle could be stored.
    CheckPut(CheckPut),
    /// Delete.
    Delete(DeleteNeedle),
}

/// The answer to a [`RemoteRequest`].
pub struct RemoteAnswer {
    /// Number of the request.
    pub number: usize,
    /// Outcome of the request.
    pub outcome: AnyOutcome,
}

/// The outcome of a request, of the same kind as the request.
pub enum AnyOutcome {
    /// Of [`AnyRequest::Read`].
    Read(Result<FoundNeedle, RequestError>),
    /// Of [`AnyRequest::Put`].
    Put(Result<StoredNeedle, RequestError>),
    /// Of [`AnyRequest::Post`].
    Post(Result<StoredNeedle, RequestError>),
    /// Of [`AnyRequest::CheckPut`].
    CheckPut(Result<Option<WriteConditions>, RequestError>),
    /// Of [`AnyRequest::Delete`].
    Delete(Result<(), RequestError>),
}

/// Answers of one kind that a shard awaits.
pub type Awaited<T> = Replies<Result<T, RequestError>>;

/// The answers that a shard awaits from others, by kind, so that each request receives an outcome of its
/// own kind.
pub struct AwaitedAnswers {
    /// Of reads.
    pub read: Awaited<FoundNeedle>,
    /// Of writes under a given name.
    pub put: Awaited<StoredNeedle>,
    /// Of writes under a name that the volume picks.
    pub post: Awaited<StoredNeedle>,
    /// Of checks.
    pub check_put: Awaited<Option<WriteConditions>>,
    /// Of deletes.
    pub delete: Awaited<()>,
}

impl AwaitedAnswers {
    /// Creates an empty table.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self {
            read: Replies::new(handle),
            put: Replies::new(handle),
            post: Replies::new(handle),
            check_put: Replies::new(handle),
            delete: Replies::new(handle),
        }
    }

    /// Number of awaited answers.
    #[must_use]
    pub fn len(&self) -> usize {
        let Self { read, put, post, check_put, delete } = self;
        read.len() + put.len() + post.len() + check_put.len() + delete.len()
    }

    /// Whether no answer is awaited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes an answer to the task that awaits it.
    ///
    /// # Panics
    /// When no answer of this kind with this number is awaited.
    pub fn fulfil(&self, RemoteAnswer { number, outcome }: RemoteAnswer) {
        match outcome {
            AnyOutcome::Read(outcome) => self.read.fulfil(number, outcome),
            AnyOutcome::Put(outcome) => self.put.fulfil(number, outcome),
            AnyOutcome::Post(outcome) => self.post.fulfil(number, outcome),
            AnyOutcome::CheckPut(outcome) => self.check_put.fulfil(number, outcome),
            AnyOutcome::Delete(outcome) => self.delete.fulfil(number, outcome),
        }
    }
}
