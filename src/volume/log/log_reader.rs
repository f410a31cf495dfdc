//! Reading a log in long sections at the pace of background work, and skipping what is dead.

use std::rc::Rc;

use crate::base::limits::BLOCK;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{SharedPace, WorkBuffer};
use crate::volume::Volume;
use crate::volume::error::IoError;
use crate::volume::io::VolumeFile;

/// Length of the first read after something was skipped (bytes). Each further read is twice as long.
const FIRST_READ: u64 = 32 << 10;
/// Length up to which something is skipped without shorter reads afterwards (bytes). Where dead needles are
/// short and many, each short read would cost more time than it saves.
const SHORT_SKIP: u64 = 256 << 10;

/// A range of the log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableRange {
    /// Offset (bytes).
    pub offset: u64,
    /// Length (bytes).
    pub len: u64,
    /// Error of the device.
    pub error: IoError,
}

/// A window that moves over the log.
pub struct LogReader {
    file: Rc<VolumeFile>,
    /// Pace of the disk of the file, which limits the length of a read.
    pace: Rc<SharedPace>,
    buf: WorkBuffer,
    /// Length of the buffer (bytes).
    capacity: u64,
    /// The window holds bytes `start..end` of the file.
    start: u64,
    end: u64,
    /// Length of the next read (bytes).
    ahead: u64,
    /// Whether sectors that cannot be read are replaced by zeros.
    accept_losses: bool,
    /// Bytes read so far.
    pub bytes_read: u64,
    /// Sectors that were replaced by zeros so far.
    pub lost_sectors: u64,
}

impl LogReader {
    /// Creates a reader with an empty window.
    pub fn new(volume: &Volume, mut buf: WorkBuffer, accept_losses: bool) -> Self {
        let capacity = buf.memory().len() as u64 / BLOCK * BLOCK;
        Self {
            file: Rc::clone(&volume.file),
            pace: Rc::clone(&volume.pace),
            buf,
            capacity,
            start: 0,
            end: 0,
            ahead: FIRST_READ,
            accept_losses,
            bytes_read: 0,
            lost_sectors: 0,
        }
    }

    /// Goes on with the file of another volume, with an empty window. Returns the number of bytes read so
    /// far, and counts from 0 on.
    pub fn turn_to(&mut self, volume: &Volume, accept_losses: bool) -> u64 {
        self.clear();
        (self.file, self.pace) = (Rc::clone(&volume.file), Rc::clone(&volume.pace));
        self.accept_losses = accept_losses;
        std::mem::take(&mut self.bytes_read)
    }

    /// Forgets the window.
    pub fn clear(&mut self) {
        (self.start, self.end, self.ahead) = (0, 0, FIRST_READ);
    }

