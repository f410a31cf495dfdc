//! The latencies of every second as a histogram log (`HistogramLogWriter` of HdrHistogram, version 1.3): one
//! line for each second and kind of answer, which HdrHistogram's tools read. Values are nanoseconds.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, Tag};

use crate::error::Error;
use crate::operation::Kind;
use crate::stats::Interval;

/// The log shows the longest latency of a line in milliseconds, as the Java implementation does.
const MAX_DIVISOR: f64 = 1e6;

/// The file, and what it needs while it is being written.
pub struct LogFile {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

/// The log.
pub struct Log<'a>(IntervalLogWriter<'a, 'a, BufWriter<File>, V2DeflateSerializer>);

impl LogFile {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::file("create", path))?;
        Ok(Self { file: BufWriter::new(file), serializer: V2DeflateSerializer::new() })
    }

    /// Begins the log; times in it count from `began`.
    ///
    /// # Errors
    /// The file's.
    pub fn begin(&mut self, began: SystemTime) -> std::io::Result<Log<'_>> {
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("[Latencies in nanoseconds, by second and kind of answer]")
            .with_start_time(began)
            .with_base_time(began)
            .with_max_value_divisor(MAX_DIVISOR);
        builder.begin_log_with(&mut self.file, &mut self.serializer).map(Log)
    }
}

impl Log<'_> {
    /// Writes a second, counted from the beginning of the log on.
    ///
    /// # Errors
    /// The file's.
    pub fn second(&mut self, second: u64, interval: &Interval) -> std::io::Result<()> {
        for (kind, done) in Kind::ALL.iter().zip(&interval.done) {
            self.line(second, done, kind.name())?;
        }
        self.line(second, &interval.rejected, "rejected")?;
        self.line(second, &interval.missing, "missing")
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
        let written = self.0.write_histogram(histogram, at, Duration::from_secs(1), tag);
        written.map_err(|error| std::io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::stats::Sample;
    use crate::target::Verdict;

    #[test]
    fn the_log_can_be_read_back() {
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
        let mut file = LogFile::create(&path).unwrap();
        let mut log = file.begin(SystemTime::now()).unwrap();
        log.second(0, &interval).unwrap();
        log.second(1, &interval).unwrap();
        drop(file);
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

    /// RFC 4648, with its padding.
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
