//! Raw device performance without a server: fio, and the daemon's own ring, on the same part of the same
//! file.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::loadgen::Latency;
use crate::process::{Placement, output};

/// Alignment of reads (bytes), like that of needles.
const ALIGN: u32 = 512;
/// Length of the file for fio's mixed workload (bytes); it is not cached.
pub const SCRATCH_LEN: u64 = 1 << 30;

/// Part of a volume file to read in blocks.
#[derive(Clone, Debug)]
pub struct Span {
    /// Path of the volume file.
    pub file: PathBuf,
    /// Range that holds needles (bytes).
    pub range: std::ops::Range<u64>,
    /// Length of a needle on disk (bytes).
    pub block: u32,
}

/// Result of a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RawFigures {
    /// Number of reads and writes.
    pub count: u64,
    /// Reads and writes per second.
    pub rate: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// Latency of reads.
    pub latency: Latency,
    /// CPU time per operation (microseconds).
    pub cpu_us: f64,
    /// Measured time (seconds).
    pub seconds: f64,
}

/// JSON output of `hayloft-baseline raw`.
#[derive(Deserialize)]
struct Ring {
    reads: u64,
    seconds: f64,
    iops: f64,
    bytes_per_second: f64,
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    cpu_us_per_read: f64,
}

fn ring_command(
    placement: &Placement,
    baseline: &Path,
    span: &Span,
    depth: u32,
    seconds: f64,
    seed: u64,
) -> Command {
    let mut command = placement.command(baseline);
    command.arg("raw").arg("--file").arg(&span.file);
    let number = |name: &str, value: String| [name.to_owned(), value];
    command.args(number("--from", span.range.start.to_string()));
    command.args(number("--to", span.range.end.to_string()));
    command.args(number("--block", span.block.to_string()));
    command.args(number("--depth", depth.to_string()));
    command.args(["--warmup", "0"]);
    command.args(number("--seconds", seconds.to_string()));
    // With a constant seed every run would read the same offsets in the same order.
    command.args(number("--seed", seed.to_string()));
    command
}

/// Reads through the daemon's ring at queue depth `depth`, at random offsets of `seed`.
///
/// # Errors
/// When the program fails or its output cannot be parsed.
pub fn ring(
    placement: &Placement,
    baseline: &Path,
    span: &Span,
    depth: u32,
    seconds: f64,
    seed: u64,
) -> Result<RawFigures, Error> {
    let text = output(&mut ring_command(placement, baseline, span, depth, seconds, seed))?;
    let ring: Ring = serde_json::from_str(&text)
        .map_err(|error| Error::Figure { from: "hayloft-baseline raw", what: error.to_string() })?;
    let latency =
        Latency { mean: ring.mean_us, p50: ring.p50_us, p99: ring.p99_us, p99_9: ring.p99_9_us };
    Ok(RawFigures {
        count: ring.reads,
        rate: ring.iops,
        bytes_per_second: ring.bytes_per_second,
        latency,
        cpu_us: ring.cpu_us_per_read,
        seconds: ring.seconds,
    })
}

/// Workload for fio.
#[derive(Clone, Debug)]
pub enum FioJob<'a> {
    /// Random reads.
    Reads(&'a Span),
    /// Mixed random reads and durable writes of whole blocks, on a file below a directory.
    Mix {
        /// Directory of the file.
        dir: &'a Path,
        /// Length of a block (bytes).
        block: u32,
        /// Percentage of reads.
        reads: u32,
    },
}

fn fio_command(placement: &Placement, job: &FioJob<'_>, depth: u32, seconds: f64) -> Command {
    let mut command = placement.command(Path::new("fio"));
    command.args(["--name=raw", "--output-format=json", "--ioengine=io_uring", "--direct=1"]);
    // The fastest settings: registered buffers and files, and no map of blocks already read.
    command.args(["--fixedbufs", "--registerfiles", "--norandommap", "--randrepeat=0"]);
    command.args(["--time_based", "--lat_percentiles=1", "--clat_percentiles=0"]);
    command.arg(format!("--iodepth={depth}"));
    command.arg(format!("--runtime={}ms", (seconds * 1e3) as u64));
    match job {
        FioJob::Reads(Span { file, range, block }) => {
            command.args(["--rw=randread", "--readonly"]);
            command.arg(format!("--filename={}", file.display()));
            command.args([format!("--bs={block}"), format!("--blockalign={ALIGN}")]);
            command.arg(format!("--offset={}", range.start));
            command.arg(format!("--size={}", range.end - range.start));
        }
        FioJob::Mix { dir, block, reads } => {
            command.args(["--rw=randrw", "--sync=dsync", "--overwrite=1"]);
            command.arg(format!("--rwmixread={reads}"));
            command.arg(format!("--filename={}", dir.join("fio").display()));
            command.args([format!("--bs={block}"), format!("--size={SCRATCH_LEN}")]);
        }
    }
    command
}

