//! The whole measurement: data for data, workload for workload, round for round.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::block::{Block, Failure, Record};
use crate::error::{Error, file};
use crate::loadgen::Objects;
use crate::machine::Machine;
use crate::measure::{Measure, Place, Times};
use crate::raw::SCRATCH_LEN;
use crate::servers::{Server, Servers};
use crate::stand::Stand;
use crate::workload::{Data, Entry, Pace, Subject, WORKLOADS, Workload};

/// The data are so many times larger than the memory that a server may use.
const TIMES_MEMORY: u64 = 4;
/// Shards are compared in processor time, without anybody's page cache: these bytes are enough.
const SHARDS_LEN: u64 = 512 << 20;
/// Connections that fill.
const FILLERS: u32 = 64;
/// The same with large objects, of which SeaweedFS holds each in memory more than once; and what it needs
/// then (bytes).
const LARGE_FILLERS: u32 = 4;
const LARGE_MEMORY: u64 = 512 << 20;
/// What servers may write (bytes a second) when they do nothing else, and what they may be asked in workloads
/// of reads and writes (requests a second): there is room for that.
const WRITE_RATE: f64 = 2.5e9;
const MIXED_RATE: f64 = 22_000.0;
/// Blocks of such a workload that are measured again, in all, for each of its blocks: what is written stays.
const AGAIN_MAX: f64 = 0.5;
/// What an object takes besides its data at most (bytes): a header, an inode, the rest of a block.
const BESIDES: u64 = 4 << 10;
/// A block of which the host took more than this share is measured again,
const STOLEN_MAX: f64 = 0.05;
/// so often in all at most,
const ATTEMPTS: u32 = 3;
/// and after this rest: hosts that ration processor time let it be saved up for a while.
const REST: Duration = Duration::from_secs(2);
/// Who fails so often in a workload is left out of the rest of it: hours could go by otherwise.
const FAILURES_MAX: usize = 2;

/// The file in directories that may be removed with all that is in them.
const MARK: &str = ".hayloft-bench";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Workloads by name; all when empty.
    pub only: BTreeSet<String>,
    /// Rounds.
    pub pairs: usize,
    /// Of a block.
    pub times: Times,
    /// Bytes of bodies that every server holds.
    pub data_bytes: u64,
    /// The command line.
    pub command: String,
    /// Where records go.
    pub out: PathBuf,
}

impl Plan {
    fn wants(&self, workload: &Workload) -> bool {
        self.only.is_empty() || self.only.contains(workload.name)
    }

    fn bytes_of(&self, data: Data) -> u64 {
        match data {
            Data::Shards => self.data_bytes.min(SHARDS_LEN),
            _ => self.data_bytes,
        }
    }

    /// What a server writes while it is measured (bytes).
    fn written(&self, data: Data, server: Server, workloads: &[&Workload]) -> u64 {
        let times = self.times.warmup + self.times.seconds;
        if data == Data::Empty {
            // Each block begins with an empty server.
            return (WRITE_RATE * times) as u64;
        }
        let entries = workloads.iter().flat_map(|workload| workload.entries);
        let puts = entries.filter(|entry| Server::of(entry.subject) == Some(server));
        let puts: f64 = puts.map(|entry| entry.load.puts()).sum();
        let blocks = self.pairs as f64 * (1.0 + AGAIN_MAX);
        let each = data.sizes().1 + BESIDES;
        (puts * MIXED_RATE * times * blocks * each as f64) as u64
    }

