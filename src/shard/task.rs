//! What a connection asks of a volume, and what comes back: plain data that can travel to the shard
//! that owns the volume and home again.

use super::manage::{Order, OrderError};
use super::slots::Slot;
use crate::buffer::Buf;
use crate::http::conditional::{Validators, WriteConditions};
use crate::http::conn::Detached;
use crate::http::head::Head;
use crate::op::Sock;
use crate::types::{Cookie, NeedleId};
use crate::volume::{Draft, Existing, GetError, Needle, Refusal, Stored};

/// The preconditions of a write, with the bytes of the head that they stand in.
pub struct Conditions {
    head: Head,
    bytes: Box<[u8]>,
    now_seconds: u64,
}

impl Conditions {
    /// Keeps what `head` says about preconditions; nothing when it says nothing. They must be well
    /// formed.
    #[must_use]
    pub fn keep(head: &Head, bytes: &[u8], now_seconds: u64) -> Option<Self> {
        let any = head.if_match.or(head.if_none_match).or(head.if_unmodified_since).is_some();
        any.then(|| Self { head: *head, bytes: bytes[..head.len].into(), now_seconds })
    }

    /// Whether they hold for what is there.
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

/// How much of a needle a read wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All of it.
    Whole,
    /// What a HEAD tells.
    Head,
}

/// What is asked of a volume.
pub enum Task {
    /// Read a needle into the asker's buffer.
    Read {
        /// Which.
        id: NeedleId,
        /// The asker's proof that it may.
        cookie: Cookie,
        /// How much.
        want: Want,
        /// The asker's buffer; absent when the owner is the asker.
        buf: Option<Buf>,
    },
    /// Store a needle.
    Put {
        /// Which.
        id: NeedleId,
        /// What readers will have to know.
        cookie: Cookie,
        /// Its content.
        draft: Draft,
        /// What must hold.
        conditions: Option<Conditions>,
    },
    /// Store a needle under a name that the volume picks.
    Post {
        /// Its content.
        draft: Draft,
    },
    /// Find out whether a needle could be stored.
    Check {
        /// Which.
        id: NeedleId,
        /// What readers would have to know.
        cookie: Cookie,
        /// What must hold.
        conditions: Option<Conditions>,
    },
    /// Delete a needle.
    Delete {
        /// Which.
        id: NeedleId,
        /// The asker's proof that it may.
        cookie: Cookie,
        /// What must hold.
        conditions: Option<Conditions>,
    },
}

/// What came of a task.
pub enum Outcome {
    /// Read; and whether its volume takes writes.
    Read(Needle, bool),
    /// Stored; and whether the volume takes writes.
    Stored(Stored, bool),
    /// Stored under this name; and whether the volume takes writes.
    Created(NeedleId, Cookie, Stored, bool),
    /// It could be stored, under the conditions that come back.
    Possible(Option<Conditions>),
    /// Deleted.
    Deleted,
    /// Not read.
    NotRead(GetError),
    /// Not written.
    Refused(Refusal),
    /// No such volume.
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

/// What shards tell each other.
pub enum Message {
    /// Asks the owner of a volume.
    Ask {
        /// Who asks.
        from: u16,
        /// What the answer must name.
        number: usize,
        /// Which volume.
        volume: u32,
        /// What.
        task: Task,
    },
    /// Answers.
    Answer {
        /// As asked.
        number: usize,
        /// What came of it.
        outcome: Outcome,
    },
    /// A connection to take over.
    Connection(Arrival),
    /// What the daemon's main thread wants done.
    Order {
        /// What the report must name.
        number: usize,
        /// What.
        order: Order,
    },
    /// To the main thread: what came of it.
    Report {
        /// As ordered.
        number: usize,
        /// What came of it.
        result: Result<(), OrderError>,
    },
}

/// A connection that one shard hands to another.
pub enum Arrival {
    /// Nothing was read of it.
    Fresh(Sock, Slot),
    /// It asks for something large of a volume of the other shard.
    Moved(Box<Detached>, Slot),
}
