//! The neighbourhood of an error: latent errors cluster (Schroeder, Damouras, Gill, FAST 2010), so what is
//! near to one is read at once. A range of the log need not begin with a commit; live needles are recognised
//! by their own headers and footers.

use std::ops::Range;

use super::flaw::{Finding, Flaw};
use super::needle::Examiner;
use super::owners::live_in;
use super::parts::Parts;
use super::steps::{Interrupted, Steps};
use crate::base::limits::UNIT;
use crate::volume::format::Unreadable;
use crate::volume::log::scan::ScanFilter;

/// Verifies the live needles that begin in `from..to`. Parts of multipart objects are verified against their
/// own checksums.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn examine_range(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    (from, to): (u64, u64),
    on_finding: &dyn Fn(&Finding),
) -> Result<u64, Interrupted> {
    let any = ScanFilter { sequences: 0..=u64::MAX, epoch: None };
    let limit = examiner.to;
    let (mut at, mut known, mut count) = (from, from, 0);
    steps.begin_walk(from);
    examiner.parts = Parts::read_from(from);
    let mut gaps: Vec<Range<u64>> = Vec::new();
    while at < to {
        match examiner.recognise(at, (known, limit), &any).await {
            // The live needle itself, and nothing that a stale header says.
            Some((found, end)) if examiner.is_live(&found) || found.location().offset == at => {
                if found.location().offset > known {
                    gaps.push(known..found.location().offset);
                }
                for finding in examiner.examine(&found).await {
                    on_finding(&finding);
                    count += 1;
                }
                (at, known) = (end, end);
            }
            _ => at += UNIT,
        }
        steps.reached(at, examiner.reader.bytes_read).await?;
    }
    if known < to {
        gaps.push(known..to);
    }
    steps.end(examiner.reader.bytes_read).await?;
    for at in live_in(examiner.volume, steps, &gaps).await? {
        let is_io = examiner.fill_again(at.offset, UNIT).await;
        let flaw = Flaw::Needle(Unreadable::Header);
        on_finding(&Finding { at, id: None, flaw, is_io });
        count += 1;
    }
    Ok(count)
}
