//! The file of the access trace, and its writer thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::error::StartError;
use super::stores::Seen;
use crate::base::access_trace::{HEADER_LEN, Header, RECORD_LEN, threshold};
use crate::base::new_name;
use crate::base::sys;
use crate::base::threads::{Thread, Threads, name};
use crate::node::config::AccessTraceConfig;
use crate::node::shard::AccessQueue;

/// Interval at which the queue is emptied. With it the queue suffices for about 600,000 requests per second.
const EMPTY_EVERY: Duration = Duration::from_millis(100);

/// The writer thread of the access trace.
pub struct AccessTrace {
    queue: Arc<AccessQueue>,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl AccessTrace {
    /// Opens the file and starts the thread; `None` if no trace is configured.
    ///
    /// # Errors
    /// [`StartError::AccessTrace`]: the file cannot be created, or is not an access trace with this share of
    /// objects. [`StartError::Step`]: the thread cannot be started.
    pub fn start(
        config: &AccessTraceConfig,
        threads: &Threads,
    ) -> Result<Option<Self>, StartError> {
        if !config.is_on() {
            return Ok(None);
        }
        let (header, writer) =
            Writer::open(&config.file, header(config), config.largest_file.bytes())
                .map_err(|problem| failed(config, problem))?;
        let queue = Arc::new(AccessQueue::new(header));
        let stop = Arc::new(AtomicBool::new(false));
        let (records, stopped) = (Arc::clone(&queue), Arc::clone(&stop));
        let thread = threads
            .spawn(name::ACCESS_TRACE, move || writer.run(&records, &stopped))
            .map_err(|error| StartError::Step("start the thread of the access trace", error))?;
        tracing::info!("recording requests in the access trace {}", config.file.display());
        Ok(Some(Self { queue, stop, thread }))
    }

    /// Checks that [`AccessTrace::start`] could open the file, without creating or changing it. Returns a
    /// warning if the check needs the rights of another user.
    ///
    /// # Errors
    /// As [`AccessTrace::start`].
    pub fn look(config: &AccessTraceConfig, stores: &Seen) -> Result<Option<String>, StartError> {
        let path = &config.file;
        if !config.is_on() || stores.will_be_made(path) {
            return Ok(None);
        }
        check_kind(path).map_err(|problem| failed(config, problem))?;
        if let Err(error) = new_name::check_file(path) {
            let refused = failed(config, error.to_string());
            return match new_name::is_of_this_user(&error) {
                true => Ok(Some(format!("not checked, as this user: {refused}"))),
                false => Err(refused),
            };
        }
        // It may be absent.
        if let Ok(mut file) = File::open(path) {
            sys::leave_access_time(&file);
            read(&mut file, header(config)).map_err(|problem| failed(config, problem))?;
        }
        Ok(None)
    }

    /// The queue into which the shards put records.
    #[must_use]
    pub fn queue(&self) -> Arc<AccessQueue> {
        Arc::clone(&self.queue)
    }

    /// Writes the queued records, and waits until the thread has ended.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the access trace ended by itself");
        }
    }
}

/// The header of a new file.
fn header(config: &AccessTraceConfig) -> Header {
    Header { threshold: threshold(1.0 / f64::from(config.one_object_in)), started: sys::wall_ns() }
}

fn failed(config: &AccessTraceConfig, problem: String) -> StartError {
    StartError::AccessTrace { path: config.file.clone(), problem }
}

/// Refuses an existing path that is no regular file, before it is opened: opening alone may have an effect
/// on a device.
fn check_kind(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => Err("it is no regular file".to_owned()),
        _ => Ok(()),
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    /// Number of bytes that may still be written.
    room: u64,
}

