//! Child processes: run to their end, or as servers on given cores in a cgroup, with their resource usage.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, file};

/// Timeout of a server's start: a daemon may read its whole log, the baseline all objects.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// Timeout of a server's stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Number of log lines in an error message.
const TAIL: usize = 12;
/// Clock ticks in `/proc` (per second): the same on every Linux (proc_pid_stat(5)).
const TICKS: f64 = 100.0;
/// Shell script that enters the cgroup of file `$0`, then executes the remaining arguments.
const ENTER: &str = "echo $$ > \"$0\" && exec \"$@\"";

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a program, which must succeed; returns its standard output.
///
/// # Errors
/// When it cannot be started or fails.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let line = words(command);
    let failed = |status: String, output: String| Error::Failed {
        command: line,
        status,
        output: last_lines(&output),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match command.stdin(Stdio::null()).output() {
        Err(error) => Err(failed(error.to_string(), String::new())),
        Ok(done) if done.status.success() => Ok(text(&done.stdout)),
        Ok(done) => Err(failed(done.status.to_string(), text(&done.stdout) + &text(&done.stderr))),
    }
}

/// Cores and cgroup of a process.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Cores in the syntax of taskset(1).
    pub cores: String,
    /// File `cgroup.procs` of the group.
    pub procs: Option<PathBuf>,
}

impl Placement {
    /// Command that runs `program` with this placement; arguments are to be added.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match &self.procs {
            Some(procs) => {
                let mut command = Command::new("sh");
                command.args(["-c", ENTER]).arg(procs).arg("taskset");
                command
            }
            None => Command::new("taskset"),
        };
        command.args(["-c", &self.cores]).arg(program);
        command
    }
}

/// A running server; stopped on drop.
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a server with its output in `log`, and waits until `port` on loopback accepts connections.
    ///
    /// # Errors
    /// When the port is in use, or the server ends or is not ready in time.
    pub fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        port: u16,
    ) -> Result<Self, Error> {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let why = format!("port {port} is in use; choose others with --port");
            return Err(Error::Usage(why));
        }
        let out = File::options().create(true).append(true).open(log).map_err(file("open", log))?;
        let err = out.try_clone().map_err(file("open", log))?;
        let spawned = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = spawned.map_err(file("run", Path::new(command.get_program())))?;
        let mut running = Self { name, child, log: log.to_owned() };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            running.check()?;
            if Instant::now() > deadline {
                return Err(running.failed("did not accept connections in time"));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(running)
    }

    fn failed(&self, what: &'static str) -> Error {
        let tail = last_lines(&fs::read_to_string(&self.log).unwrap_or_default());
        Error::Server { name: self.name, what, log: self.log.clone(), tail }
    }

    /// Polls until `is_there` returns true.
    ///
    /// # Errors
    /// When the server ends before, or on timeout.
    pub fn wait_for(&mut self, is_there: impl Fn() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !is_there() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(self.failed("was not ready in time"));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Checks that the server is running.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.failed("ended")),
        }
    }

    /// Pids of the server and its descendants.
    pub fn tree(&self) -> Vec<u32> {
        tree(self.child.id(), &parents())
    }

    /// Resource usage so far.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for pid in self.tree() {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
            usage.cpu_seconds +=
                read("stat").ok().and_then(|stat| cpu_seconds(&stat)).unwrap_or(0.0);
            usage.rss_bytes += read("status").ok().and_then(|text| rss(&text)).unwrap_or(0);
        }
        usage
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit i32"));
        let deadline = Instant::now() + STOP_TIMEOUT;
        if kill(pid, Signal::SIGTERM).is_ok() {
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resource usage of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all its processes, user and system (seconds, in steps of 10 ms).
    pub cpu_seconds: f64,
    /// Current resident memory (bytes).
    pub rss_bytes: u64,
}

/// Fields of `/proc/PID/stat` after the name, which can contain any character.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(") ").map_or(Vec::new(), |(_, fields)| fields.split(' ').collect())
}

/// CPU time from utime and stime (proc_pid_stat(5), fields 14 and 15).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = fields(stat);
    let ticks = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some((ticks(14)? + ticks(15)?) as f64 / TICKS)
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Parent of every process.
fn parents() -> HashMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, fields(&stat).get(1)?.parse().ok()?))
    })
    .collect()
}

fn tree(root: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        at += 1;
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_memory_are_parsed() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 7 7 20 0 3 0 99";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("42 (short) S 1"), None);
        assert_eq!(rss("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn a_tree_has_all_descendants_and_no_others() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        let mut found = tree(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn a_failed_program_is_named_with_its_output() {
        let mut command = Command::new("sh");
        let error = output(command.args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.ends_with("why"), "{error}");
        assert_eq!(output(Command::new("echo").arg("said")).unwrap(), "said\n");
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo too bad; exit 1"]);
        let error = Running::start("it", command, &log, 1).err().unwrap().to_string();
        assert!(error.starts_with("it ended; its log ") && error.ends_with("too bad"), "{error}");
    }
}
