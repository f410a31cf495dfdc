//! Start and stop of the admin thread.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::bounded::BoundedListener;
use super::{AdminLimits, AdminState, router};
use crate::base::threads::{Thread, Threads, name};

/// A running admin listener. Dropping it lets the listener stop without waiting for it.
#[derive(Debug)]
pub struct AdminHandle {
    addr: SocketAddr,
    /// Dropping it is the signal to stop.
    stop: oneshot::Sender<()>,
    thread: Thread,
}

impl AdminHandle {
    /// Returns the listening address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener, gives requests under way at most [`AdminLimits::shutdown_within`] to finish, and
    /// waits for the thread.
    ///
    /// # Errors
    /// If the thread panicked or was ended by the kernel.
    pub fn shutdown(self) -> io::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| io::Error::other("the admin thread ended by itself"))
    }
}

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
    Ok(AdminHandle { addr, stop, thread })
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
