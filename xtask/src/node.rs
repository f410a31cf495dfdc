//! A daemon of the release build under measurement, with its own data directory.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::{Answer, Client};
use crate::process::Failed;
use crate::project::{root, target};
use crate::record::cannot;

const START_TIMEOUT: Duration = Duration::from_secs(600);
/// Number of lines of the log in an error.
const LOG_LINES: usize = 8;

/// Parses the number of needles to store: the value of `--needles N`, or `default`.
///
/// # Errors
/// When the flags are invalid.
pub fn needles(flags: &[&str], default: u64) -> Result<u64, Failed> {
    match flags {
        [] => Ok(default),
        ["--needles", number] => number
            .parse()
            .ok()
            .filter(|number| (100_000..=100_000_000).contains(number))
            .ok_or_else(|| {
                Failed(format!("--needles {number} is out of range; give 100000 to 100000000"))
            }),
        _ => Err(Failed("the only flag is --needles N".to_owned())),
    }
}

/// First number with this name in a JSON document; 0 when there is none.
pub fn number(json: &str, name: &str) -> f64 {
    let value = json.split(&format!("\"{name}\":")).nth(1).unwrap_or_default().trim_start();
    let digits: String = value.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    digits.parse().unwrap_or(0.0)
}

/// A daemon to start.
pub struct Launch<'a> {
    /// Program.
    pub program: &'a Path,
    /// Directory for its log and its data.
    pub dir: &'a Path,
    /// Cores, one shard each, in the syntax of `--cores`.
    pub cores: &'a str,
    /// Size of the first volume (MiB).
    pub mib: u64,
    /// More arguments of `hayloft serve`.
    pub more: &'a [&'a str],
}

/// A running daemon; killed on drop.
pub struct Node {
    child: Child,
    /// Address of the data API.
    pub data: SocketAddr,
    /// Address of the admin API.
    pub admin: SocketAddr,
}

/// Last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Resident memory of a process (bytes; `VmRSS` in proc_pid_status(5)); `None` if it has ended.
pub fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// A free address on loopback.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr, Failed> {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    free.map_err(|error| Failed(format!("no port is free: {error}")))
}

impl Node {
    /// Starts a daemon with one shard on core 0 and a first volume of `mib` MiB; returns it with the time
    /// until it was ready.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time.
    pub fn start(dir: &Path, mib: u64) -> Result<(Self, Duration), Failed> {
        let program = target().join("release/hayloft");
        let more = &["--shard-ports", "off"];
        Self::launch(&Launch { program: &program, dir, cores: "0", mib, more })
    }

    /// Starts a daemon; returns it with the time until it was ready.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time.
    pub fn launch(launch: &Launch<'_>) -> Result<(Self, Duration), Failed> {
        let Launch { program, dir, cores, mib, more } = launch;
        let (data, admin) = (free_address()?, free_address()?);
        let log = dir.join("log");
        let out = std::fs::File::create(&log).map_err(cannot("create", &log))?;
        let began = Instant::now();
        let child = Command::new(program)
            .args(["serve", "--cores", cores])
            .args(*more)
            .args(["--listen", &data.to_string(), "--admin", &admin.to_string()])
            .args(["--volume-size", &format!("{mib}MiB"), "--data"])
            .arg(dir.join("data"))
            .current_dir(root())
            .stderr(Stdio::from(out))
            .stdout(Stdio::null())
            .spawn()
            .map_err(cannot("start", program))?;
        let mut node = Self { child, data, admin };
        while !node.ask_admin("/readyz").is_ok_and(|reply| reply.status == 200) {
            if let Ok(Some(status)) = node.child.try_wait() {
                return Err(Failed(format!(
                    "the daemon has ended ({status}); its log: {}",
                    tail(&log)
                )));
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(Failed(format!("the daemon is not ready after {START_TIMEOUT:?}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok((node, began.elapsed()))
    }

    fn ask_admin(&self, path: &str) -> Result<Answer, Failed> {
        Client::new(self.admin).ask("GET", path)
    }

    /// Text with which the admin API answers a GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn admin(&self, path: &str) -> Result<String, Failed> {
        Ok(self.ask_admin(path)?.text())
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the daemon (bytes; `VmRSS` in proc_pid_status(5)).
    ///
    /// # Errors
    /// When the daemon has ended.
    pub fn resident(&self) -> Result<f64, Failed> {
        resident(self.child.id()).ok_or_else(|| Failed("the daemon has ended".to_owned()))
    }

    /// Stops it with SIGTERM and waits.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn stop(mut self) -> Result<(), Failed> {
        let pid = self.child.id().to_string();
        run_quietly(Command::new("kill").args(["-TERM", &pid]))?;
        self.child
            .wait()
            .map(drop)
            .map_err(|error| Failed(format!("cannot wait for the daemon: {error}")))
    }

    /// Kills it with SIGKILL, and waits until it has ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill_now(&mut self) -> Result<(), Failed> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| Failed(format!("cannot kill the daemon: {error}")))
    }

    /// Kills it with SIGKILL.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_quietly(command: &mut Command) -> Result<(), Failed> {
    let status = command.status().map_err(|error| Failed(format!("cannot run kill: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed("the daemon has ended".to_owned())) }
}
