//! Records of what a compaction could not carry over, as needles that wait for their commit.

use super::pending::Pending;
use crate::base::limits::BLOCK;
use crate::runtime::buffer::Buf;
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{INCOMPAT_LOSSES, Kind, Loss, NeedleHeader};
use crate::volume::index::Hasher;

impl Pending {
    /// The record of `loss`, made at `now` (nanoseconds since 1970). `previous` is the offset in the same
    /// file of what it supersedes (bytes), 0 for nothing: only a known object supersedes something. `buf` has
    /// at least 1024 bytes.
    ///
    /// # Panics
    /// If another loss supersedes something.
    pub(in crate::volume) fn loss(
        buf: Buf,
        hasher: &Hasher,
        loss: &Loss,
        previous: u64,
        now: u64,
    ) -> Self {
        let header = NeedleHeader { previous, ..loss.header(now) };
        let is_known = header.kind == Kind::Loss;
        assert!(is_known || previous == 0, "what has no id supersedes nothing");
        // Of a record without an id, the hash is in the header.
        Self {
            buf,
            hash: hasher.hash(header.id),
            header,
            superseded: None,
            reserved: 0,
            is_copy: false,
        }
    }
}

impl Volume {
    /// Appends records of losses, each with the offset of what it supersedes (bytes; 0 for nothing), all in
    /// one commit. When this returns, they are durable. Nothing else may write these ids meanwhile.
    ///
    /// # Errors
    /// See [`Refusal`].
    ///
    /// # Panics
    /// If the superblock does not have the feature [`INCOMPAT_LOSSES`]. If there is no loss, or there are too
    /// many for one commit.
    pub async fn record_losses(&self, losses: &[(Loss, u64)]) -> Result<(), Refusal> {
        let has_feature = self.superblock.incompat & INCOMPAT_LOSSES != 0;
        assert!(has_feature, "other builds would take the records for damaged needles");
        let mut records = Vec::with_capacity(losses.len());
        for (loss, previous) in losses {
            let buf = self.handle.pool().alloc(BLOCK as usize).ok_or(Refusal::NoBuffer)?;
            let now = self.handle.wall();
            records.push(Pending::loss(buf, &self.hasher, loss, *previous, now));
        }
        self.append(records)?.settled().await.map(drop)
    }
}
