//! Latencies of every second as a histogram log (`HistogramLogWriter` of HdrHistogram, version 1.3), with one
//! line per second and kind of answer. Values are nanoseconds.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag};

use crate::operation::Kind;
use crate::stats::Interval;

/// Divisor of the maximum in each line: shown in milliseconds, like the Java implementation.
const MAX_DIVISOR: f64 = 1e6;

/// Output that is buffered until a second is complete: a load that cannot begin changes no file, and one that
/// is interrupted leaves all complete seconds.
#[derive(Clone)]
struct Sink(Rc<RefCell<SinkState>>);

struct SinkState {
    path: PathBuf,
    bytes: Vec<u8>,
    file: Option<File>,
}

impl Sink {
    fn write_out(&self) -> std::io::Result<()> {
        let SinkState { path, bytes, file } = &mut *self.0.borrow_mut();
        let file = match file {
            Some(file) => file,
            None => file.insert(File::create(path)?),
        };
        file.write_all(bytes)?;
        bytes.clear();
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A log file, with the state needed to write it.
pub struct LogFile {
    sink: Sink,
    serializer: V2DeflateSerializer,
}

/// An open log.
pub struct IntervalLog<'a> {
    writer: IntervalLogWriter<'a, 'a, Sink, V2DeflateSerializer>,
    sink: Sink,
}

impl LogFile {
    /// A file that is created, or replaced, when the first second is written.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let held = SinkState { path: path.to_owned(), bytes: Vec::new(), file: None };
        Self { sink: Sink(Rc::new(RefCell::new(held))), serializer: V2DeflateSerializer::new() }
    }

    /// Begins the log; its timestamps are relative to `began`.
    ///
    /// # Errors
    /// Error of the file.
    pub fn begin(&mut self, began: SystemTime) -> std::io::Result<IntervalLog<'_>> {
        let sink = self.sink.clone();
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("[Latencies in nanoseconds, by second and kind of answer]")
            .with_start_time(began)
            .with_base_time(began)
            .with_max_value_divisor(MAX_DIVISOR);
        let writer = builder.begin_log_with(&mut self.sink, &mut self.serializer)?;
        Ok(IntervalLog { writer, sink })
    }
}

impl IntervalLog<'_> {
    /// Writes a second, numbered from the beginning of the log.
    ///
    /// # Errors
    /// Error of the file.
    pub fn second(&mut self, second: u64, interval: &Interval) -> std::io::Result<()> {
        for (kind, done) in Kind::ALL.iter().zip(&interval.done) {
            self.line(second, done, kind.name())?;
        }
        self.line(second, &interval.rejected, "rejected")?;
        self.line(second, &interval.missing, "missing")?;
        self.sink.write_out()
    }

    /// Ends the log; its header is written even if it has no seconds.
    ///
    /// # Errors
    /// Error of the file.
    pub fn end(self) -> std::io::Result<()> {
        self.sink.write_out()
    }

    fn line(
        &mut self,
        second: u64,
        histogram: &Histogram<u64>,
        tag: &'static str,
    ) -> std::io::Result<()> {
        if histogram.is_empty() {
            return Ok(());
        }
        let (at, tag) = (Duration::from_secs(second), Tag::new(tag));
        let written = self.writer.write_histogram(histogram, at, Duration::from_secs(1), tag);
        written.map_err(|error| std::io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::stats::Sample;
    use crate::verdict::Verdict;

    #[test]
    fn a_log_is_read_back_and_complete_seconds_are_in_the_file() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut interval = Interval::new();
        let (kind, verdict) = (Kind::Get, Verdict::Done);
        for latency in [10_000, 20_000, 40_000] {
            interval.record(&Sample {
                kind,
                verdict,
                status: 200,
                start: 0,
                end: latency,
                payload: 0,
            });
        }
        std::fs::write(&path, "the log of before").unwrap();
        let mut file = LogFile::new(&path);
        let mut log = file.begin(SystemTime::now()).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"the log of before",
            "the file is unchanged before the first second"
        );
        log.second(0, &interval).unwrap();
        let first = std::fs::metadata(&path).unwrap().len();
        log.second(1, &interval).unwrap();
        assert!(
            std::fs::metadata(&path).unwrap().len() > first,
            "complete seconds are in the file"
        );
        log.end().unwrap();
        let text = std::fs::read(&path).unwrap();
        assert!(text.starts_with(b"#[Histogram log format version 1.3]\n"));
        let mut read = Vec::new();
        for entry in IntervalLogIterator::new(&text) {
            if let LogEntry::Interval(line) = entry.unwrap() {
                let bytes = base64_decode(line.encoded_histogram());
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                assert_eq!(histogram, interval.done[Kind::Get as usize]);
                read.push((
                    line.start_timestamp().as_secs(),
                    line.tag().unwrap().as_str().to_owned(),
                ));
            }
        }
        assert_eq!(read, [(0, "get".to_owned()), (1, "get".to_owned())]);
    }

    #[test]
    fn a_full_disk_is_reported() {
        let mut file = LogFile::new(Path::new("/dev/full"));
        let mut log = file.begin(SystemTime::now()).unwrap();
        let full = std::io::ErrorKind::StorageFull;
        assert_eq!(log.second(0, &Interval::new()).unwrap_err().kind(), full);
        assert_eq!(log.end().unwrap_err().kind(), full);
    }

    /// Decodes RFC 4648 base64 with padding.
    fn base64_decode(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bytes = Vec::new();
        for four in text.trim_end_matches('=').as_bytes().chunks(4) {
            let value = four.iter().fold(0_u32, |value, digit| {
                let at = DIGITS.iter().position(|known| known == digit).unwrap();
                value << 6 | u32::try_from(at).unwrap()
            });
            let value = value << (6 * (4 - four.len()));
            bytes.extend_from_slice(&value.to_be_bytes()[1..four.len()]);
        }
        bytes
    }
}
