//! Random reads of a file through the daemon's ring, without HTTP, at a given queue depth and for a given
//! time.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hayloft::base::limits::UNIT;
use hayloft::ring::{Registration, Ring, RingOptions, prepare};
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Driver, FileId, Op, Returned};
use hayloft::runtime::{Event, Handle, Runtime, split_mix};
use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;

use crate::error::Error;

/// Maximum length of a read (bytes).
const BLOCK_MAX: u32 = 2 << 20;
/// Upper bound of the latency histogram (nanoseconds): 60 s.
const LONGEST_NS: u64 = 60_000_000_000;
/// Memory for the ring's own receive buffers, which are not used here (bytes).
const RING_BUFFERS: usize = 4 << 20;

/// Range of offsets to read from: reads of `block` bytes that begin at any unit and end by the end of the
/// range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    from: u64,
    block: u32,
    /// Number of possible offsets.
    offsets: u64,
}

impl Spans {
    /// Creates the spans for the bytes `from..to` of a file.
    ///
    /// # Errors
    /// [`Error::Usage`] when `from` or `block` is not a multiple of the unit, or the range is shorter than a
    /// block.
    pub fn new(from: u64, to: u64, block: u32) -> Result<Self, Error> {
        let usage = |why: String| Err(Error::Usage(why));
        if block == 0 || block > BLOCK_MAX || !u64::from(block).is_multiple_of(UNIT) {
            return usage(format!("--block {block}: give a multiple of {UNIT} up to {BLOCK_MAX}"));
        }
        if !from.is_multiple_of(UNIT) {
            return usage(format!("--from {from}: give a multiple of {UNIT}"));
        }
        let Some(room) = to.checked_sub(from).and_then(|len| len.checked_sub(block.into())) else {
            return usage(format!(
                "--from {from} --to {to} is shorter than one block of {block} bytes; give a larger range"
            ));
        };
        Ok(Self { from, block, offsets: room / UNIT + 1 })
    }

    fn draw(self, random: &mut u64) -> u64 {
        // Multiply-shift instead of a remainder keeps the distribution uniform (Lemire 2019, without the
        // rejection step: the bias is below 2^-30 for any file).
        let scaled = (u128::from(split_mix(random)) * u128::from(self.offsets)) >> 64;
        self.from
            + u64::try_from(scaled).expect("below the number of offsets, which is a u64") * UNIT
    }
}

/// Result of a measurement.
#[derive(Debug, Serialize)]
pub struct Measurement {
    /// Reads completed in the measured time.
    pub reads: u64,
    /// Measured time (seconds).
    pub seconds: f64,
    /// Reads per second.
    pub iops: f64,
    /// Bytes read per second.
    pub bytes_per_second: f64,
    /// Mean latency of a read (microseconds).
    pub mean_us: f64,
    /// Median latency (microseconds).
    pub p50_us: f64,
    /// 99th percentile of the latency (microseconds).
    pub p99_us: f64,
    /// 99.9th percentile of the latency (microseconds).
    pub p99_9_us: f64,
    /// CPU time of this process per read (microseconds).
    pub cpu_us_per_read: f64,
    /// Calls of `io_uring_enter` per read.
    pub enters_per_read: f64,
}

/// State shared by the reader tasks.
struct Shared {
    spans: Spans,
    random: RefCell<u64>,
    /// Latencies (nanoseconds).
    times: RefCell<Histogram<u64>>,
    /// First error (negative errno).
    failure: Cell<Option<i64>>,
    /// Readers that are still running.
    left: Cell<usize>,
    ended: Event<()>,
}

/// Measures `depth` concurrent readers: for `warmup` without recording, then for `time`.
///
/// # Errors
/// When the buffers or the ring cannot be set up, or the file cannot be opened or read with direct I/O.
pub fn measure(
    file: &Path,
    spans: Spans,
    depth: usize,
    (warmup, time): (Duration, Duration),
    seed: u64,
) -> Result<Measurement, Error> {
    let buffers =
        depth * usize::try_from(spans.block).expect("usize has 64 bits").next_multiple_of(4096);
    let region = Region::map(1, buffers + RING_BUFFERS);
    let region = region.map_err(|error| Error::Step("map buffers", error))?;
    let prepared = prepare(1, &region, Registration::Required)?
        .pop()
        .expect("prepare(1, ..) returns one ring");
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight: depth, buffered: false };
    let ring = Ring::start(prepared, pool.clone(), Vec::new(), options);
    let mut ring = ring.map_err(|error| Error::Step("start a ring", error))?;
    let mut runtime =
        Runtime::new(&ring, pool, || unreachable!("readers draw from their own generator"));
    let handle = runtime.handle().clone();
    let failed = |what| {
        move |errno: i64| {
            let error = io::Error::from_raw_os_error(i32::try_from(-errno).unwrap_or(0));
            Error::File { what, path: file.to_owned(), error }
        }
    };
    let opened = runtime.block_on(&mut ring, open(handle.clone(), file.to_owned()));
    let id = opened.map_err(failed("open"))?;
    let mut round = |time: Duration, seed: u64| {
        let (cpu, enters, began) = (cpu_us(), ring.counts().enters, ring.now());
        let reading = read_all(handle.clone(), id, spans, depth, time, seed);
        let times = runtime.block_on(&mut ring, reading);
        let seconds = (ring.now() - began) as f64 / 1e9;
        times.map(|times| (times, seconds, cpu_us() - cpu, ring.counts().enters - enters))
    };
    round(warmup, seed).map_err(failed("read"))?;
    let measured = round(time, !seed).map_err(failed("read"))?;
    Ok(figures(&measured, spans.block))
}

