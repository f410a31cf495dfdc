//! Readiness, state and keep-alives, as notifications to a service manager: sd_notify(3). Without a service
//! manager nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::sys;
use crate::base::throttle::Throttle;
use crate::node::metrics::{Metrics, VolumeState};

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Notice {
    /// The event loops of all shards have run: connections are accepted.
    Ready,
    /// Watchdog keep-alive: the event loops of all shards still run.
    Alive,
    /// States of the volumes, as text.
    Status(String),
}

/// Sends notifications to the service manager.
pub struct Notifier {
    /// Watchdog timeout of the service manager (nanoseconds): without a keep-alive for this long it takes
    /// the daemon for hung.
    watchdog: Option<u64>,
    /// Time of the last keep-alive (nanoseconds of the monotonic clock).
    last_alive: u64,
    is_ready: bool,
    status: String,
    warnings: Throttle,
}

impl Notifier {
    /// Creates the sender, with the watchdog timeout from the environment (`WATCHDOG_USEC`).
    pub fn from_environment() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    fn new(watchdog: Option<Duration>) -> Self {
        let watchdog = watchdog.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Self {
            watchdog,
            last_alive: 0,
            is_ready: false,
            status: String::new(),
            warnings: Throttle::default(),
        }
    }

    /// Sends the notifications that are due: readiness, changed status, keep-alive.
    pub fn look(&mut self, metrics: &Metrics) {
        for notice in self.notices(metrics, sys::monotonic_ns()) {
            self.send(&match &notice {
                Notice::Ready => NotifyState::Ready,
                Notice::Alive => NotifyState::Watchdog,
                Notice::Status(text) => NotifyState::Status(text),
            });
        }
    }

    /// Notifies that the daemon drains (`STOPPING=1`).
    pub fn stopping() {
        Self::new(None).send(&NotifyState::Stopping);
    }

    fn send(&self, state: &NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(std::slice::from_ref(state))
            && let Some(omitted) = self.warnings.admit(sys::monotonic_ns())
        {
            tracing::warn!("cannot notify the service manager: {error}{omitted}");
        }
    }

    fn notices(&mut self, metrics: &Metrics, now: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !self.is_ready && metrics.shards.iter().all(|shard| shard.turns.get() > 0) {
            self.is_ready = true;
            notices.push(Notice::Ready);
        }
        let status = status(metrics);
        if status != self.status {
            self.status.clone_from(&status);
            notices.push(Notice::Status(status));
        }
        if let Some(watchdog) = self.watchdog
            && now >= self.last_alive.saturating_add(watchdog / 4)
        {
            // A hanging shard runs no loop iterations: without a keep-alive the service manager restarts
            // the daemon, although this thread still runs.
            let started = metrics.node.started_ns;
            let silences = metrics.shards.iter().map(|shard| shard.silence_ns(now, started));
            if silences.max().unwrap_or(0) < watchdog / 2 {
                self.last_alive = now;
                notices.push(Notice::Alive);
            }
        }
        notices
    }
}

fn status(metrics: &Metrics) -> String {
    let volumes = metrics.volumes();
    let count = |wanted| volumes.iter().filter(|volume| volume.state.get() == wanted).count();
    let mut text = format!("{} volumes, {} writable", volumes.len(), count(VolumeState::Writable));
    for (state, name) in [
        (VolumeState::Recovering, "recovering"),
        (VolumeState::ReadOnly, "read-only"),
        (VolumeState::Poisoned, "with a failed write"),
        (VolumeState::Lost, "whose file is gone"),
        (VolumeState::Failed, "that could not be opened"),
    ] {
        if count(state) > 0 {
            text += &format!(", {} {name}", count(state));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::node::metrics::{NodeInfo, ShardInfo, VolumeInfo};

    const SECOND: u64 = 1_000_000_000;

    fn metrics() -> Arc<Metrics> {
        let node = NodeInfo {
            version: "0".to_owned(),
            started_ns: 0,
            started_unix_seconds: 0,
            durable: true,
            ..NodeInfo::default()
        };
        let shard = |id| ShardInfo { id, core: id, port: None };
        let metrics = Metrics::new(node, &[shard(0), shard(1)], vec![]);
        let volume = VolumeInfo { id: 1, shard: 0, disk: 0, durable: true };
        metrics.register_volume(volume, VolumeState::Recovering);
        metrics
    }

    #[test]
    fn it_is_ready_once_all_shards_turn() {
        let metrics = metrics();
        let mut notifier = Notifier::new(None);
        let status = Notice::Status("1 volumes, 0 writable, 1 recovering".to_owned());
        assert_eq!(notifier.notices(&metrics, 1), [status]);
        metrics.shards[0].turn(1);
        assert_eq!(notifier.notices(&metrics, 1), []);
        metrics.shards[1].turn(1);
        assert_eq!(notifier.notices(&metrics, 1), [Notice::Ready]);
        assert_eq!(notifier.notices(&metrics, 20 * SECOND), [], "no watchdog, no notices");
        metrics.volume(1).unwrap().state.set(VolumeState::Writable);
        let status = Notice::Status("1 volumes, 1 writable".to_owned());
        assert_eq!(notifier.notices(&metrics, 20 * SECOND), [status]);
    }

    #[test]
    fn a_shard_that_hangs_is_not_covered_up() {
        let metrics = metrics();
        let mut notifier = Notifier::new(Some(Duration::from_secs(10)));
        let mut alive = |now| {
            metrics.shards[0].turn(now);
            notifier.notices(&metrics, now).contains(&Notice::Alive)
        };
        metrics.shards[1].turn(SECOND);
        assert!(alive(3 * SECOND));
        assert!(!alive(4 * SECOND), "not more often than needed");
        assert!(alive(5 * SECOND + SECOND / 2));
        for seconds in 7..60 {
            assert!(!alive(seconds * SECOND), "shard 1 has not turned since second 1");
        }
        metrics.shards[1].turn(60 * SECOND);
        assert!(alive(60 * SECOND), "it turns again");
    }
}
