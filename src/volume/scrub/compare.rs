//! The index against the log. The sums of both tell whether they agree, and which part of the needles
//! differs; only that part is looked at needle by needle.

use std::collections::HashMap;

use super::flaw::{Finding, Flaw};
use super::needle::Examiner;
use super::staged::SettledCommit;
use super::steps::{Interrupted, Steps};
use super::tally::{Tally, is_indexed, superseded};
use super::walk::Depth;
use super::walk_all::walk_all;
use crate::base::limits::LOG_START;
use crate::base::types::NeedleId;
use crate::volume::Volume;
use crate::volume::format::Kind;
use crate::volume::index::{Location, OFFSET_SUMS, OffsetSums};
use crate::volume::log::scan::FoundNeedle;

/// Needles that are looked at together at most: some 30 MiB of memory.
const NEEDLES_MAX: usize = 1 << 19;
/// Walks through the headers of the log at most. What differs beyond that is not listed.
const WALKS_MAX: usize = 4;

/// What lives by the log, of some of the sums.
#[derive(Default)]
struct Living {
    needles: HashMap<u64, (NeedleId, u64)>,
    /// Offsets of records of losses that are in the index under several hashes.
    unidentified: Vec<u64>,
}

/// Returns where the index and the log differ, up to the end of the walk that made the `tally`. `noted` are
/// the sums of the index when the log ended there.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn compare(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    noted: &OffsetSums,
    tally: &Tally,
) -> Result<Vec<Finding>, Interrupted> {
    let differing = noted.differing(&tally.sums);
    let needles = examiner.volume.contents.borrow().index().len();
    let at_once = sums_at_once(needles);
    let mut findings = Vec::new();
    for numbers in differing.chunks(at_once).take(WALKS_MAX) {
        findings.extend(compare_some(examiner, steps, numbers).await?);
    }
    let are_all = differing.len() <= at_once.saturating_mul(WALKS_MAX);
    let is_damaged = !tally.gaps.is_empty() || !tally.headless.is_empty();
    let is_explained = differing.is_empty() || is_damaged || !findings.is_empty();
    if !are_all || !is_explained {
        let at = Location { offset: LOG_START, len: examiner.to - LOG_START };
        findings.push(Finding { at, id: None, flaw: Flaw::Index, is_io: false });
    }
    Ok(findings)
}

/// Number of sums whose needles are compared together, for an index of `needles` needles. A sum
/// may cover more than twice as many needles as another.
fn sums_at_once(needles: usize) -> usize {
    (NEEDLES_MAX / (2 * needles / OFFSET_SUMS + 1)).max(1)
}

/// Compares the needles that belong to the sums with these numbers.
async fn compare_some(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    numbers: &[usize],
) -> Result<Vec<Finding>, Interrupted> {
    let is_of_these = |offset| numbers.contains(&OffsetSums::number_of(offset));
    let (volume, mut living, mut tally) = (examiner.volume, Living::default(), Tally::default());
    walk_all(examiner, steps, Depth::Headers, LOG_START, &mut |commit, _| {
        living.add(&commit, &is_of_these);
        // Other places may be unreadable now than before.
        tally.add(volume, &commit);
    })
    .await?;
    let (mut findings, end) = (living.missing(volume, &tally), volume.log.tail());
    if !findings.is_empty() {
        // What was superseded since is rightly missing.
        let before = std::mem::replace(&mut examiner.to, end);
        let mut forget = |commit: SettledCommit, _| {
            let gone: Vec<u64> = commit.found.iter().filter_map(superseded_by).collect();
            findings.retain(|finding| !gone.contains(&finding.at.offset));
        };
        let walked = walk_all(examiner, steps, Depth::Headers, before, &mut forget).await;
        examiner.to = before;
        walked?;
    }
    findings.extend(extra(examiner, steps, &living, &is_of_these, &tally).await?);
    Ok(findings)
}

fn superseded_by(found: &FoundNeedle) -> Option<u64> {
    match found {
        FoundNeedle::Whole(header, _) => superseded(header),
        FoundNeedle::Damaged(_) => None,
    }
}

impl Living {
    fn add(&mut self, commit: &SettledCommit, is_wanted: &impl Fn(u64) -> bool) {
        for found in &commit.found {
            let FoundNeedle::Whole(header, at) = found else { continue };
            if is_indexed(header.kind) && is_wanted(at.offset) {
                self.needles.insert(at.offset, (header.id, at.len));
            }
            if header.kind == Kind::UnidentifiedLoss {
                self.unidentified.push(at.offset);
            }
            if let Some(previous) = superseded(header) {
                self.needles.remove(&previous);
            }
        }
    }

    /// Returns what the index does not have. What a damaged needle may have superseded does not count.
    fn missing(&self, volume: &Volume, tally: &Tally) -> Vec<Finding> {
        if !tally.gaps.is_empty() {
            return Vec::new();
        }
        let contents = volume.contents.borrow();
        let is_missing = |(offset, (id, len)): &(&u64, &(NeedleId, u64))| {
            let at = Location { offset: **offset, len: *len };
            let candidates = contents.index().candidates(volume.hasher.hash(*id));
            let is_known = candidates.into_iter().any(|candidate| candidate == at);
            let may_be_superseded = tally.headless.iter().any(|needle| {
                needle.start > **offset && needle.owner.is_none_or(|owner| owner == *id)
            });
            !is_known && !may_be_superseded
        };
        let missing = self.needles.iter().filter(is_missing);
        let findings = missing.map(|(offset, (id, len))| Finding {
            at: Location { offset: *offset, len: *len },
            id: Some(*id),
            flaw: Flaw::NotIndexed,
            is_io: false,
        });
        findings.collect()
    }

    fn has(&self, at: Location) -> bool {
        self.needles.get(&at.offset).is_some_and(|(_, len)| *len == at.len)
            || self.unidentified.contains(&at.offset)
    }
}

/// Returns what the index has and the log does not, except in damaged ranges.
async fn extra(
    examiner: &Examiner<'_>,
    steps: &mut Steps<'_>,
    living: &Living,
    is_wanted: &impl Fn(u64) -> bool,
    tally: &Tally,
) -> Result<Vec<Finding>, Interrupted> {
    let (volume, to) = (examiner.volume, examiner.to);
    let is_extra = |at: &Location| {
        at.offset < to && is_wanted(at.offset) && !living.has(*at) && !tally.is_damaged(*at)
    };
    let mut places: Vec<Location> = Vec::new();
    places.extend(
        volume.contents.borrow().index().stashed_locations().iter().filter(|at| is_extra(at)),
    );
    let mut from = 0;
    loop {
        let segment = volume.contents.borrow().index().segment_locations(from);
        let Some((locations, next)) = segment else { break };
        places.extend(locations.iter().filter(|at| is_extra(at)));
        from = next;
        steps.yield_now().await?;
    }
    places.sort_unstable_by_key(|at| at.offset);
    places.dedup();
    let mut findings = Vec::new();
    for at in places {
        let id = volume.owner_of(at).await.map(|(owner, _)| owner);
        findings.push(Finding { at, id, flaw: Flaw::NotInLog, is_io: false });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_needles_are_looked_at_at_once_and_of_many_half_of_the_limit() {
        assert!(sums_at_once(200) >= OFFSET_SUMS);
        assert_eq!(NEEDLES_MAX / 2, 262_144);
        assert_eq!(16 * 1_000_000 / OFFSET_SUMS, 250_000);
        assert_eq!(sums_at_once(1_000_000), 16);
        assert_eq!(sums_at_once(100_000_000), 1);
    }
}
