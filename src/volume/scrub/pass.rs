//! One pass over a volume: everything in its log, and the index against that.

use super::compare::compare;
use super::flaw::Finding;
use super::needle::Examiner;
use super::owners;
use super::scrubbed::Scrubbed;
use super::steps::{Interrupted, Steps};
use super::tally::Tally;
use super::walk::Depth;
use super::walk_all::walk_all;
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::index::OffsetSums;

/// Callbacks of a pass.
pub(super) struct Observer<'a> {
    /// Called for each finding.
    pub on_finding: &'a dyn Fn(&Finding),
    /// Called with the position in the log (bytes).
    pub on_progress: &'a dyn Fn(u64),
}

/// Verifies everything up to the end of what the examiner may read, and compares the index with it. `noted`
/// are the sums of the index when the log ended there.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn pass(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    noted: &OffsetSums,
    observer: &Observer<'_>,
) -> Result<Scrubbed, Interrupted> {
    let (volume, mut tally) = (examiner.volume, Tally::default());
    walk_all(examiner, steps, Depth::Everything, LOG_START, &mut |commit, at| {
        tally.add(volume, &commit);
        commit.findings.iter().for_each(observer.on_finding);
        (observer.on_progress)(at);
    })
    .await?;
    let mut findings = owners::findings_of(examiner, steps, &tally.gaps).await?;
    let is_index_compared = !volume.index_is_incomplete && !chosen(Sabotage::SkipIndex);
    if is_index_compared {
        findings.extend(compare(examiner, steps, noted, &tally).await?);
    }
    findings.iter().for_each(observer.on_finding);
    let bytes_read = examiner.reader.bytes_read;
    Ok(Scrubbed { bytes_read, is_index_compared, ..examiner.done })
}
