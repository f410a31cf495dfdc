//! The end of a daemon: the drain of the shards, and the end of all threads.

use std::time::Duration;

use super::readiness::Notifier;
use super::running::Running;
use super::signals::Signals;
use crate::base::threads::name;

impl Running {
    /// Whether a shard has ended before the drain: the other shards would wait for it while they drain.
    pub fn lacks_a_shard(&self) -> bool {
        (0..self.shards.len()).any(|n| self.threads.has_ended(&name::shard(n)))
    }

    /// Begins the drain: no new requests are accepted from now on.
    pub fn drain(&self) {
        self.board.set_draining();
        Notifier::stopping();
    }

    /// Waits until the shards have drained and ends all threads. Returns whether all of them ended without
    /// error; a second stop signal ends the wait at once.
    pub fn finish(mut self, signals: &mut Signals) -> bool {
        while self.shards.iter().any(|thread| !thread.is_finished()) {
            if let Some(signal) = signals.stop() {
                tracing::warn!("received {signal} again: stopping without waiting any longer");
                return true;
            }
            let running = self.shards.iter().zip(0..).filter(|(t, _)| !t.is_finished());
            let running: Vec<u16> = running.map(|(_, shard)| shard).collect();
            self.manager.control.wake(running);
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut ended_well = true;
        for (n, thread) in self.shards.into_iter().enumerate() {
            if thread.join().is_err() {
                ended_well = false;
                tracing::error!("thread {} ended by itself while draining", name::shard(n));
            }
        }
        if let Err(error) = self.control_plane.shutdown() {
            ended_well = false;
            tracing::warn!("cannot stop the admin thread in order: {error}");
        }
        self.disks.stop();
        if let Some(access) = self.access {
            access.stop();
        }
        tracing::info!("stopped");
        ended_well
    }
}
