//! Phases of a compaction, and when they were seen.

use std::collections::BTreeMap;

use crate::history::Moment;

/// Phase of the compactions at a moment, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No compaction.
    #[default]
    None,
    /// What lives is copied.
    Copying,
    /// What was written meanwhile is copied.
    CatchingUp,
    /// The new file is read back.
    Verifying,
    /// The last part is copied while writes wait, until the new file is about to count.
    Swapping,
    /// The superblock copies of the new file are written: it begins to count. Known from a recording only.
    Superblocks,
    /// The old file is removed.
    Removing,
}

impl Phase {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Copying,
        Self::CatchingUp,
        Self::Verifying,
        Self::Swapping,
        Self::Superblocks,
        Self::Removing,
    ];

    /// Name in the table of results.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "between compactions",
            Self::Copying => "copying",
            Self::CatchingUp => "catching up",
            Self::Verifying => "verifying",
            Self::Swapping => "swapping",
            Self::Superblocks => "superblocks",
            Self::Removing => "removing",
        }
    }

    /// Parses the phase that the admin API shows.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "waiting" => Self::None,
            "copying" => Self::Copying,
            "catching_up" => Self::CatchingUp,
            "verifying" => Self::Verifying,
            "swapping" => Self::Swapping,
            "removing" => Self::Removing,
            _ => return None,
        })
    }
}

/// Number of cuts in each phase.
pub type PhaseCounts = BTreeMap<Phase, u64>;

/// Changes of the phase, by moment.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    changes: Vec<(Moment, Phase)>,
}

impl Timeline {
    /// Records that `phase` was seen at `moment`, which is not before the last one.
    pub fn see(&mut self, moment: Moment, phase: Phase) {
        if self.changes.last().map(|(_, last)| *last).unwrap_or_default() != phase {
            self.changes.push((moment, phase));
        }
    }

    /// Phase that was seen last at `moment`.
    pub fn at(&self, moment: Moment) -> Phase {
        let after = self.changes.partition_point(|(from, _)| *from <= moment);
        after.checked_sub(1).map(|n| self.changes[n].1).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_at_a_moment_is_the_one_seen_last() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.at(5), Phase::None);
        let seen =
            [(3, Phase::Copying), (4, Phase::Copying), (7, Phase::Swapping), (9, Phase::None)];
        seen.into_iter().for_each(|(moment, phase)| timeline.see(moment, phase));
        let at = [2, 3, 6, 7, 8, 9].map(|moment| timeline.at(moment));
        let (copying, swapping) = (Phase::Copying, Phase::Swapping);
        assert_eq!(at, [Phase::None, copying, copying, swapping, swapping, Phase::None]);
    }
}