fn figures(
    (times, seconds, cpu, enters): &(Histogram<u64>, f64, f64, u64),
    block: u32,
) -> Measurement {
    let reads = times.len();
    let per_read = 1.0 / (reads.max(1) as f64);
    let us = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    let iops = reads as f64 / seconds;
    Measurement {
        reads,
        seconds: *seconds,
        iops,
        bytes_per_second: iops * f64::from(block),
        mean_us: times.mean() / 1e3,
        p50_us: us(0.5),
        p99_us: us(0.99),
        p99_9_us: us(0.999),
        cpu_us_per_read: cpu * per_read,
        enters_per_read: *enters as f64 * per_read,
    }
}

/// CPU time of this process so far, user and system (microseconds).
fn cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("RUSAGE_SELF is always valid");
    let us = |time: TimeVal| time.num_microseconds() as f64;
    us(usage.user_time()) + us(usage.system_time())
}

async fn open(handle: Handle, file: std::path::PathBuf) -> Result<FileId, i64> {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(-i64::from(nix::libc::EISDIR));
    };
    let path = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = handle.submit(Op::OpenDir { path: path.to_owned() }).await.result;
    let dir = DirId(u32::try_from(dir).map_err(|_| dir)?);
    let name = CString::new(name.as_bytes()).map_err(|_| -i64::from(nix::libc::EINVAL))?;
    let file = handle.submit(Op::Open { dir, name, write: false }).await.result;
    Ok(FileId(u32::try_from(file).map_err(|_| file)?))
}

/// Latency histogram in nanoseconds; longer times count as [`LONGEST_NS`].
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_NS, 3).expect("3 significant digits are valid")
}

async fn read_all(
    handle: Handle,
    file: FileId,
    spans: Spans,
    depth: usize,
    time: Duration,
    seed: u64,
) -> Result<Histogram<u64>, i64> {
    let shared = Rc::new(Shared {
        spans,
        random: RefCell::new(seed),
        times: RefCell::new(histogram()),
        failure: Cell::new(None),
        left: Cell::new(depth),
        ended: Event::new(&handle),
    });
    let until = handle.now() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
    for _ in 0..depth {
        let (own, shared) = (handle.clone(), Rc::clone(&shared));
        handle.spawn(async move {
            if let Err(errno) = reader(&own, file, &shared, until).await {
                shared.failure.set(shared.failure.get().or(Some(errno)));
            }
            shared.left.set(shared.left.get() - 1);
            if shared.left.get() == 0 {
                shared.ended.set(());
            }
        });
    }
    shared.ended.wait().await;
    if let Some(errno) = shared.failure.get() {
        return Err(errno);
    }
    Ok(shared.times.replace(histogram()))
}

async fn reader(handle: &Handle, file: FileId, shared: &Shared, until: u64) -> Result<(), i64> {
    let Shared { spans, random, times, .. } = shared;
    let (block, enomem) = (spans.block, -i64::from(nix::libc::ENOMEM));
    let len = usize::try_from(block).expect("usize has 64 bits");
    let mut buf = handle.pool().alloc(len).ok_or(enomem)?;
    while handle.now() < until {
        let offset = spans.draw(&mut random.borrow_mut());
        let began = handle.now();
        let read = Op::Read { file, buf, start: 0, len: block, offset };
        let completion = handle.submit(read).await;
        let Returned::One(back) = completion.returned else {
            unreachable!("a read returns one buffer")
        };
        buf = back;
        match completion.result {
            errno if errno < 0 => return Err(errno),
            got if got != i64::from(block) => return Err(-i64::from(nix::libc::ENODATA)),
            _ => times.borrow_mut().saturating_record(handle.now() - began),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_lie_inside_and_reach_both_ends() {
        let spans = Spans::new(1024, 1024 + 5 * 512, 1024).unwrap();
        let mut seed = 7;
        let drawn: Vec<u64> = (0..1000).map(|_| spans.draw(&mut seed)).collect();
        for place in (1024..=1024 + 3 * 512).step_by(512) {
            let share = drawn.iter().filter(|&&offset| offset == place).count();
            assert!((150..350).contains(&share), "{share} of 1000 at {place}");
        }
        assert!(drawn.iter().all(|offset| (1024..=1024 + 3 * 512).contains(offset)));
    }

    #[test]
    fn invalid_spans_are_rejected() {
        for (from, to, block) in [(0, 4096, 0), (0, 4096, 100), (1, 4096, 512), (0, 512, 1024)] {
            let error = Spans::new(from, to, block).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{from} {to} {block}: {error}");
        }
        assert!(Spans::new(0, 1 << 30, BLOCK_MAX + 512).is_err());
    }

    #[test]
    fn reads_of_a_file_are_counted_and_timed() {
        let dir = crate::tests::directory();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 1 << 20]).unwrap();
        let spans = Spans::new(0, 1 << 20, 8192).unwrap();
        let times = (Duration::ZERO, Duration::from_millis(100));
        let figures = measure(&path, spans, 4, times, 1).unwrap();
        assert!(figures.reads > 4 && figures.cpu_us_per_read > 0.0);
        assert!(figures.p50_us > 1.0, "faster than any disk: {} us", figures.p50_us);
        assert!(figures.p99_us >= figures.p50_us && figures.seconds > 0.05);
        let beyond = Spans::new(1 << 20, 2 << 20, 8192).unwrap();
        assert!(
            measure(&path, beyond, 4, times, 1).is_err(),
            "the range is behind the end of the file"
        );
        let error = measure(Path::new("/no/such/file"), spans, 1, times, 1).unwrap_err();
        assert!(error.to_string().starts_with("cannot open /no/such/file"), "{error}");
    }
}
