//! What happened to a volume so far, as far as the policy needs it.

use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::Backoff;

/// Pause of the policy after a compaction that failed (nanoseconds): it doubles with each failure in a row.
const FAILURE_PAUSE_NS: u64 = 600_000_000_000;
/// The longest of these pauses: a day.
const FAILURE_PAUSE_MAX_NS: u64 = 86_400_000_000_000;
/// Pause of the policy after an operator cancelled a compaction (nanoseconds): a day.
const CANCELLED_PAUSE_NS: u64 = FAILURE_PAUSE_MAX_NS;

/// History of a volume since the daemon started. Times are of CLOCK_MONOTONIC in nanoseconds, unless stated
/// otherwise.
#[derive(Debug)]
pub struct VolumeHistory {
    failures: Backoff,
    /// The policy leaves the volume alone until then, because an operator cancelled a compaction.
    cancelled_until: u64,
    /// Wall clock at the begin of the last compaction that was completed (nanoseconds since 1970).
    pub compacted_wall_ns: u64,
    /// Time from which on the dead bytes that the last compaction kept may be removable.
    kept_until: u64,
    /// End of the log at the last look (bytes), and when it was seen to change last.
    used: u64,
    written_at: u64,
}

impl VolumeHistory {
    /// Begins at `now`; when the volume was written before is not known.
    pub fn new(now: u64) -> Self {
        Self {
            failures: Backoff::new(FAILURE_PAUSE_NS, FAILURE_PAUSE_MAX_NS),
            cancelled_until: 0,
            compacted_wall_ns: 0,
            kept_until: 0,
            used: 0,
            written_at: now,
        }
    }

    /// Records the end of the log (bytes), and returns the time since the last write (nanoseconds).
    pub fn observe(&mut self, used: u64, now: u64) -> u64 {
        if self.used != used {
            // At the first look the volume is as old as the daemon.
            if self.used != 0 {
                self.written_at = now;
            }
            self.used = used;
        }
        now.saturating_sub(self.written_at)
    }

    /// Whether the policy must leave the volume alone.
    pub fn is_paused(&self, now: u64) -> bool {
        let failed = now < self.failures.not_before() && !chosen(Sabotage::RetryAtOnce);
        failed || now < self.cancelled_until
    }

    /// Whether the dead bytes that the last compaction kept must be counted again.
    pub fn is_kept_over(&self, now: u64) -> bool {
        now >= self.kept_until
    }

    /// Records a compaction that was completed: it began at `began_wall_ns`, left `used` bytes of log, and
    /// what it kept stays for `keep_ns`.
    pub fn compacted(&mut self, began_wall_ns: u64, used: u64, keep_ns: u64, now: u64) {
        self.failures.succeeded();
        self.compacted_wall_ns = began_wall_ns;
        self.kept_until = now.saturating_add(keep_ns);
        self.used = used;
    }

    /// Records a compaction that failed, or could not begin.
    pub fn failed(&mut self, now: u64) {
        self.failures.failed(now);
    }

    /// Records a compaction that an operator cancelled.
    pub fn cancelled(&mut self, now: u64) {
        self.cancelled_until = now.saturating_add(CANCELLED_PAUSE_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn time_since_the_last_write_counts_from_the_change_that_was_seen() {
        let mut history = VolumeHistory::new(1000);
        assert_eq!(history.observe(50, 1000 + MINUTE), MINUTE, "written before the start");
        assert_eq!(history.observe(50, 1000 + 3 * MINUTE), 3 * MINUTE);
        assert_eq!(history.observe(51, 1000 + 4 * MINUTE), 0);
        assert_eq!(history.observe(51, 1000 + 5 * MINUTE), MINUTE);
        history.compacted(7, 20, 0, 1000 + 6 * MINUTE);
        assert_eq!(history.observe(20, 1000 + 7 * MINUTE), 3 * MINUTE, "a compaction is no write");
    }

    #[test]
    fn failures_pause_ever_longer_and_a_cancellation_for_a_day() {
        let mut history = VolumeHistory::new(0);
        let mut now = 0;
        let mut pause = |history: &mut VolumeHistory| {
            history.failed(now);
            let began = now;
            while history.is_paused(now) {
                now += MINUTE;
            }
            (now - began) / MINUTE
        };
        let pauses: Vec<u64> = (0..10).map(|_| pause(&mut history)).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
        history.compacted(0, 0, 0, 0);
        assert_eq!(pause(&mut history), 10);
        let mut history = VolumeHistory::new(0);
        history.cancelled(0);
        assert!(history.is_paused(1439 * MINUTE) && !history.is_paused(1440 * MINUTE));
    }

    #[test]
    fn kept_bytes_count_again_after_their_time() {
        let mut history = VolumeHistory::new(0);
        assert!(history.is_kept_over(0));
        history.compacted(0, 0, 5 * MINUTE, MINUTE);
        assert!(!history.is_kept_over(6 * MINUTE - 1) && history.is_kept_over(6 * MINUTE));
    }
}
