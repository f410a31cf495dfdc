//! Reads a trace and converts it for replay.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::access::{Access, Action};
use super::csv::{self, Columns, TimeUnit};
use super::{oracle_general, tencent_photo};
use crate::error::Error;
use crate::random::mix;

/// Maximum time over which requests with equal times are spread (nanoseconds): many traces have whole
/// seconds.
const SPREAD_MAX: u64 = 1_000_000_000;
/// Magic number of zstd, which many published traces are compressed with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Format of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// libCacheSim's oracleGeneral: binary records of 24 bytes
    OracleGeneral,
    /// Comma-separated values; --columns gives the columns
    Csv,
    /// Trace of Tencent's photo cache, as published by SNIA
    TencentPhoto,
}

/// Options for reading a trace.
pub struct ReadOptions<'a> {
    pub format: Format,
    /// Columns of a CSV trace.
    pub columns: &'a Columns,
    /// Unit of the times in a CSV trace.
    pub time_unit: TimeUnit,
    /// Fraction of objects to take: 0 to 1.
    pub share: f64,
    /// Maximum number of requests to take.
    pub limit: usize,
    /// Size that larger objects are truncated to (bytes, at least 1).
    pub size_max: u64,
}

/// A request for replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Time (nanoseconds since the first request).
    pub time: u64,
    /// Number of the object, in order of appearance.
    pub object: u32,
    /// Whether it is a write.
    pub is_write: bool,
}

/// A trace for replay.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Requests, by time.
    pub entries: Vec<TraceEntry>,
    /// Length of each object at its first appearance (bytes).
    pub sizes: Vec<u64>,
    /// Number of deletes. They are not replayed: the result of a later read would depend on the order of
    /// completion.
    pub deletes: u64,
}

/// Spatial sampling: an object is taken with all its requests or not at all (Waldspurger et al., "Efficient
/// MRC construction with SHARDS", FAST 2015).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at the ends"
)]
#[expect(clippy::cast_precision_loss, reason = "a fraction needs no 64 bits")]
fn is_sampled(id: u64, share: f64) -> bool {
    share >= 1.0 || mix(id) < (share * u64::MAX as f64) as u64
}

/// Reads a trace.
///
/// # Errors
/// When the file cannot be read, is not of the given format, or no request is left.
pub fn read(path: &Path, reading: &ReadOptions<'_>) -> Result<Trace, Error> {
    let file = std::fs::File::open(path).map_err(Error::file("read", path))?;
    let with_location = |error: String| Error::Failed(format!("{}: {error}", path.display()));
    read_from(std::io::BufReader::new(file), reading).map_err(with_location)
}

fn read_from(mut input: impl BufRead, reading: &ReadOptions<'_>) -> Result<Trace, String> {
    if input.fill_buf().map_err(|error| error.to_string())?.starts_with(&ZSTD) {
        return Err("the file is compressed; decompress it with zstd -d first".to_owned());
    }
    let mut accesses: Box<dyn Iterator<Item = Result<Access, String>> + '_> = match reading.format {
        Format::OracleGeneral => Box::new(oracle_general::accesses(input)),
        Format::Csv => Box::new(csv::accesses(input, reading.columns, reading.time_unit)),
        Format::TencentPhoto => Box::new(tencent_photo::accesses(input)),
    };
    let (mut trace, mut numbers) = (Trace::default(), HashMap::new());
    while trace.entries.len() < reading.limit
        && let Some(access) = accesses.next()
    {
        let access = access?;
        if !is_sampled(access.id, reading.share) {
            continue;
        }
        if access.action == Action::Delete {
            trace.deletes += 1;
            continue;
        }
        let next = u32::try_from(numbers.len())
            .map_err(|_| "the trace has more than 2^32 objects; use --sample".to_owned())?;
        let object = *numbers.entry(access.id).or_insert(next);
        if object == next {
            trace.sizes.push(access.size.clamp(1, reading.size_max));
        }
        let is_write = access.action == Action::Write;
        trace.entries.push(TraceEntry { time: access.time, object, is_write });
    }
    trace.entries.sort_by_key(|entry| entry.time);
    let Some(TraceEntry { time: first, .. }) = trace.entries.first().copied() else {
        return Err("no request is left; check --format, --sample and --limit".to_owned());
    };
    for entry in &mut trace.entries {
        entry.time -= first;
    }
    spread(&mut trace.entries);
    Ok(trace)
}

