//! Checkpoints: a copy of the index of a volume in a file beside it, so that a start reads only the log
//! after it. Checkpoints are derived from the log and never trusted over it. Without one a start takes
//! longer, and nothing else changes.
//!
//! The end of the log is noted (the covered position) before the first piece of the index is written, so
//! the file holds everything that was there at that time, and some of what came later. Entries never move
//! from one segment of the table to another (a segment splits in two; then either both are still to be
//! written, or neither is), and the stash, whose entries move only into the table, is written before it.
//! So nothing that was there at the beginning and still exists can be missed. What came later is replayed
//! at a start, whether the file holds it or not.

use crate::base::limits::{BLOCK, CHECKPOINT_BUFFER_WAIT_NS};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, Pace, WorkBuffer};
use crate::runtime::op::{FileId, Op};
use crate::volume::Volume;
use crate::volume::checkpoint::convert::{checkpoint_properties, damage_record, log_position};
use crate::volume::checkpoint::not_written::NotWritten;
use crate::volume::checkpoint::piece_writer::{PieceWriter, count};
use crate::volume::format::{
    CheckpointFooter, CheckpointHeader, CheckpointProperty, DAMAGE_PER_PIECE, DamageRecord,
    PAIRS_PER_PIECE, PIECE_LEN_MAX, PieceKind, encode_damage, encode_pairs, encode_segment,
    segment_len,
};
use crate::volume::index::StashKey;
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::log::{DamageSource, LogEnd};
use crate::volume::names::{checkpoint_name, unfinished_checkpoint_name};
use crate::volume::sync_dir::sync_dir;

impl Volume {
    /// Whether the index may be saved: checkpoints are enabled, the volume was opened for writing and read
    /// in full, it is not poisoned, the index agrees with the log as far as that is known, and its log has
    /// an end that a checkpoint can name.
    pub(super) fn may_checkpoint(&self) -> bool {
        let end = self.log.end();
        self.checkpoints.policy.is_some()
            && !self.checkpoints.is_distrusted.get()
            && self.write_state.get().takes_checkpoints()
            && log_position(&end).fits(self.superblock.log_end())
    }

    /// Writes a checkpoint now, unless the current one is as good or the index must not be saved. Returns
    /// whether one was written. The caller must not run two at the same time.
    ///
    /// # Errors
    /// See [`NotWritten`]. The volume continues to work.
    pub async fn checkpoint(&self) -> Result<bool, NotWritten> {
        let checkpoints = &self.checkpoints;
        let is_fresh = checkpoints.exact.get() && checkpoints.figures.get().tail == self.log.tail();
        if is_fresh || !self.may_checkpoint() {
            return Ok(false);
        }
        self.write_checkpoint(0).await.map(|()| true)
    }

    /// Writes the first checkpoint of a generation that is being built, unless checkpoints are disabled.
    ///
    /// # Errors
    /// See [`NotWritten`].
    pub(in crate::volume) async fn write_first_checkpoint(&self) -> Result<(), NotWritten> {
        if !self.may_checkpoint() {
            return Ok(());
        }
        let rate = self.checkpoints.policy.map_or(0, |policy| policy.rate);
        self.write_checkpoint(rate).await
    }

    /// Writes a checkpoint, and records and logs the outcome.
    pub(super) async fn write_checkpoint(&self, rate: u64) -> Result<(), NotWritten> {
        let (began, checkpoints) = (self.handle.now(), &self.checkpoints);
        let written = self.make_checkpoint(rate).await;
        match &written {
            Ok((covers, reached, len)) => {
                checkpoints.task.backoff().succeeded();
                checkpoints.exact.set(covers == reached);
                checkpoints.change(|figures| {
                    figures.tail = covers.tail;
                    figures.len = *len;
                    figures.written += 1;
                    figures.last_ns = self.handle.now() - began;
                });
            }
            Err(NotWritten::Stopped) => {}
            Err(why) => {
                let (now, backoff) = (self.handle.now(), checkpoints.task.backoff());
                match why {
                    NotWritten::Failed(..) => backoff.failed(now),
                    NotWritten::NoBuffer | NotWritten::Stopped => backoff.postponed(now),
                }
                checkpoints.change(|figures| figures.failed += 1);
                let volume = self.superblock.volume.0;
                let (what, why) = match why {
                    NotWritten::Failed(what, error) => (*what, error.to_string()),
                    _ => ("get a buffer", "too few buffers are free".to_owned()),
                };
                tracing::warn!(
                    volume,
                    "the checkpoint could not be written: cannot {what}: {why}; nothing is lost, but \
                     until one is written, a start reads more of the log"
                );
            }
        }
        written.map(drop)
    }

