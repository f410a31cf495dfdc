//! Options that commands share.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::slice;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use hayloft::commands::client::ServerAddress;
use serde::{Serialize, Serializer};

use crate::connection::CONNECT_TIMEOUT;
use crate::content::Content;
use crate::error::Error;
use crate::load;
use crate::object::{Keys, Objects};
use crate::operation::Source;
use crate::plan::{Endpoint, Plan, Shared, Verify};
use crate::progress;
use crate::report::hlog::{IntervalLog, LogFile};
use crate::report::summary::{Summary, Title};
use crate::report::{hgrm, html, table};
use crate::sizes::Sizes;
use crate::target::Target;

/// Maximum of options in seconds: a year, so that nanoseconds do not overflow.
const SECONDS_MAX: f64 = 31_536_000.0;

/// Parsed list of numbers and ranges, for instance `0,2-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List(pub Vec<u32>);

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice =
            || format!("{text:?} is not a list; write numbers and ranges, for instance 0,2-5");
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.trim().parse().map_err(|_| advice())?;
            let last: u32 = last.trim().parse().map_err(|_| advice())?;
            if first > last || last - first > 65_535 {
                return Err(advice());
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Parses a number of seconds from 0 to a year.
///
/// # Errors
/// Advice on the expected format.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 =
        text.parse().map_err(|_| "write a number of seconds, for instance 10 or 0.5".to_owned())?;
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("write a number of seconds from 0 to a year".to_owned())
    }
}

/// Parser for an object count, below the range of numbers of objects that are never stored.
pub fn object_count() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..1 << 61)
}

/// Converts seconds (0 to a year) to nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a year")]
pub fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Options of the target and its objects.
#[derive(Clone, Debug, Args, Serialize)]
pub struct TargetArgs {
    /// Kind of server
    #[arg(long, value_enum, default_value = "hayloft")]
    pub target: Target,
    /// Address of the server; given several times, connections are spread over all. If a host has several
    /// addresses, the first one that accepts a connection is used
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: Vec<String>,
    /// Volumes to spread objects over evenly, for instance 1,3-5
    #[arg(long, value_name = "LIST", default_value = "1")]
    pub volumes: List,
    /// Seed of everything random, above all the objects; a run needs the seed of its fill
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Order of the keys
    #[arg(long, value_enum, default_value = "sequential")]
    pub keys: Keys,
    /// Size variants of each photo: objects with the same key
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub alts: u32,
    /// Part of a body that is compared with the stored object: every byte (below 1 us of CPU for 8 KiB), the
    /// length and first 24 bytes, or the length
    #[arg(long, value_enum, default_value = "full")]
    pub verify: Verify,
    /// Have SeaweedFS make writes durable (?fsync=true)
    #[arg(long)]
    pub fsync: bool,
}

impl TargetArgs {
    /// State that all threads share.
    ///
    /// # Errors
    /// When a URL is invalid.
    pub fn shared(&self, sizes: Sizes) -> Result<Shared, Error> {
        Ok(Shared {
            target: self.target,
            endpoints: self.url.iter().map(|url| endpoint(url)).collect::<Result<_, _>>()?,
            routes: BTreeMap::new(),
            objects: self.objects(sizes),
            content: Content::new(),
            verify: self.verify,
            fsync: self.fsync,
        })
    }

    /// The objects of these options.
    pub fn objects(&self, sizes: Sizes) -> Objects {
        let Self { seed, keys, alts, .. } = *self;
        Objects { seed, keys, alts, volumes: self.volumes.0.clone(), sizes }
    }
}

/// Resolves a URL to an endpoint.
///
/// # Errors
/// When the URL is invalid, or the host cannot be found or accepts no connection.
pub fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let server: ServerAddress =
        url.parse().map_err(|error| Error::Usage(format!("--url: {error}")))?;
    let text = server.to_string();
    let host = text.trim_start_matches("http://").to_owned();
    let found = host.to_socket_addrs().into_iter().flatten().collect::<Vec<_>>();
    Ok(Endpoint { address: listening(&host, &found)?, host })
}

/// First address that accepts a connection: `localhost` has two, and many servers listen on one of them.
fn listening(host: &str, addresses: &[SocketAddr]) -> Result<SocketAddr, Error> {
    match addresses {
        [] => Err(Error::Usage(format!("--url: cannot resolve {host}; check the host name"))),
        // Connection failures of a single address are reported when the load connects.
        [address] => Ok(*address),
        _ => {
            let mut failures = Vec::new();
            for address in addresses {
                match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                    Ok(_) => return Ok(*address),
                    Err(error) => failures.push(format!("{address}: {error}")),
                }
            }
            Err(Error::Failed(format!(
                "cannot connect to {host} ({}); check that the server is running and --url is right",
                failures.join(", ")
            )))
        }
    }
}

/// Options of the load generator and its output.
#[derive(Clone, Debug, Args, Serialize)]
pub struct GeneratorArgs {
    /// Threads, each with its own ring
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Cores to pin the threads to, in turn, for instance 1,4-7 [default: not pinned]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<List>,
    /// Time to wait for answers at the end; an open loop first sends what is still queued, for as long. A
    /// fill (and --prefill) retries requests that are refused or fail to connect for as long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub patience: f64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latencies of every second as an HdrHistogram log; with --rates one file per rate
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Write the latency percentiles of served requests in the format of HdrHistogram's plotter
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write an HTML page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print no progress and no table; wrong answers and errors are printed on standard error
    #[arg(long)]
    pub quiet: bool,
}

impl GeneratorArgs {
    /// Core numbers to pin threads to; empty for none.
    pub fn core_list(&self) -> Vec<usize> {
        let cores = self.cores.iter().flat_map(|list| &list.0);
        cores.map(|core| usize::try_from(*core).expect("32 bits")).collect()
    }

