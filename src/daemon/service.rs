//! What a service manager is told, and how often: sd_notify(3). Without one nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::metrics::{Metrics, VolumeState};
use crate::sys;
use crate::throttle::Throttle;

/// What to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    /// All shards turn: connections are accepted.
    Ready,
    /// All shards still turn.
    Alive,
    /// How the volumes are.
    Status(String),
}

/// The service manager's view of the daemon.
pub struct Service {
    /// How long it may hear nothing before it takes the daemon for hung (nanoseconds).
    watchdog: Option<u64>,
    last_alive: u64,
    is_ready: bool,
    status: String,
    warnings: Throttle,
}

impl Service {
    /// As the environment says.
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

    /// Tells what has changed since the last look.
    pub fn look(&mut self, metrics: &Metrics) {
        for news in self.news(metrics, sys::monotonic_ns()) {
            self.tell(&match &news {
                News::Ready => NotifyState::Ready,
                News::Alive => NotifyState::Watchdog,
                News::Status(text) => NotifyState::Status(text),
            });
        }
    }

    /// The daemon drains.
    pub fn stopping() {
        Self::new(None).tell(&NotifyState::Stopping);
    }

    fn tell(&self, state: &NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(std::slice::from_ref(state))
            && let Some(omitted) = self.warnings.admit(sys::monotonic_ns())
        {
            tracing::warn!("cannot tell the service manager: {error}{omitted}");
        }
    }

    fn news(&mut self, metrics: &Metrics, now: u64) -> Vec<News> {
        let mut news = Vec::new();
        if !self.is_ready && metrics.shards.iter().all(|shard| shard.turns.get() > 0) {
            self.is_ready = true;
            news.push(News::Ready);
        }
        let status = status(metrics);
        if status != self.status {
            self.status.clone_from(&status);
            news.push(News::Status(status));
        }
        if let Some(watchdog) = self.watchdog
            && now >= self.last_alive.saturating_add(watchdog / 4)
        {
            // A shard that hangs does not turn, whatever this thread does.
            let started = metrics.node.started_ns;
            let silences = metrics.shards.iter().map(|shard| shard.silence_ns(now, started));
            if silences.max().unwrap_or(0) < watchdog / 2 {
                self.last_alive = now;
                news.push(News::Alive);
            }
        }
        news
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
    use crate::metrics::{NodeInfo, ShardInfo, VolumeInfo};

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
        let mut service = Service::new(None);
        let status = News::Status("1 volumes, 0 writable, 1 recovering".to_owned());
        assert_eq!(service.news(&metrics, 1), [status]);
        metrics.shards[0].turn(1);
        assert_eq!(service.news(&metrics, 1), []);
        metrics.shards[1].turn(1);
        assert_eq!(service.news(&metrics, 1), [News::Ready]);
        assert_eq!(service.news(&metrics, 20 * SECOND), [], "no watchdog, no news");
        metrics.volume(1).unwrap().state.set(VolumeState::Writable);
        let status = News::Status("1 volumes, 1 writable".to_owned());
        assert_eq!(service.news(&metrics, 20 * SECOND), [status]);
    }

    #[test]
    fn a_shard_that_hangs_is_not_covered_up() {
        let metrics = metrics();
        let mut service = Service::new(Some(Duration::from_secs(10)));
        let mut alive = |now| {
            metrics.shards[0].turn(now);
            service.news(&metrics, now).contains(&News::Alive)
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
