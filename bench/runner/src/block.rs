//! Record of a block: the load on one server for some seconds, and what was measured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::device;
use crate::loadgen::{Latency, Operation, Schedule};
use crate::machine::Machine;

/// Figures of a block; `None` where the subject has no such figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Name of the entry in the workload.
    pub entry: String,
    /// Number of its pair (round), from 0.
    pub pair: usize,
    /// Position in the run of the workload, from 0.
    pub order: usize,
    /// Number of cores busy with other work when the block began.
    pub busy_before: f64,
    /// Share of CPU time that the host took from the cores in use during the block, 0 to 1.
    #[serde(default)]
    pub stolen: f64,
    /// Number of attempts at the block.
    #[serde(default = "once")]
    pub attempts: u32,
    /// Measured time (seconds).
    pub seconds: f64,
    /// Answered requests, including refusals and, in an open loop, those of the warm-up: the divisor of
    /// server and device counters.
    pub requests: u64,
    /// Correctly answered requests per second.
    pub rate: f64,
    /// Body bytes per second.
    pub bytes_per_second: f64,
    /// Latency of the most frequent kind of operation (microseconds).
    pub latency_us: Latency,
    /// Results by kind of operation.
    pub operations: BTreeMap<String, Operation>,
    /// Schedule of an open loop.
    pub schedule: Option<Schedule>,
    /// CPU time of the server per request (microseconds).
    pub cpu_us: Option<f64>,
    /// CPU time of the load generator per request (microseconds).
    pub client_cpu_us: Option<f64>,
    /// Resident memory of the server at the end (bytes).
    pub rss_bytes: Option<u64>,
    /// Counters of the block device.
    pub device: device::Counts,
    /// Counters of the daemon.
    pub daemon: Option<Daemon>,
}

fn once() -> u32 {
    1
}

/// Counters of the daemon during a block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Calls of `io_uring_enter`.
    pub enters: f64,
    /// Reads of volume files on behalf of GETs.
    pub device_reads: f64,
    /// Durable writes and flushes.
    pub flushes: f64,
    /// Bytes written by commits.
    pub commit_bytes: f64,
}

impl Block {
    fn per_request(&self, count: f64) -> Option<f64> {
        (self.requests > 0).then(|| count / self.requests as f64)
    }

    /// Device read requests per request.
    pub fn reads(&self) -> Option<f64> {
        self.per_request(self.device.reads as f64)
    }

    /// Bytes read from the device per request.
    pub fn read_bytes(&self) -> Option<f64> {
        self.per_request(self.device.read_bytes as f64)
    }

    /// Device flushes per request.
    pub fn flushes(&self) -> Option<f64> {
        self.per_request(self.device.flushes as f64)
    }

    /// Bytes written to the device per body byte.
    pub fn write_amplification(&self) -> Option<f64> {
        let payload = self.bytes_per_second * self.seconds;
        (payload > 0.0).then(|| self.device.written_bytes as f64 / payload)
    }

    /// Calls of `io_uring_enter` per request, as counted by the daemon.
    pub fn enters(&self) -> Option<f64> {
        self.per_request(self.daemon?.enters)
    }

    /// Results of a kind of operation, if there were any.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.get(name).filter(|operation| operation.count > 0)
    }
}

/// System calls per request, counted in a separate block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// `io_uring_enter`.
    pub enters: f64,
    /// All other system calls.
    pub others: f64,
}

/// A block that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Name of the entry in the workload.
    pub entry: String,
    /// Number of its round, from 0.
    pub pair: usize,
    /// Description of the failure.
    pub why: String,
}

/// Record of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the workload.
    pub workload: String,
    /// Machine and commit.
    pub machine: Machine,
    /// Command line.
    pub command: String,
    /// Name of the block device.
    pub device: String,
    /// Body bytes in each server.
    pub data_bytes: u64,
    /// Memory limit of each server, including page cache (bytes); `None` for no limit.
    pub memory_limit: Option<u64>,
    /// All blocks, in the order of measurement.
    pub blocks: Vec<Block>,
    /// System calls by entry, where they were counted.
    pub traced: BTreeMap<String, Traced>,
    /// Errors by entry, where system calls could not be counted.
    #[serde(default)]
    pub untraced: BTreeMap<String, String>,
    /// Failed blocks, in order.
    #[serde(default)]
    pub failures: Vec<Failure>,
}

/// Blocks of one round, by entry.
pub struct Pair<'a> {
    record: &'a Record,
    number: usize,
}