    /// Runs a load, printing progress, and summarises it. `part` distinguishes the files of a sweep.
    ///
    /// # Errors
    /// When the load could not run, or a file could not be written.
    pub fn load(
        &self,
        title: &Title,
        part: Option<&str>,
        plan: &Plan,
        shared: &Arc<Shared>,
        source: &(dyn Fn(usize) -> Box<dyn Source> + Sync),
    ) -> Result<Summary, Error> {
        for path in [&self.json, &self.hgrm, &self.html] {
            check_writable(path.as_deref())?;
        }
        let path =
            self.hlog.as_ref().map(|path| part.map_or(path.clone(), |part| with_part(path, part)));
        check_writable(path.as_deref())?;
        let mut file = path.as_deref().map(LogFile::new);
        // Approximate: the time to connect is negligible.
        let began = SystemTime::now() + Duration::from_nanos(plan.warmup);
        let mut log = file.as_mut().map(|file| file.begin(began)).transpose();
        let outcome = load::run(plan, shared, source, &mut |second, interval| {
            if !self.quiet {
                progress::line(second, interval);
            }
            if let (Ok(Some(open)), Ok(second)) = (&mut log, u64::try_from(second))
                && let Err(error) = open.second(second, interval)
            {
                log = Err(error);
            }
        })?;
        let log = log.and_then(|open| open.map_or(Ok(()), IntervalLog::end));
        if let (Err(source), Some(path)) = (log, path) {
            return Err(Error::File { what: "write", path, source });
        }
        Ok(Summary::new(title, plan, &outcome))
    }

    /// Prints the table (if quiet, only failures, on standard error) and writes the requested files; returns
    /// whether every answer was correct.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn deliver(&self, summary: &Summary) -> Result<bool, Error> {
        // The table first: it is printed even if a file cannot be written.
        let loads =
            if summary.sweep.is_empty() { slice::from_ref(summary) } else { &summary.sweep[..] };
        if self.quiet {
            for failures in loads.iter().filter_map(table::failures) {
                eprintln!("hayloft-loadgen: {failures}");
            }
        } else {
            let tables: Vec<String> = loads.iter().map(table::render).collect();
            println!("{}", tables.join("\n"));
        }
        let json =
            || serde_json::to_string_pretty(summary).expect("a summary always serializes") + "\n";
        let written = [
            write(self.json.as_deref(), json),
            write(self.hgrm.as_deref(), || hgrm::render(&summary.served)),
            write(self.html.as_deref(), || html::render(summary)),
        ];
        written.into_iter().collect::<Result<(), _>>()?;
        Ok(summary.is_clean())
    }
}

/// Checks, before a load runs, that a file can be written, if a path is given. Existing content is not
/// changed.
///
/// # Errors
/// When it cannot be written.
pub fn check_writable(path: Option<&Path>) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        // Opening and closing a pipe would signal its end to the reader.
        return Ok(());
    }
    let is_new = path.symlink_metadata().is_err();
    let opened = File::options().append(true).create(true).open(path);
    opened.map_err(Error::file("create", path))?;
    if is_new {
        // Remove it again: a command that fails must not leave an empty result.
        std::fs::remove_file(path).map_err(Error::file("write", path))?;
    }
    Ok(())
}

/// Writes a file, if a path is given.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text()).map_err(Error::file("write", path))
}

/// Inserts the part name before the extension: `a/b.hlog` and `1000` give `a/b-1000.hlog`.
fn with_part(path: &Path, part: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    path.with_file_name(format!("{stem}-{part}{}", extension.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!("0,2-5".parse(), Ok(List(vec![0, 2, 3, 4, 5])));
        for text in ["", "a", "5-2", "1,,2", "-1", "0-4294967295"] {
            assert!(text.parse::<List>().unwrap_err().contains("0,2-5"), "{text}");
        }
    }

    #[test]
    fn seconds_are_positive_and_bounded() {
        assert_eq!(seconds("0.5").map(nanos), Ok(500_000_000));
        for text in ["-1", "x", "NaN", "1e12"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_part_of_a_sweep_has_its_own_file() {
        for (path, expected) in [("a/b.hlog", "a/b-50.hlog"), ("b", "b-50")] {
            assert_eq!(with_part(Path::new(path), "50"), Path::new(expected));
        }
    }

    #[test]
    fn all_addresses_of_a_host_are_tried() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(listening("h:1", &[closed, address]).unwrap(), address);
        assert_eq!(listening("h:1", &[closed]).unwrap(), closed);
        let error = listening("h:1", &[closed, closed]).unwrap_err();
        assert!(
            error.exit_code() == 1 && error.to_string().contains(&closed.to_string()),
            "{error}"
        );
        assert_eq!(listening("h:1", &[]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn checking_that_a_file_is_writable_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
        std::fs::write(&old, "result").unwrap();
        for path in [Some(&*old), Some(&*new), Some(Path::new("/dev/null")), None] {
            check_writable(path).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "result");
        assert!(!new.exists());
        for path in [dir.path(), &dir.path().join("no/such")] {
            let error = check_writable(Some(path)).unwrap_err().to_string();
            assert!(error.contains("cannot create"), "{error}");
        }
    }

    #[test]
    fn urls_are_resolved_and_invalid_ones_rejected() {
        let endpoint = endpoint("http://127.0.0.1:81").unwrap();
        assert_eq!((endpoint.address.port(), endpoint.host.as_str()), (81, "127.0.0.1:81"));
        for url in ["https://a:1", "nonsense"] {
            assert_eq!(super::endpoint(url).unwrap_err().exit_code(), 2);
        }
    }
}
