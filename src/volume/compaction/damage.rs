//! Carrying over what was in ranges of the old log that cannot be understood. What is damaged is never absent
//! afterwards, and what was deleted or replaced there does not come back.

use super::copier::{Copier, Earlier, Mode};
use super::not_compacted::NotCompacted;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::error::IoError;
use crate::volume::format::{
    HashPrefix, Kind, Loss, NeedleHeader, data_checksum, decode_header, footer_at,
};
use crate::volume::index::{IdHash, Location};
use crate::volume::log::expiry_sums::Expiring;
use crate::volume::object::look_up::Present;

/// What the old generation has of an object that the new one has.
enum Current {
    /// The same, or what is carried over by the rest of the pass.
    Known,
    /// Nothing: it was deleted.
    Deleted,
    /// What replaced it cannot be identified any more.
    Lost,
}

impl Copier {
    /// Carries over what the index has at a place of the log that could not be understood. `hashes` are the
    /// lowest and the highest hash under which the index has it.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn carry_from_damage(
        &mut self,
        hashes: (IdHash, IdHash),
        at: Location,
        limit: u64,
    ) -> Result<(), NotCompacted> {
        self.reader.fill(at.offset, at.len, limit).await?;
        let incarnation = self.old.superblock.incarnation;
        let bytes = self.reader.bytes(at.offset, at.len);
        if let Some((header, 0)) = decode_header(bytes, incarnation, at.offset)
            && header.layout().len as u64 == at.len
        {
            return self.carry(&header, at, limit).await;
        }
        let footer = footer_at(bytes, incarnation, at.offset + at.len);
        if chosen(Sabotage::LoseWithoutRecord) {
            return Ok(());
        }
        self.carried.lost += 1;
        let Some(footer) = footer else {
            let bits = self.old.contents.borrow().index().hash_bits();
            let hash = common_prefix(hashes, bits);
            return self.add_unidentified(hash, at).await;
        };
        let Some(owner) = footer.owner() else {
            return self.add_unidentified(HashPrefix::of(footer.id), at).await;
        };
        let hash = self.old.hasher.hash(owner);
        let Earlier { offset: previous, expiring } = self.previous(hash, owner).await?;
        let loss = Loss::Object { id: owner, cookie: footer.cookie, len: at.len };
        let header = NeedleHeader { previous, ..loss.header(self.old.handle.wall()) };
        self.add_record(header, hash, expiring).await
    }

    async fn add_unidentified(
        &mut self,
        hash: HashPrefix,
        at: Location,
    ) -> Result<(), NotCompacted> {
        let loss = Loss::Unidentified { hash, len: at.len };
        let header = loss.header(self.old.handle.wall());
        // The record has its hashes in its header.
        self.add_record(header, self.old.hasher.hash(header.id), None).await
    }

    /// Deletes from the new generation what was deleted in a range that could not be understood, and marks as
    /// lost what was replaced there by something that cannot be identified. Reads both indexes: this is rare.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn reconcile(&mut self) -> Result<(), NotCompacted> {
        // Deletions may have been lost whose versions are not known.
        self.left_out = self.left_out.max(self.old.log.end().version);
        if self.mode == Mode::Copy {
            return Ok(());
        }
        self.writer.flush().await?;
        for at in self.suspects() {
            let found = self.carried_header(at).await?;
            let Some(id) = found.owner() else { continue };
            let now = self.old.handle.wall();
            let header = match self.current(&found, at).await? {
                Current::Known => continue,
                Current::Deleted => {
                    self.carried.tombstones += 1;
                    let version = self.writer.version();
                    NeedleHeader { version, ..tombstone_of(&found, now) }
                }
                Current::Lost if found.kind == Kind::Loss => continue,
                Current::Lost => {
                    self.carried.lost += 1;
                    Loss::Object { id, cookie: found.cookie, len: at.len }.header(now)
                }
            };
            let hash = self.old.hasher.hash(id);
            let header = NeedleHeader { previous: at.offset, ..header };
            self.add_record(header, hash, Expiring::of(&found)).await?;
        }
        Ok(())
    }

    /// Returns the needles of the new generation whose hashes the old one has less often.
    fn suspects(&self) -> Vec<Location> {
        let (old, new) = (self.old.contents.borrow(), self.new.contents.borrow());
        let (old, new) = (old.index(), new.index());
        let bits = new.hash_bits();
        let is_suspect = |(hash, _): &(IdHash, Location)| {
            let known = old.hashes_beginning(hash.bits(), bits);
            let known: usize = known.map(|hash| old.candidates(hash).count()).sum();
            known < new.candidates(*hash).count()
        };
        new.hashed_locations().filter(is_suspect).map(|(_, at)| at).collect()
    }

    async fn current(&self, found: &NeedleHeader, at: Location) -> Result<Current, NotCompacted> {
        match self.old.look_up(found.id).await {
            Ok(Present::Yes(..) | Present::Damaged(..) | Present::Expired(..)) => {
                Ok(Current::Known)
            }
            Ok(Present::No) => Ok(Current::Deleted),
            Ok(Present::Unknown | Present::Lost) => Ok(Current::Lost),
            Err(_) => {
                let error = IoError::Errno(nix::libc::ENOBUFS);
                Err(NotCompacted::Unreadable { offset: at.offset, len: at.len, error })
            }
        }
    }
}

/// Returns what two hashes of an index that keeps `bits` bits have in common. All between them have it, too.
fn common_prefix((first, last): (IdHash, IdHash), bits: u32) -> HashPrefix {
    let same = (first.bits() ^ last.bits()).leading_zeros().min(bits);
    let others = u64::MAX.checked_shr(same).unwrap_or(0);
    HashPrefix { leading: first.bits() & !others, bits: same }
}

/// Returns the header of a tombstone that deletes the object of `found`.
fn tombstone_of(found: &NeedleHeader, now: u64) -> NeedleHeader {
    NeedleHeader {
        kind: Kind::Tombstone,
        modified_ns: now,
        attributes_len: 0,
        data_len: 0,
        body_len: 0,
        parts_units: 0,
        data_checksum: data_checksum(&[]),
        expires_ns: None,
        keeps_parts: false,
        ..*found
    }
}
