//! One block: a subject is asked for some seconds, and everybody who counts is asked before and after.

use std::collections::BTreeMap;

use hayloft::runtime::split_mix;

use crate::block::{Block, Daemon, Traced};
use crate::device;
use crate::error::{Error, file};
use crate::loadgen::{Latency, Objects, Report, Run, Target};
use crate::machine::{CpuTimes, wait_until_quiet};
use crate::raw::{self, Job};
use crate::servers::{Server, Servers};
use crate::stand::Stand;
use crate::strace::Strace;
use crate::workload::{Data, Entry, Load, Pace, Subject, Workload};

/// Objects written in a block of multi-writes, for each second that other blocks take.
const WRITTEN_PER_SECOND: f64 = 4000.0;
/// How long system calls are counted (seconds).
const TRACED_SECONDS: f64 = 2.0;

/// Which block of a workload it is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its round, from 0.
    pub pair: usize,
    /// Its position in the run of the workload, from 0.
    pub order: usize,
    /// How often it was measured already.
    pub attempt: u32,
}

/// What requests are for.
#[derive(Clone, Copy, Debug)]
enum Part {
    Warmup,
    Measured,
    Traced,
}

/// The stream of requests of a part of a block. All entries of a round get the same one, and none that a
/// server was asked before: what that one brought into its page cache would be found there.
fn stream(workload: &Workload, pair: usize, attempt: u32, part: Part) -> u64 {
    let numbers = [pair as u64, u64::from(attempt), part as u64];
    let mut state = 0;
    for number in workload.name.bytes().map(u64::from).chain(numbers) {
        state ^= number;
        state = split_mix(&mut state);
    }
    state
}

/// How long blocks take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Asked before, uncounted (seconds).
    pub warmup: f64,
    /// Measured (seconds).
    pub seconds: f64,
}

