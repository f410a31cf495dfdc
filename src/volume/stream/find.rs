//! Finding a position in a log.

use crate::base::limits::{BLOCK, LOG_START};
use crate::base::stream_position::StreamPlace;
use crate::volume::format::Kind;
use crate::volume::log::scan::FoundNeedle;
use crate::volume::scrub::Flaw;
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::staged::SettledCommit;
use crate::volume::scrub::steps::{Interrupted, Steps};
use crate::volume::scrub::walk::{Depth, LogWalk};

/// Length of the range to which a search narrows the log (bytes): about what a probe reads.
const NARROW: u64 = 4 << 20;

/// Finds the place of a position in the log that the examiner may read: a commit before which everything has
/// at most this version.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn find(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    version: u64,
) -> Result<StreamPlace, Interrupted> {
    let end = examiner.to;
    let incarnation = examiner.volume.superblock.incarnation;
    // A commit begins at `low`; none at or after `high` has only older needles before it, as far as is known.
    let (mut low, mut high, mut sequence) = (LOG_START, end, 0);
    while version > 0 && high - low > NARROW {
        let middle = low + (high - low) / 2 / BLOCK * BLOCK;
        examiner.to = high;
        steps.begin_walk(middle);
        match first_after(examiner, steps, middle).await? {
            Some(found) if found.version <= version => (low, sequence) = (found.at, found.before),
            _ => high = middle,
        }
    }
    examiner.to = end;
    let known = version;
    Ok(StreamPlace { incarnation, offset: low, sequence, skip: 0, skip_to: 0, known, commit: None })
}

/// An object whose version is known.
struct Known {
    /// Offset of a commit before it, or of its own (bytes).
    at: u64,
    /// Sequence of the commit before that one.
    before: u64,
    /// Version of the object.
    version: u64,
}

/// Returns the first object, in commits that begin at `from` or after it.
async fn first_after(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    from: u64,
) -> Result<Option<Known>, Interrupted> {
    let mut walk = LogWalk::resume(examiner, Depth::Headers, from, 0);
    let (at, Some(before)) = walk.next_commit(steps, from).await? else { return Ok(None) };
    let mut walk = LogWalk::resume(examiner, Depth::Headers, at, before);
    while !walk.has_ended() {
        let commit = walk.read_settled(steps).await?;
        if let Some(version) = version_of(&commit) {
            return Ok(Some(Known { at, before, version }));
        }
    }
    Ok(None)
}

/// Returns the version of the first object of a commit. Parts do not tell it: a compaction puts them in front
/// of their manifest. Nor do deletions: it puts those of a damaged range after the objects there.
fn version_of(commit: &SettledCommit) -> Option<u64> {
    let is_certain = !commit.findings.iter().any(|finding| finding.flaw == Flaw::CommitRecord);
    let versions = commit.found.iter().filter_map(|found| match found {
        FoundNeedle::Whole(header, _) if matches!(header.kind, Kind::Data | Kind::Manifest) => {
            Some(header.version)
        }
        _ => None,
    });
    versions.take(1).find(|_| is_certain)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::base::stream_position::StreamPosition;
    use crate::volume::PieceLimits;
    use crate::volume::tests::rig::Rig;

    /// The search looks at parts of the log; what follows the position is all of it.
    #[test]
    fn piece_after_a_search_goes_on_to_the_end_of_the_log() {
        let (mut rig, slot) = Rig::with_volume();
        for n in 0..12 {
            rig.put_len(&slot, n, 1_000_000);
        }
        let limits = PieceLimits { read: u64::MAX, ..PieceLimits::default() };
        let mut read = |from: StreamPosition| {
            let slot = Rc::clone(&slot);
            rig.run(async move { slot.read_records(from, false, limits).await.unwrap() })
        };
        let all = read(StreamPosition::START);
        assert_eq!((all.records.len(), all.is_end), (12, true));
        let (end, place) = (slot.volume().log.end(), all.next.place.unwrap());
        assert_eq!((place.offset, place.sequence), (end.tail, end.sequence));
        for (n, record) in (1..).zip(&all.records) {
            let rest = read(StreamPosition::after(record.version));
            assert_eq!((rest.records.len(), rest.is_end), (12 - n, true), "after object {n}");
            assert!(rest.next.place.is_some_and(|place| place.known == 0 || n == 12));
        }
    }
}