    /// What the servers of these workloads take of the file system together (bytes).
    fn room(&self, data: Data, workloads: &[&Workload]) -> u64 {
        let subjects = workloads.iter().flat_map(|workload| workload.entries);
        let subjects: BTreeSet<Subject> = subjects.map(|entry| entry.subject).collect();
        let servers: BTreeSet<Server> = subjects.iter().copied().filter_map(Server::of).collect();
        let objects = self.bytes_of(data) / data.sizes().1;
        let filled = if data == Data::Empty { 0 } else { self.bytes_of(data) + objects * BESIDES };
        let volumes = data.volumes().split(',').count() as u64;
        let of_server = |server: &Server| match server {
            Server::Hayloft | Server::Zeroed | Server::TwoShards => {
                self.volume_size(data, objects, workloads) * volumes
            }
            Server::Nginx => filled,
            Server::SeaweedFs => filled + self.written(data, *server, workloads),
            Server::Baseline | Server::Null => 0,
        };
        let mixes = subjects.iter().any(|subject| matches!(subject, Subject::FioMix(_)));
        let scratch = if mixes { SCRATCH_LEN } else { 0 };
        servers.iter().map(of_server).sum::<u64>() + scratch
    }

    /// The workloads that are wanted, by their data.
    fn by_data(&self) -> Vec<(Data, Vec<&'static Workload>)> {
        let of = |data| {
            let workloads = WORKLOADS.iter().filter(|workload| workload.data == data);
            (data, workloads.filter(|workload| self.wants(workload)).collect())
        };
        Data::ALL
            .map(of)
            .into_iter()
            .filter(|(_, workloads): &(_, Vec<_>)| !workloads.is_empty())
            .collect()
    }

    /// What must be free before it begins (bytes): one set of data is there at a time.
    pub fn room_max(&self) -> u64 {
        let rooms = self.by_data().into_iter().map(|(data, workloads)| self.room(data, &workloads));
        rooms.max().unwrap_or(0)
    }

    /// Size of a volume of the daemon (bytes): what is filled, with headers, and what is written besides.
    fn volume_size(&self, data: Data, objects: u64, workloads: &[&Workload]) -> u64 {
        let room = self.written(data, Server::Hayloft, workloads);
        let volumes = data.volumes().split(',').count() as u64;
        let (filled, objects) = match data {
            Data::Empty => (0, 0),
            _ => (self.bytes_of(data) / volumes, objects / volumes),
        };
        // A needle takes up to 1 KiB more than its data; commits have records, and the log ends early.
        let len = filled + filled / 64 + objects * 1024 + (512 << 20) + room;
        // The daemon asks XFS for extents of 1 GiB, so a volume takes whole ones anyway.
        len.next_multiple_of(1 << 30)
    }
}

/// Measures everything that is wanted; each workload is recorded when it is through, with what failed in it.
/// One in which something failed is named, and the others go on.
///
/// # Errors
/// [`Error::Workloads`], or what made it impossible to go on.
pub fn run(stand: &Stand, machine: &Machine, plan: &Plan) -> Result<(), Error> {
    let mut failed = Vec::new();
    let all = plan.by_data();
    all.iter().try_for_each(|(data, _)| take_over(&stand.dir.join(data.name())))?;
    check_room(&stand.dir, plan.room_max())?;
    for (data, workloads) in all {
        let dir = stand.dir.join(data.name());
        if let Err(error) = measure_data(stand, machine, plan, data, &workloads, &mut failed) {
            eprintln!("the data {} cannot be had: {error}", data.name());
            failed.extend(workloads.iter().map(|workload| workload.name));
        }
        fs::remove_dir_all(&dir).map_err(file("remove", &dir))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Workloads(failed.join(", "))) }
}

/// Makes an empty directory that is marked as ours. What an aborted run left would be measured, too; but
/// nothing is removed that is somebody else's.
fn take_over(dir: &Path) -> Result<(), Error> {
    let mark = dir.join(MARK);
    if mark.exists() {
        fs::remove_dir_all(dir).map_err(file("empty", dir))?;
    } else if dir.exists() {
        let why = format!(
            "{} is there and not marked as the benchmark's own; remove it, or choose another --dir",
            dir.display()
        );
        return Err(Error::Usage(why));
    }
    fs::create_dir_all(dir).map_err(file("make", dir))?;
    fs::write(&mark, "made and removed by hayloft-bench\n").map_err(file("write", &mark))
}

