//! Which master is contacted next.

use std::time::Duration;

use crate::base::host_port::HostPort;

/// Pause after all masters were tried in vain; doubles each time up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Number of times in a row that a master may name another one as the leader. Beyond it that counts as a
/// failure: masters that do not agree must not be asked in a loop without a pause.
const MOVES_MAX: u32 = 4;

/// The masters of the cluster: one of the list is asked after the other, and a leader that one of them names
/// before those.
#[derive(Debug)]
pub(super) struct Masters {
    list: Vec<HostPort>,
    /// Position of the next one.
    at: usize,
    /// The leader that was named, until it fails.
    leader: Option<HostPort>,
    /// Number of failures since the last success.
    failures: u32,
    /// Number of leaders that were named since the last success or failure.
    moves: u32,
}

impl Masters {
    /// # Panics
    /// If there are none.
    pub(super) fn new(list: Vec<HostPort>) -> Self {
        assert!(!list.is_empty(), "a cluster has at least one master");
        Self { list, at: 0, leader: None, failures: 0, moves: 0 }
    }

    /// The master to contact.
    pub(super) fn current(&self) -> &HostPort {
        self.leader.as_ref().unwrap_or(&self.list[self.at])
    }

    /// Records that the present one is the leader.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.moves) = (0, 0);
    }

    /// Records that another one is the leader. Returns the pause before it is contacted.
    pub(super) fn moved(&mut self, leader: HostPort) -> Duration {
        self.moves += 1;
        if self.moves > MOVES_MAX {
            return self.failed();
        }
        self.leader = Some(leader);
        Duration::ZERO
    }

    /// Records that the present one cannot be reached, or does not answer. Returns the pause before the next
    /// one is contacted.
    pub(super) fn failed(&mut self) -> Duration {
        self.moves = 0;
        if self.leader.take().is_none() {
            self.at = (self.at + 1) % self.list.len();
        }
        self.failures = self.failures.saturating_add(1);
        let rounds = self.failures / u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        if rounds == 0 || self.at != 0 {
            return Duration::ZERO;
        }
        PAUSE.saturating_mul(1 << (rounds - 1).min(8)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(list: &[&str]) -> Masters {
        Masters::new(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn current(masters: &Masters) -> String {
        masters.current().to_string()
    }

    #[test]
    fn masters_are_tried_in_turn_with_a_pause_after_each_round() {
        let mut masters = masters(&["a:1", "b:1"]);
        let mut pauses = Vec::new();
        for expected in ["a:1", "b:1", "a:1", "b:1", "a:1", "b:1", "a:1", "b:1", "a:1", "b:1"] {
            assert_eq!(current(&masters), expected);
            pauses.push(masters.failed().as_millis());
        }
        assert_eq!(pauses, [0, 250, 0, 500, 0, 1000, 0, 2000, 0, 2000]);
        masters.succeeded();
        assert_eq!((masters.failed().as_millis(), masters.failed().as_millis()), (0, 250));
    }

    #[test]
    fn one_master_is_tried_again_after_pauses() {
        let mut masters = masters(&["a:1"]);
        assert_eq!([1, 2, 3].map(|_| masters.failed().as_millis()), [250, 500, 1000]);
        assert_eq!(current(&masters), "a:1");
    }

    #[test]
    fn named_leader_is_tried_first_and_the_list_goes_on_after_it() {
        let mut masters = masters(&["a:1", "b:1"]);
        assert_eq!(masters.moved("c:1".parse().unwrap()), Duration::ZERO);
        assert_eq!(current(&masters), "c:1");
        masters.succeeded();
        masters.failed();
        assert_eq!(current(&masters), "a:1", "the one that named it");
        masters.failed();
        assert_eq!(current(&masters), "b:1");
    }

    #[test]
    fn masters_that_name_each_other_are_a_failure() {
        let mut masters = masters(&["a:1"]);
        for _ in 0..MOVES_MAX {
            assert_eq!(masters.moved("c:1".parse().unwrap()), Duration::ZERO);
        }
        masters.moved("a:1".parse().unwrap());
        assert_eq!(current(&masters), "a:1");
        assert!(masters.failed() > Duration::ZERO);
    }
}
