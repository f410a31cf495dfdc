//! Readiness, state and keep-alives, as notifications to a service manager: sd_notify(3). Without a service
//! manager nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::sys;
use crate::base::throttle::Throttle;
use crate::node::board::{Board, ShardBoard, VolumeBoard, VolumeState};

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
    /// Start of the daemon (nanoseconds of the monotonic clock).
    started_ns: u64,
    is_ready: bool,
    status: String,
    warnings: Throttle,
}

impl Notifier {
    /// Creates the sender, with the watchdog timeout from the environment (`WATCHDOG_USEC`). The daemon
    /// started at `started_ns` of the monotonic clock.
    pub fn from_environment(started_ns: u64) -> Self {
        Self::new(sd_notify::watchdog_enabled(), started_ns)
    }

    fn new(watchdog: Option<Duration>, started_ns: u64) -> Self {
        let watchdog = watchdog.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Self {
            watchdog,
            last_alive: 0,
            started_ns,
            is_ready: false,
            status: String::new(),
            warnings: Throttle::default(),
        }
    }

    /// Sends the notifications that are due: readiness, changed status, keep-alive.
    pub fn look(&mut self, board: &Board) {
        for notice in self.notices(board, sys::monotonic_ns()) {
            self.send(&match &notice {
                Notice::Ready => NotifyState::Ready,
                Notice::Alive => NotifyState::Watchdog,
                Notice::Status(text) => NotifyState::Status(text),
            });
        }
    }

    /// Notifies that the daemon drains (`STOPPING=1`).
    pub fn stopping() {
        Self::new(None, 0).send(&NotifyState::Stopping);
    }

    fn send(&self, state: &NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(std::slice::from_ref(state))
            && let Some(omitted) = self.warnings.admit(sys::monotonic_ns())
        {
            tracing::warn!("cannot notify the service manager: {error}{omitted}");
        }
    }

    fn notices(&mut self, board: &Board, now: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !self.is_ready && board.shards.iter().all(ShardBoard::has_turned) {
            self.is_ready = true;
            notices.push(Notice::Ready);
        }
        let status = status(board);
        if status != self.status {
            self.status.clone_from(&status);
            notices.push(Notice::Status(status));
        }
        if let Some(watchdog) = self.watchdog
            && now >= self.last_alive.saturating_add(watchdog / 4)
        {
            // A hanging shard runs no loop iterations: without a keep-alive the service manager restarts
            // the daemon, although this thread still runs.
            let started = self.started_ns;
            let silences = board.shards.iter().map(|shard| shard.silence_ns(now, started));
            if silences.max().unwrap_or(0) < watchdog / 2 {
                self.last_alive = now;
                notices.push(Notice::Alive);
            }
        }
        notices
    }
}

fn status(board: &Board) -> String {
    let volumes = board.volumes();
    let count = |wanted| volumes.iter().filter(|volume| volume.state.get() == wanted).count();
    let is_suspect = |volume: &&Arc<VolumeBoard>| {
        volume.state.get() == VolumeState::ReadOnly && volume.health.suspect.get() != 0
    };
    let suspect = volumes.iter().filter(is_suspect).count();
    let mut text = format!("{} volumes, {} writable", volumes.len(), count(VolumeState::Writable));
    for (count, name) in [
        (count(VolumeState::Recovering), "recovering"),
        (count(VolumeState::ReadOnly).saturating_sub(suspect), "read-only"),
        (suspect, "suspect"),
        (count(VolumeState::Poisoned), "with a failed write"),
        (count(VolumeState::Lost), "whose file is gone"),
        (count(VolumeState::Failed), "that could not be opened"),
    ] {
        if count > 0 {
            text += &format!(", {count} {name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{ShardId, VolumeId};
    use crate::node::board::{ShardInfo, VolumeInfo};

    const SECOND: u64 = 1_000_000_000;

    fn board() -> Arc<Board> {
        let infos = [0, 1].map(|n| ShardInfo { id: ShardId::from_index(n), core: 0, port: None });
        let board = Board::new(&infos, vec![]);
        let volume =
            VolumeInfo { id: VolumeId(1), shard: ShardId::from_index(0), disk: 0, durable: true };
        board.register_volume(volume, VolumeState::Recovering);
        board
    }

    #[test]
    fn ready_is_sent_once_all_shards_have_iterated() {
        let board = board();
        let mut notifier = Notifier::new(None, 0);
        let status = Notice::Status("1 volumes, 0 writable, 1 recovering".to_owned());
        assert_eq!(notifier.notices(&board, 1), [status]);
        board.shards[0].turn(1);
        assert_eq!(notifier.notices(&board, 1), []);
        board.shards[1].turn(1);
        assert_eq!(notifier.notices(&board, 1), [Notice::Ready]);
        assert_eq!(notifier.notices(&board, 20 * SECOND), [], "no watchdog, no notices");
        board.volume(VolumeId(1)).unwrap().state.set(VolumeState::Writable);
        let status = Notice::Status("1 volumes, 1 writable".to_owned());
        assert_eq!(notifier.notices(&board, 20 * SECOND), [status]);
    }

    #[test]
    fn the_status_counts_the_volumes_in_each_state() {
        let board = board();
        let states = [
            VolumeState::Writable,
            VolumeState::ReadOnly,
            VolumeState::Writable,
            VolumeState::Poisoned,
            VolumeState::Lost,
            VolumeState::Failed,
        ];
        for (id, state) in (2..).zip(states) {
            let (id, shard) = (VolumeId(id), ShardId::from_index(0));
            board.register_volume(VolumeInfo { id, shard, disk: 0, durable: true }, state);
        }
        assert_eq!(
            status(&board),
            "7 volumes, 2 writable, 1 recovering, 1 read-only, 1 with a failed write, 1 whose file is gone, \
             1 that could not be opened"
        );
        board.volume(VolumeId(3)).unwrap().health.suspect.set(1);
        let text = status(&board);
        assert!(text.contains("1 recovering, 1 suspect, 1 with a failed write"), "{text}");
    }

    #[test]
    fn keep_alives_follow_a_quarter_of_the_watchdog_interval() {
        let board = board();
        let mut notifier = Notifier::new(Some(Duration::from_secs(8)), 0);
        let mut alive = |now| notifier.notices(&board, now).contains(&Notice::Alive);
        board.shards.iter().for_each(|shard| shard.turn(2 * SECOND));
        assert!(!alive(2 * SECOND - 1) && alive(2 * SECOND));
        assert!(!alive(4 * SECOND - 1) && alive(4 * SECOND));
        assert!(!alive(6 * SECOND), "silent for half of the time");
        board.shards.iter().for_each(|shard| shard.turn(2 * SECOND + 1));
        assert!(alive(6 * SECOND));
    }

    #[test]
    fn watchdog_is_not_notified_while_a_shard_hangs() {
        let board = board();
        let mut notifier = Notifier::new(Some(Duration::from_secs(10)), 0);
        let mut alive = |now| {
            board.shards[0].turn(now);
            notifier.notices(&board, now).contains(&Notice::Alive)
        };
        board.shards[1].turn(SECOND);
        assert!(alive(3 * SECOND));
        assert!(!alive(4 * SECOND), "not more often than needed");
        assert!(alive(5 * SECOND + SECOND / 2));
        for seconds in 7..60 {
            assert!(!alive(seconds * SECOND), "shard 1 has not turned since second 1");
        }
        board.shards[1].turn(60 * SECOND);
        assert!(alive(60 * SECOND), "it turns again");
    }
}