/// Now, and not after hours, when a volume is full.
fn check_room(dir: &Path, needed: u64) -> Result<(), Error> {
    let found = statvfs(dir).map_err(|errno| file("look at", dir)(errno.into()))?;
    let free = found.blocks_available() * found.fragment_size();
    if free >= needed {
        return Ok(());
    }
    let why = format!(
        "{} has {:.1} GiB free, and {:.1} GiB are needed; choose another --dir, fewer workloads with \
         --only, or less of --data-size, --pairs, --seconds or --warmup",
        dir.display(),
        free as f64 / f64::from(1 << 30),
        needed as f64 / f64::from(1 << 30)
    );
    Err(Error::Usage(why))
}

fn measure_data(
    stand: &Stand,
    machine: &Machine,
    plan: &Plan,
    data: Data,
    workloads: &[&Workload],
    failed: &mut Vec<&'static str>,
) -> Result<(), Error> {
    let (sizes, mean) = data.sizes();
    let bytes = plan.bytes_of(data);
    let objects = Objects { count: (bytes / mean).max(1), sizes, volumes: data.volumes() };
    let volume_size = plan.volume_size(data, objects.count, workloads);
    let servers = Servers::new(stand, data, volume_size);
    let (written, times, cores) = (BTreeMap::new(), plan.times, machine.cores);
    let mut measure = Measure { stand, servers, objects, written, times, cores };
    let scarce = plan.data_bytes / TIMES_MEMORY;
    let scarce = if data == Data::Large { scarce.max(LARGE_MEMORY) } else { scarce };
    stand.limit_memory(Some(scarce))?;
    if data != Data::Empty {
        fill(&mut measure, data, workloads)?;
    }
    for workload in workloads {
        let limit = stand.limit_memory((!workload.in_memory).then_some(scarce))?;
        let record = Record {
            workload: workload.name.to_owned(),
            machine: machine.clone(),
            command: plan.command.clone(),
            device: stand.device.name().to_owned(),
            data_bytes: bytes,
            memory_limit: limit,
            blocks: Vec::new(),
            traced: BTreeMap::new(),
            untraced: BTreeMap::new(),
            failures: Vec::new(),
        };
        match rounds(&mut measure, workload, plan.pairs, record) {
            Ok(record) => {
                if !record.failures.is_empty() {
                    failed.push(workload.name);
                }
                // Of nothing there is no table, and an older record may be there.
                if !record.blocks.is_empty() {
                    write(&plan.out, &record)?;
                }
            }
            Err(error) => {
                eprintln!("{} failed: {error}", workload.name);
                failed.push(workload.name);
            }
        }
    }
    measure.servers.need(&[])
}

/// Fills every server that the workloads need, alike.
fn fill(measure: &mut Measure<'_>, data: Data, workloads: &[&Workload]) -> Result<(), Error> {
    let fillers = if data == Data::Large { LARGE_FILLERS } else { FILLERS };
    let entries = workloads.iter().flat_map(|workload| workload.entries);
    let needed: BTreeSet<Server> = entries.filter_map(|entry| Server::of(entry.subject)).collect();
    for server in needed {
        let (objects, target) = (&measure.objects, measure.servers.filled_by(server));
        match server {
            // The one reads what the daemon holds, the other holds nothing.
            Server::Baseline | Server::Null => continue,
            // Files are written without its help.
            Server::Nginx => measure.servers.need(&[])?,
            _ => measure.servers.need(&[server])?,
        }
        eprintln!("filling {}: {} objects of {}", server.name(), objects.count, objects.sizes);
        let procs = measure.stand.procs(server.name())?;
        // What files leave in the page cache must be nginx's, and no more than it may have.
        let procs = procs.filter(|_| server == Server::Nginx);
        measure.stand.loadgen.fill(&target, objects, fillers, procs.as_deref())?;
    }
    Ok(())
}

