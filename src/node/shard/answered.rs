//! How a request was answered: what its session records about it, and the next step of its connection.

use super::object_name::ObjectName;
use crate::base::types::ShardId;
use crate::http::status::Status;

/// Next step of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Wait for the next request.
    Stay,
    /// Continue with the same request in this other shard.
    Move(ShardId),
    /// Close the connection.
    Close,
    /// Close the connection, but read on for a while first: the peer may still be sending.
    Linger,
}

/// What a request did to objects, for the access trace.
pub enum Access {
    /// Nothing that the trace contains.
    None,
    /// Named one object.
    Object {
        /// The object; for a name that the store picked, the new one.
        object: ObjectName,
        /// Length of the object (bytes); 0 if there is none.
        size: u64,
        /// Whether the request has a `Range` field that counts.
        is_range: bool,
    },
    /// Stored these photos, each with its length (bytes).
    Batch(Vec<(ObjectName, u64)>),
    /// Was to delete these photos, each with its status.
    Deletes(Vec<(ObjectName, Status)>),
}

/// Result of handling a request.
pub struct Answered {
    /// Status of the reply; `None` when there was none.
    pub status: Option<Status>,
    /// What the request did to objects.
    pub access: Access,
    /// Time at which a write was decided (nanoseconds, see [`crate::runtime::Handle::now`]), which ends its
    /// service time; `None` when that ends with the reply.
    pub decided_at: Option<u64>,
    /// Next step of the connection.
    pub next_step: NextStep,
}

impl Answered {
    /// A request that was answered with this status.
    pub const fn new(status: Status, next_step: NextStep) -> Self {
        Self { status: Some(status), access: Access::None, decided_at: None, next_step }
    }

    /// A request without a reply.
    pub const fn without_reply(next_step: NextStep) -> Self {
        Self { status: None, access: Access::None, decided_at: None, next_step }
    }

    /// Adds the object that the request named.
    #[must_use]
    pub fn with_object(self, object: ObjectName, size: u64, is_range: bool) -> Self {
        Self { access: Access::Object { object, size, is_range }, ..self }
    }

    /// Adds the time at which the write was decided.
    #[must_use]
    pub fn decided_at(self, time: u64) -> Self {
        Self { decided_at: Some(time), ..self }
    }
}
