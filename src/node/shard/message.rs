//! Messages between shards, and between a shard and the daemon's main thread.

use super::order::{Order, OrderError};
use super::remote::{RemoteAnswer, RemoteRequest};
use super::slots::Slot;
use crate::http::conn::Detached;
use crate::runtime::op::Sock;

/// A message between shards, or between a shard and the main thread.
pub enum Message {
    /// A request for the shard that owns the volume.
    Request(RemoteRequest),
    /// The answer to [`Message::Request`].
    Answer(RemoteAnswer),
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
