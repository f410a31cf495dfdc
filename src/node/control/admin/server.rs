//! Start of the admin thread, and its server.

use std::io;
use std::net::TcpListener;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::bounded::BoundedListener;
use super::handle::AdminHandle;
use super::limits::AdminLimits;
use super::routes::router;
use super::state::AdminState;
use crate::base::threads::{Threads, name};

/// Serves the admin API on `listener`, on a new thread of `threads`.
///
/// The thread inherits the CPU affinity and the signal mask of the caller: call this before pinning.
///
/// # Errors
/// If the runtime, the listener or the thread cannot be set up.
pub fn spawn(
    listener: TcpListener,
    state: AdminState,
    threads: &Threads,
) -> io::Result<AdminHandle> {
    let limits = state.limits;
    serve(listener, router(state), limits, threads)
}

/// Serves `router` as [`spawn`] does.
pub(super) fn serve(
    listener: TcpListener,
    router: Router,
    limits: AdminLimits,
    threads: &Threads,
) -> io::Result<AdminHandle> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let listener = {
        // Registers with the reactor of the runtime here, so that an error is returned to the caller.
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let bounded = BoundedListener::new(listener, limits.connections, limits.connection_lifetime);
    let (stop, stopped) = oneshot::channel::<()>();

    let body = move || runtime.block_on(run(bounded, router, stopped, limits));
    let thread = threads.spawn(name::ADMIN, body)?;
    Ok(AdminHandle::new(addr, stop, thread))
}

async fn run(
    listener: BoundedListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
    limits: AdminLimits,
) {
    // The stop signal is forwarded to axum from here, so that the time of its shutdown can be limited.
    let (begin, begun) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = begun.await;
    });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        _ = &mut server => return,
        _ = stopped => drop(begin),
    }
    if timeout(limits.shutdown_within, server).await.is_err() {
        tracing::warn!("admin: requests aborted at shutdown");
    }
}
