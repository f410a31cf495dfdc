//! Measurement of one block: load on a subject, with counters read before and after.

use std::collections::BTreeMap;

use hayloft::runtime::split_mix;

use crate::block::{Block, Daemon, Traced};
use crate::device;
use crate::error::{Error, file};
use crate::loadgen::{Latency, Objects, Report, Run, Target};
use crate::machine::{CpuTimes, wait_until_quiet};
use crate::raw::{self, FioJob};
use crate::servers::{Server, Servers};
use crate::strace::Strace;
use crate::test_bed::TestBed;
use crate::workload::{DataSet, Entry, Load, Pace, Subject, Workload};

/// Objects written in a batch put block, per second of other blocks.
const WRITTEN_PER_SECOND: f64 = 4000.0;
/// Time during which system calls are counted (seconds).
const TRACED_SECONDS: f64 = 2.0;

/// Position of a block in a measurement.
#[derive(Clone, Copy, Debug)]
pub struct BlockPosition {
    /// Number of its round, from 0.
    pub pair: usize,
    /// Position in the run of the workload, from 0.
    pub order: usize,
    /// Number of earlier attempts.
    pub attempt: u32,
}

/// Phase of a block.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Warmup,
    Measured,
    Traced,
}

/// Seed of the request stream of a phase. All entries of a round get the same stream, and no stream is
/// repeated on a server: its page cache would hold the answers.
fn stream(workload: &Workload, pair: usize, attempt: u32, phase: Phase) -> u64 {
    let numbers = [pair as u64, u64::from(attempt), phase as u64];
    let mut state = 0;
    for number in workload.name.bytes().map(u64::from).chain(numbers) {
        state ^= number;
        state = split_mix(&mut state);
    }
    state
}

/// Durations of a block.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Warm-up, not measured (seconds).
    pub warmup: f64,
    /// Measured time (seconds).
    pub seconds: f64,
}

/// Everything needed to measure blocks over one data set.
pub struct Measure<'a> {
    /// Environment of the measurement.
    pub bed: &'a TestBed,
    /// Servers with the data set.
    pub servers: Servers<'a>,
    /// Objects of the data set.
    pub objects: Objects,
    /// Number of objects written after the fill, so that PUTs write new ones.
    pub written: BTreeMap<Server, u64>,
    /// Durations of a block.
    pub times: Times,
    /// Number of cores of the machine.
    pub cores: usize,
}

