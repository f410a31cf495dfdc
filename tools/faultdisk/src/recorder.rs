//! Backend of the device: an image that receives the writes, a log of every completed request, and injected
//! faults.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::device::Device;
use crate::error::{Error, file};
use crate::log::{Entry, Kind, MAGIC};
use crate::random::split_mix;

/// One of this number of requests is delayed, so that requests complete out of order.
const DELAYED_ONE_IN: u64 = 4;
/// Upper bound of such a delay (microseconds, exclusive).
const DELAY_US_MAX: u64 = 200;

/// Requests that a fault applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// Writes that overlap one of these ranges (bytes).
    WritesTo(Vec<Range<u64>>),
    /// All writes.
    Writes,
    /// All flushes.
    Flushes,
}

/// An injected fault: requests fail with EIO and have no effect on the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Requests that fail.
    pub target: FaultTarget,
    /// Whether only the next matching request fails; later ones succeed although data was lost.
    pub once: bool,
}

/// An injected fault of reads that overlap one of some ranges (bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFault {
    /// The ranges.
    pub ranges: Vec<Range<u64>>,
    /// What happens to reads of them.
    pub kind: ReadFaultKind,
}

/// What happens to reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFaultKind {
    /// Sectors of 4 KiB fail with EIO for good: this share of them, in millionths, chosen by a hash.
    Sectors(u64),
    /// Reads fail with EIO, each with this probability, in millionths.
    Random(u64),
    /// Reads take this much longer.
    Slow(Duration),
}

/// Length of a sector that fails as a whole (bytes).
const SECTOR: u64 = 4096;

impl ReadFault {
    /// Returns whether a read of a range (bytes) fails; `random` differs from read to read.
    fn fails(&self, range: &Range<u64>, random: u64) -> bool {
        let is_hit = |draw: u64, per_million: u64| draw % 1_000_000 < per_million;
        match self.kind {
            ReadFaultKind::Sectors(per_million) => {
                (range.start / SECTOR..range.end.div_ceil(SECTOR)).any(|sector| {
                    let at = sector * SECTOR;
                    let mut seed = sector;
                    self.concerns(&(at..at + SECTOR)) && is_hit(split_mix(&mut seed), per_million)
                })
            }
            ReadFaultKind::Random(per_million) => {
                let mut seed = random;
                self.concerns(range) && is_hit(split_mix(&mut seed), per_million)
            }
            ReadFaultKind::Slow(_) => false,
        }
    }

    fn concerns(&self, range: &Range<u64>) -> bool {
        self.ranges.iter().any(|other| range.start < other.end && other.start < range.end)
    }
}

impl Fault {
    fn applies_to(&self, kind: Kind, range: &Range<u64>) -> bool {
        let overlaps = |other: &Range<u64>| range.start < other.end && other.start < range.end;
        match &self.target {
            FaultTarget::WritesTo(ranges) => kind == Kind::Write && ranges.iter().any(overlaps),
            FaultTarget::Writes => kind == Kind::Write,
            FaultTarget::Flushes => kind == Kind::Flush,
        }
    }
}

#[derive(Debug)]
struct LogWriter {
    log: File,
    at: u64,
}

/// Backend of the block device, without the device itself.
#[derive(Debug)]
pub struct Recorder {
    image: File,
    len: u64,
    log: Mutex<LogWriter>,
    done: AtomicU64,
    fault: Mutex<Option<Fault>>,
    read_fault: Mutex<Option<ReadFault>>,
    /// Number of reads that arrived while there was a fault of reads.
    faulty_reads: AtomicU64,
    /// Seed of the next request's delay.
    delay_seed: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Opens `image` and creates a new log at `log`.
    ///
    /// # Errors
    /// When the image cannot be opened or the log cannot be created.
    pub fn new(image: &Path, log: &Path) -> Result<Self, Error> {
        let open = File::options().read(true).write(true).open(image);
        let image_file = open.map_err(file("open", image))?;
        let len = image_file.metadata().map_err(file("read the length of", image))?.len();
        let log_file = File::create(log).map_err(file("create", log))?;
        log_file.write_all_at(&MAGIC, 0).map_err(file("write", log))?;
        let at = MAGIC.len() as u64;
        Ok(Self {
            image: image_file,
            len,
            log: Mutex::new(LogWriter { log: log_file, at }),
            done: AtomicU64::new(0),
            fault: Mutex::new(None),
            read_fault: Mutex::new(None),
            faulty_reads: AtomicU64::new(0),
            delay_seed: AtomicU64::new(0),
        })
    }

    /// Number of completed requests. It is incremented before a request is answered, so it includes every
    /// request whose answer has been seen.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Injects a fault; `None` removes it.
    pub fn fail(&self, fault: Option<Fault>) {
        *locked(&self.fault) = fault;
    }

    /// Injects a fault of reads; `None` removes it.
    pub fn fail_reads(&self, fault: Option<ReadFault>) {
        *locked(&self.read_fault) = fault;
    }

