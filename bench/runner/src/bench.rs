//! The whole measurement: data sets, workloads, rounds, blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::block::{Block, Failure, Record};
use crate::error::{Error, file};
use crate::loadgen::Objects;
use crate::machine::Machine;
use crate::measure::{BlockPosition, Measure};
use crate::plan::{Plan, REPEATS_MAX};
use crate::servers::{Server, Servers};
use crate::test_bed::TestBed;
use crate::workload::{DataSet, Entry, Pace, WORKLOADS, Workload};

/// Ratio of the data of a server to the memory it may use.
const TIMES_MEMORY: u64 = 4;
/// Connections of a fill.
const FILLERS: u32 = 64;
/// Connections of a fill with large objects, of which SeaweedFS holds each in memory several times.
const LARGE_FILLERS: u32 = 4;
/// Memory that SeaweedFS needs for that (bytes).
const LARGE_MEMORY: u64 = 512 << 20;
/// Share of CPU time taken by the host above which a block is repeated.
const STOLEN_MAX: f64 = 0.05;
/// Maximum number of attempts per block.
const ATTEMPTS: u32 = 3;
/// Pause before a block is repeated: hosts that ration CPU time accumulate credit meanwhile.
const REPEAT_DELAY: Duration = Duration::from_secs(2);
/// Number of failures after which an entry is skipped for the rest of its workload.
const FAILURES_MAX: usize = 2;

/// File that marks directories which the benchmark may remove with all content.
const MARK: &str = ".hayloft-bench";

/// Measures all selected workloads; each is recorded when it is finished, with its failures. Failed workloads
/// do not stop the others.
///
/// # Errors
/// [`Error::Workloads`] when workloads failed, or the error that prevented the rest.
pub fn run(bed: &TestBed, machine: &Machine, plan: &Plan) -> Result<(), Error> {
    let mut failed = Vec::new();
    let all = plan.by_data();
    all.iter().try_for_each(|(data, _)| prepare_directory(&bed.dir.join(data.name())))?;
    check_room(&bed.dir, plan.room_max())?;
    for (data, workloads) in all {
        let dir = bed.dir.join(data.name());
        if let Err(error) = measure_data(bed, machine, plan, data, &workloads, &mut failed) {
            eprintln!("cannot prepare the data set {}: {error}", data.name());
            failed.extend(workloads.iter().map(|workload| workload.name));
        }
        fs::remove_dir_all(&dir).map_err(file("remove", &dir))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Workloads(failed.join(", "))) }
}

/// Creates an empty directory with a mark. Removes what an interrupted run left, but no directory without the
/// mark.
fn prepare_directory(dir: &Path) -> Result<(), Error> {
    let mark = dir.join(MARK);
    if mark.exists() {
        fs::remove_dir_all(dir).map_err(file("empty", dir))?;
    } else if dir.exists() {
        let why = format!(
            "{} exists and is not marked as the benchmark's own; remove it, or choose another --dir",
            dir.display()
        );
        return Err(Error::Usage(why));
    }
    fs::create_dir_all(dir).map_err(file("create", dir))?;
    fs::write(&mark, "created and removed by hayloft-bench\n").map_err(file("write", &mark))
}

