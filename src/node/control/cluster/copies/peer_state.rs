//! Whether another node answers.

/// Time for which a node that did not answer must have answered, before anything is sent to it again
/// (nanoseconds).
const TRUSTED_AFTER_NS: u64 = 1_000_000_000;
/// Number of failed exchanges, without a probe that succeeded since, after which a node counts as one that
/// does not answer.
const FAILURES_MAX: usize = 2;

/// Answer of a node to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAnswer {
    /// Random number of its start; `None` if it tells none.
    pub start: Option<u64>,
    /// When the probe was sent (nanoseconds).
    pub asked_ns: u64,
}

/// What has become of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerChange {
    /// Nothing.
    Nothing,
    /// It did not answer.
    Silent,
    /// It was started again since the last probe: what it had not stored is gone.
    Restarted,
}

/// Whether another node answers.
#[derive(Debug)]
pub(super) struct PeerState {
    answers: bool,
    /// Since when all probes were answered, by the same start; `None` after one that was not.
    well_since_ns: Option<u64>,
    /// What it has told of its start, if it was asked: it may tell nothing.
    start: Option<Option<u64>>,
    /// When the last exchanges failed.
    failed_ns: Vec<u64>,
}

impl PeerState {
    /// A node that was not asked yet: it counts as one that answers.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { answers: true, well_since_ns: Some(now_ns), start: None, failed_ns: Vec::new() }
    }

    /// Whether anything is to be sent to it.
    pub(super) fn answers(&self) -> bool {
        self.answers
    }

    /// Since when it has answered without interruption; `None` if it does not.
    pub(super) fn well_since_ns(&self) -> Option<u64> {
        self.well_since_ns.filter(|_| self.answers)
    }

    /// Takes the answer to a probe; `None` if there was none.
    pub(super) fn probed(&mut self, answer: Option<PeerAnswer>, now_ns: u64) -> PeerChange {
        let Some(PeerAnswer { start, asked_ns }) = answer else {
            return self.fall_silent();
        };
        let is_other = self.start.replace(start).is_some_and(|known| known != start);
        self.failed_ns.retain(|failed| *failed > asked_ns);
        if is_other {
            self.well_since_ns = None;
        }
        let since = *self.well_since_ns.get_or_insert(now_ns);
        self.answers |= now_ns.saturating_sub(since) >= TRUSTED_AFTER_NS;
        if is_other { PeerChange::Restarted } else { PeerChange::Nothing }
    }

    /// Takes a failed exchange.
    pub(super) fn exchange_failed(&mut self, now_ns: u64) -> PeerChange {
        if self.failed_ns.len() >= FAILURES_MAX {
            self.failed_ns.remove(0);
        }
        self.failed_ns.push(now_ns);
        if self.failed_ns.len() < FAILURES_MAX {
            return PeerChange::Nothing;
        }
        self.fall_silent()
    }

    fn fall_silent(&mut self) -> PeerChange {
        (self.answers, self.well_since_ns) = (false, None);
        PeerChange::Silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn answer(start: u64, asked_ns: u64) -> Option<PeerAnswer> {
        Some(PeerAnswer { start: Some(start), asked_ns })
    }

    #[test]
    fn node_is_silent_after_one_probe_and_trusted_after_a_second() {
        let mut peer = PeerState::new(0);
        assert_eq!(peer.probed(answer(7, 0), 1), PeerChange::Nothing);
        assert!(peer.answers() && peer.well_since_ns() == Some(0));
        assert_eq!(peer.probed(None, SECOND), PeerChange::Silent);
        assert!(!peer.answers() && peer.well_since_ns().is_none());
        assert_eq!(peer.probed(answer(7, 2 * SECOND), 2 * SECOND), PeerChange::Nothing);
        assert!(!peer.answers() && peer.well_since_ns().is_none());
        peer.probed(answer(7, 3 * SECOND - 1), 3 * SECOND - 1);
        assert!(!peer.answers());
        peer.probed(answer(7, 3 * SECOND), 3 * SECOND);
        assert!(peer.answers() && peer.well_since_ns() == Some(2 * SECOND));
    }

    #[test]
    fn another_start_is_noticed_once_and_begins_anew() {
        let mut peer = PeerState::new(0);
        assert_eq!(peer.probed(answer(7, 0), 0), PeerChange::Nothing, "the first one is no other");
        assert_eq!(peer.probed(answer(8, SECOND), SECOND), PeerChange::Restarted);
        assert!(peer.answers() && peer.well_since_ns() == Some(SECOND));
        assert_eq!(peer.probed(answer(8, SECOND), 2 * SECOND), PeerChange::Nothing);
        let none = PeerAnswer { start: None, asked_ns: 0 };
        assert_eq!(peer.probed(Some(none), 3 * SECOND), PeerChange::Restarted);
        assert_eq!(peer.probed(Some(none), 4 * SECOND), PeerChange::Nothing, "as stock nodes do");
    }

    #[test]
    fn two_failures_silence_a_node_unless_a_later_probe_succeeds() {
        let mut peer = PeerState::new(0);
        assert_eq!(peer.exchange_failed(10), PeerChange::Nothing);
        peer.probed(answer(7, 5), 11);
        assert_eq!(peer.exchange_failed(12), PeerChange::Silent, "that probe was sent before");
        assert!(!peer.answers());
        let mut peer = PeerState::new(0);
        peer.exchange_failed(10);
        peer.probed(answer(7, 11), 12);
        assert_eq!(peer.exchange_failed(13), PeerChange::Nothing);
        assert_eq!(peer.exchange_failed(14), PeerChange::Silent);
        assert_eq!(peer.exchange_failed(15), PeerChange::Silent);
    }
}