/// Runs a workload with fio.
///
/// # Errors
/// When fio fails or its output cannot be parsed.
pub fn fio(
    placement: &Placement,
    job: &FioJob<'_>,
    depth: u32,
    seconds: f64,
) -> Result<RawFigures, Error> {
    let text = output(&mut fio_command(placement, job, depth, seconds))?;
    let missing = || Error::Figure { from: "fio", what: "figures of reads".to_owned() };
    // Messages may precede the JSON.
    let json = text.find('{').map(|at| &text[at..]).ok_or_else(missing)?;
    let value: Value = serde_json::from_str(json).map_err(|_| missing())?;
    figures(&value).ok_or_else(missing)
}

fn figures(value: &Value) -> Option<RawFigures> {
    let job = value.get("jobs")?.get(0)?;
    let number = |of: &Value, name: &str| of.get(name)?.as_f64();
    let (read, write) = (job.get("read")?, job.get("write")?);
    let both = |name: &str| Some(number(read, name)? + number(write, name)?);
    let times = read.get("lat_ns")?;
    let percentile = |name: &str| Some(number(times.get("percentile")?, name)? / 1e3);
    let latency = Latency {
        mean: number(times, "mean")? / 1e3,
        p50: percentile("50.000000")?,
        p99: percentile("99.000000")?,
        p99_9: percentile("99.900000")?,
    };
    let count = both("total_ios")?;
    let seconds = number(job, "job_runtime")? / 1e3;
    let busy = (number(job, "usr_cpu")? + number(job, "sys_cpu")?) / 100.0 * seconds;
    Some(RawFigures {
        count: count as u64,
        rate: both("iops")?,
        bytes_per_second: both("bw_bytes")?,
        latency,
        cpu_us: busy * 1e6 / count.max(1.0),
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fio_operations_are_added_up_and_latencies_are_those_of_reads() {
        let side = |iops: f64| {
            let lat = serde_json::json!({"mean": 2000.0, "percentile":
                {"50.000000": 1000, "99.000000": 5000, "99.900000": 9000}});
            serde_json::json!({"iops": iops, "bw_bytes": iops * 4096.0, "total_ios": iops * 2.0,
                               "lat_ns": lat})
        };
        let value = serde_json::json!({"jobs": [{"read": side(950.0), "write": side(50.0),
            "usr_cpu": 10.0, "sys_cpu": 40.0, "job_runtime": 2000}]});
        let figures = figures(&value).unwrap();
        assert_eq!((figures.rate, figures.count, figures.seconds), (1000.0, 2000, 2.0));
        assert_eq!((figures.latency.p50, figures.latency.p99), (1.0, 5.0));
        assert_eq!(figures.cpu_us, 500.0);
    }

    #[test]
    fn fio_and_ring_read_the_same_range() {
        let span = Span { file: "/v/1.1.vol".into(), range: 65_536..1 << 20, block: 8704 };
        let placement = Placement { cores: "0".to_owned(), procs: None };
        let command = fio_command(&placement, &FioJob::Reads(&span), 32, 2.0);
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        for word in ["--bs=8704", "--blockalign=512", "--offset=65536", "--size=983040"] {
            assert!(words.contains(&word), "{word} in {words:?}");
        }
        for word in ["--readonly", "--iodepth=32", "--runtime=2000ms"] {
            assert!(words.contains(&word), "{word} in {words:?}");
        }
        let command = ring_command(&placement, Path::new("baseline"), &span, 32, 2.0, 77);
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        for pair in [["--block", "8704"], ["--from", "65536"], ["--depth", "32"], ["--seed", "77"]]
        {
            assert!(words.windows(2).any(|words| words == pair), "{pair:?} in {words:?}");
        }
    }
}