    /// Returns whether the window holds `len` bytes from `offset` on.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset >= self.start && offset + len <= self.end
    }

    /// Makes sure that the window holds `len` bytes from `offset` on. Reads further, but not beyond `limit`,
    /// a multiple of 4096.
    ///
    /// # Errors
    /// [`UnreadableRange`], never if sectors that cannot be read are replaced by zeros.
    ///
    /// # Panics
    /// If the range does not fit into the buffer or ends after `limit`.
    pub async fn fill(&mut self, offset: u64, len: u64, limit: u64) -> Result<(), UnreadableRange> {
        if self.holds(offset, len) {
            return Ok(());
        }
        assert!(
            offset + len <= limit,
            "{len} bytes at {offset} are not in the log, which ends at {limit}"
        );
        let start = offset / BLOCK * BLOCK;
        let kept = if (self.start..self.end).contains(&start) {
            let from = to_usize(start - self.start);
            let to = to_usize(self.end - self.start);
            self.buf.memory().copy_within(from..to, 0);
            self.end - start
        } else {
            if start > self.end && self.end > 0 && chosen(Sabotage::ReadTheGaps) {
                self.read_gap(start).await?;
            }
            if start > self.end + SHORT_SKIP {
                self.ahead = FIRST_READ;
            }
            0
        };
        let needed = (offset + len).next_multiple_of(BLOCK);
        let end = needed.max(start + kept + self.ahead).min(limit).min(start + self.capacity);
        assert!(end >= offset + len, "a needle fits into the window");
        self.ahead = (2 * self.ahead).min(self.capacity);
        self.start = start;
        self.end = start + kept;
        self.read(start + kept, end).await?;
        self.end = end;
        Ok(())
    }

    /// Reads a range from the device although the window may hold it. Returns the number of its sectors that
    /// could not be read.
    ///
    /// # Errors
    /// As [`Self::fill`].
    ///
    /// # Panics
    /// As [`Self::fill`].
    pub async fn fill_again(
        &mut self,
        offset: u64,
        len: u64,
        limit: u64,
    ) -> Result<u64, UnreadableRange> {
        self.clear();
        self.ahead = 0;
        let lost_before = self.lost_sectors;
        let filled = self.fill(offset, len, limit).await;
        self.ahead = FIRST_READ;
        filled.map(|()| self.lost_sectors - lost_before)
    }

    /// Reads everything from the end of the window to `to`, which is a mistake.
    async fn read_gap(&mut self, to: u64) -> Result<(), UnreadableRange> {
        let mut at = self.end;
        while at < to {
            let end = to.min(at + self.capacity);
            self.start = at;
            self.read(at, end).await?;
            at = end;
        }
        Ok(())
    }

    /// Reads bytes `from..to` of the file to their place in the window.
    async fn read(&mut self, from: u64, to: u64) -> Result<(), UnreadableRange> {
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(self.pace.transfer_max()));
            self.read_at_once(at, end).await?;
            at = end;
        }
        Ok(())
    }

    async fn read_at_once(&mut self, from: u64, to: u64) -> Result<(), UnreadableRange> {
        let (at, len) = (to_usize(from - self.start), to_usize(to - from));
        let reads = &self.file.stats.other_reads;
        let (buf, result) = self.file.read(self.buf.take(), at, len, from, reads).await;
        self.buf.put_back(buf);
        self.bytes_read += to - from;
        let Err(error) = result else { return Ok(()) };
        if !self.accept_losses && !chosen(Sabotage::ZerosForUnreadable) {
            return Err(UnreadableRange { offset: from, len: to - from, error });
        }
        let buf = self.buf.take();
        let (buf, lost) = self.file.read_damaged(buf, at, len, from).await;
        self.buf.put_back(buf);
        self.lost_sectors += lost as u64;
        Ok(())
    }

    /// Returns bytes of the window.
    ///
    /// # Panics
    /// If the window does not hold them.
    pub fn bytes(&mut self, offset: u64, len: u64) -> &mut [u8] {
        assert!(self.holds(offset, len), "not in the window");
        let from = to_usize(offset - self.start);
        &mut self.buf.memory()[from..from + to_usize(len)]
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside a buffer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::UNIT;
    use crate::runtime::background::{BackgroundRun, Pace};
    use crate::volume::tests::rig::{FILE, Rig, location};

    #[test]
    fn only_sectors_lost_this_time_count_when_a_range_is_read_again() {
        let (mut rig, slot) = Rig::with_volume();
        rig.put(&slot, 1);
        rig.put(&slot, 2);
        let [damaged, whole] = [1, 2].map(|n| location(&slot, n));
        rig.world.spoil(FILE, to_usize(damaged.offset / UNIT));
        rig.run(async move {
            let volume = slot.volume();
            let run = BackgroundRun::new(&volume.handle, None, Pace::UNLIMITED);
            let Ok(buf) = run.buffer(None, 64 << 10, 0).await else { panic!("a buffer is free") };
            let mut reader = LogReader::new(&volume, buf, true);
            for (at, lost) in [(damaged, 1), (damaged, 1), (whole, 0)] {
                let read = reader.fill_again(at.offset, at.len, volume.log.tail()).await;
                assert_eq!(read, Ok(lost));
            }
        });
    }
}
