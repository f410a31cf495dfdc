//! The file of the access trace, and the thread that writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::StartError;
use super::stores::Seen;
use crate::access_trace::{HEADER_LEN, Header, RECORD_LEN, threshold};
use crate::config::AccessTraceConfig;
use crate::new_name;
use crate::shard::AccessQueue;
use crate::sys;
use crate::threads::{Thread, Threads, name};

/// How often the queue is emptied. At this pace it holds what 600,000 requests a second leave.
const EMPTY_EVERY: Duration = Duration::from_millis(100);

/// The thread that writes.
pub struct AccessTrace {
    queue: Arc<AccessQueue>,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl AccessTrace {
    /// Opens the file and starts the thread, if a trace is wanted.
    ///
    /// # Errors
    /// The file cannot be made, or is something else.
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
        tracing::info!("requests are written down in {}", config.file.display());
        Ok(Some(Self { queue, stop, thread }))
    }

    /// Whether [`AccessTrace::start`] could open the file, without making or changing it: a warning where
    /// that cannot be seen.
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

    /// Where the shards put records.
    #[must_use]
    pub fn queue(&self) -> Arc<AccessQueue> {
        Arc::clone(&self.queue)
    }

    /// Writes what is left and ends.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the access trace ended by itself");
        }
    }
}

/// What a new file begins with.
fn header(config: &AccessTraceConfig) -> Header {
    Header { threshold: threshold(1.0 / f64::from(config.one_object_in)), started: sys::wall_ns() }
}

fn failed(config: &AccessTraceConfig, problem: String) -> StartError {
    StartError::AccessTrace { path: config.file.clone(), problem }
}

/// Refuses what is there and no file, before it is opened: a device may act on that alone.
fn check_kind(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => Err("it is no regular file".to_owned()),
        _ => Ok(()),
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    /// Bytes that may still be written.
    room: u64,
}

impl Writer {
    /// Goes on with a file, or makes it.
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
            // Looked at first, so that what came before it was set is written.
            let is_last = stop.load(Ordering::Acquire);
            while let Some(record) = queue.take() {
                bytes.extend_from_slice(&record.encode());
            }
            if let Err(error) = self.write(&bytes, &mut is_full) {
                is_full = true;
                self.room = 0;
                let path = self.path.display();
                tracing::error!("the access trace {path} ends here: {error}");
            }
            bytes.clear();
            if is_last {
                return;
            }
            thread::park_timeout(EMPTY_EVERY);
        }
    }

    /// Writes whole records as far as there is room.
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

/// Reads or writes the beginning of the file: what it says, and the end of its last whole record.
fn begin(file: &mut File, wanted: Header) -> Result<(Header, u64), String> {
    if let Some(found) = read(file, wanted)? {
        return Ok(found);
    }
    file.write_all(&wanted.encode()).map_err(|error| error.to_string())?;
    Ok((wanted, HEADER_LEN as u64))
}

/// Reads the beginning of the file; nothing if it is empty.
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
        return Err("it holds another share of the objects (access_trace.one_object_in)".to_owned());
    }
    let whole = (len - HEADER_LEN as u64) / RECORD_LEN as u64 * RECORD_LEN as u64;
    Ok(Some((header, HEADER_LEN as u64 + whole)))
}
