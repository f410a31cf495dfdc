//! What was read of a commit, until the next record shows whether it was torn.

use std::ops::Range;

use super::flaw::{Finding, Flaw};
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::format::{CommitRecord, Seal};
use crate::volume::index::Location;
use crate::volume::log::scan::FoundNeedle;

/// A range in which needles cannot be identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::volume) struct Gap {
    /// The range (bytes).
    pub range: Range<u64>,
    /// Whether the device could not read it.
    pub is_io: bool,
}

/// A commit that was read.
#[derive(Debug, Default)]
pub(in crate::volume) struct Staged {
    /// Its record; `None` if that is damaged.
    pub record: Option<CommitRecord>,
    /// The damage of the record, if it is damaged.
    pub record_finding: Option<Finding>,
    /// Its needles.
    pub found: Vec<FoundNeedle>,
    /// What is wrong with its needles: position of the needle in `found`, and the finding.
    pub findings: Vec<(usize, Finding)>,
    /// Ranges in which needles are missing.
    pub gaps: Vec<Gap>,
}

/// A commit as it counts.
#[derive(Debug, Default)]
pub(in crate::volume) struct SettledCommit {
    /// Its needles.
    pub found: Vec<FoundNeedle>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Ranges in which needles are missing.
    pub gaps: Vec<Gap>,
}

impl Staged {
    /// Returns the commit as it counts, where `seal` is the decision of recovery about it, if there was one.
    pub fn settle(self, seal: Option<Seal>) -> SettledCommit {
        let seal = seal.filter(|_| !chosen(Sabotage::LeftoversAreDamage));
        let Some(Seal { epoch, kept }) = seal else { return self.whole() };
        let counts: Vec<bool> = self
            .found
            .iter()
            .map(|found| found.epoch() == epoch && kept.contains(found.ordinal()))
            .collect();
        // Recovery kept what can be read, with or without the sectors that are stored for safety only.
        let may_lack = |flaw| matches!(flaw, Flaw::HeaderCopy | Flaw::Footer);
        let is_damage =
            |(number, finding): &&(usize, Finding)| counts[*number] && !may_lack(finding.flaw);
        let of_kept = self.findings.iter().filter(is_damage);
        let findings = of_kept.map(|(_, finding)| *finding).collect();
        let pairs = self.found.iter().zip(&counts).filter(|(_, counts)| **counts);
        let found: Vec<FoundNeedle> = pairs.map(|(found, _)| *found).collect();
        // What recovery did not keep is no damage, nor is the record that did not arrive.
        let is_complete = found.len() >= kept.count() as usize;
        let gaps = if is_complete { Vec::new() } else { self.gaps };
        SettledCommit { found, findings, gaps }
    }

    fn whole(self) -> SettledCommit {
        let findings = self.findings.into_iter().map(|(_, finding)| finding);
        let findings = self.record_finding.into_iter().chain(findings).collect();
        SettledCommit { found: self.found, findings, gaps: self.gaps }
    }
}

impl Gap {
    /// Returns the finding of a gap in which no live needle is known.
    pub fn finding(&self) -> Finding {
        let at = Location { offset: self.range.start, len: self.range.end - self.range.start };
        Finding { at, id: None, flaw: Flaw::Unidentified, is_io: self.is_io }
    }
}