impl Writer {
    /// Opens or creates the file, positioned after its last whole record. The bound of the file is `largest`
    /// bytes. Returns the header in the file.
    fn open(path: &Path, wanted: Header, largest: u64) -> Result<(Header, Self), String> {
        check_kind(path)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|error| error.to_string())?;
        let (header, end) = begin(&mut file, wanted)?;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::End(0))).map_err(|e| e.to_string())?;
        let writer = Self { path: path.to_owned(), file, room: largest.saturating_sub(end) };
        Ok((header, writer))
    }

    fn run(mut self, queue: &AccessQueue, stop: &AtomicBool) {
        let (mut bytes, mut is_full) = (Vec::new(), false);
        loop {
            // Read before the queue is emptied, so that records queued before the stop are written.
            let is_last = stop.load(Ordering::Acquire);
            while let Some(record) = queue.take() {
                bytes.extend_from_slice(&record.encode());
            }
            self.append(&bytes, &mut is_full);
            bytes.clear();
            if is_last {
                return;
            }
            thread::park_timeout(EMPTY_EVERY);
        }
    }

    /// Writes records, until the file is full or a write has failed: what comes after a part of a record
    /// could not be read.
    fn append(&mut self, bytes: &[u8], is_full: &mut bool) {
        if let Err(error) = self.write(bytes, is_full) {
            *is_full = true;
            self.room = 0;
            let path = self.path.display();
            tracing::error!("the access trace {path} ends here: {error}");
        }
    }

    /// Writes as many whole records as fit below the bound of the file; drops the rest.
    fn write(&mut self, bytes: &[u8], is_full: &mut bool) -> io::Result<()> {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let len = bytes.len().min(room / RECORD_LEN * RECORD_LEN);
        self.file.write_all(&bytes[..len])?;
        self.room -= len as u64;
        if len < bytes.len() && !*is_full {
            *is_full = true;
            let path = self.path.display();
            tracing::warn!(
                "the access trace {path} is full (access_trace.largest_file) and ends here"
            );
        }
        Ok(())
    }
}

/// Reads the header of the file, or writes it to an empty one. Returns the header, and the offset of the end
/// of the last whole record (bytes).
fn begin(file: &mut File, wanted: Header) -> Result<(Header, u64), String> {
    if let Some(found) = read(file, wanted)? {
        return Ok(found);
    }
    file.write_all(&wanted.encode()).map_err(|error| error.to_string())?;
    Ok((wanted, HEADER_LEN as u64))
}

/// Reads the header of the file, as [`begin`]; `None` if the file is empty.
fn read(file: &mut File, wanted: Header) -> Result<Option<(Header, u64)>, String> {
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    if len == 0 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_LEN];
    let read = file.read_exact(&mut bytes);
    let header = match read.map(|()| Header::decode(&bytes)) {
        Ok(Ok(header)) => header,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("this is no access trace, and is not overwritten".to_owned()),
    };
    if header.threshold != wanted.threshold {
        return Err("it has another sampling rate (access_trace.one_object_in)".to_owned());
    }
    let whole = (len - HEADER_LEN as u64) / RECORD_LEN as u64 * RECORD_LEN as u64;
    Ok(Some((header, HEADER_LEN as u64 + whole)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn stop_does_not_wait_until_the_queue_is_due_to_be_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            AccessTraceConfig { file: dir.path().join("trace"), ..AccessTraceConfig::default() };
        let stops = (0..3).map(|_| {
            let trace = AccessTrace::start(&config, &Threads::default()).unwrap().unwrap();
            thread::sleep(EMPTY_EVERY / 5);
            let began = Instant::now();
            trace.stop();
            began.elapsed()
        });
        let quickest = stops.min().unwrap();
        assert!(quickest < EMPTY_EVERY / 2, "{quickest:?}");
    }

    #[test]
    fn nothing_is_appended_after_a_failed_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        let wanted = header(&AccessTraceConfig::default());
        let (_, mut writer) = Writer::open(&path, wanted, 1 << 20).unwrap();
        let mut is_full = false;
        let writable = std::mem::replace(&mut writer.file, File::open(&path).unwrap());
        writer.append(&[7; RECORD_LEN], &mut is_full);
        assert!(is_full, "a file that is open for reading only");
        writer.file = writable;
        writer.append(&[7; RECORD_LEN], &mut is_full);
        assert_eq!(fs::metadata(&path).unwrap().len(), HEADER_LEN as u64);
    }

    #[test]
    fn trace_is_full_only_when_a_record_does_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        let largest = (HEADER_LEN + 3 * RECORD_LEN + 1) as u64;
        let wanted = header(&AccessTraceConfig::default());
        let (_, mut writer) = Writer::open(&path, wanted, largest).unwrap();
        let records = [7; 3 * RECORD_LEN];
        let mut is_full = false;
        for (count, is_full_then, len) in [(2, false, 2), (1, false, 3), (1, true, 3)] {
            writer.write(&records[..count * RECORD_LEN], &mut is_full).unwrap();
            let written = fs::metadata(&path).unwrap().len();
            let expected = (HEADER_LEN + len * RECORD_LEN) as u64;
            assert_eq!((is_full, written), (is_full_then, expected));
        }
    }
}