/// Brings all files below `dir` into the page cache.
fn read_all(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(file("read", dir))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path)?;
        } else {
            let mut opened = fs::File::open(&path).map_err(file("open", &path))?;
            std::io::copy(&mut opened, &mut std::io::sink()).map_err(file("read", &path))?;
        }
    }
    Ok(())
}

/// The entries in the order of a round: every second one goes backwards, so that what drifts hits all alike.
fn in_turn(workload: &Workload, pair: usize) -> Vec<&'static Entry> {
    let mut entries: Vec<_> = workload.entries.iter().collect();
    if pair % 2 == 1 {
        entries.reverse();
    }
    entries
}

/// The rounds of a workload.
fn rounds(
    measure: &mut Measure<'_>,
    workload: &Workload,
    pairs: usize,
    mut record: Record,
) -> Result<Record, Error> {
    eprintln!("\n{}: {}", workload.name, workload.what);
    measure.prepare(workload)?;
    if workload.in_memory {
        for server in [Server::Nginx, Server::SeaweedFs] {
            read_all(&measure.servers.dir(server))?;
        }
    }
    // The volumes have room for no more.
    let again_max = (AGAIN_MAX * (pairs * workload.entries.len()) as f64) as usize;
    let mut again = 0;
    take_turns(workload, pairs, &mut record, |entry, first_rate, place| {
        let may_repeat = workload.data == Data::Empty || again < again_max;
        // Whoever ended in the block before is started again.
        measure.prepare(workload)?;
        let block = undisturbed(measure, workload, entry, first_rate, (place, may_repeat))?;
        again += block.attempts as usize - 1;
        Ok(block)
    });
    if workload.traced {
        for entry in workload.entries {
            let name = entry.name.to_owned();
            match measure.prepare(workload).and_then(|()| measure.traced(workload, entry)) {
                Ok(Some(traced)) => drop(record.traced.insert(name, traced)),
                Ok(None) => {}
                // It is one figure of many, and all the others are there.
                Err(error) => {
                    eprintln!("the system calls of {name} are not counted: {error}");
                    record.untraced.insert(name, error.to_string());
                }
            }
        }
    }
    Ok(record)
}

/// Measures all entries in all rounds. What fails is noted, and the others go on.
fn take_turns(
    workload: &Workload,
    pairs: usize,
    record: &mut Record,
    mut measure: impl FnMut(&Entry, Option<f64>, Place) -> Result<Block, Error>,
) {
    // An open loop needs to know what the first entry gets: going backwards, what it got the round before.
    let mut first_rate = None;
    let mut failures: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in 0..pairs {
        for entry in in_turn(workload, pair) {
            if failures.get(entry.name).is_some_and(|times| *times >= FAILURES_MAX) {
                continue;
            }
            let place = Place { pair, order: record.blocks.len(), attempt: 0 };
            let measured = if entry.load.pace != Pace::Closed && first_rate.is_none() {
                Err(Error::NoPeak(workload.entries[0].name))
            } else {
                measure(entry, first_rate, place)
            };
            match measured {
                Ok(block) => {
                    if entry.name == workload.entries[0].name {
                        first_rate = Some(block.rate);
                    }
                    print_line(&block);
                    record.blocks.push(block);
                }
                Err(error) => {
                    if !matches!(error, Error::NoPeak(_)) {
                        *failures.entry(entry.name).or_default() += 1;
                    }
                    let (entry, why) = (entry.name.to_owned(), error.to_string());
                    eprintln!("  {pair:>2} {entry:<16} failed: {why}");
                    record.failures.push(Failure { entry, pair, why });
                }
            }
        }
    }
}

