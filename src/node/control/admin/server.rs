//! The server of the admin API, a service of the control plane.

use std::io;
use std::net::TcpListener;

use axum::Router;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bounded::BoundedListener;
use super::connection::Connection;
use super::limits::AdminLimits;
use super::routes::router;
use super::state::AdminState;
use crate::node::control::StopSignal;

/// Serves the admin API on `listener`, on `runtime`, until `stop` is requested. Returns its task.
///
/// # Errors
/// If the listener cannot be set up.
pub fn spawn(
    runtime: &Handle,
    stop: StopSignal,
    listener: TcpListener,
    state: AdminState,
) -> io::Result<JoinHandle<()>> {
    let limits = state.limits;
    serve(runtime, stop, listener, router(state), limits)
}

/// Serves `router` as [`spawn`] does.
pub(super) fn serve(
    runtime: &Handle,
    stop: StopSignal,
    listener: TcpListener,
    router: Router,
    limits: AdminLimits,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = {
        // Registers with the reactor of the runtime here, so that an error is returned to the caller.
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let bounded = BoundedListener::new(listener, limits.connections, limits.connection_lifetime);
    Ok(runtime.spawn(run(bounded, router, stop, limits)))
}

async fn run(listener: BoundedListener, router: Router, mut stop: StopSignal, limits: AdminLimits) {
    // The stop signal is forwarded to axum from here, so that the time of its shutdown can be limited.
    let (begin, begun) = oneshot::channel::<()>();
    let service = router.into_make_service_with_connect_info::<Connection>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _ = begun.await;
    });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        _ = &mut server => return,
        () = stop.requested() => drop(begin),
    }
    if timeout(limits.shutdown_within, server).await.is_err() {
        tracing::warn!("admin: requests aborted at shutdown");
    }
}
