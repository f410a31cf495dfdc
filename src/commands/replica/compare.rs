//! Comparison of two copies of a volume, without the bodies of the objects.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

use super::bucket_digests::BucketDigests;
use super::comparison::{ComparedSide, Comparison, FoundDifference};
use super::details_file::DetailsFile;
use super::difference::{Difference, DifferenceKind};
use super::listed_id::{ListedId, Side};
use super::not_compared::NotCompared;
use super::object_lists::ObjectLists;
use super::volume_copy::VolumeCopy;
use crate::base::buckets::Buckets;
use crate::base::types::NeedleId;

/// Largest number of buckets that a list can name: if more differ, everything is listed.
const NAMED_MAX: usize = 64;

/// Compares two copies of a volume. Each object that differs is passed to `sink`, in no particular order.
/// Bounded memory: what is listed waits in temporary files (see [`ObjectLists`]; details take about 60 bytes
/// for each object on each side).
///
/// # Errors
/// See [`NotCompared`].
pub fn compare(
    copies: [&VolumeCopy; 2],
    sink: &mut dyn FnMut(FoundDifference) -> io::Result<()>,
) -> Result<Comparison, NotCompared> {
    let buckets = Buckets::DEFAULT;
    // Both have begun before either is read to its end.
    let replies = [copies[0].ask(buckets.count())?, copies[1].ask(buckets.count())?];
    let digests = on_both(copies, replies, |_, copy, reply| copy.read(reply, buckets.count()))?;
    let differing = digests[0].differing(&digests[1]);
    let mut comparison = Comparison {
        sides: digests.map(|digests| side_of(&digests)),
        only_first: 0,
        only_second: 0,
        differ: 0,
    };
    if differing.is_empty() {
        return Ok(comparison);
    }
    let (lists, mut details) = list_both(copies, buckets, &differing)?;
    for difference in lists.differences() {
        let difference = difference.map_err(NotCompared::Temporary)?;
        let count = match difference.kind {
            DifferenceKind::OnlyFirst => &mut comparison.only_first,
            DifferenceKind::OnlySecond => &mut comparison.only_second,
            DifferenceKind::Differs => &mut comparison.differ,
        };
        *count += 1;
        let found = found(&difference, &mut details).map_err(NotCompared::Temporary)?;
        sink(found).map_err(NotCompared::Output)?;
    }
    Ok(comparison)
}

fn side_of(digests: &BucketDigests) -> ComparedSide {
    ComparedSide {
        position: digests.position.clone(),
        objects: digests.objects,
        damaged: digests.damaged,
    }
}

/// Lists what is in buckets of both copies.
fn list_both(
    copies: [&VolumeCopy; 2],
    buckets: Buckets,
    differing: &[u32],
) -> Result<(ObjectLists, [DetailsFile; 2]), NotCompared> {
    let temporary = NotCompared::Temporary;
    let lists = Mutex::new(ObjectLists::new().map_err(temporary)?);
    let files =
        [DetailsFile::create().map_err(temporary)?, DetailsFile::create().map_err(temporary)?];
    let named = if differing.len() <= NAMED_MAX { differing } else { &[] };
    let details = on_both(copies, files, |side, copy, mut details| {
        copy.list(buckets.count(), named, &mut |object, digest| {
            let id = ListedId { key: object.key, alt: object.alt, digest };
            if differing.binary_search(&buckets.of(NeedleId::new(id.key, id.alt))).is_err() {
                return Ok(());
            }
            let place = details.push(object.into())?;
            lists.lock().unwrap_or_else(PoisonError::into_inner).add_with(side, id, place)
        })?;
        Ok(details)
    })?;
    Ok((lists.into_inner().unwrap_or_else(PoisonError::into_inner), details))
}

/// Does the same with both copies, at the same time.
fn on_both<T: Send, R: Send>(
    copies: [&VolumeCopy; 2],
    [first, second]: [T; 2],
    run: impl Fn(Side, &VolumeCopy, T) -> Result<R, NotCompared> + Sync,
) -> Result<[R; 2], NotCompared> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(Side::Second, copies[1], second));
        let first = run(Side::First, copies[0], first);
        let second = other.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok([first?, second?])
    })
}

fn found(difference: &Difference, details: &mut [DetailsFile; 2]) -> io::Result<FoundDifference> {
    let &Difference { key, alt, kind, notes } = difference;
    let [first, second] = details;
    let first = (kind != DifferenceKind::OnlySecond).then(|| first.read(notes[0]));
    let second = (kind != DifferenceKind::OnlyFirst).then(|| second.read(notes[1]));
    Ok(FoundDifference { key, alt, kind, sides: [first.transpose()?, second.transpose()?] })
}
