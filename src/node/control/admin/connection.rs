//! The connection of a request, as its handler knows it.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use super::bounded::BoundedListener;
use super::lifetime::Lifetime;

/// The connection of a request.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    lifetime: Lifetime,
    peer: IpAddr,
}

impl Connection {
    /// Address of the client.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Keeps the connection for another time: something was sent to its client.
    pub(super) fn keep(&self, time: Duration) {
        self.lifetime.extend(time);
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self { lifetime: stream.io().lifetime().clone(), peer: stream.remote_addr().ip() }
    }
}
