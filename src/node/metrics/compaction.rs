//! Totals of the compactions of one shard.

use super::counter::Counter;
use super::gauge::Gauge;
use super::label::CounterBy;
use crate::node::board::{CompactionEnd, CompactionOutcome};

/// Totals of the compactions of one shard that have ended. The shard is the only writer.
#[derive(Debug, Default)]
pub struct CompactionTotals {
    /// Number of compactions.
    pub ended: CounterBy<CompactionOutcome, { CompactionOutcome::COUNT }>,
    /// Bytes read from old files.
    pub read_bytes: Counter,
    /// Bytes written to new files.
    pub written_bytes: Counter,
    /// Bytes of log that new files need less than the old ones.
    pub gained_bytes: Counter,
    gate_closed_ns: Counter,
    gate_closed_max_ns: Gauge,
}

impl CompactionTotals {
    /// Adds a compaction that has ended. Only the owning shard may call this.
    pub fn record(&self, end: &CompactionEnd) {
        self.ended.at(end.outcome).inc();
        self.read_bytes.add(end.read_bytes);
        self.written_bytes.add(end.written_bytes);
        self.gained_bytes.add(end.gained_bytes);
        self.gate_closed_ns.add(end.gate_closed_ns);
        let longest = self.gate_closed_max_ns.value().max(end.gate_closed_max_ns);
        self.gate_closed_max_ns.set(longest);
    }

    /// Time that writes had to wait at the gates of volumes (seconds).
    #[must_use]
    pub fn gate_closed_seconds(&self) -> f64 {
        seconds(self.gate_closed_ns.value())
    }

    /// The longest of these waits (seconds).
    #[must_use]
    pub fn gate_closed_max_seconds(&self) -> f64 {
        seconds(self.gate_closed_max_ns.value())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::label::Label;

    #[test]
    fn ends_are_added_up_and_the_longest_wait_is_kept() {
        let totals = CompactionTotals::default();
        for (outcome, gained, closed) in [
            (CompactionOutcome::Done, 50, 4),
            (CompactionOutcome::Failed, 0, 9),
            (CompactionOutcome::Done, 7, 2),
        ] {
            totals.record(&CompactionEnd {
                outcome,
                reason: String::new(),
                read_bytes: 100,
                written_bytes: 30,
                gained_bytes: gained,
                duration_ns: 1,
                gate_closed_ns: 2 * closed * 1_000_000_000,
                gate_closed_max_ns: closed * 1_000_000_000,
            });
        }
        let ended = CompactionOutcome::ALL.iter().map(|outcome| totals.ended.at(*outcome).value());
        assert_eq!(ended.collect::<Vec<_>>(), [2, 0, 1]);
        let bytes = [&totals.read_bytes, &totals.written_bytes, &totals.gained_bytes];
        assert_eq!(bytes.map(Counter::value), [300, 90, 57]);
        assert!((totals.gate_closed_seconds() - 30.0).abs() < 1e-9);
        assert!((totals.gate_closed_max_seconds() - 9.0).abs() < 1e-9);
    }
}
