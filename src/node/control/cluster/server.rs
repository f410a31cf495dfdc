//! The server of the orders of the cluster, a service of the control plane.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hayloft_proto::volume_server_pb::volume_server_server::VolumeServerServer;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::incoming::accept_all;
use super::node::ClusterNode;
use super::orders::Orders;
use super::service::ClusterService;
use super::state::ClusterState;
use crate::node::control::StopSignal;
use crate::node::metrics::Metrics;

/// Largest number of connections.
const CONNECTIONS_MAX: usize = 256;
/// Largest number of calls at the same time on one connection.
const CALLS_MAX: u32 = 64;
/// Largest request, and largest answer (bytes).
const REQUEST_BYTES_MAX: usize = 4 << 20;
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Largest head of a request (bytes).
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// A connection on which nothing arrives for this long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Time within which a probe must be answered, else the connection is closed.
const PROBE_WITHIN: Duration = Duration::from_secs(20);
/// Time that the stop of the service gives calls under way.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);

/// Serves the orders of the cluster on `listener`, on `runtime`, until `stop` is requested. Returns its task.
///
/// # Errors
/// If the listener cannot be set up.
pub fn spawn_server(
    runtime: &Handle,
    stop: StopSignal,
    listener: TcpListener,
    (node, state): (Arc<ClusterNode>, Arc<ClusterState>),
    metrics: Arc<Metrics>,
    orders: Orders,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = {
        // Registers with the reactor of the runtime here, so that an error is returned to the caller.
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let service = ClusterService::new(node, state, metrics, orders);
    Ok(runtime.spawn(run(listener, service, stop)))
}

async fn run(listener: tokio::net::TcpListener, service: ClusterService, mut stop: StopSignal) {
    let service = VolumeServerServer::new(service)
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let router = Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .http2_max_header_list_size(HEAD_BYTES_MAX)
        .http2_keepalive_interval(Some(PROBE_AFTER))
        .http2_keepalive_timeout(Some(PROBE_WITHIN))
        .add_service(service);
    let (accepted, connections) = mpsc::channel(1);
    let accepting = tokio::spawn(accept_all(listener, CONNECTIONS_MAX, accepted));
    let mut stopped = stop.clone();
    let shutdown = async move { stopped.requested().await };
    let server = router.serve_with_incoming_shutdown(ReceiverStream::new(connections), shutdown);
    let mut server = std::pin::pin!(server);
    let ended = tokio::select! {
        ended = &mut server => ended,
        () = stop.requested() => match timeout(SHUTDOWN_WITHIN, server).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                tracing::warn!("cluster: calls aborted at shutdown");
                Ok(())
            }
        },
    };
    accepting.abort();
    if let Err(error) = ended {
        tracing::error!("cluster: the server of its orders has ended: {error}");
    }
}
