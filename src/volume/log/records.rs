//! What the log writes besides needles: commit records, seals and tail hints.

use super::append_log::AppendLog;
use super::log_end::LogEnd;
use crate::base::limits::{BLOCK, LOG_START};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::buffer::Buf;
use crate::volume::error::IoError;
use crate::volume::format::{CommitRecord, RISING_MAX, Seal, TailHint};
use crate::volume::io::{VolumeFile, count};

impl AppendLog {
    /// Takes the log's own block, filled with zeros.
    pub(super) fn take_block(&self) -> Buf {
        let mut block = self.block.take().expect("at most one write uses the block at a time");
        let filler = u8::from(chosen(Sabotage::DirtyPadding));
        block[..BLOCK as usize].fill(filler);
        block
    }

    /// Whether the log extends beyond the last hint.
    pub(super) fn hint_due(&self) -> bool {
        self.end.get().tail > self.hint.get().tail
    }

    fn next_hint(&self, clean: bool) -> TailHint {
        let end = self.end.get();
        TailHint {
            number: self.hint.get().number + 1,
            epoch: self.epoch,
            tail: end.tail,
            sequence: end.sequence,
            record_checksum: end.record_checksum,
            version: end.version,
            clean,
        }
    }

    /// Writes the seal of a torn tail: a commit without needles.
    ///
    /// # Errors
    /// The error of the write; `EOVERFLOW` when sequences or versions are used up.
    pub async fn seal(&self, file: &VolumeFile, seal: Seal) -> Result<(), IoError> {
        let end = self.end.get();
        // It always fits: no commit takes the last block, because its largest possible padding is
        // claimed.
        assert!(end.tail + BLOCK <= self.space_end(), "no space for a seal at byte {}", end.tail);
        if chosen(Sabotage::SkipSeal) {
            return Ok(());
        }
        if self.is_out_of_numbers() {
            return Err(IoError::Errno(nix::libc::EOVERFLOW));
        }
        let record = CommitRecord { seal: Some(seal), ..self.record(end, BLOCK, 0) };
        let mut block = self.take_block();
        let record_checksum = record.encode(self.incarnation, end.tail, self.log_end, &mut block);
        self.block.set(Some(file.write_block(block, end.tail).await?));
        let sequence = record.sequence;
        let (record_at, tail) = (end.tail, end.tail + BLOCK);
        self.advance(end, LogEnd { record_at, tail, sequence, record_checksum, ..end });
        Ok(())
    }

    /// Writes the next tail hint.
    ///
    /// # Errors
    /// The error of the write; `EOVERFLOW` when the numbers of hints are used up.
    pub async fn write_hint(&self, file: &VolumeFile, clean: bool) -> Result<(), IoError> {
        self.write_hint_block(clean, |block, at| file.write_block(block, at)).await?;
        count(&file.stats.hints, 1);
        Ok(())
    }

    /// Writes the next tail hint of a volume that is not closed, to be made durable by a sync of the file.
    ///
    /// # Errors
    /// As [`Self::write_hint`].
    pub async fn write_unsynced_hint(&self, file: &VolumeFile) -> Result<(), IoError> {
        self.write_hint_block(false, |block, at| file.write_unsynced_block(block, at)).await?;
        count(&file.stats.hints, 1);
        Ok(())
    }

    async fn write_hint_block<F>(
        &self,
        clean: bool,
        write: impl FnOnce(Buf, u64) -> F,
    ) -> Result<(), IoError>
    where
        F: Future<Output = Result<Buf, IoError>>,
    {
        let (hint, last) = (self.next_hint(clean), self.hint.get());
        assert!(
            hint.tail >= last.tail && hint.version >= last.version,
            "a hint would take back what the last one promised: {hint:?} after {last:?}"
        );
        if hint.number >= RISING_MAX {
            return Err(IoError::Errno(nix::libc::EOVERFLOW));
        }
        let mut block = self.take_block();
        hint.encode(self.incarnation, self.log_end, &mut block);
        self.block.set(Some(write(block, hint.offset()).await?));
        self.hint.set(hint);
        Ok(())
    }

    /// Returns the record of the next commit, of `len` bytes with this number of needles.
    pub(in crate::volume) fn record(&self, end: LogEnd, len: u64, needles: usize) -> CommitRecord {
        CommitRecord {
            epoch: self.epoch,
            sequence: end.sequence + 1,
            len,
            needles: u32::try_from(needles).expect("a commit has at most 1000 needles"),
            // Commits are written one after the other, each only when the one before it is durable.
            durable_tail: if chosen(Sabotage::WrongDurableTail) { LOG_START } else { end.tail },
            previous: end.record_checksum,
            written_ns: self.handle.wall(),
            seal: None,
        }
    }
}