    /// Writes a checkpoint. Returns its covered and its reached position, and its length (bytes).
    async fn make_checkpoint(&self, rate: u64) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let checkpoints = &self.checkpoints;
        // At close the writer has been stopped already, and the checkpoint is written without a limit.
        let (task, pace) = match rate {
            0 => (None, Pace::UNLIMITED),
            // Not paused by an operator: the log that a start has to read must stay bounded.
            _ => (Some(&checkpoints.task), Pace::at_most(rate).sharing(&self.pace)),
        };
        let mut run = BackgroundRun::new(&self.handle, task, pace);
        let queue = checkpoints.queue.as_deref();
        let mut buf = run.buffer(queue, PIECE_LEN_MAX, CHECKPOINT_BUFFER_WAIT_NS).await?;
        self.make_with(&mut buf, &mut run).await
    }

    async fn make_with(
        &self,
        buf: &mut WorkBuffer,
        run: &mut BackgroundRun<'_>,
    ) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let (handle, dir) = (&self.handle, self.checkpoints.dir);
        let (volume, generation) = (self.superblock.volume, self.superblock.generation);
        let unfinished = unfinished_checkpoint_name(volume, generation);
        let failed = |what| move |error| NotWritten::Failed(what, error);
        // Remove what an earlier attempt left.
        handle.submit(Op::Unlink { dir, name: unfinished.clone() }).await;
        let op = Op::Create { dir, name: unfinished.clone() };
        let created = outcome(&handle.submit(op).await).map_err(failed("create the file"))?;
        let id = FileId(u32::try_from(created).expect("a file number"));
        let file = VolumeFile::new(handle, id);
        let made = self.fill(id, &file, buf, run).await;
        file.close().await;
        let named = match made {
            Ok(made) => {
                let to = checkpoint_name(volume, generation);
                let op = Op::Rename { dir, from: unfinished.clone(), to, replace: true };
                let named = outcome(&handle.submit(op).await).map_err(failed("name the file"));
                named.map(|_| made)
            }
            Err(error) => Err(error),
        };
        if named.is_ok() {
            sync_dir(handle, dir).await.map_err(failed("sync the directory"))?;
        } else if !chosen(Sabotage::LeaveUnfinishedCheckpoint) {
            handle.submit(Op::Unlink { dir, name: unfinished }).await;
        }
        named
    }

    async fn fill(
        &self,
        id: FileId,
        file: &VolumeFile,
        buf: &mut WorkBuffer,
        run: &mut BackgroundRun<'_>,
    ) -> Result<(LogEnd, LogEnd, u64), NotWritten> {
        let failed = |what| move |error| NotWritten::Failed(what, error);
        let covers = self.log.end();
        // Those of exactly this position: a start adds what the log says after it.
        let properties = checkpoint_properties(self.contents.borrow().properties());
        let superblock = &self.superblock;
        // Allocated at once, so that the file has few extents and a full disk is noticed before anything
        // is written.
        let expected = self.contents.borrow().saved_len() as u64;
        let op = Op::Allocate { file: id, offset: 0, len: padded_len(expected) };
        outcome(&self.handle.submit(op).await).map_err(failed("reserve space for the file"))?;
        run.begin(expected);
        let mut writer = PieceWriter {
            run,
            file,
            buf,
            incarnation: superblock.incarnation,
            filled: 0,
            count: 0,
            number: 0,
            at: 0,
            sums: 0,
        };
        let header = CheckpointHeader {
            store: superblock.store,
            volume: superblock.volume.0,
            generation: superblock.generation,
            incarnation: superblock.incarnation,
            size: superblock.size,
            hash_seed: superblock.hash_seed,
            layout: self.contents.borrow().index().layout_fingerprint(&self.hasher),
            covers: log_position(&covers),
            written_ns: self.handle.wall(),
        };
        let (len, sum) = header.encode(writer.buf());
        writer.write(len, sum).await?;
        let stash = self.write_stash(&mut writer).await?;
        let (segments, entries) = self.write_segments(&mut writer).await?;
        let parts = self.write_parts(&mut writer).await?;
        // Nothing written so far is from after this position.
        let reached = self.log.end();
        let mut damage = self.damage();
        damage.retain(|range| {
            range.source != DamageSource::Loss || !chosen(Sabotage::CheckpointWithoutLosses)
        });
        for places in damage.chunks(DAMAGE_PER_PIECE) {
            let places: Vec<DamageRecord> = places.iter().map(damage_record).collect();
            writer.filled = encode_damage(&places, writer.space());
            writer.count = count(places.len());
            writer.flush(PieceKind::Damage).await?;
        }
        let properties = self.write_properties(&mut writer, properties).await?;
        let footer = CheckpointFooter {
            reached: log_position(&reached),
            stash,
            segments,
            entries,
            parts,
            damage: damage.len() as u64,
            properties,
            len: writer.at + BLOCK,
            sums: writer.sums,
        };
        let (number, incarnation) = (writer.number, superblock.incarnation);
        let len = footer.encode(number, incarnation, writer.buf());
        writer.write(len, 0).await?;
        file.sync().await.map_err(failed("sync the file"))?;
        Ok((covers, reached, writer.at))
    }

    async fn write_stash(&self, writer: &mut PieceWriter<'_, '_>) -> Result<u64, NotWritten> {
        let (mut behind, mut total): (Option<StashKey>, u64) = (None, 0);
        loop {
            let page: Vec<_> =
                self.contents.borrow().index().stash(behind, PAIRS_PER_PIECE).collect();
            let Some((last, _)) = page.last() else { return Ok(total) };
            behind = Some(*last);
            let pairs: Vec<(u64, u64)> = page.iter().map(|(_, pair)| *pair).collect();
            total += pairs.len() as u64;
            writer.filled = encode_pairs(&pairs, writer.space());
            writer.count = count(pairs.len());
            writer.flush(PieceKind::Stash).await?;
        }
    }

    /// Page by page, each as it is at the time. Changes meanwhile are replayed at a start.
    async fn write_parts(&self, writer: &mut PieceWriter<'_, '_>) -> Result<u64, NotWritten> {
        let (mut from, mut total) = (0, 0);
        loop {
            let page: Vec<_> = self.contents.borrow().parts(from).take(PAIRS_PER_PIECE).collect();
            let Some((last, _)) = page.last() else { return Ok(total) };
            from = last + 1;
            total += page.len() as u64;
            writer.filled = encode_pairs(&page, writer.space());
            writer.count = count(page.len());
            writer.flush(PieceKind::Parts).await?;
        }
    }

    async fn write_properties(
        &self,
        writer: &mut PieceWriter<'_, '_>,
        mut properties: Vec<CheckpointProperty>,
    ) -> Result<u64, NotWritten> {
        if chosen(Sabotage::PropertiesTooLate) {
            properties = checkpoint_properties(self.contents.borrow().properties());
        }
        for property in &properties {
            if property.entry_len() > writer.space().len() {
                writer.flush(PieceKind::Properties).await?;
            }
            writer.filled += property.encode(writer.space());
            writer.count += 1;
        }
        writer.flush(PieceKind::Properties).await?;
        Ok(properties.len() as u64)
    }

    async fn write_segments(
        &self,
        writer: &mut PieceWriter<'_, '_>,
    ) -> Result<(u64, u64), NotWritten> {
        let (mut from, mut segments, mut entries) = (0, 0, 0);
        loop {
            let len = {
                let contents = self.contents.borrow();
                let Some(segment) = contents.index().saved_segment(from) else { break };
                let len = segment_len(segment.buckets().len(), segment.len);
                if len <= writer.space().len() {
                    let (prefix, depth) = (segment.prefix, segment.depth);
                    let written = encode_segment(prefix, depth, segment.buckets(), writer.space());
                    debug_assert_eq!(written, len);
                    (from, segments, entries) =
                        (segment.next, segments + 1, entries + segment.len as u64);
                    writer.filled += written;
                    writer.count += 1;
                    0
                } else {
                    len
                }
            };
            if len > 0 {
                writer.flush(PieceKind::Segments).await?;
            } else {
                // Copying a segment takes some ten microseconds: let other tasks run in between.
                self.handle.yield_now().await;
            }
        }
        writer.flush(PieceKind::Segments).await?;
        Ok((segments, entries))
    }
}