fn print_line(block: &Block) {
    eprintln!(
        "  {:>2} {:<16} {:>9.0}/s  p50 {:>8.0} us  p99 {:>8.0} us  CPU {:>6.1} us  stolen {:>4.1} %{}",
        block.pair,
        block.entry,
        block.rate,
        block.latency_us.p50,
        block.latency_us.p99,
        block.cpu_us.unwrap_or(0.0),
        block.stolen * 100.0,
        if block.busy_before > crate::machine::BUSY_MAX { "  (not quiet)" } else { "" }
    );
}

/// Measures a block, and again after a rest while the host takes too much: what counts is the attempt during
/// which it took least, whatever the figures are.
fn undisturbed(
    measure: &mut Measure<'_>,
    workload: &Workload,
    entry: &Entry,
    first_rate: Option<f64>,
    (place, may_repeat): (Place, bool),
) -> Result<Block, Error> {
    let mut calmest = measure.block(workload, entry, first_rate, place)?;
    for attempt in 1..ATTEMPTS {
        if calmest.stolen <= STOLEN_MAX || !may_repeat {
            break;
        }
        std::thread::sleep(REST);
        let place = Place { attempt, ..place };
        let block = measure.block(workload, entry, first_rate, place)?;
        if block.stolen < calmest.stolen {
            calmest = block;
        }
        calmest.attempts = attempt + 1;
    }
    Ok(calmest)
}

fn write(dir: &Path, record: &Record) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(file("make", dir))?;
    let path = dir.join(format!("{}.json", record.workload));
    let text = serde_json::to_string_pretty(record).expect("figures and names");
    fs::write(&path, text + "\n").map_err(file("write", &path))
}