impl Measure<'_> {
    fn objects(&self, server: Server, load: &Load) -> Objects {
        let mut objects = self.objects.clone();
        objects.count += self.written.get(&server).unwrap_or(&0);
        if let Some(sizes) = load.sizes {
            objects.sizes = sizes;
        }
        if load.multi_write.is_some() {
            objects.count = (WRITTEN_PER_SECOND * self.times.seconds) as u64;
        }
        objects
    }

    /// Starts the servers that a workload needs and stops others; for the empty data set stops all.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn prepare(&mut self, workload: &Workload) -> Result<(), Error> {
        let needed = workload.entries.iter().filter_map(|entry| Server::of(entry.subject));
        let needed: Vec<Server> = needed.collect();
        self.servers.set_running(if workload.data == DataSet::Empty { &[] } else { &needed })
    }

    /// Starts an empty server, and stops all others.
    fn fresh(&mut self, subject: Subject) -> Result<(), Error> {
        self.servers.set_running(&[])?;
        let Some(server) = Server::of(subject) else { return Ok(()) };
        self.written.remove(&server);
        let dir = self.servers.dir(server);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(file("empty", &dir))?;
        }
        self.servers.set_running(&[server])
    }

    /// Measures a block. `first_rate` is the last rate of the workload's first entry.
    ///
    /// # Errors
    /// When a server or the generator fails; a wrong answer is a failure of the generator.
    pub fn block(
        &mut self,
        workload: &Workload,
        entry: &Entry,
        first_rate: Option<f64>,
        position: BlockPosition,
    ) -> Result<Block, Error> {
        if workload.data == DataSet::Empty {
            self.fresh(entry.subject)?;
        }
        let BlockPosition { pair, order, attempt } = position;
        let stream = |part| stream(workload, pair, attempt, part);
        let measured = match self.servers.target(entry.subject) {
            Some(target) => self.server_block(entry, &target, first_rate, stream),
            None => self.device_block(entry, stream),
        };
        let block = measured.map(|block| Block { pair, order, ..block })?;
        if workload.data == DataSet::Empty {
            self.servers.set_running(&[])?;
        }
        Ok(block)
    }

    fn run(
        &self,
        load: &Load,
        first_rate: Option<f64>,
        (warmup, seconds): (f64, f64),
        subject: Subject,
        stream: u64,
    ) -> Run {
        let rate = match load.pace {
            Pace::Closed => None,
            Pace::OfFirst(share) => first_rate.map(|rate| rate * share),
        };
        Run {
            seconds,
            warmup,
            connections: load.connections,
            rate,
            mix: load.mix,
            popularity: load.popularity,
            missing: load.missing,
            range_len: load.range_len,
            // Stored objects have a stamp to verify; bodies of the null server do not.
            verify: if subject == Subject::Null { "none" } else { "head" },
            stream,
        }
    }

    fn ask(
        &mut self,
        server: Server,
        load: &Load,
        target: &Target,
        run: &Run,
    ) -> Result<Report, Error> {
        let (loadgen, objects) = (&self.bed.loadgen, self.objects(server, load));
        if let Some(each) = load.multi_write {
            return loadgen.batch_put(target, &objects, load.connections, each);
        }
        let report = loadgen.run(target, &objects, run)?;
        let put = report.operations.get("put").copied().unwrap_or_default();
        *self.written.entry(server).or_default() += put.count;
        Ok(report)
    }

    fn server_block(
        &mut self,
        entry: &Entry,
        target: &Target,
        first_rate: Option<f64>,
        stream: impl Fn(Phase) -> u64,
    ) -> Result<Block, Error> {
        let (load, subject) = (&entry.load, entry.subject);
        let server = Server::of(subject).expect("every subject with a target has a server");
        let Times { warmup, seconds } = self.times;
        // In an open loop connections are part of the warm-up: arrivals do not wait for thousands of them.
        let is_open = load.pace != Pace::Closed;
        if load.multi_write.is_none() && !is_open && warmup > 0.0 {
            let warm = self.run(load, first_rate, (0.0, warmup), subject, stream(Phase::Warmup));
            self.ask(server, load, target, &warm)?;
        }
        let busy_before = wait_until_quiet(self.cores);
        let times = (if is_open { warmup } else { 0.0 }, seconds);
        let run = self.run(load, first_rate, times, subject, stream(Phase::Measured));
        let figures = self.servers.figures(server)?;
        let usage = self.servers.running(server)?.usage();
        let counts = self.bed.device.counts()?;
        let shards = if server == Server::TwoShards { 2 } else { 1 };
        let cores = self.bed.cores_in_use(shards);
        let before = CpuTimes::now_of(&cores);
        let report = self.ask(server, load, target, &run)?;
        let stolen = CpuTimes::now_of(&cores).stolen_since(before);
        let device = self.bed.device.counts()?.since(counts);
        let after = self.servers.running(server)?.usage();
        let daemon = match (self.servers.figures(server)?, figures) {
            (Some(after), Some(before)) => Some(after.since(before)),
            _ => None,
        };
        let answered = report.answered(load.multi_write.unwrap_or(1));
        // Costs of a batch put are given per object.
        let requests = if load.multi_write.is_some() { answered } else { report.answers };
        let cpu = (after.cpu_seconds - usage.cpu_seconds) * 1e6 / requests.max(1) as f64;
        Ok(Block {
            entry: entry.name.to_owned(),
            pair: 0,
            order: 0,
            busy_before,
            stolen,
            attempts: 1,
            seconds: report.seconds,
            requests,
            // Answers after the end do not count as goodput in an open loop.
            rate: match is_open {
                true => report.served_per_second,
                false => answered as f64 / report.seconds,
            },
            bytes_per_second: report.payload_bytes_per_second,
            latency_us: report.main_operation().latency_us,
            operations: report.operations,
            schedule: report.schedule,
            cpu_us: Some(cpu),
            client_cpu_us: Some(report.generator.cpu_us_per_request),
            rss_bytes: Some(after.rss_bytes),
            device,
            daemon: daemon.map(|figures| Daemon {
                enters: figures.enters,
                device_reads: figures.device_reads,
                flushes: figures.flushes,
                commit_bytes: figures.commit_bytes,
            }),
        })
    }

    fn device_block(
        &mut self,
        entry: &Entry,
        stream: impl Fn(Phase) -> u64,
    ) -> Result<Block, Error> {
        self.read_device(entry, self.times.warmup, stream(Phase::Warmup))?;
        let busy_before = wait_until_quiet(self.cores);
        let counts = self.bed.device.counts()?;
        let cores = self.bed.cores_in_use(1);
        let before = CpuTimes::now_of(&cores);
        let figures = self.read_device(entry, self.times.seconds, stream(Phase::Measured))?;
        let stolen = CpuTimes::now_of(&cores).stolen_since(before);
        let device: device::Counts = self.bed.device.counts()?.since(counts);
        Ok(Block {
            entry: entry.name.to_owned(),
            pair: 0,
            order: 0,
            busy_before,
            stolen,
            attempts: 1,
            seconds: figures.seconds,
            requests: figures.count,
            rate: figures.rate,
            bytes_per_second: figures.bytes_per_second,
            latency_us: figures.latency,
            operations: BTreeMap::new(),
            schedule: None,
            cpu_us: Some(figures.cpu_us),
            client_cpu_us: None,
            rss_bytes: None,
            device,
            daemon: None,
        })
    }

    fn read_device(
        &self,
        entry: &Entry,
        seconds: f64,
        seed: u64,
    ) -> Result<raw::RawFigures, Error> {
        if seconds <= 0.0 {
            let latency = Latency::default();
            return Ok(raw::RawFigures { latency, ..raw::RawFigures::default() });
        }
        let (bed, depth) = (self.bed, entry.load.connections);
        let placement = bed.placement("device", 1)?;
        match entry.subject {
            Subject::FioMix(reads) => {
                let dir = self.servers.scratch();
                std::fs::create_dir_all(&dir).map_err(file("make", &dir))?;
                let block = u32::try_from(self.servers.sizes()).expect("object sizes fit u32");
                raw::fio(&placement, &FioJob::Mix { dir: &dir, block, reads }, depth, seconds)
            }
            Subject::Fio => {
                raw::fio(&placement, &FioJob::Reads(&self.servers.span()?), depth, seconds)
            }
            _ => {
                let span = self.servers.span()?;
                raw::ring(&placement, &bed.programs.baseline, &span, depth, seconds, seed)
            }
        }
    }

    /// Counts system calls per request with strace; `None` if the subject is not a server.
    ///
    /// # Errors
    /// When a server, the generator or strace fails.
    pub fn traced(&mut self, workload: &Workload, entry: &Entry) -> Result<Option<Traced>, Error> {
        let subject = entry.subject;
        let Some(target) = self.servers.target(subject) else { return Ok(None) };
        let server = Server::of(subject).expect("every subject with a target has a server");
        let pids = self.servers.running(server)?.tree();
        let out = self.bed.work.join("strace");
        let strace = Strace::attach(&pids, &out)?;
        let stream = stream(workload, 0, 0, Phase::Traced);
        let run = self.run(&entry.load, None, (0.0, TRACED_SECONDS), subject, stream);
        let asked = self.ask(server, &entry.load, &target, &run);
        let calls = strace.detach()?;
        let per_request = 1.0 / asked?.requests.max(1) as f64;
        Ok(Some(Traced {
            enters: calls.enters as f64 * per_request,
            others: calls.others as f64 * per_request,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workload::WORKLOADS;

    /// A repeated stream would be answered from the page cache.
    #[test]
    fn streams_differ_by_workload_round_attempt_and_part() {
        let mut streams = BTreeSet::new();
        for workload in WORKLOADS {
            for pair in 0..20 {
                for attempt in 0..3 {
                    for part in [Phase::Warmup, Phase::Measured, Phase::Traced] {
                        assert!(streams.insert(stream(workload, pair, attempt, part)));
                    }
                }
            }
        }
    }
}
