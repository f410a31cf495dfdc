//! Live needles in ranges of the log that cannot be understood: only the index knows that they are there.

use std::ops::Range;

use super::flaw::{Finding, Flaw};
use super::needle::Examiner;
use super::staged::Gap;
use super::steps::{Interrupted, Steps};
use crate::base::limits::UNIT;
use crate::volume::Volume;
use crate::volume::format::Unreadable;
use crate::volume::index::Location;

/// Returns the findings for ranges in which needles cannot be identified: the live needles in them, or the
/// range itself where there is none. Read errors are reported apart from checksum errors. Reads the whole
/// index: this is rare.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn findings_of(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    gaps: &[Gap],
) -> Result<Vec<Finding>, Interrupted> {
    if gaps.is_empty() {
        return Ok(Vec::new());
    }
    let ranges: Vec<Range<u64>> = gaps.iter().map(|gap| gap.range.clone()).collect();
    let places = live_in(examiner.volume, steps, &ranges).await?;
    let mut findings = Vec::new();
    for gap in gaps {
        let inside: Vec<_> = places.iter().filter(|at| gap.range.contains(&at.offset)).collect();
        if inside.is_empty() {
            findings.push(gap.finding());
        }
        for at in inside {
            let is_io = examiner.fill_again(at.offset, UNIT).await;
            let flaw = Flaw::Needle(Unreadable::Header);
            findings.push(Finding { at: *at, id: None, flaw, is_io });
        }
    }
    Ok(findings)
}

/// Returns the live needles that begin in one of `ranges`, which are in order and do not overlap: each once,
/// in the order of the log.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn live_in(
    volume: &Volume,
    steps: &mut Steps<'_>,
    ranges: &[Range<u64>],
) -> Result<Vec<Location>, Interrupted> {
    let is_inside = |at: &&Location| {
        let behind = ranges.partition_point(|range| range.start <= at.offset);
        behind > 0 && ranges[behind - 1].contains(&at.offset)
    };
    let stashed = volume.contents.borrow().index().stashed_locations();
    let mut places: Vec<Location> = stashed.iter().filter(is_inside).copied().collect();
    let mut from = 0;
    loop {
        let segment = volume.contents.borrow().index().segment_locations(from);
        let Some((locations, next)) = segment else { break };
        places.extend(locations.iter().filter(is_inside).copied());
        from = next;
        steps.yield_now().await?;
    }
    places.sort_unstable_by_key(|at| at.offset);
    places.dedup();
    Ok(places)
}