/// Checks the free space before hours of measurement.
fn check_room(dir: &Path, needed: u64) -> Result<(), Error> {
    let found = statvfs(dir).map_err(|errno| file("read the free space of", dir)(errno.into()))?;
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
    bed: &TestBed,
    machine: &Machine,
    plan: &Plan,
    data: DataSet,
    workloads: &[&Workload],
    failed: &mut Vec<&'static str>,
) -> Result<(), Error> {
    let (sizes, mean) = data.sizes();
    let bytes = plan.bytes_of(data);
    let objects = Objects { count: (bytes / mean).max(1), sizes, volumes: data.volumes() };
    let volume_size = plan.volume_size(data, objects.count, workloads);
    let servers = Servers::new(bed, data, volume_size);
    let (written, times, cores) = (BTreeMap::new(), plan.times, machine.cores);
    let mut measure = Measure { bed, servers, objects, written, times, cores };
    let limited = plan.data_bytes / TIMES_MEMORY;
    let limited = if data == DataSet::Large { limited.max(LARGE_MEMORY) } else { limited };
    bed.limit_memory(Some(limited))?;
    if data != DataSet::Empty {
        fill(&mut measure, data, workloads)?;
    }
    for workload in workloads {
        let limit = bed.limit_memory((!workload.in_memory).then_some(limited))?;
        let record = Record {
            workload: workload.name.to_owned(),
            machine: machine.clone(),
            command: plan.command.clone(),
            device: bed.device.name().to_owned(),
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
                // Without blocks there is no table, and an older record is kept.
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
    measure.servers.set_running(&[])
}

/// Fills every server that the workloads need with the same objects.
fn fill(measure: &mut Measure<'_>, data: DataSet, workloads: &[&Workload]) -> Result<(), Error> {
    let fillers = if data == DataSet::Large { LARGE_FILLERS } else { FILLERS };
    let entries = workloads.iter().flat_map(|workload| workload.entries);
    let needed: BTreeSet<Server> = entries.filter_map(|entry| Server::of(entry.subject)).collect();
    for server in needed {
        let (objects, target) = (&measure.objects, measure.servers.filled_by(server));
        match server {
            // The baseline reads the daemon's data, and the null server has none.
            Server::Baseline | Server::Null => continue,
            // Files are written directly.
            Server::Nginx => measure.servers.set_running(&[])?,
            _ => measure.servers.set_running(&[server])?,
        }
        eprintln!("filling {}: {} objects of {}", server.name(), objects.count, objects.sizes);
        let procs = measure.bed.procs(server.name())?;
        // The page cache of the files must be charged to nginx's cgroup.
        let procs = procs.filter(|_| server == Server::Nginx);
        measure.bed.loadgen.fill(&target, objects, fillers, procs.as_deref())?;
    }
    Ok(())
}

/// Reads all files below `dir` into the page cache.
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

/// Entries in the order of a round: every second round is reversed, so that drift affects all entries
/// equally.
fn round_order(workload: &Workload, pair: usize) -> Vec<&'static Entry> {
    let mut entries: Vec<_> = workload.entries.iter().collect();
    if pair % 2 == 1 {
        entries.reverse();
    }
    entries
}

/// Runs the rounds of a workload.
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
    // The volumes have space for a limited number of repetitions.
    let repeats_max = (REPEATS_MAX * (pairs * workload.entries.len()) as f64) as usize;
    let mut again = 0;
    run_rounds(workload, pairs, &mut record, |entry, first_rate, position| {
        let may_repeat = workload.data == DataSet::Empty || again < repeats_max;
        // Restarts servers that ended during the block before.
        measure.prepare(workload)?;
        let block = least_disturbed(measure, workload, entry, first_rate, (position, may_repeat))?;
        again += block.attempts as usize - 1;
        Ok(block)
    });
    if workload.traced {
        for entry in workload.entries {
            let name = entry.name.to_owned();
            match measure.prepare(workload).and_then(|()| measure.traced(workload, entry)) {
                Ok(Some(traced)) => drop(record.traced.insert(name, traced)),
                Ok(None) => {}
                // Only one figure of many is missing.
                Err(error) => {
                    eprintln!("cannot count the system calls of {name}: {error}");
                    record.untraced.insert(name, error.to_string());
                }
            }
        }
    }
    Ok(record)
}

