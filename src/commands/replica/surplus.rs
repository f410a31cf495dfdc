//! Deleting what only the copy has, when the deletions of the source are not known any more.

use serde::Deserialize;

use super::difference::DifferenceKind;
use super::listed_id::{ListedId, Side};
use super::not_pulled::NotPulled;
use super::object_lists::ObjectLists;
use super::pull::{Pull, position_of};
use super::segment::{Segment, SegmentStart};
use super::volume_copy::VolumeCopy;
use crate::base::types::NeedleId;
use crate::commands::client::Body;
use crate::commands::transfer::listing::{Arrived, NotListed, Wanted, list_volume};
use crate::http::head::Method;
use crate::volume::format::{ExchangeKind, RecordHead};

/// Number of names that the source is asked for at a time.
const NAMES: usize = 1000;

/// The name of a photo.
#[derive(Deserialize)]
struct Name {
    key: u64,
    alt: u32,
}

impl Pull<'_> {
    /// Deletes what only the copy has, if the source says that it certainly does not have it. Returns the
    /// number of photos of which it does not say so; if there are none, the copy is complete.
    pub(super) fn remove_surplus(&mut self) -> Result<u64, NotPulled> {
        let mut lists = ObjectLists::new()?;
        add_all(self.from, Side::First, &mut lists)?;
        add_all(self.to, Side::Second, &mut lists)?;
        let (mut kept, mut names) = (0, Vec::with_capacity(NAMES));
        let mut surplus = lists.differences().filter(|difference| {
            difference.as_ref().map_or(true, |it| it.kind == DifferenceKind::OnlySecond)
        });
        loop {
            let next = surplus.next().transpose()?;
            let is_last = next.is_none();
            names.extend(next.map(|difference| NeedleId::new(difference.key, difference.alt)));
            if names.len() == NAMES || (is_last && !names.is_empty()) {
                kept += self.delete_absent(&names)?;
                names.clear();
            }
            if is_last {
                break;
            }
        }
        if kept == 0 {
            let segment = self.segment_here()?;
            self.store(segment, 0, "?complete")?;
        }
        Ok(kept)
    }

    /// Deletes those of the photos that the source certainly does not have. Returns the number of the others.
    fn delete_absent(&mut self, names: &[NeedleId]) -> Result<u64, NotPulled> {
        let lines: String = names.iter().map(|id| format!("{}/{}\n", id.key.0, id.alt.0)).collect();
        let reply = self.from.request(Method::Post, "/absent", Body::Bytes(lines.as_bytes()))?;
        let absent: Vec<Name> = reply.expect(&[200])?.json()?;
        let mut segment = self.segment_here()?;
        for Name { key, alt } in &absent {
            let head = RecordHead {
                kind: ExchangeKind::Deletion,
                id: NeedleId::new(*key, *alt),
                ..RecordHead::end(0, 0)
            };
            segment.push(&head, &[], &[]);
        }
        self.store(segment, 0, "")?;
        Ok((names.len() as u64).saturating_sub(absent.len() as u64))
    }

    /// Returns a segment that follows what is stored.
    fn segment_here(&self) -> Result<Segment, NotPulled> {
        let replica = self.replica()?;
        let source = replica.source.as_deref().unwrap_or_default();
        let lineage = u64::from_str_radix(source, 16).unwrap_or(0);
        let start = SegmentStart { lineage, since: position_of(&replica), deletions: true };
        Ok(Segment::new(self.from.volume, start))
    }
}

/// Adds all photos of a volume to a list.
fn add_all(of: &VolumeCopy, side: Side, lists: &mut ObjectLists) -> Result<(), NotListed> {
    let wanted = Wanted::default();
    list_volume(&of.client, of.volume, wanted, &mut |arrived| match arrived {
        Arrived::Object(photo) => {
            lists.add(side, ListedId { key: photo.key, alt: photo.alt, digest: 0 })
        }
        Arrived::Pause => Ok(()),
    })?;
    Ok(())
}
