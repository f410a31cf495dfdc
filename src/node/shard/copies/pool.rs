//! Connections to other nodes that wait for the next exchange.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::connection::PeerConnection;

/// Number of connections to one node that are kept.
const KEPT_MAX: usize = 16;
/// Time after which a connection is not used again (nanoseconds): shorter than the idle timeout of the
/// servers of a cluster.
const KEPT_NS: u64 = 10_000_000_000;

/// A connection that waits.
struct Kept {
    connection: PeerConnection,
    since: u64,
}

/// Connections to other nodes that wait for the next exchange.
#[derive(Default)]
pub struct PeerPool(RefCell<HashMap<SocketAddr, Vec<Kept>>>);

impl PeerPool {
    /// Takes a connection to a node, if one waits. `now` is the monotonic time (nanoseconds).
    pub fn take(&self, address: SocketAddr, now: u64) -> Option<PeerConnection> {
        let mut kept = self.0.borrow_mut();
        let waiting = kept.get_mut(&address)?;
        waiting.retain(|kept| now.saturating_sub(kept.since) < KEPT_NS);
        waiting.pop().map(|kept| kept.connection)
    }

    /// Keeps a connection for the next exchange, or closes it.
    pub fn keep(&self, address: SocketAddr, mut connection: PeerConnection, now: u64) {
        connection.is_used = true;
        let mut kept = self.0.borrow_mut();
        let waiting = kept.entry(address).or_default();
        waiting.retain(|kept| now.saturating_sub(kept.since) < KEPT_NS);
        if waiting.len() < KEPT_MAX {
            waiting.push(Kept { connection, since: now });
        }
    }

    /// Closes all connections.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
