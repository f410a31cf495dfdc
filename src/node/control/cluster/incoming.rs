//! Accepts the connections on which orders of the cluster arrive, within a bound.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::counted_stream::CountedStream;
use crate::base::accept::{Failures, Next, PAUSE_NS};

/// Accepts connections and passes them on, until the receiver is gone. Beyond `connections_max` at the same
/// time a new one is closed: those that are there belong to masters and others that keep theirs.
pub(super) async fn accept_all(
    listener: TcpListener,
    connections_max: usize,
    accepted: mpsc::Sender<io::Result<CountedStream>>,
) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let (failures, began) = (Failures::default(), Instant::now());
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = accepted.closed() => return,
        };
        match connection {
            Ok((stream, peer)) => {
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    tracing::debug!("cluster: too many connections, one from {peer} was closed");
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("cluster: a connection from {peer} has failed: {error}");
                    continue;
                }
                if accepted.send(Ok(CountedStream::new(stream, peer, permit))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                match failures.note(errno, "a connection of the cluster", now) {
                    Next::AtOnce => tokio::task::yield_now().await,
                    Next::Later => sleep(Duration::from_nanos(PAUSE_NS)).await,
                }
            }
        }
    }
}
