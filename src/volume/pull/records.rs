//! Storing records: those that are complete in groups, each of which needs few commits; the pieces of large
//! bodies one after the other.

use std::rc::Rc;

use super::large::LargePull;
use super::not_pulled::NotPulled;
use super::object::Met;
use super::pull::Pull;
use super::pulled_record::{Pulled, PulledRecord};
use crate::base::pool_shares::IN_USE_FOR_BACKGROUND;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::runtime::buffer::Pool;
use crate::runtime::join_all;
use crate::volume::error::Refusal;
use crate::volume::format::{BadExchange, ExchangeKind};
use crate::volume::log::joined::Joined;
use crate::volume::log::pending::Pending;
use crate::volume::object::write::Batch;
use crate::volume::{Draft, NewNeedle, Slot, Volume};

/// Maximum number of ids that are looked up at a time.
const LOOK_UPS: usize = 16;
/// Maximum number of records of a group.
const GROUP_MAX: usize = 256;
/// Longest time to wait for a buffer (nanoseconds), and how often to look meanwhile.
const BUFFER_WAIT_NS: u64 = 1_000_000_000;
const BUFFER_ATTEMPTS: u64 = 100;

impl Pull {
    /// Stores records, in their order. When this returns, they are durable.
    pub(super) async fn store(&mut self, records: Vec<PulledRecord>) -> Result<Pulled, NotPulled> {
        let slot = Rc::clone(&self.slot);
        let (mut pulled, mut group) = (Pulled::default(), Vec::new());
        for record in records {
            match record.head.kind {
                ExchangeKind::Object | ExchangeKind::Deletion => {
                    if group.len() == GROUP_MAX || has(&group, record.head.id) {
                        pulled += slot.store_group(std::mem::take(&mut group)).await?;
                    }
                    group.push(record);
                }
                // Nothing changes: what is here may be readable.
                ExchangeKind::Damaged => pulled.damaged += 1,
                ExchangeKind::LargeObject => {
                    pulled += slot.store_group(std::mem::take(&mut group)).await?;
                    self.large = Some(LargePull::begin(&slot, record).await?);
                }
                ExchangeKind::Piece => {
                    let large = self.large.as_mut();
                    let large = large.ok_or(NotPulled::Bad(BadExchange::Order))?;
                    let (stored, is_last) = large.store_piece(&slot, &record).await?;
                    pulled += stored;
                    if is_last {
                        self.large = None;
                    }
                }
                ExchangeKind::Withdrawn => self.large = None,
                ExchangeKind::End => return Err(NotPulled::Bad(BadExchange::Order)),
            }
        }
        pulled += slot.store_group(group).await?;
        Ok(pulled)
    }
}

impl Slot {
    /// Stores records with different ids.
    async fn store_group(&self, group: Vec<PulledRecord>) -> Result<Pulled, NotPulled> {
        if group.is_empty() {
            return Ok(Pulled::default());
        }
        let (mut drafts, ids) = (Vec::with_capacity(group.len()), group.iter().map(id).collect());
        for record in &group {
            drafts.push(self.draft(record).await?);
        }
        let _held = self.lock_ids(ids).await;
        let (joined, pulled) = self.join_group(&group, drafts).await?;
        if !chosen(Sabotage::PullBeforeSettled) {
            for joined in joined {
                joined.settled().await?;
            }
        }
        Ok(pulled)
    }

    /// Returns the needle of an object with its data; `None` for a deletion.
    async fn draft(&self, record: &PulledRecord) -> Result<Option<Draft>, NotPulled> {
        if record.head.kind == ExchangeKind::Deletion {
            return Ok(None);
        }
        let data = record.data();
        let make = |pool: &Pool| Draft::copied(pool, record.attributes(), data.len() as u64);
        let mut draft = self.with_spare_memory(data.len(), make).await?;
        draft.data_mut().copy_from_slice(data);
        Ok(Some(draft.modified(Some(record.head.modified_ns))))
    }

