//! A pass over a part of the old log: commit by commit, and in what cannot be understood by the index.

use super::copier::Copier;
use super::not_compacted::NotCompacted;
use crate::base::limits::{BLOCK, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::BackgroundRun;
use crate::volume::Volume;
use crate::volume::format::{COMMIT_RECORD_LEN, CommitRecord, NeedleHeader, decode_header};
use crate::volume::index::{IdHash, Location};

/// Bytes written after which the new file is synced: a flush is for the whole device, and a long one would
/// delay every commit on it.
const SYNC_INTERVAL: u64 = 64 << 20;
/// Bytes of the log after which a step of the run ends.
const STEP: u64 = 1 << 20;

/// A position in the old log.
#[derive(Clone, Copy)]
struct Position {
    at: u64,
    sequence: u64,
}

/// A pass over bytes `from..to` of the old log, which are whole commits.
pub struct Pass<'a, 'r> {
    /// The old generation.
    pub old: &'a Volume,
    /// Carries over what lives.
    pub copier: &'a mut Copier,
    /// Pace and cancellation.
    pub run: &'a mut BackgroundRun<'r>,
    /// End of the pass (bytes).
    pub to: u64,
    /// Called after each step with the position in the old log (bytes).
    pub on_step: &'a dyn Fn(&Copier, u64),
}

impl Pass<'_, '_> {
    /// Carries over everything that lives between `from` and the end of the pass.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn carry_all(&mut self, from: u64) -> Result<(), NotCompacted> {
        let mut position = Position { at: from, sequence: 0 };
        let mut step_from = from;
        while position.at < self.to {
            match self.record(position.at).await? {
                Some((record, _)) if position.at + record.len <= self.to => {
                    self.carry_commit(position.at, &record).await?;
                    let at = position.at + record.len;
                    position = Position { at, sequence: record.sequence };
                }
                _ => position = self.carry_unknown(position).await?,
            }
            let is_long = self.copier.writer.unsynced >= SYNC_INTERVAL;
            if is_long && !chosen(Sabotage::OneLongFlush) {
                self.copier.writer.sync().await?;
            }
            if position.at - step_from >= STEP {
                (self.on_step)(self.copier, position.at);
                self.run.end_step(position.at - step_from).await?;
                step_from = position.at;
            }
        }
        self.run.end_step(position.at - step_from).await?;
        Ok(())
    }

    async fn record(&mut self, at: u64) -> Result<Option<(CommitRecord, u64)>, NotCompacted> {
        let len = (2 * COMMIT_RECORD_LEN as u64).min(self.to - at);
        self.copier.reader.fill(at, len, self.to).await?;
        let superblock = &self.old.superblock;
        let bytes = self.copier.reader.bytes(at, len);
        Ok(CommitRecord::decode(bytes, superblock.incarnation, at, superblock.log_end()))
    }

    async fn carry_commit(
        &mut self,
        start: u64,
        record: &CommitRecord,
    ) -> Result<(), NotCompacted> {
        let end = start + record.len;
        let (mut at, mut found) = (start + UNIT, Vec::new());
        while at < end && found.len() < record.needles as usize {
            let Some((header, place)) = self.needle(at, record).await? else {
                at += UNIT;
                continue;
            };
            if place.offset + place.len > end {
                at += UNIT;
                continue;
            }
            self.copier.carry(&header, place, self.to).await?;
            found.push(place.offset);
            at = place.offset + place.len;
        }
        if found.len() < record.needles as usize {
            self.carry_by_index(start, end, &found).await?;
        }
        Ok(())
    }

    /// Returns the needle of this commit whose header is in the unit at `at`.
    async fn needle(
        &mut self,
        at: u64,
        record: &CommitRecord,
    ) -> Result<Option<(NeedleHeader, Location)>, NotCompacted> {
        self.copier.reader.fill(at, UNIT, self.to).await?;
        let incarnation = self.old.superblock.incarnation;
        let unit = self.copier.reader.bytes(at, UNIT);
        let found = decode_header(unit, incarnation, at).filter(|(header, _)| {
            header.sequence == record.sequence && header.epoch == record.epoch
        });
        Ok(found.and_then(|(header, back)| {
            let offset = at.checked_sub(back)?;
            Some((header, Location { offset, len: header.layout().len as u64 }))
        }))
    }

    /// Carries over what the index has between `position` and the next commit that certainly belongs to the
    /// log. Returns the position of that commit.
    async fn carry_unknown(&mut self, position: Position) -> Result<Position, NotCompacted> {
        let next = self.next_commit(position).await?;
        self.carry_by_index(position.at, next.at, &[]).await?;
        Ok(next)
    }

    /// Finds a commit that is followed by its successor, or by the end of the pass. A leftover of a torn
    /// commit is followed by neither.
    async fn next_commit(&mut self, from: Position) -> Result<Position, NotCompacted> {
        let mut at = from.at + BLOCK;
        while at < self.to {
            if let Some((record, checksum)) = self.record(at).await?
                && record.sequence > from.sequence
            {
                let end = at + record.len;
                let is_followed = match end < self.to {
                    true => self.record(end).await?.is_some_and(|(next, _)| {
                        next.sequence == record.sequence + 1 && next.previous == checksum
                    }),
                    false => end == self.to,
                };
                if is_followed {
                    return Ok(Position { at, sequence: record.sequence - 1 });
                }
            }
            at += BLOCK;
        }
        Ok(Position { at: self.to, sequence: from.sequence })
    }

    /// Carries over what the index has in bytes `from..to` of the log, except for what begins at the offsets
    /// `found`. Reads the whole index: this is rare.
    async fn carry_by_index(
        &mut self,
        from: u64,
        to: u64,
        found: &[u64],
    ) -> Result<(), NotCompacted> {
        let mut places: Vec<(IdHash, Location)> = {
            let contents = self.old.contents.borrow();
            let inside = |(_, at): &(IdHash, Location)| {
                (from..to).contains(&at.offset) && !found.contains(&at.offset)
            };
            contents.index().hashed_locations().filter(inside).collect()
        };
        places.sort_unstable_by_key(|(hash, at)| (at.offset, hash.bits()));
        // The record of a lost object whose id is not known is in the index under several hashes.
        for same in places.chunk_by(|(_, at), (_, next)| at.offset == next.offset) {
            let ((first, at), (last, _)) = (same[0], same[same.len() - 1]);
            self.copier.carry_from_damage((first, last), at, self.to).await?;
        }
        self.carry_tombstones(from, to, found).await?;
        self.copier.reconcile().await
    }

    /// Carries over tombstones and records of losses in a range that could not be understood as a whole.
    async fn carry_tombstones(
        &mut self,
        from: u64,
        to: u64,
        found: &[u64],
    ) -> Result<(), NotCompacted> {
        let incarnation = self.old.superblock.incarnation;
        let mut at = from;
        while at < to {
            self.copier.reader.fill(at, UNIT, self.to).await?;
            let unit = self.copier.reader.bytes(at, UNIT);
            let header = decode_header(unit, incarnation, at);
            if let Some((header, 0)) = header
                && !found.contains(&at)
                && header.kind.is_header_only()
            {
                let place = Location { offset: at, len: header.layout().len as u64 };
                self.copier.carry(&header, place, self.to).await?;
            }
            at += UNIT;
        }
        Ok(())
    }
}
