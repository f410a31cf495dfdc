//! The control plane's runtime, its services, and the thread that runs them.

use std::future::poll_fn;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handle::ControlHandle;
use super::stop_signal::StopSignal;
use crate::base::threads::{Threads, name};

/// A control plane whose thread does not run yet.
#[derive(Debug)]
pub struct ControlPlane {
    runtime: Runtime,
    services: Vec<JoinHandle<()>>,
    stop: watch::Sender<()>,
    stopped: StopSignal,
}

impl ControlPlane {
    /// Creates a control plane without services.
    ///
    /// # Errors
    /// If the runtime cannot be set up.
    pub fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = StopSignal::new();
        Ok(Self { runtime, services: Vec::new(), stop, stopped })
    }

    /// The runtime, on which services spawn their servers.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// The signal that stops the services.
    #[must_use]
    pub fn stop(&self) -> StopSignal {
        self.stopped.clone()
    }

    /// Adds a service: a task of [`Self::runtime`] that ends after [`Self::stop`] and not before.
    pub fn add(&mut self, service: JoinHandle<()>) {
        self.services.push(service);
    }

    /// Runs the services on a new thread of `threads`. If a service panics or ends by itself, the thread
    /// ends, which its owner notices.
    ///
    /// The thread inherits the CPU affinity and the signal mask of the caller: call this before pinning.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(self, threads: &Threads) -> io::Result<ControlHandle> {
        let Self { runtime, services, stop, stopped } = self;
        let body = move || runtime.block_on(run(services, stopped));
        let thread = threads.spawn(name::ADMIN, body)?;
        Ok(ControlHandle::new(stop, thread))
    }
}

/// Waits for the signal to stop and then for the end of all services, or for the first service that ends
/// without the signal.
async fn run(mut services: Vec<JoinHandle<()>>, mut stopped: StopSignal) {
    select! {
        // First: a service that ends after the signal has not ended by itself.
        biased;
        () = stopped.requested() => {}
        () = next_end(&mut services) => return,
    }
    while !services.is_empty() {
        next_end(&mut services).await;
    }
}

/// Waits until a service ends, and removes it.
///
/// # Panics
/// If the service panicked.
async fn next_end(services: &mut Vec<JoinHandle<()>>) {
    let ended = poll_fn(|cx| {
        for n in 0..services.len() {
            if let Poll::Ready(ended) = Pin::new(&mut services[n]).poll(cx) {
                services.swap_remove(n);
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    });
    if let Err(error) = ended.await {
        // The panic is in the log already; passing it on ends the thread.
        resume_unwind(error.into_panic());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Starts a control plane with two services: one that waits for the signal, and `service`.
    fn start(
        threads: &Threads,
        service: impl Future<Output = ()> + Send + 'static,
    ) -> ControlHandle {
        let mut plane = ControlPlane::new().unwrap();
        let mut stop = plane.stop();
        let waiting = plane.runtime().spawn(async move { stop.requested().await });
        plane.add(waiting);
        let service = plane.runtime().spawn(service);
        plane.add(service);
        plane.start(threads).unwrap()
    }

    fn wait_for_the_end(threads: &Threads) {
        while !threads.has_ended(name::ADMIN) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_thread_ends_when_a_service_panics_or_ends_by_itself() {
        let threads = Threads::default();
        let control = start(&threads, async { panic!("on purpose") });
        wait_for_the_end(&threads);
        control.shutdown().unwrap_err();

        let threads = Threads::default();
        let control = start(&threads, async {});
        wait_for_the_end(&threads);
        control.shutdown().unwrap();
    }

    #[test]
    fn shutdown_waits_for_every_service() {
        let threads = Threads::default();
        let mut plane = ControlPlane::new().unwrap();
        let (ended_in, ended) = std::sync::mpsc::channel();
        for ms in [0, 20] {
            let (mut stop, ended) = (plane.stop(), ended_in.clone());
            let service = plane.runtime().spawn(async move {
                stop.requested().await;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                ended.send(ms).unwrap();
            });
            plane.add(service);
        }
        plane.start(&threads).unwrap().shutdown().unwrap();
        drop(ended_in);
        assert_eq!(ended.iter().collect::<Vec<u64>>(), [0, 20]);
    }
}