impl<'a> Pair<'a> {
    /// Block of an entry.
    pub fn of(&self, entry: &str) -> Option<&'a Block> {
        let mut blocks = self.record.blocks.iter();
        blocks.find(|block| block.pair == self.number && block.entry == entry)
    }
}

impl Record {
    /// Number of rounds with at least one block.
    fn rounds(&self) -> usize {
        self.blocks.iter().map(|block| block.pair + 1).max().unwrap_or(0)
    }

    /// Number of complete rounds: those with a block of every entry.
    pub fn pairs(&self) -> usize {
        let failed = self.failures.iter().map(|failure| failure.entry.as_str());
        let measured = self.blocks.iter().map(|block| block.entry.as_str());
        let entries: BTreeSet<&str> = failed.chain(measured).collect();
        let is_whole = |number: &usize| {
            let pair = Pair { record: self, number: *number };
            entries.iter().all(|entry| pair.of(entry).is_some())
        };
        (0..self.rounds()).filter(is_whole).count()
    }

    /// Values of a figure, one per round that has it.
    pub fn figures(&self, of: impl Fn(&Pair<'_>) -> Option<f64>) -> Vec<f64> {
        let pairs = (0..self.rounds()).map(|number| Pair { record: self, number });
        pairs.filter_map(|pair| of(&pair)).filter(|figure| figure.is_finite()).collect()
    }

    /// Values of a figure of one entry.
    pub fn of_entry(&self, entry: &str, of: impl Fn(&Block) -> Option<f64>) -> Vec<f64> {
        self.figures(|pair| of(pair.of(entry)?))
    }
}

/// Sample blocks and records for tests.
#[cfg(test)]
pub mod examples {
    use super::*;

    pub fn block(entry: &str, pair: usize, rate: f64) -> Block {
        Block {
            entry: entry.to_owned(),
            pair,
            order: 0,
            busy_before: 0.0,
            stolen: 0.0,
            attempts: 1,
            seconds: 2.0,
            requests: (rate * 2.0) as u64,
            rate,
            bytes_per_second: rate * 8192.0,
            latency_us: Latency { mean: 100.0, p50: 90.0, p99: 200.0, p99_9: 300.0 },
            operations: BTreeMap::new(),
            schedule: None,
            cpu_us: Some(1e6 / rate),
            client_cpu_us: Some(5.0),
            rss_bytes: Some(100 << 20),
            device: device::Counts { reads: (rate * 2.0) as u64, ..device::Counts::default() },
            daemon: None,
        }
    }

    pub fn record(workload: &str, blocks: Vec<Block>) -> Record {
        let machine = Machine {
            date: "2026-01-02".to_owned(),
            kernel: "6.18.44-x".to_owned(),
            cores: 2,
            processor: "a processor".to_owned(),
            memory_bytes: 1 << 30,
            commit: "abc1234".to_owned(),
        };
        Record {
            workload: workload.to_owned(),
            machine,
            command: "cargo xtask bench".to_owned(),
            device: "loop0".to_owned(),
            data_bytes: 4 << 30,
            memory_limit: Some(1 << 30),
            blocks,
            traced: BTreeMap::new(),
            untraced: BTreeMap::new(),
            failures: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use super::examples::{block, record};

    #[test]
    fn ratios_are_taken_within_a_pair() {
        let blocks = vec![block("a", 0, 10.0), block("b", 0, 5.0), block("b", 1, 8.0)];
        let record = record("x", blocks);
        assert_eq!((record.rounds(), record.pairs()), (2, 1), "a pair needs both");
        let ratios = record.figures(|pair| Some(pair.of("a")?.rate / pair.of("b")?.rate));
        assert_eq!(ratios, [2.0], "the second round has no a");
        assert_eq!(record.of_entry("b", |block| block.reads()), [1.0, 1.0]);
        let nothing = block("a", 0, 0.0);
        assert_eq!((nothing.reads(), nothing.write_amplification()), (None, None));
    }

    #[test]
    fn a_round_with_a_failed_entry_is_not_a_pair() {
        let mut record = record("x", vec![block("a", 0, 10.0), block("b", 0, 5.0)]);
        assert_eq!(record.pairs(), 1);
        let (entry, why) = ("c".to_owned(), "no answer".to_owned());
        record.failures.push(Failure { entry, pair: 0, why });
        assert_eq!(record.pairs(), 0);
    }
}