/// The records below `dir`, in the order of the table.
///
/// # Errors
/// When one is there that cannot be read.
pub fn read(dir: &Path) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for workload in WORKLOADS {
        let path = dir.join(format!("{}.json", workload.name));
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(file("read", &path))?;
            let record = serde_json::from_str(&text);
            records.push(record.map_err(|error| file("understand", &path)(error.into()))?);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    fn plan() -> Plan {
        Plan {
            only: BTreeSet::new(),
            pairs: 9,
            times: Times { warmup: 1.0, seconds: 5.0 },
            data_bytes: 4 << 30,
            command: String::new(),
            out: PathBuf::new(),
        }
    }

    fn of(data: Data) -> Vec<&'static Workload> {
        WORKLOADS.iter().filter(|workload| workload.data == data).collect()
    }

    #[test]
    fn volumes_have_room_for_what_is_filled_and_written() {
        let plan = plan();
        let objects = (4_u64 << 30) / 4096;
        let size = |data, objects| plan.volume_size(data, objects, &of(data));
        // A needle of 4 KiB takes ten units of 512 bytes.
        assert!(size(Data::Needles4K, objects) > objects * 5120 + (512 << 20));
        assert!(size(Data::Empty, 1) > 14 << 30);
        assert_eq!(size(Data::Large, 512), 5 << 30);
        assert_eq!(size(Data::Shards, 65_536), 1 << 30, "each volume has half of them");
        // 11 of 100 requests of the three mixes are PUTs; half of the blocks may be measured again.
        let written = 0.11 * MIXED_RATE * 6.0 * 9.0 * 1.5 * 65_536.0;
        assert!(size(Data::Needles64K, 65_536) > (4 << 30) + written as u64);
    }

    #[test]
    fn what_must_be_free_follows_from_the_flags() {
        let all = plan();
        let rooms = [
            all.clone(),
            Plan { pairs: 20, ..all.clone() },
            Plan { times: Times { warmup: 1.0, seconds: 20.0 }, ..all.clone() },
            Plan { data_bytes: 8 << 30, ..all.clone() },
        ]
        .map(|plan| plan.room_max());
        assert!(rooms[0] > 3 * (4 << 30), "three servers hold the data");
        assert!(rooms[1..].iter().all(|room| *room > rooms[0] + (1 << 30)), "{rooms:?}");
        let one = Plan { only: ["get-4k-1".to_owned()].into(), ..all };
        assert!(one.room_max() < rooms[0] / 2, "nothing is written, and two servers hold it");
    }

    #[test]
    fn too_little_room_is_told_before_anything_begins() {
        let dir = tempfile::tempdir().unwrap();
        check_room(dir.path(), 1).unwrap();
        let error = check_room(dir.path(), 1 << 60).unwrap_err().to_string();
        assert!(error.contains("1073741824.0 GiB are needed"), "{error}");
    }

    #[test]
    fn every_second_round_goes_backwards_and_the_first_tells_the_peak() {
        for workload in WORKLOADS {
            let names = |pair| in_turn(workload, pair).iter().map(|entry| entry.name).collect();
            let (first, second, third): (Vec<_>, Vec<_>, Vec<_>) = (names(0), names(1), names(2));
            assert_eq!(first[0], workload.entries[0].name);
            assert!(second.iter().rev().eq(&first), "{}: {second:?}", workload.name);
            assert_eq!(third, first);
        }
    }

    fn workload(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    fn failing(place: Place, at: &[usize]) -> Result<(), Error> {
        let error = Error::Workloads(format!("round {}", place.pair));
        if at.contains(&place.pair) { Err(error) } else { Ok(()) }
    }

    #[test]
    fn what_an_aborted_run_left_goes_and_what_others_have_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("8k");
        take_over(&dir).unwrap();
        fs::create_dir(dir.join("nginx")).unwrap();
        fs::write(dir.join("nginx/object"), "of the run before").unwrap();
        take_over(&dir).unwrap();
        assert!(dir.exists() && !dir.join("nginx").exists());
        let photos = root.path().join("large");
        fs::create_dir(&photos).unwrap();
        assert!(take_over(&photos).unwrap_err().to_string().contains("choose another --dir"));
        assert!(photos.exists());
    }

    #[test]
    fn one_failure_costs_one_block_and_a_second_one_the_rest_of_that_entry() {
        for (at, of_nginx, failures) in [(&[2][..], 4, 1), (&[2, 3], 2, 2), (&[0, 1, 2], 0, 2)] {
            let mut record = record("get-4k-1", Vec::new());
            take_turns(workload("get-4k-1"), 5, &mut record, |entry, _, place| {
                if entry.name == "nginx" {
                    failing(place, at)?;
                }
                Ok(block(entry.name, place.pair, 10.0))
            });
            assert_eq!(record.of_entry("hayloft", |block| Some(block.rate)).len(), 5, "{at:?}");
            assert_eq!(
                record.of_entry("nginx", |block| Some(block.rate)).len(),
                of_nginx,
                "{at:?}"
            );
            assert_eq!((record.pairs(), record.failures.len()), (of_nginx, failures), "{at:?}");
            let first = &record.failures[0];
            assert!(first.entry == "nginx" && first.pair == at[0], "{first:?}");
            assert!(first.why.contains(&format!("round {}", at[0])), "{first:?}");
        }
    }

    #[test]
    fn no_open_loop_runs_without_a_peak_and_each_takes_the_last() {
        let mut record = record("overload", Vec::new());
        let mut asked = Vec::new();
        take_turns(workload("overload"), 3, &mut record, |entry, first_rate, place| {
            if entry.name == "peak" {
                failing(place, &[0])?;
            } else {
                asked.push((place.pair, first_rate));
            }
            Ok(block(entry.name, place.pair, 100.0 + place.pair as f64))
        });
        assert_eq!(asked, [(2, Some(102.0))], "the second round begins with the open loop");
        assert!(record.failures[1].why.contains("peak"), "{:?}", record.failures);
        assert_eq!(record.pairs(), 1);
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let written = record("get-8k-32", vec![block("hayloft", 0, 1000.0)]);
        write(dir.path(), &written).unwrap();
        assert_eq!(read(dir.path()).unwrap(), [written]);
        fs::write(dir.path().join("missing.json"), "{").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("missing.json"));
    }
}
