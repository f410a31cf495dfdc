//! The walk from the end of the log back. A commit does not say where the one before it begins: the log is
//! read in sections, the last one first, and each from its first commit on.

use std::collections::BTreeMap;

use super::sought::{Newest, Sought};
use crate::base::limits::LOG_START;
use crate::base::types::NeedleId;
use crate::volume::format::Kind;
use crate::volume::log::scan::FoundNeedle;
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::steps::{Interrupted, Steps};
use crate::volume::scrub::walk::{Depth, LogWalk};

/// Length of a section (bytes): longer than the longest commit, so that one without a commit is damaged.
const SECTION: u64 = 64 << 20;

/// What is in a section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The newest needle with each of the names.
    pub newest: BTreeMap<NeedleId, Newest>,
    /// Lowest version of an object in it.
    pub oldest: u64,
}

/// Looks for the newest needle with each of the names in the log that the examiner may read, until everything
/// before is older than the version `oldest`. Calls `on_progress` with the number of bytes that are left.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn search_back(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    sought: &mut Sought,
    oldest: u64,
    on_progress: &dyn Fn(u64),
) -> Result<(), Interrupted> {
    let mut end = examiner.to;
    let mut start = end;
    while end > LOG_START {
        start = start.saturating_sub(SECTION).max(LOG_START);
        steps.begin_walk(start);
        let (at, before) = match start {
            LOG_START => (LOG_START, 0),
            _ => first_commit(examiner, steps, start).await?,
        };
        if at >= end {
            // No commit in it can be understood: it is read with the section before it.
            continue;
        }
        let section = read_section(examiner, steps, sought, (at, before), end).await?;
        sought.add_older(section.newest);
        if sought.is_complete() || section.oldest < oldest {
            break;
        }
        (start, end) = (at, at);
        on_progress(end - LOG_START);
    }
    Ok(())
}

/// Returns the offset of the first commit at `from` or after it, and the sequence before it.
async fn first_commit(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    from: u64,
) -> Result<(u64, u64), Interrupted> {
    let mut walk = LogWalk::resume(examiner, Depth::Headers, from, 0);
    let (at, before) = walk.next_commit(steps, from).await?;
    Ok((at, before.unwrap_or(0)))
}

/// Reads the commits from the one at `at` on, with the sequence `before` before it, up to `end`. The record
/// at `end`, if there is one, may say that the last of them was torn.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn read_section(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    sought: &Sought,
    (at, before): (u64, u64),
    end: u64,
) -> Result<Section, Interrupted> {
    let mut section = Section { newest: BTreeMap::new(), oldest: u64::MAX };
    steps.begin_walk(at);
    let mut walk = LogWalk::resume(examiner, Depth::Headers, at, before);
    while walk.at() < end {
        let commit = walk.read_settled(steps).await?;
        for found in &commit.found {
            section.newest.extend(sought.recognise(found));
            // Tombstones do not tell it: a compaction puts those of a damaged range after the objects there.
            if let FoundNeedle::Whole(header, _) = found
                && matches!(header.kind, Kind::Data | Kind::Manifest)
            {
                section.oldest = section.oldest.min(header.version);
            }
        }
        steps.reached(walk.at(), walk.bytes_read()).await?;
    }
    Ok(section)
}
