//! Messages to a shard.

use super::remote::{RemoteAnswer, RemoteRequest};
use super::slots::Slot;
use crate::http::conn::Detached;
use crate::runtime::op::Sock;

/// A message to a shard, from another shard or from the daemon's main thread.
pub enum Message {
    /// A request to perform.
    Request(RemoteRequest),
    /// The answer to a request of this shard.
    Answer(RemoteAnswer),
    /// A connection to take over.
    Connection(Arrival),
}

/// A connection that one shard hands over to another.
pub enum Arrival {
    /// A new connection of which nothing was read.
    Fresh(Sock, Slot),
    /// A connection whose request is for a large body or a batch in a volume of the other shard.
    Moved(Box<Detached>, Slot),
}
