//! What stands behind the device: an image that holds what was written, a log of every request, and
//! the order to fail.

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

/// One request in so many takes longer.
const DAWDLES: u64 = 4;
/// By up to this (microseconds).
const DAWDLES_US_MAX: u64 = 200;

/// Which requests fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Writes to these places (bytes).
    WritesTo(Vec<Range<u64>>),
    /// All writes.
    Writes,
    /// Flushes.
    Flushes,
}

/// An order to fail, with EIO. Of a request that fails nothing is on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which requests.
    pub which: Which,
    /// The next one only; the one after it succeeds again, which proves nothing.
    pub once: bool,
}

impl Fault {
    fn strikes(&self, kind: Kind, place: &Range<u64>) -> bool {
        let meets = |other: &Range<u64>| place.start < other.end && other.start < place.end;
        match &self.which {
            Which::WritesTo(places) => kind == Kind::Write && places.iter().any(meets),
            Which::Writes => kind == Kind::Write,
            Which::Flushes => kind == Kind::Flush,
        }
    }
}

#[derive(Debug)]
struct Writing {
    log: File,
    at: u64,
}

/// The device, without what makes it one.
#[derive(Debug)]
pub struct Recorder {
    image: File,
    len: u64,
    writing: Mutex<Writing>,
    done: AtomicU64,
    fault: Mutex<Option<Fault>>,
    dice: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// On an image, with a new log.
    ///
    /// # Errors
    /// When one of them cannot be opened or made.
    pub fn new(image: &Path, log: &Path) -> Result<Self, Error> {
        let open = File::options().read(true).write(true).open(image);
        let image_file = open.map_err(file("open", image))?;
        let len = image_file.metadata().map_err(file("look at", image))?.len();
        let log_file = File::create(log).map_err(file("create", log))?;
        log_file.write_all_at(&MAGIC, 0).map_err(file("write", log))?;
        let at = MAGIC.len() as u64;
        Ok(Self {
            image: image_file,
            len,
            writing: Mutex::new(Writing { log: log_file, at }),
            done: AtomicU64::new(0),
            fault: Mutex::new(None),
            dice: AtomicU64::new(0),
        })
    }

    /// Number of requests that have completed. It rises before a request is answered, so whoever has
    /// seen an answer finds what it rests on among these.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Gives the order to fail, or takes it back.
    pub fn fail(&self, fault: Option<Fault>) {
        *locked(&self.fault) = fault;
    }

    fn carry_out(&self, entry: Entry, data: &[u8]) -> io::Result<()> {
        if self.must_fail(&entry) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.dawdle();
        let mut writing = locked(&self.writing);
        self.image.write_all_at(data, entry.offset)?;
        writing.log.write_all_at(&entry.encode(), writing.at)?;
        writing.at += entry.encode().len() as u64;
        writing.log.write_all_at(data, writing.at)?;
        writing.at += entry.len;
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn must_fail(&self, entry: &Entry) -> bool {
        let mut fault = locked(&self.fault);
        let place = entry.offset..entry.offset + entry.len;
        let strikes = fault.as_ref().is_some_and(|fault| fault.strikes(entry.kind, &place));
        if strikes && fault.as_ref().is_some_and(|fault| fault.once) {
            *fault = None;
        }
        strikes
    }

    /// So that requests overtake each other.
    fn dawdle(&self) {
        let mut state = self.dice.fetch_add(1, Ordering::Relaxed);
        let rolled = split_mix(&mut state);
        if rolled.is_multiple_of(DAWDLES) {
            let us = split_mix(&mut state) % DAWDLES_US_MAX;
            std::thread::sleep(Duration::from_micros(us));
        }
    }
}

impl Device for Recorder {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.image.read_exact_at(data, offset)
    }

    /// Noted when it is done.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let entry = Entry { kind: Kind::Write, offset, len: data.len() as u64, begun: self.done() };
        self.carry_out(entry, data)
    }

    /// It covers what had completed when it came.
    fn flush(&self) -> io::Result<()> {
        self.carry_out(Entry { kind: Kind::Flush, offset: 0, len: 0, begun: self.done() }, &[])
    }
}

/// "Input/output error", as Linux numbers it.
const EIO: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;

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
    fn what_is_done_is_read_back_and_stands_in_the_log() {
        let (dir, recorder) = recorder();
        recorder.write(4096, &[7; 512]).unwrap();
        recorder.flush().unwrap();
        assert_eq!(read(&recorder, 4096), [7; 512]);
        assert_eq!(recorder.done(), 2);
        let log = Log::open(&dir.path().join("log")).unwrap();
        let begun: Vec<u64> = log.entries().iter().map(|entry| entry.begun).collect();
        assert_eq!((begun, log.data(0).unwrap()), (vec![0, 1], vec![7; 512]));
    }

    #[test]
    fn it_fails_on_demand_once_or_on_and_nothing_of_that_is_there() {
        let (dir, recorder) = recorder();
        let fails = |which, once| recorder.fail(Some(Fault { which, once }));
        fails(Which::Flushes, true);
        recorder.write(0, &[1; 512]).unwrap();
        assert_eq!(recorder.flush().unwrap_err().raw_os_error(), Some(EIO));
        recorder.flush().unwrap();
        fails(Which::WritesTo([(1024, 2048), (8192, 9216)].map(|(a, b)| a..b).to_vec()), false);
        recorder.write(512, &[2; 512]).unwrap();
        for _ in 0..2 {
            assert!(recorder.write(1536, &[3; 1024]).is_err());
        }
        recorder.fail(None);
        recorder.write(2048, &[4; 512]).unwrap();
        let log = Log::open(&dir.path().join("log")).unwrap();
        let places: Vec<_> = log.entries().iter().map(|entry| (entry.kind, entry.offset)).collect();
        let (write, flush) = (Kind::Write, Kind::Flush);
        assert_eq!(places, [(write, 0), (flush, 0), (write, 512), (write, 2048)]);
        assert_eq!(read(&recorder, 1536), [0; 512]);
    }
}
