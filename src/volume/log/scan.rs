//! Reading a log from end to end: a sliding window over the file, and the recognition of records and
//! needles in it, damaged or not.

use std::cell::Cell;
use std::ops::RangeInclusive;

use crate::base::limits::{BLOCK, NEEDLE_LEN_MAX, UNIT};
use crate::base::types::NeedleId;
use crate::runtime::buffer::Buf;
use crate::volume::format::{
    COMMIT_RECORD_LEN, CommitRecord, Footer, NeedleHeader, damaged_spare, decode_header, footer_at,
    verify_data, verify_meta,
};
use crate::volume::index::Location;
use crate::volume::io::VolumeFile;

/// Length of one read (bytes); a whole needle must fit.
pub const WINDOW: u64 = (NEEDLE_LEN_MAX + (512 << 10)).next_multiple_of(BLOCK);

/// A needle found by a scan.
#[derive(Clone, Copy, Debug)]
pub enum FoundNeedle {
    /// The header is valid; the data may not be.
    Whole(NeedleHeader, Location),
    /// The header is damaged; the footer identifies the needle.
    Damaged(Footer),
}

impl FoundNeedle {
    /// Returns the object that the needle belongs to; `None` if it has no id, or the id is not known.
    pub fn owner(&self) -> Option<NeedleId> {
        match self {
            Self::Whole(header, _) => header.owner(),
            Self::Damaged(footer) => footer.owner(),
        }
    }

    /// Epoch of its commit.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Whole(header, _) => header.epoch,
            Self::Damaged(footer) => footer.epoch,
        }
    }

    /// Position in its commit.
    pub fn ordinal(&self) -> u32 {
        match self {
            Self::Whole(header, _) => header.ordinal,
            Self::Damaged(footer) => footer.ordinal,
        }
    }

    /// Offset and length of the needle.
    pub fn location(&self) -> Location {
        match self {
            Self::Whole(_, at) => *at,
            Self::Damaged(footer) => {
                Location { offset: footer.start, len: u64::from(footer.units) * UNIT }
            }
        }
    }
}

/// Selects the needles that a scan returns.
#[derive(Clone, Debug)]
pub struct ScanFilter {
    /// Sequences of their commits.
    pub sequences: RangeInclusive<u64>,
    /// Epoch of their commits; `None` for any.
    pub epoch: Option<u64>,
}

impl ScanFilter {
    /// Whether a needle of a commit with this sequence and epoch is wanted.
    pub fn accepts(&self, sequence: u64, epoch: u64) -> bool {
        self.sequences.contains(&sequence) && self.epoch.is_none_or(|wanted| wanted == epoch)
    }
}

/// Holds the scan buffer while no scanner uses it. The buffer is taken from the pool once for all reads
/// of an opening, so that clients of other volumes cannot take it in between.
pub type ScanBuffer = Cell<Option<Buf>>;

/// A window that slides over the log.
pub struct Scanner<'a> {
    file: &'a VolumeFile,
    /// Where the buffer comes from, and where it is put back.
    memory: &'a ScanBuffer,
    incarnation: u64,
    log_end: u64,
    buf: Option<Buf>,
    start: u64,
    len: u64,
    /// Number of sectors that the device could not read.
    pub lost_sectors: usize,
    /// Number of bytes read.
    pub bytes_read: u64,
}

impl Drop for Scanner<'_> {
    fn drop(&mut self) {
        self.memory.set(self.buf.take());
    }
}

impl<'a> Scanner<'a> {
    /// Creates a scanner with an empty window.
    pub fn new(
        file: &'a VolumeFile,
        memory: &'a ScanBuffer,
        incarnation: u64,
        log_end: u64,
    ) -> Self {
        let buf = Some(memory.take().expect("one scanner at a time"));
        Self {
            file,
            memory,
            incarnation,
            log_end,
            buf,
            start: 0,
            len: 0,
            lost_sectors: 0,
            bytes_read: 0,
        }
    }

    fn holds(&self, offset: u64, end: u64) -> bool {
        offset >= self.start && end <= self.start + self.len
    }

    /// Moves the window so that it begins with the block that holds `offset`.
    async fn slide_to(&mut self, offset: u64) {
        let buf = self.buf.take().expect("the scanner holds the window between reads");
        self.start = offset / BLOCK * BLOCK;
        self.len = (buf.len() as u64).min(self.log_end - self.start);
        let len = usize::try_from(self.len).expect("about 1.5 MiB");
        let (buf, lost) = self.file.read_damaged(buf, 0, len, self.start).await;
        self.lost_sectors += lost;
        self.bytes_read += self.len;
        self.buf = Some(buf);
    }

    fn window(&self, offset: u64, end: u64) -> &[u8] {
        let within = |at: u64| usize::try_from(at - self.start).expect("inside the window");
        &self.buf.as_ref().expect("the scanner holds the window")[within(offset)..within(end)]
    }

    /// Returns bytes `offset..offset + len` of the log; fewer at its end.
    async fn view(&mut self, offset: u64, len: u64) -> &[u8] {
        let end = (offset + len).min(self.log_end);
        if !self.holds(offset, end) {
            self.slide_to(offset).await;
        }
        self.window(offset, end)
    }