    fn carry_out(&self, entry: Entry, data: &[u8]) -> io::Result<()> {
        if self.must_fail(&entry) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.delay_some();
        let mut log = locked(&self.log);
        self.image.write_all_at(data, entry.offset)?;
        log.log.write_all_at(&entry.encode(), log.at)?;
        log.at += entry.encode().len() as u64;
        log.log.write_all_at(data, log.at)?;
        log.at += entry.len;
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn must_fail(&self, entry: &Entry) -> bool {
        let mut fault = locked(&self.fault);
        let range = entry.offset..entry.offset + entry.len;
        let applies = fault.as_ref().is_some_and(|fault| fault.applies_to(entry.kind, &range));
        if applies && fault.as_ref().is_some_and(|fault| fault.once) {
            *fault = None;
        }
        applies
    }

    /// Delays some requests, so that they complete in another order than they arrived.
    fn delay_some(&self) {
        let mut state = self.delay_seed.fetch_add(1, Ordering::Relaxed);
        let drawn = split_mix(&mut state);
        if drawn.is_multiple_of(DELAYED_ONE_IN) {
            let us = split_mix(&mut state) % DELAY_US_MAX;
            std::thread::sleep(Duration::from_micros(us));
        }
    }
}

impl Device for Recorder {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let fault = locked(&self.read_fault).clone();
        if let Some(fault) = fault {
            let range = offset..offset + data.len() as u64;
            if let ReadFaultKind::Slow(time) = fault.kind
                && fault.concerns(&range)
            {
                std::thread::sleep(time);
            }
            if fault.fails(&range, self.faulty_reads.fetch_add(1, Ordering::Relaxed)) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
        }
        self.image.read_exact_at(data, offset)
    }

    /// Logged after the write has completed.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let entry = Entry { kind: Kind::Write, offset, len: data.len() as u64, begun: self.done() };
        self.carry_out(entry, data)
    }

    /// Covers the requests that had completed when it arrived.
    fn flush(&self) -> io::Result<()> {
        self.carry_out(Entry { kind: Kind::Flush, offset: 0, len: 0, begun: self.done() }, &[])
    }
}

/// Linux error number of "Input/output error".
const EIO: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RequestLog;

    fn recorder() -> (tempfile::TempDir, Recorder) {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("image")).unwrap().set_len(65_536).unwrap();
        let recorder = Recorder::new(&dir.path().join("image"), &dir.path().join("log")).unwrap();
        (dir, recorder)
    }

    fn read(recorder: &Recorder, offset: u64) -> [u8; 512] {
        let mut data = [0; 512];
        recorder.read(offset, &mut data).unwrap();
        data
    }

    #[test]
    fn writes_are_read_back_and_requests_are_logged() {
        let (dir, recorder) = recorder();
        recorder.write(4096, &[7; 512]).unwrap();
        recorder.flush().unwrap();
        assert_eq!(read(&recorder, 4096), [7; 512]);
        assert_eq!(recorder.done(), 2);
        let log = RequestLog::open(&dir.path().join("log")).unwrap();
        let begun: Vec<u64> = log.entries().iter().map(|entry| entry.begun).collect();
        assert_eq!((begun, log.data(0).unwrap()), (vec![0, 1], vec![7; 512]));
    }

    #[test]
    fn reads_fail_in_the_same_sectors_or_at_random_and_in_their_ranges_only() {
        let (_dir, recorder) = recorder();
        let failed = |sectors: Range<u64>| -> Vec<u64> {
            let fails = |at: &u64| recorder.read(at * SECTOR, &mut [0; 512]).is_err();
            sectors.filter(fails).collect()
        };
        assert_eq!(failed(0..16), []);
        let ranges = [4 * SECTOR..10 * SECTOR, 10 * SECTOR..16 * SECTOR].to_vec();
        let inject = |kind| recorder.fail_reads(Some(ReadFault { ranges: ranges.clone(), kind }));
        inject(ReadFaultKind::Sectors(1_000_000));
        assert_eq!(failed(0..16), (4..16).collect::<Vec<_>>());
        inject(ReadFaultKind::Sectors(300_000));
        let some = failed(0..16);
        assert!((1..11).contains(&some.len()), "{some:?}");
        assert_eq!(failed(0..16), some, "always the same ones");
        inject(ReadFaultKind::Random(300_000));
        let counts: Vec<usize> = (0..20).map(|_| failed(0..16).len()).collect();
        assert!(counts.iter().sum::<usize>() > 30 && counts.iter().any(|it| *it != counts[0]));
        inject(ReadFaultKind::Slow(Duration::from_millis(20)));
        let began = std::time::Instant::now();
        assert_eq!(failed(0..5), []);
        assert!(began.elapsed() >= Duration::from_millis(20));
        recorder.fail_reads(None);
        assert_eq!(failed(0..16), []);
    }

    #[test]
    fn injected_faults_fail_once_or_always_without_effect_on_image_and_log() {
        let (dir, recorder) = recorder();
        let fails = |target, once| recorder.fail(Some(Fault { target, once }));
        fails(FaultTarget::Flushes, true);
        recorder.write(0, &[1; 512]).unwrap();
        assert_eq!(recorder.flush().unwrap_err().raw_os_error(), Some(EIO));
        recorder.flush().unwrap();
        fails(
            FaultTarget::WritesTo([(1024, 2048), (8192, 9216)].map(|(a, b)| a..b).to_vec()),
            false,
        );
        recorder.write(512, &[2; 512]).unwrap();
        for _ in 0..2 {
            assert!(recorder.write(1536, &[3; 1024]).is_err());
        }
        recorder.fail(None);
        recorder.write(2048, &[4; 512]).unwrap();
        let log = RequestLog::open(&dir.path().join("log")).unwrap();
        let places: Vec<_> = log.entries().iter().map(|entry| (entry.kind, entry.offset)).collect();
        let (write, flush) = (Kind::Write, Kind::Flush);
        assert_eq!(places, [(write, 0), (flush, 0), (write, 512), (write, 2048)]);
        assert_eq!(read(&recorder, 1536), [0; 512]);
    }
}
