//! What was deleted lately in the volumes of the cluster.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::deletions::Deletions;
use crate::base::stream_position::StreamPosition;
use crate::base::types::{NeedleId, VolumeId};
use crate::volume::{NotStreamed, PieceLimits, RecordKind, Refusal, Slot};

/// By how much the clocks of two nodes may differ (nanoseconds): deletions are looked for that much further
/// back, because their order in the log is that of this node's clock.
const CLOCKS_DIFFER_NS: u64 = 60_000_000_000;

/// What was deleted lately in the volumes of the cluster, of one shard. It is kept as long as the daemon
/// runs; what was deleted before is read from the log when it is needed.
#[derive(Default)]
pub struct DeletionMemory(RefCell<HashMap<VolumeId, Rc<RefCell<Deletions>>>>);

/// The deletions of one volume.
pub struct KnownDeletions(Rc<RefCell<Deletions>>);

impl KnownDeletions {
    /// Returns the origin version of the last deletion of an id; 0 if there was none.
    pub fn origin_of(&self, id: NeedleId) -> u64 {
        self.0.borrow().origin_of(id)
    }
}

impl DeletionMemory {
    /// The deletions of a volume since the first use.
    fn entry(&self, slot: &Slot) -> Rc<RefCell<Deletions>> {
        let mut volumes = self.0.borrow_mut();
        let entry = volumes.entry(slot.volume().id());
        Rc::clone(entry.or_insert_with(|| Rc::new(RefCell::new(Deletions::new(slot.wall())))))
    }

    /// Adds a deletion, if there are copies of the volume on other nodes.
    pub fn add(&self, slot: &Slot, id: NeedleId, origin: u64) {
        if slot.volume().has_copies() {
            self.entry(slot).borrow_mut().add(id, origin);
        }
    }

    /// Returns the deletions of a volume, all those with origin versions from `origin` on. Reads the log if
    /// some of them are older than the daemon. What compactions have removed is not found.
    ///
    /// # Errors
    /// [`Refusal::NoBuffer`] or [`Refusal::Closing`] if the log was not read.
    pub async fn back_to(&self, slot: &Rc<Slot>, origin: u64) -> Result<KnownDeletions, Refusal> {
        let entry = self.entry(slot);
        let complete_from = entry.borrow().complete_from();
        if complete_from > origin {
            let from = origin.saturating_sub(CLOCKS_DIFFER_NS);
            load(slot, &entry, StreamPosition::after(from)).await?;
            entry.borrow_mut().set_complete_from(origin);
        }
        Ok(KnownDeletions(entry))
    }

    /// Forgets a volume.
    pub fn forget(&self, volume: VolumeId) {
        self.0.borrow_mut().remove(&volume);
    }
}

/// Adds the deletions that the log has behind a position.
async fn load(
    slot: &Rc<Slot>,
    deletions: &RefCell<Deletions>,
    mut from: StreamPosition,
) -> Result<(), Refusal> {
    loop {
        let piece = match slot.read_records(from, true, PieceLimits::default()).await {
            Ok(piece) => piece,
            // Those before the history begins are gone for good.
            Err(NotStreamed::Behind(first)) => {
                from = StreamPosition::after(first);
                continue;
            }
            Err(NotStreamed::NoBuffer) => return Err(Refusal::NoBuffer),
            Err(NotStreamed::Closing) => return Err(Refusal::Closing),
        };
        let mut deletions = deletions.borrow_mut();
        for record in piece.records {
            if let (RecordKind::Deletion, Some(at)) = (record.kind, record.modified_ns) {
                deletions.add(record.id, at);
            }
        }
        if piece.is_end {
            return Ok(());
        }
        from = piece.next;
    }
}
