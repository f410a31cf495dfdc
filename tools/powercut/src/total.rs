//! Totals of a trial.

use crate::findings::Findings;

/// Totals over a series of states.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Number of power cuts.
    pub cuts: u64,
    /// Number of states verified.
    pub states: u64,
    /// States in which unflushed writes were partly lost.
    pub torn: u64,
    /// Acknowledged writes that were checked.
    pub checked: u64,
    /// Acknowledged writes that were lost.
    pub lost: u64,
    /// Objects with wrong content.
    pub wrong: u64,
    /// Other violations.
    pub trouble: u64,
    /// Volumes in these states with a newer file that was unfinished.
    pub unfinished: u64,
    /// Volumes in these states with two finished files.
    pub both_finished: u64,
}

impl Total {
    pub fn add(&mut self, findings: &Findings) {
        self.states += 1;
        self.checked += findings.checked;
        self.lost += findings.lost.len() as u64;
        self.wrong += findings.wrong.len() as u64;
        self.trouble += findings.trouble.len() as u64;
        self.unfinished += findings.files.unfinished;
        self.both_finished += findings.files.both_finished;
    }

    pub fn is_clean(&self) -> bool {
        self.lost + self.wrong + self.trouble == 0
    }
}