/// Measures all entries in all rounds. Failures are recorded and do not stop the others.
fn run_rounds(
    workload: &Workload,
    pairs: usize,
    record: &mut Record,
    mut measure: impl FnMut(&Entry, Option<f64>, BlockPosition) -> Result<Block, Error>,
) {
    // The rate of an open loop is relative to the first entry; in a reversed round, to that of the round
    // before.
    let mut first_rate = None;
    let mut failures: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in 0..pairs {
        for entry in round_order(workload, pair) {
            if failures.get(entry.name).is_some_and(|times| *times >= FAILURES_MAX) {
                continue;
            }
            let position = BlockPosition { pair, order: record.blocks.len(), attempt: 0 };
            let measured = if entry.load.pace != Pace::Closed && first_rate.is_none() {
                Err(Error::NoPeak(workload.entries[0].name))
            } else {
                measure(entry, first_rate, position)
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

/// Measures a block, repeating it after a pause while the host takes too much CPU time. Keeps the attempt
/// with the least time taken, regardless of the figures.
fn least_disturbed(
    measure: &mut Measure<'_>,
    workload: &Workload,
    entry: &Entry,
    first_rate: Option<f64>,
    (position, may_repeat): (BlockPosition, bool),
) -> Result<Block, Error> {
    let mut calmest = measure.block(workload, entry, first_rate, position)?;
    for attempt in 1..ATTEMPTS {
        if calmest.stolen <= STOLEN_MAX || !may_repeat {
            break;
        }
        std::thread::sleep(REPEAT_DELAY);
        let position = BlockPosition { attempt, ..position };
        let block = measure.block(workload, entry, first_rate, position)?;
        if block.stolen < calmest.stolen {
            calmest = block;
        }
        calmest.attempts = attempt + 1;
    }
    Ok(calmest)
}

fn write(dir: &Path, record: &Record) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(file("create", dir))?;
    let path = dir.join(format!("{}.json", record.workload));
    let text = serde_json::to_string_pretty(record).expect("records always serialize");
    fs::write(&path, text + "\n").map_err(file("write", &path))
}

/// Reads the records below `dir`, in the order of [`WORKLOADS`].
///
/// # Errors
/// When a record cannot be read or parsed.
pub fn read(dir: &Path) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for workload in WORKLOADS {
        let path = dir.join(format!("{}.json", workload.name));
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(file("read", &path))?;
            let record = serde_json::from_str(&text);
            records.push(record.map_err(|error| file("parse", &path)(error.into()))?);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    #[test]
    fn insufficient_space_is_reported_before_the_measurement() {
        let dir = tempfile::tempdir().unwrap();
        check_room(dir.path(), 1).unwrap();
        let error = check_room(dir.path(), 1 << 60).unwrap_err().to_string();
        assert!(error.contains("1073741824.0 GiB are needed"), "{error}");
    }

    #[test]
    fn every_second_round_is_reversed_and_the_first_starts_with_the_peak() {
        for workload in WORKLOADS {
            let names = |pair| round_order(workload, pair).iter().map(|entry| entry.name).collect();
            let (first, second, third): (Vec<_>, Vec<_>, Vec<_>) = (names(0), names(1), names(2));
            assert_eq!(first[0], workload.entries[0].name);
            assert!(second.iter().rev().eq(&first), "{}: {second:?}", workload.name);
            assert_eq!(third, first);
        }
    }

    fn workload(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    fn failing(position: BlockPosition, at: &[usize]) -> Result<(), Error> {
        let error = Error::Workloads(format!("round {}", position.pair));
        if at.contains(&position.pair) { Err(error) } else { Ok(()) }
    }

    #[test]
    fn only_marked_directories_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("8k");
        prepare_directory(&dir).unwrap();
        fs::create_dir(dir.join("nginx")).unwrap();
        fs::write(dir.join("nginx/object"), "leftover").unwrap();
        prepare_directory(&dir).unwrap();
        assert!(dir.exists() && !dir.join("nginx").exists());
        let photos = root.path().join("large");
        fs::create_dir(&photos).unwrap();
        assert!(
            prepare_directory(&photos).unwrap_err().to_string().contains("choose another --dir")
        );
        assert!(photos.exists());
    }

    #[test]
    fn first_failure_skips_a_block_and_second_skips_the_entry() {
        for (at, of_nginx, failures) in [(&[2][..], 4, 1), (&[2, 3], 2, 2), (&[0, 1, 2], 0, 2)] {
            let mut record = record("get-4k-1", Vec::new());
            run_rounds(workload("get-4k-1"), 5, &mut record, |entry, _, position| {
                if entry.name == "nginx" {
                    failing(position, at)?;
                }
                Ok(block(entry.name, position.pair, 10.0))
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
    fn open_loops_need_a_peak_and_use_the_last_one() {
        let mut record = record("overload", Vec::new());
        let mut asked = Vec::new();
        run_rounds(workload("overload"), 3, &mut record, |entry, first_rate, position| {
            if entry.name == "peak" {
                failing(position, &[0])?;
            } else {
                asked.push((position.pair, first_rate));
            }
            Ok(block(entry.name, position.pair, 100.0 + position.pair as f64))
        });
        assert_eq!(
            asked,
            [(2, Some(102.0))],
            "the reversed second round begins with the open loop"
        );
        assert!(record.failures[1].why.contains("peak"), "{:?}", record.failures);
        assert_eq!(record.pairs(), 1);
    }

    #[test]
    fn records_are_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let written = record("get-8k-32", vec![block("hayloft", 0, 1000.0)]);
        write(dir.path(), &written).unwrap();
        assert_eq!(read(dir.path()).unwrap(), [written]);
        fs::write(dir.path().join("missing.json"), "{").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("missing.json"));
    }
}
