//! The end of a daemon: the drain of the shards, and the end of all threads.

use std::time::Duration;

use super::cluster::leave;
use super::ended::{Ended, Reason};
use super::readiness::Notifier;
use super::running::Running;
use super::signals::Signals;
use crate::base::threads::name;
use crate::base::types::ShardId;

/// Drains a daemon and ends its threads. Returns how it has ended.
pub fn stop(daemon: Running, reason: Reason, signals: &mut Signals) -> Ended {
    // With a shard missing a drain would wait for ever. It is not needed: acknowledged writes are durable.
    if let Some(shard) = daemon.lost_shard() {
        let reason = Reason::ThreadEnded(shard);
        reason.log();
        return reason.ended();
    }
    daemon.drain();
    reason.log();
    match daemon.finish(signals) {
        Some(_) => Ended::ThreadLost,
        None => reason.ended(),
    }
}

impl Running {
    /// The name of a shard that has ended before the drain: the other shards would wait for it while they
    /// drain.
    pub fn lost_shard(&self) -> Option<String> {
        let mut names = ShardId::all(self.shards.len()).map(name::shard);
        names.find(|shard| self.threads.has_ended(shard))
    }

    /// Begins the drain: no new requests are accepted from now on. The master of a cluster is told before, so
    /// that its clients do not come any more.
    pub fn drain(&self) {
        Notifier::stopping();
        if let Some(cluster) = &self.cluster {
            leave(cluster);
        }
        self.board.set_draining();
    }

    /// Waits until the shards have drained and ends all threads; a second stop signal ends the wait at once.
    /// Returns the name of a thread that ended by itself meanwhile.
    pub fn finish(mut self, signals: &mut Signals) -> Option<String> {
        let mut is_cut = false;
        while !is_cut && self.shards.iter().any(|thread| !thread.is_finished()) {
            if let Some(signal) = signals.stop() {
                tracing::warn!("received {signal} again: stopping without waiting any longer");
                is_cut = true;
            } else {
                let ids = ShardId::all(self.shards.len());
                let running =
                    self.shards.iter().zip(ids).filter(|(thread, _)| !thread.is_finished());
                self.manager.control.wake(running.map(|(_, id)| id).collect());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let mut lost = None;
        for (id, thread) in ShardId::all(self.shards.len()).zip(self.shards) {
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("thread {} ended by itself while draining", name::shard(id));
                lost = Some(name::shard(id));
            }
        }
        for other in [name::ADMIN, name::DISKS, name::ACCESS_TRACE, name::LOG] {
            if self.threads.has_ended(other) {
                tracing::error!("thread {other} ended by itself while draining");
                lost = Some(other.to_owned());
            }
        }
        if is_cut {
            return lost;
        }
        if let Err(error) = self.control_plane.shutdown() {
            tracing::warn!("cannot stop the admin thread in order: {error}");
            lost = Some(name::ADMIN.to_owned());
        }
        self.mark_files.end();
        self.disks.stop();
        if let Some(access) = self.access {
            access.stop();
        }
        tracing::info!("stopped");
        lost
    }
}