/// What blocks of one set of data are measured with.
pub struct Measure<'a> {
    /// Where.
    pub stand: &'a Stand,
    /// The servers over the data.
    pub servers: Servers<'a>,
    /// The data.
    pub objects: Objects,
    /// Objects that were written behind those that were filled, so that the next PUT is of a new one.
    pub written: BTreeMap<Server, u64>,
    /// How long.
    pub times: Times,
    /// Cores of the machine.
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

    /// Starts what a workload needs, and stops what it does not; of a fresh one, nothing yet.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn prepare(&mut self, workload: &Workload) -> Result<(), Error> {
        let needed = workload.entries.iter().filter_map(|entry| Server::of(entry.subject));
        let needed: Vec<Server> = needed.collect();
        self.servers.need(if workload.data == Data::Empty { &[] } else { &needed })
    }

    /// An empty server and no other.
    fn fresh(&mut self, subject: Subject) -> Result<(), Error> {
        self.servers.need(&[])?;
        let Some(server) = Server::of(subject) else { return Ok(()) };
        self.written.remove(&server);
        let dir = self.servers.dir(server);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(file("empty", &dir))?;
        }
        self.servers.need(&[server])
    }

    /// Measures a block. `first_rate` is what the workload's first entry got last.
    ///
    /// # Errors
    /// When something fails; an answer that is wrong is a failure of the generator.
    pub fn block(
        &mut self,
        workload: &Workload,
        entry: &Entry,
        first_rate: Option<f64>,
        place: Place,
    ) -> Result<Block, Error> {
        if workload.data == Data::Empty {
            self.fresh(entry.subject)?;
        }
        let Place { pair, order, attempt } = place;
        let stream = |part| stream(workload, pair, attempt, part);
        let measured = match self.servers.target(entry.subject) {
            Some(target) => self.server_block(entry, &target, first_rate, stream),
            None => self.device_block(entry, stream),
        };
        let block = measured.map(|block| Block { pair, order, ..block })?;
        if workload.data == Data::Empty {
            self.servers.need(&[])?;
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
            // What is stored is verified by its own stamp; from memory comes something else.
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
        let (loadgen, objects) = (&self.stand.loadgen, self.objects(server, load));
        if let Some(each) = load.multi_write {
            return loadgen.multi_write(target, &objects, load.connections, each);
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
        stream: impl Fn(Part) -> u64,
    ) -> Result<Block, Error> {
        let (load, subject) = (&entry.load, entry.subject);
        let server = Server::of(subject).expect("what has a target is a server");
        let Times { warmup, seconds } = self.times;
        // Arrivals do not wait until thousands of connections are made: those belong to the warm-up.
        let is_open = load.pace != Pace::Closed;
        if load.multi_write.is_none() && !is_open && warmup > 0.0 {
            let warm = self.run(load, first_rate, (0.0, warmup), subject, stream(Part::Warmup));
            self.ask(server, load, target, &warm)?;
        }
        let busy_before = wait_until_quiet(self.cores);
        let times = (if is_open { warmup } else { 0.0 }, seconds);
        let run = self.run(load, first_rate, times, subject, stream(Part::Measured));
        let figures = self.servers.figures(server)?;
        let usage = self.servers.running(server)?.usage();
        let counts = self.stand.device.counts()?;
        let shards = if server == Server::TwoShards { 2 } else { 1 };
        let cores = self.stand.cores_in_use(shards);
        let before = CpuTimes::now_of(&cores);
        let report = self.ask(server, load, target, &run)?;
        let stolen = CpuTimes::now_of(&cores).stolen_since(before);
        let device = self.stand.device.counts()?.since(counts);
        let after = self.servers.running(server)?.usage();
        let daemon = match (self.servers.figures(server)?, figures) {
            (Some(after), Some(before)) => Some(after.since(before)),
            _ => None,
        };
        let answered = report.answered(load.multi_write.unwrap_or(1));
        // What a multi-write costs is said of each of its objects.
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
            // What was due in time and answered later is no goodput.
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
        stream: impl Fn(Part) -> u64,
    ) -> Result<Block, Error> {
        self.read_device(entry, self.times.warmup, stream(Part::Warmup))?;
        let busy_before = wait_until_quiet(self.cores);
        let counts = self.stand.device.counts()?;
        let cores = self.stand.cores_in_use(1);
        let before = CpuTimes::now_of(&cores);
        let figures = self.read_device(entry, self.times.seconds, stream(Part::Measured))?;
        let stolen = CpuTimes::now_of(&cores).stolen_since(before);
        let device: device::Counts = self.stand.device.counts()?.since(counts);
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

    fn read_device(&self, entry: &Entry, seconds: f64, seed: u64) -> Result<raw::Figures, Error> {
        if seconds <= 0.0 {
            let latency = Latency::default();
            return Ok(raw::Figures { latency, ..raw::Figures::default() });
        }
        let (stand, depth) = (self.stand, entry.load.connections);
        let seat = stand.seat("device", 1)?;
        match entry.subject {
            Subject::FioMix(reads) => {
                let dir = self.servers.scratch();
                std::fs::create_dir_all(&dir).map_err(file("make", &dir))?;
                let block = u32::try_from(self.servers.sizes()).expect("a needle is short");
                raw::fio(&seat, &Job::Mix { dir: &dir, block, reads }, depth, seconds)
            }
            Subject::Fio => raw::fio(&seat, &Job::Reads(&self.servers.span()?), depth, seconds),
            _ => {
                let span = self.servers.span()?;
                raw::ring(&seat, &stand.programs.baseline, &span, depth, seconds, seed)
            }
        }
    }

    /// Counts system calls for each request, under strace; nothing of what is no server.
    ///
    /// # Errors
    /// When something fails.
    pub fn traced(&mut self, workload: &Workload, entry: &Entry) -> Result<Option<Traced>, Error> {
        let subject = entry.subject;
        let Some(target) = self.servers.target(subject) else { return Ok(None) };
        let server = Server::of(subject).expect("what has a target is a server");
        let pids = self.servers.running(server)?.tree();
        let out = self.stand.work.join("strace");
        let strace = Strace::attach(&pids, &out)?;
        let stream = stream(workload, 0, 0, Part::Traced);
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

    /// What a page cache knows already must not be asked for again.
    #[test]
    fn streams_differ_by_workload_round_attempt_and_part() {
        let mut streams = BTreeSet::new();
        for workload in WORKLOADS {
            for pair in 0..20 {
                for attempt in 0..3 {
                    for part in [Part::Warmup, Part::Measured, Part::Traced] {
                        assert!(streams.insert(stream(workload, pair, attempt, part)));
                    }
                }
            }
        }
    }
}
