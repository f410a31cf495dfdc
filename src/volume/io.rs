//! The policy for short and failed transfers, in one place above the driver: a short read is continued
//! and a failed read is tried once more; a write is never repeated.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use super::error::IoError;
use super::health::{ReadErrors, Severity};
use crate::base::limits::{BLOCK, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{Completion, FileId, Op, Piece, Returned};

/// Counters of one volume; the shard exports them.
#[derive(Default)]
pub struct Stats {
    /// Number of reads for GETs.
    pub get_reads: Cell<u64>,
    /// Number of bytes read for GETs.
    pub get_read_bytes: Cell<u64>,
    /// Number of all other reads: recovery, confirmation of identity.
    pub other_reads: Cell<u64>,
    /// Number of durable writes. Each of them makes the device flush.
    pub durable_writes: Cell<u64>,
    /// Number of commits.
    pub commits: Cell<u64>,
    /// Number of needles in commits.
    pub commit_needles: Cell<u64>,
    /// Number of bytes in commits, padding included.
    pub commit_bytes: Cell<u64>,
    /// Number of tail hints written.
    pub hints: Cell<u64>,
    /// Number of reads that found another needle with the same hash.
    pub false_candidates: Cell<u64>,
    /// Number of reads that found damage.
    pub damaged_reads: Cell<u64>,
    /// Number of places at which a read failed, and failed again.
    pub hard_errors: Cell<u64>,
    /// Number of places at which a read failed, and succeeded when it was repeated.
    pub soft_errors: Cell<u64>,
    /// Number of those of both kinds at which the device returned an error, and not wrong bytes: hard, soft.
    pub device_errors: [Cell<u64>; 2],
    /// Number of random needles that were read to see whether the disk works.
    pub probes: Cell<u64>,
}

impl Stats {
    /// Adds all counters of another volume.
    pub fn add(&self, other: &Self) {
        for (mine, theirs) in self.all().into_iter().zip(other.all()) {
            count(mine, theirs.get());
        }
    }

    fn all(&self) -> [&Cell<u64>; 15] {
        let Self {
            get_reads,
            get_read_bytes,
            other_reads,
            durable_writes,
            commits,
            commit_needles,
            commit_bytes,
            hints,
            false_candidates,
            damaged_reads,
            hard_errors,
            soft_errors,
            device_errors: [hard_device_errors, soft_device_errors],
            probes,
        } = self;
        [
            get_reads,
            get_read_bytes,
            other_reads,
            durable_writes,
            commits,
            commit_needles,
            commit_bytes,
            hints,
            false_candidates,
            damaged_reads,
            hard_errors,
            soft_errors,
            hard_device_errors,
            soft_device_errors,
            probes,
        ]
    }
}

/// Adds to a counter.
pub fn count(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

/// An open volume file. A reader holds an `Rc` of it until its read ends: this is the lease on this
/// generation of the file.
pub struct VolumeFile {
    handle: Handle,
    file: FileId,
    closed: Cell<bool>,
    /// The first write or sync that failed. No write or sync follows it.
    failed: Cell<Option<IoError>>,
    /// Where reads of it failed.
    errors: RefCell<ReadErrors>,
    /// Counters of the volume, which all its generations share.
    pub stats: Rc<Stats>,
}

/// Converts the result of a completion to a number or an error.
pub fn outcome(completion: &Completion) -> Result<u64, IoError> {
    u64::try_from(completion.result)
        .map_err(|_| IoError::Errno(i32::try_from(-completion.result).unwrap_or(i32::MAX)))
}

/// Returns the one buffer of a completed operation.
///
/// # Panics
/// If the operation had none.
pub fn returned(completion: Completion) -> Buf {
    match completion.returned {
        Returned::One(buf) => buf,
        other => unreachable!("a read or receive returns its buffer, not {other:?}"),
    }
}

impl VolumeFile {
    /// Wraps an open file, which is closed when the value is dropped.
    #[must_use]
    pub fn new(handle: &Handle, file: FileId) -> Self {
        Self::with_stats(handle, file, Rc::default())
    }

    /// Wraps the open file of another generation of the volume that these counters belong to.
    #[must_use]
    pub fn with_stats(handle: &Handle, file: FileId, stats: Rc<Stats>) -> Self {
        Self {
            handle: handle.clone(),
            file,
            closed: Cell::new(false),
            failed: Cell::new(None),
            errors: RefCell::default(),
            stats,
        }
    }

    /// Number of the file.
    #[must_use]
    pub fn number(&self) -> FileId {
        self.file
    }

    async fn read_once(&self, buf: Buf, start: u32, len: u32, offset: u64) -> Completion {
        self.handle.submit(Op::Read { file: self.file, buf, start, len, offset }).await
    }

    /// Reads `len` bytes at `offset` to `buf[start..]`. A short read is continued, a failed one tried
    /// once more. Each attempt is counted in `counter`.
    pub async fn read(
        &self,
        mut buf: Buf,
        start: usize,
        len: usize,
        offset: u64,
        counter: &Cell<u64>,
    ) -> (Buf, Result<(), IoError>) {
        let (mut done, mut failures) = (0, 0);
        while done < len {
            count(counter, 1);
            let at = u32::try_from(start + done).expect("buffers are at most 1 GiB long");
            let rest = u32::try_from(len - done).expect("buffers are at most 1 GiB long");
            let completion = self.read_once(buf, at, rest, offset + done as u64).await;
            let result = outcome(&completion);
            buf = returned(completion);
            match result {
                // Direct I/O continues at unit boundaries only: bytes after the last boundary are read
                // again.
                Ok(got) if got >= u64::from(rest).min(UNIT) => {
                    let got = usize::try_from(got).expect("at most the length requested");
                    done = if done + got >= len {
                        len
                    } else {
                        (done + got) / UNIT as usize * UNIT as usize
                    };
                }
                Ok(_) => {
                    let short = IoError::Short { done: done as u64, wanted: len as u64 };
                    return (buf, Err(short));
                }
                Err(_) if failures == 0 => failures += 1,
                Err(error) => {
                    if error.is_of_device() {
                        self.note_device_error(offset..offset + len as u64, Severity::Hard);
                    }
                    return (buf, Err(error));
                }
            }
        }
        if failures > 0 {
            self.note_device_error(offset..offset + len as u64, Severity::Soft);
        }
        (buf, Ok(()))
    }

    /// Records that the device could not read a range (bytes).
    pub fn note_device_error(&self, range: Range<u64>, severity: Severity) {
        if self.errors.borrow_mut().note(&range, severity) {
            self.count_error(severity);
            count(&self.stats.device_errors[severity as usize], 1);
        }
    }

    /// Records that a range (bytes) was read with other bytes than were written.
    pub fn note_wrong_bytes(&self, range: Range<u64>, severity: Severity) {
        if self.errors.borrow_mut().note(&range, severity) {
            self.count_error(severity);
        }
    }

    fn count_error(&self, severity: Severity) {
        count(
            match severity {
                Severity::Hard => &self.stats.hard_errors,
                Severity::Soft => &self.stats.soft_errors,
            },
            1,
        );
    }

    /// Returns where reads of the file failed.
    pub fn errors(&self) -> &RefCell<ReadErrors> {
        &self.errors
    }

    /// Reads as [`Self::read`] does, but fills sectors that cannot be read with zeros, so that checksums
    /// decide and the damage stays confined to these sectors. Returns the number of these sectors.
    pub async fn read_damaged(
        &self,
        buf: Buf,
        start: usize,
        len: usize,
        offset: u64,
    ) -> (Buf, usize) {
        let counter = &self.stats.other_reads;
        let (mut buf, result) = self.read(buf, start, len, offset, counter).await;
        if result.is_ok() {
            return (buf, 0);
        }
        let (mut lost, unit) = (0, UNIT as usize);
        for at in (0..len).step_by(BLOCK as usize) {
            let block = (len - at).min(BLOCK as usize);
            let (back, whole) =
                self.read(buf, start + at, block, offset + at as u64, counter).await;
            buf = back;
            if whole.is_ok() {
                continue;
            }
            for sector in (at..at + block).step_by(unit) {
                let place = offset + sector as u64;
                let (back, result) = self.read(buf, start + sector, unit, place, counter).await;
                buf = back;
                if result.is_err() {
                    buf[start + sector..start + sector + unit].fill(0);
                    lost += 1;
                }
            }
        }
        (buf, lost)
    }

    /// Writes the pieces at `offset` completely, or fails. If `durable`, they are on stable media when
    /// this returns. A failed or short write is never repeated, and no other write to the file follows
    /// it: after a failed flush the kernel may have dropped the data and may report success the next time
    /// (Rebello et al., ATC 2020).
    ///
    /// # Errors
    /// The error of the operation, or [`IoError::Short`]; after a failure, always the error of the first
    /// operation that failed.
    pub async fn write(
        &self,
        bufs: Vec<Buf>,
        pieces: Vec<Piece>,
        offset: u64,
        durable: bool,
    ) -> Result<Vec<Buf>, IoError> {
        self.may_write()?;
        let written = self.write_once(bufs, pieces, offset, durable).await;
        written.inspect_err(|error| self.failed.set(Some(*error)))
    }

    fn may_write(&self) -> Result<(), IoError> {
        match self.failed.get() {
            Some(error) if !chosen(Sabotage::WriteAfterFailure) => Err(error),
            _ => Ok(()),
        }
    }

    async fn write_once(
        &self,
        bufs: Vec<Buf>,
        pieces: Vec<Piece>,
        offset: u64,
        durable: bool,
    ) -> Result<Vec<Buf>, IoError> {
        let wanted: u64 = pieces.iter().map(|piece| u64::from(piece.len)).sum();
        count(&self.stats.durable_writes, u64::from(durable));
        let durable = self.flush_early(durable && !chosen(Sabotage::SkipFlush)).await?;
        let op = Op::Write { file: self.file, bufs, pieces, offset, durable };
        let completion = self.handle.submit(op).await;
        expect_whole(self.written(&completion, wanted).await?, wanted)?;
        match completion.returned {
            Returned::Many(bufs) => Ok(bufs),
            other => unreachable!("a write returns its buffers, not {other:?}"),
        }
    }

    /// Returns whether the write must be durable.
    async fn flush_early(&self, mut durable: bool) -> Result<bool, IoError> {
        if chosen(Sabotage::FlushBeforeLastWrite) && std::mem::take(&mut durable) {
            self.sync().await?;
        }
        Ok(durable)
    }

    /// Number of bytes that were written.
    async fn written(&self, completion: &Completion, wanted: u64) -> Result<u64, IoError> {
        match outcome(completion) {
            Err(_) if chosen(Sabotage::RetryFailedFlush) => self.sync().await.map(|()| wanted),
            written => written,
        }
    }

    /// Writes the 4 KiB block at the start of `buf` durably.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_block(&self, buf: Buf, offset: u64) -> Result<Buf, IoError> {
        self.write_one(buf, offset, true).await
    }

    /// As [`Self::write_block`], but on stable media only after a sync.
    ///
    /// # Errors
    /// As [`Self::write_block`].
    pub async fn write_unsynced_block(&self, buf: Buf, offset: u64) -> Result<Buf, IoError> {
        self.write_one(buf, offset, false).await
    }

    async fn write_one(&self, buf: Buf, offset: u64, durable: bool) -> Result<Buf, IoError> {
        let piece = Piece { buf: 0, start: 0, len: u32::try_from(BLOCK).expect("4096") };
        let mut bufs = self.write(vec![buf], vec![piece], offset, durable).await?;
        Ok(bufs.pop().expect("one buffer"))
    }

    /// Flushes everything written to stable media.
    ///
    /// # Errors
    /// The error of the operation; after a failure, the error of the first write or sync that failed.
    pub async fn sync(&self) -> Result<(), IoError> {
        self.may_write()?;
        let completion = self.handle.submit(Op::Sync { file: self.file }).await;
        outcome(&completion).map(drop).inspect_err(|error| self.failed.set(Some(*error)))
    }

    /// Reserves the blocks of `len` bytes at `offset`. A failure does not end writing: what was reserved
    /// before stays, and it may be tried again.
    ///
    /// # Errors
    /// The error of the operation. Some of the blocks may be reserved.
    pub async fn allocate(&self, offset: u64, len: u64) -> Result<(), IoError> {
        let op = Op::Allocate { file: self.file, offset, len };
        outcome(&self.handle.submit(op).await).map(drop)
    }

    /// Sets the length of the file (bytes).
    ///
    /// # Errors
    /// The error of the operation.
    pub async fn set_len(&self, len: u64) -> Result<(), IoError> {
        let op = Op::SetLen { file: self.file, len };
        outcome(&self.handle.submit(op).await).map(drop)
    }

    /// Returns the number of extents of the file; 0 when the file system does not report it.
    pub async fn extents(&self) -> u64 {
        let completion = self.handle.submit(Op::Extents { file: self.file }).await;
        outcome(&completion).unwrap_or(0)
    }

    /// Closes the file now instead of with the last lease. The caller must hold the only lease.
    pub async fn close(&self) {
        self.closed.set(true);
        self.handle.submit(Op::CloseFile { file: self.file }).await;
    }
}

/// A write that stopped early has failed.
fn expect_whole(done: u64, wanted: u64) -> Result<(), IoError> {
    match done == wanted || chosen(Sabotage::IgnoreShortWrite) {
        true => Ok(()),
        false => Err(IoError::Short { done, wanted }),
    }
}

impl Drop for VolumeFile {
    fn drop(&mut self) {
        if !self.closed.get() && !chosen(Sabotage::LeakFile) {
            // The driver performs the operation although its future is dropped.
            drop(self.handle.submit(Op::CloseFile { file: self.file }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::op::DirId;
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;
    use crate::runtime::split_mix;
    use crate::volume::Volume;
    use crate::volume::tests::rig::Rig;

    const LEN: usize = 3 * BLOCK as usize + 3 * UNIT as usize;
    const START: usize = 2 * BLOCK as usize;

    /// Reads `LEN` bytes from `START` of a file of bytes 7, of which these sectors cannot be read. Returns
    /// the number of lost sectors, the sectors of the buffer that are zero, and the number of reads.
    fn damaged(bad: &'static [usize]) -> (usize, Vec<usize>, u64) {
        let world = World::new(1, &Image::default());
        let (mut driver, mut state) = (world.driver(), 1);
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut state));
        let handle = runtime.handle().clone();
        runtime.block_on(&mut driver, async move {
            let op = Op::Create { dir: DirId(0), name: c"file".to_owned() };
            let number = outcome(&handle.submit(op).await).unwrap();
            let file = VolumeFile::new(&handle, FileId(u32::try_from(number).unwrap()));
            let mut buf = handle.pool().alloc(START + LEN).unwrap();
            buf.fill(7);
            let len = u32::try_from(START + LEN).unwrap();
            let pieces = vec![Piece { buf: 0, start: 0, len }];
            file.write(vec![buf], pieces, 0, true).await.unwrap();
            bad.iter().for_each(|sector| world.spoil("file", START / UNIT as usize + sector));
            let mut buf = handle.pool().alloc(LEN).unwrap();
            buf.fill(9);
            let (buf, lost) = file.read_damaged(buf, 0, LEN, START as u64).await;
            let sectors = buf[..LEN].chunks(UNIT as usize).enumerate();
            let zero = sectors.filter(|(_, bytes)| {
                let is_zero = bytes.iter().all(|byte| *byte == 0);
                assert!(is_zero || bytes.iter().all(|byte| *byte == 7));
                is_zero
            });
            (lost, zero.map(|(n, _)| n).collect(), file.stats.other_reads.get())
        })
    }

    #[test]
    fn durable_writes_are_counted() {
        let (mut rig, slot) = Rig::with_volume();
        let volume = slot.volume();
        let counted = |volume: &Volume| {
            let stats = volume.stats();
            (stats.durable_writes.get(), stats.commits.get(), stats.hints.get())
        };
        let (before, ..) = counted(&volume);
        rig.put(&slot, 1);
        rig.put(&slot, 2);
        let (writes, commits, hints) = counted(&volume);
        assert_eq!((writes - before, commits), (2, 2));
        let stats = volume.stats();
        assert_eq!((stats.commit_needles.get(), stats.commit_bytes.get()), (2, 2 * BLOCK));
        assert_eq!(volume.figures().extents, 0, "this file system does not report them");
        rig.close(&slot);
        assert_eq!(counted(&volume), (writes + 1, 2, hints + 1), "the hint at close");
    }

    #[test]
    fn only_sectors_that_cannot_be_read_are_lost() {
        assert_eq!(damaged(&[]), (0, vec![], 1));
        // Twice the whole, then each block once and the damaged one twice, then its sectors.
        assert_eq!(damaged(&[9]), (1, vec![9], 2 + 3 + 2 + 7 + 2));
        assert_eq!(damaged(&[0, 7]).1, [0, 7]);
        assert_eq!(damaged(&[26]), (1, vec![26], 2 + 3 + 2 + 2 + 2), "the last block is shorter");
        assert_eq!(damaged(&[8, 15, 24]).0, 3);
    }
}