    /// Calls `make` until it has a buffer of the pool of about `len` bytes: requests have priority.
    ///
    /// # Errors
    /// [`NotPulled::NoBuffer`].
    pub(super) async fn with_spare_memory<T>(
        &self,
        len: usize,
        make: impl Fn(&Pool) -> Option<T>,
    ) -> Result<T, NotPulled> {
        let pool = self.handle.pool();
        for _ in 0..BUFFER_ATTEMPTS {
            let is_spare = pool.used() + len <= IN_USE_FOR_BACKGROUND.of(pool.capacity());
            if let Some(made) = is_spare.then(|| make(pool)).flatten() {
                return Ok(made);
            }
            self.handle.sleep_until(self.handle.now() + BUFFER_WAIT_NS / BUFFER_ATTEMPTS).await;
        }
        Err(NotPulled::NoBuffer)
    }

    async fn join_group(
        &self,
        group: &[PulledRecord],
        drafts: Vec<Option<Draft>>,
    ) -> Result<(Vec<Joined>, Pulled), NotPulled> {
        let entered = self.enter().await;
        let volume = &entered.volume;
        let (mut joined, mut pulled) = (Vec::new(), Pulled::default());
        let met = join_all(group.iter().map(|record| volume.met(id(record))), LOOK_UPS).await;
        for ((record, draft), met) in group.iter().zip(drafts).zip(met) {
            let met = met?;
            let pending = match draft {
                Some(draft) if !volume.is_here(&met, record).await? => {
                    pulled.objects += 1;
                    pulled.bytes += record.head.body_len;
                    self.copied(volume, record, draft, &met)?
                }
                Some(_) => {
                    pulled.known += 1;
                    continue;
                }
                None => match deletion(volume, record, &met)? {
                    Some(tombstone) => {
                        pulled.deletions += 1;
                        tombstone
                    }
                    None => continue,
                },
            };
            joined.push(volume.append_with_blocks(vec![pending]).await?);
        }
        Ok((joined, pulled))
    }

    /// Stores the manifest of a large object.
    pub(super) async fn store_manifest(
        &self,
        object: &PulledRecord,
        manifest: Draft,
    ) -> Result<(), NotPulled> {
        let _held = self.lock_ids(vec![object.head.id]).await;
        let joined = {
            let entered = self.enter().await;
            let volume = &entered.volume;
            let met = volume.met(object.head.id).await?;
            let pending = self.copied(volume, object, manifest, &met)?;
            volume.append_with_blocks(vec![pending]).await?
        };
        joined.settled().await?;
        Ok(())
    }

    /// Returns the needle of an object as it joins a commit.
    ///
    /// # Errors
    /// [`NotPulled::Bad`] if the body is not the one that was announced.
    fn copied(
        &self,
        volume: &Volume,
        record: &PulledRecord,
        draft: Draft,
        met: &Met,
    ) -> Result<Pending, NotPulled> {
        let superseded = met.superseded();
        if superseded.offset == 0 && draft.multipart.is_none() {
            volume.admit_new()?;
        }
        let needle = NewNeedle { id: record.head.id, cookie: record.head.cookie, draft };
        let (pending, stored) = self.pending(volume, needle, superseded, Batch::default())?;
        match stored.etag == record.head.body_checksum {
            true => Ok(pending),
            false => Err(NotPulled::Bad(BadExchange::Checksum)),
        }
    }
}

/// Returns the tombstone that deletes what has the id of a record; `None` if nothing has.
fn deletion(volume: &Volume, record: &PulledRecord, met: &Met) -> Result<Option<Pending>, Refusal> {
    let Some(cookie) = met.cookie() else { return Ok(None) };
    let mut tombstone = {
        let deleted = (met.superseded(), volume.handle.wall());
        volume.tombstone(record.head.id, cookie, deleted, Batch::default())?
    };
    // When it was deleted at the source; it is not always known.
    if record.head.modified_ns > 0 {
        tombstone.header.modified_ns = record.head.modified_ns;
    }
    Ok(Some(Pending { is_copy: true, ..tombstone }))
}

fn id(record: &PulledRecord) -> NeedleId {
    record.head.id
}

fn has(group: &[PulledRecord], wanted: NeedleId) -> bool {
    group.iter().any(|record| id(record) == wanted)
}
