//! Tasks on a volume, their outcomes, and the messages between shards: plain data that can be sent to the
//! shard that owns the volume and back.

use super::manage::{Order, OrderError};
use super::slots::Slot;
use crate::base::types::{Cookie, NeedleId};
use crate::http::conditional::{Validators, WriteConditions};
use crate::http::conn::Detached;
use crate::http::head::Head;
use crate::runtime::buffer::Buf;
use crate::runtime::op::Sock;
use crate::volume::{Draft, Existing, GetError, Needle, Refusal, Stored};

/// Preconditions of a write, with a copy of the request head that contains them.
pub struct Conditions {
    head: Head,
    bytes: Box<[u8]>,
    now_seconds: u64,
}

impl Conditions {
    /// Copies the preconditions of `head`, which must be well formed; `None` when it has none.
    #[must_use]
    pub fn keep(head: &Head, bytes: &[u8], now_seconds: u64) -> Option<Self> {
        let any = head.if_match.or(head.if_none_match).or(head.if_unmodified_since).is_some();
        any.then(|| Self { head: *head, bytes: bytes[..head.len].into(), now_seconds })
    }

    /// Whether the preconditions hold for the existing needle, or for none.
    #[must_use]
    pub fn hold(&self, existing: Option<&Existing>) -> bool {
        let validators = existing.map(|existing| Validators {
            etag: existing.etag,
            modified_seconds: existing.modified_ns / 1_000_000_000,
        });
        WriteConditions::parse(&self.head, &self.bytes, self.now_seconds)
            .is_ok_and(|conditions| conditions.hold(validators))
    }
}

/// Extent of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// The whole needle.
    Whole,
    /// The metadata that a reply to HEAD contains.
    Head,
}

/// A task on a volume.
pub enum Task {
    /// Read a needle into the requesting shard's buffer.
    Read {
        /// Key and alternate key.
        id: NeedleId,
        /// Cookie that the client presented; must match that of the needle.
        cookie: Cookie,
        /// Extent of the read.
        kind: ReadKind,
        /// Buffer of the requesting shard; `None` when that shard owns the volume.
        buf: Option<Buf>,
    },
    /// Store a needle.
    Put {
        /// Key and alternate key.
        id: NeedleId,
        /// Cookie of the new needle; must match that of an existing one.
        cookie: Cookie,
        /// Content.
        draft: Draft,
        /// Preconditions.
        conditions: Option<Conditions>,
    },
    /// Store a needle under a name that the volume picks.
    Post {
        /// Content.
        draft: Draft,
    },
    /// Check whether a needle could be stored.
    Check {
        /// Key and alternate key.
        id: NeedleId,
        /// Cookie that the needle would get.
        cookie: Cookie,
        /// Preconditions.
        conditions: Option<Conditions>,
    },
    /// Delete a needle.
    Delete {
        /// Key and alternate key.
        id: NeedleId,
        /// Cookie that the client presented; must match that of the needle.
        cookie: Cookie,
        /// Preconditions.
        conditions: Option<Conditions>,
    },
}

/// Outcome of a task. A flag says whether the volume takes writes.
pub enum Outcome {
    /// The needle was read.
    Read(Needle, bool),
    /// The needle was stored.
    Stored(Stored, bool),
    /// The needle was stored under this name and with this cookie.
    Created(NeedleId, Cookie, Stored, bool),
    /// The needle could be stored; returns the preconditions of the task.
    Possible(Option<Conditions>),
    /// The needle was deleted.
    Deleted,
    /// The needle was not read.
    NotRead(GetError),
    /// The write was refused or failed.
    Refused(Refusal),
    /// There is no such volume.
    NoVolume,
    /// The volume is being recovered.
    Recovering,
    /// The volume could not be opened.
    Failed,
    /// No buffer is free.
    NoBuffer,
    /// Too many messages are under way.
    Busy,
}

/// A message between shards, or between a shard and the main thread.
pub enum Message {
    /// A task for the shard that owns the volume.
    Ask {
        /// Requesting shard.
        from: u16,
        /// Number of the request, repeated in the answer.
        number: usize,
        /// Volume id.
        volume: u32,
        /// Task to perform.
        task: Task,
    },
    /// The answer to [`Message::Ask`].
    Answer {
        /// Number of the request.
        number: usize,
        /// Outcome of the task.
        outcome: Outcome,
    },
    /// A connection to take over.
    Connection(Arrival),
    /// An order of the daemon's main thread.
    Order {
        /// Number of the order, repeated in the report.
        number: usize,
        /// Order to carry out.
        order: Order,
    },
    /// The report on [`Message::Order`], to the main thread.
    Report {
        /// Number of the order.
        number: usize,
        /// Result of the order.
        result: Result<(), OrderError>,
    },
}

/// A connection that one shard hands over to another.
pub enum Arrival {
    /// A new connection of which nothing was read.
    Fresh(Sock, Slot),
    /// A connection whose request is for a large body or a batch in a volume of the other shard.
    Moved(Box<Detached>, Slot),
}