/// Approximate length of the file for this length of payload (bytes): segments do not fill pieces
/// completely.
fn padded_len(payload: u64) -> u64 {
    (payload + payload / 32).next_multiple_of(BLOCK) + 4 * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::fault::WRITE_WITHOUT_SPACE;
    use crate::volume::error::IoError;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn full_disk_is_noticed_before_anything_is_written() {
        let (mut rig, slot) = Rig::with_volume();
        rig.put(&slot, 1);
        let volume = slot.volume();
        rig.world.set_capacity(0);
        let full = rig.run(async move { volume.checkpoint().await });
        let full_disk = IoError::Errno(nix::libc::ENOSPC);
        assert_eq!(full, Err(NotWritten::Failed("reserve space for the file", full_disk)));
        assert_eq!(rig.world.count(WRITE_WITHOUT_SPACE), 0);
        assert_eq!(rig.world.names(), ["1.0.vol"], "the unfinished file is removed");
        rig.world.set_capacity(1 << 20);
        let volume = slot.volume();
        assert_eq!(rig.run(async move { volume.checkpoint().await }), Ok(true));
        let volume = slot.volume();
        let (figures, file) = (volume.figures().checkpoint, rig.image().bytes("1.0.ckpt").len());
        assert_eq!((figures.tail, figures.age, figures.written), (volume.log.tail(), 0, 1));
        // Header and footer, and between them at least the properties.
        assert!((3 * BLOCK..=file as u64).contains(&figures.len), "{} of {file}", figures.len);
        assert_eq!(rig.run(async move { volume.checkpoint().await }), Ok(false), "it is as good");
    }
}
