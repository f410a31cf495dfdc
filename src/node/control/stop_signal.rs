//! The signal that stops the services of the control plane.

use tokio::sync::watch;

/// The signal to stop. Each service waits for it with a clone.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<()>);

impl StopSignal {
    /// Creates the signal. Dropping the sender is the signal to stop.
    pub(super) fn new() -> (watch::Sender<()>, Self) {
        let (sender, receiver) = watch::channel(());
        (sender, Self(receiver))
    }

    /// Waits until the service is to stop.
    pub async fn requested(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