    /// Returns the commit record at `offset` and its checksum, if there is a valid one.
    pub async fn record(&mut self, offset: u64) -> Option<(CommitRecord, u64)> {
        if offset >= self.log_end {
            return None;
        }
        let (incarnation, log_end) = (self.incarnation, self.log_end);
        let bytes = self.view(offset, 2 * COMMIT_RECORD_LEN as u64).await;
        CommitRecord::decode(bytes, incarnation, offset, log_end)
    }

    /// Returns all wanted needles in `from..to`, in order. The scan passes a needle that validates as a
    /// whole, and otherwise continues unit by unit, so that damage hides nothing after it.
    pub async fn collect(&mut self, from: u64, to: u64, wanted: &ScanFilter) -> Vec<FoundNeedle> {
        let mut found = Vec::new();
        let mut at = from;
        while at < to {
            if !self.holds(at, at + UNIT) {
                self.slide_to(at).await;
            }
            match self.recognise(at, from, to, wanted) {
                Some((needle, end)) => {
                    found.push(needle);
                    at = end;
                }
                None => at += UNIT,
            }
        }
        found
    }

    /// Returns the needle recognised by the unit at `at`, which must be in the window, and the end of
    /// that needle.
    fn recognise(
        &self,
        at: u64,
        from: u64,
        to: u64,
        wanted: &ScanFilter,
    ) -> Option<(FoundNeedle, u64)> {
        let incarnation = self.incarnation;
        let unit = self.window(at, at + UNIT);
        if let Some((header, back)) = decode_header(unit, incarnation, at) {
            let offset = at.checked_sub(back).filter(|&offset| offset >= from)?;
            let location = Location { offset, len: header.layout().len as u64 };
            let end = offset + location.len;
            let fits = wanted.accepts(header.sequence, header.epoch) && end <= to;
            return fits.then_some((FoundNeedle::Whole(header, location), end));
        }
        let end = at + UNIT;
        let footer = footer_at(unit, incarnation, end)?;
        let fits = footer.start >= from && wanted.accepts(footer.sequence, footer.epoch);
        fits.then_some((FoundNeedle::Damaged(footer), end))
    }

    /// Verifies a needle to its last byte.
    pub async fn verify(&mut self, header: &NeedleHeader, at: Location) -> bool {
        let incarnation = self.incarnation;
        let needle = self.view(at.offset, at.len).await;
        verify_meta(needle, header, incarnation).is_ok() && verify_data(needle, header).is_ok()
    }

    /// Returns whether a needle also has what is stored for safety only: a second header, and the footer.
    pub async fn has_spares(&mut self, header: &NeedleHeader, at: Location) -> bool {
        let incarnation = self.incarnation;
        let needle = self.view(at.offset, at.len).await;
        damaged_spare(needle, header, incarnation, at.offset).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tests::rig::{Rig, location};

    #[test]
    fn needles_are_recognised_by_header_or_footer_if_they_are_wanted() {
        let (mut rig, slot) = Rig::with_volume();
        rig.put(&slot, 1);
        rig.put(&slot, 2);
        let [damaged, whole] = [1, 2].map(|n| location(&slot, n));
        rig.rot(damaged.offset + 30);
        rig.run(async move {
            let volume = slot.volume();
            let memory = ScanBuffer::new(volume.handle.pool().alloc(WINDOW as usize));
            let (incarnation, end) = (volume.superblock.incarnation, volume.log.tail());
            let mut scanner = Scanner::new(&volume.file, &memory, incarnation, end);
            let epoch = Some(volume.log.epoch());
            for (from, sequences, epoch, wanted) in [
                (damaged.offset, 1..=2, epoch, &[damaged, whole][..]),
                (damaged.offset, 0..=u64::MAX, None, &[damaged, whole]),
                (damaged.offset + UNIT, 0..=u64::MAX, None, &[whole]),
                (damaged.offset, 2..=2, epoch, &[whole]),
                (damaged.offset, 1..=1, epoch, &[damaged]),
                (damaged.offset, 0..=u64::MAX, Some(9), &[]),
                (whole.offset + UNIT, 0..=u64::MAX, None, &[]),
            ] {
                let filter = ScanFilter { sequences, epoch };
                let found = scanner.collect(from, end, &filter).await;
                let found: Vec<_> = found.iter().map(FoundNeedle::location).collect();
                assert_eq!(found, wanted, "{filter:?} from {from}");
            }
        });
    }

    #[test]
    fn filter_accepts_needles_of_its_commits_only() {
        let any = ScanFilter { sequences: 0..=u64::MAX, epoch: None };
        assert!(any.accepts(0, 1) && any.accepts(u64::MAX, 2));
        let of_an_epoch = ScanFilter { sequences: 3..=4, epoch: Some(7) };
        assert!(of_an_epoch.accepts(3, 7) && of_an_epoch.accepts(4, 7));
        for (sequence, epoch) in [(2, 7), (5, 7), (3, 6), (4, 0)] {
            assert!(!of_an_epoch.accepts(sequence, epoch), "{sequence}, {epoch}");
        }
    }
}