/// Spreads requests with equal times evenly over the time until the next request.
fn spread(entries: &mut [TraceEntry]) {
    let mut start = 0;
    while start < entries.len() {
        let time = entries[start].time;
        let count = entries[start..].iter().take_while(|entry| entry.time == time).count();
        let gap =
            entries.get(start + count).map_or(SPREAD_MAX, |next| next.time - time).min(SPREAD_MAX);
        for (nth, entry) in entries[start..start + count].iter_mut().enumerate() {
            entry.time += gap * nth as u64 / count as u64;
        }
        start += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn reading(format: Format, columns: &Columns) -> ReadOptions<'_> {
        ReadOptions {
            format,
            columns,
            time_unit: TimeUnit::S,
            share: 1.0,
            limit: usize::MAX,
            size_max: 1 << 20,
        }
    }

    fn csv(text: &str, change: impl FnOnce(&mut ReadOptions<'_>)) -> Result<Trace, String> {
        let columns = "time=1,op=2,size=3,id=4".parse().unwrap();
        let mut reading = reading(Format::Csv, &columns);
        change(&mut reading);
        read_from(text.as_bytes(), &reading)
    }

    #[test]
    fn objects_are_numbered_as_they_appear_and_keep_their_first_size() {
        let text = "5,get,100,a\n6,put,9999999,b\n7,get,50,a\n8,delete,0,a\n9,get,0,c\n";
        let trace = csv(text, |_| ()).unwrap();
        assert_eq!(trace.sizes, [100, 1 << 20, 1]);
        assert_eq!(trace.deletes, 1);
        let seen: Vec<_> =
            trace.entries.iter().map(|entry| (entry.time, entry.object, entry.is_write)).collect();
        let second = 1_000_000_000;
        assert_eq!(
            seen,
            [(0, 0, false), (second, 1, true), (2 * second, 0, false), (4 * second, 2, false)]
        );
    }

    #[test]
    fn requests_with_equal_times_are_spread() {
        let trace = csv("1,r,1,a\n1,r,1,b\n1,r,1,c\n1,r,1,d\n3,r,1,a\n3,r,1,b\n", |_| ()).unwrap();
        let times: Vec<u64> = trace.entries.iter().map(|entry| entry.time / 1_000_000).collect();
        assert_eq!(times, [0, 250, 500, 750, 2000, 2500]);
    }

    #[test]
    fn requests_out_of_order_are_sorted_by_time() {
        let trace = csv("5,r,1,a\n3,r,1,b\n9,r,1,c\n", |_| ()).unwrap();
        let seen: Vec<_> =
            trace.entries.iter().map(|entry| (entry.time / 1_000_000_000, entry.object)).collect();
        assert_eq!(seen, [(0, 1), (2, 0), (6, 2)]);
    }

    #[test]
    fn compressed_files_are_rejected_with_advice() {
        let columns = "time=1,op=2,size=3,id=4".parse().unwrap();
        let bytes = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0; 44]].concat();
        for format in [Format::OracleGeneral, Format::Csv, Format::TencentPhoto] {
            let error = read_from(&bytes[..], &reading(format, &columns)).unwrap_err();
            assert!(error.contains("zstd -d"), "{error}");
        }
    }

    #[test]
    fn a_sample_has_all_requests_of_its_objects() {
        let lines: Vec<String> = (0..4000).map(|n| format!("{n},r,1,{}", n % 1000)).collect();
        let trace = csv(&lines.join("\n"), |reading| reading.share = 0.25).unwrap();
        assert!((200..300).contains(&trace.sizes.len()), "{}", trace.sizes.len());
        assert_eq!(trace.entries.len(), 4 * trace.sizes.len());
        let limited = csv(&lines.join("\n"), |reading| reading.limit = 10).unwrap();
        assert_eq!(limited.entries.len(), 10);
        let error = csv(&lines.join("\n"), |reading| reading.share = 0.0).unwrap_err();
        assert!(error.contains("no request is left"), "{error}");
    }
}
