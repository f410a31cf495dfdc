//! The daemon under test, as a child process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use hayloft::commands::client::Body;
use hayloft::http::head::Method;

use crate::error::{Error, file};
use crate::http::{ask, client};

/// Timeout of a start or stop.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Ports of the daemons, below the kernel's range for outgoing connections.
const PORTS: std::ops::Range<u16> = 23_000..24_000;
/// Lines that the end of a log shows.
const LOG_LINES: usize = 20;

/// Program and configuration of a daemon.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Path of the program.
    pub program: PathBuf,
    /// Number of shards; each has one volume.
    pub shards: u32,
    /// Value of `prealloc`: `fallocate` or `zeroed`.
    pub prealloc: &'static str,
    /// Size of each volume (MiB).
    pub volume_mib: u64,
    /// Number of data directories, all of them on the disk under test.
    pub data_dirs: u32,
    /// Whether volumes are compacted under load, and once more when a state is verified.
    pub compacts: bool,
    /// Value of `compaction.tombstone_keep`.
    pub tombstone_keep: &'static str,
}

impl Setup {
    /// Ids of the volumes.
    pub fn volumes(&self) -> Vec<u32> {
        (1..=self.shards).collect()
    }

    /// Data directories on the disk that is mounted at `root`.
    pub fn data_dirs(&self, root: &Path) -> Vec<PathBuf> {
        let names = std::iter::once("data".to_owned());
        let more = (2..=self.data_dirs).map(|n| format!("data-{n}"));
        names.chain(more).map(|name| root.join(name)).collect()
    }

    /// Space that the volumes take at most (MiB).
    pub fn volumes_mib(&self) -> u64 {
        let files = if self.compacts { 2 } else { 1 };
        let file = if self.compacts { self.large_mib() } else { self.volume_mib };
        u64::from(self.shards) * files * file
    }

    /// Size to which compactions let a volume grow (MiB).
    pub fn large_mib(&self) -> u64 {
        self.volume_mib + 16
    }

    /// Configuration file.
    fn config(&self) -> String {
        let mut text = format!("prealloc = {:?}\n", self.prealloc);
        if self.compacts {
            text += &format!(
                "[compaction]\npolicy = \"off\"\ntombstone_keep = {:?}\n",
                self.tombstone_keep
            );
            // Short compactions, so that many cuts fall into their ends.
            text += "[background]\nrate_min = \"256MiB\"\nrate_max = \"4GiB\"\n";
        }
        text
    }
}

/// A running daemon; killed on drop.
pub struct Daemon {
    child: Child,
    /// Address of the data API.
    pub data: SocketAddr,
    /// Address of the admin API.
    pub admin: SocketAddr,
    log: PathBuf,
}

/// Address for the daemons of this process, which no other process that runs now has.
fn own_address() -> Ipv4Addr {
    // Process ids have at most 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + high % 64, middle, low)
}

/// Returns the first of two free ports.
fn free_ports(address: Ipv4Addr) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.len() as u16 / 2);
        let port = PORTS.start + step * 2;
        if [port, port + 1].iter().all(|port| TcpListener::bind((address, *port)).is_ok()) {
            return port;
        }
    }
}

impl Daemon {
    /// Starts a daemon on the disk that is mounted at `root`, and waits until it is ready. It logs to `log`,
    /// which is not on that disk.
    pub fn start(setup: &Setup, root: &Path, log: &Path) -> Result<Self, Error> {
        let own = own_address();
        let port = free_ports(own);
        let address = |port| SocketAddr::from((own, port));
        let config = log.with_extension("toml");
        std::fs::write(&config, setup.config()).map_err(file("write", &config))?;
        let mut out = std::fs::File::options();
        let out = out.create(true).append(true).open(log).map_err(file("open", log))?;
        let cores = if setup.shards == 1 { "0" } else { "0,1" };
        let mut command = Command::new(&setup.program);
        command
            .args(["serve", "--listen", &address(port).to_string()])
            .args(["--admin", &address(port + 1).to_string(), "--shard-ports", "off"])
            .args(["--cores", cores, "--volume-size", &format!("{}MiB", setup.volume_mib)])
            .arg("--config")
            .arg(&config);
        for data in setup.data_dirs(root) {
            command.arg("--data").arg(data);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .map_err(file("run", &setup.program))?;
        let (data, admin) = (address(port), address(port + 1));
        let mut daemon = Self { child, data, admin, log: log.to_owned() };
        let deadline = Instant::now() + TIMEOUT;
        while !daemon.is_ready() {
            if let Some(status) = daemon.ended() {
                return Err(Error::Start(format!("{status}\n{}", daemon.log_tail())));
            }
            if Instant::now() > deadline {
                return Err(Error::Start(format!(
                    "not ready within {TIMEOUT:?}\n{}",
                    daemon.log_tail()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    fn is_ready(&self) -> bool {
        let asked = ask(&client(self.admin), Method::Get, "/readyz", Body::None);
        asked.is_ok_and(|reply| reply.status == 200)
    }

    /// Sends a POST to the admin API, which must succeed.
    pub fn post_to_admin(&self, path: &str, body: &str) -> Result<(), Error> {
        let asked = ask(&client(self.admin), Method::Post, path, Body::Bytes(body.as_bytes()));
        let why = match asked {
            Ok(reply) if reply.status < 300 => return Ok(()),
            Ok(reply) => format!("{} {}", reply.status, reply.text().trim()),
            Err(error) => error.to_string(),
        };
        Err(Error::AdminRequest { what: path.to_owned(), why, log: self.log.clone() })
    }

    /// Exit status, once the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the process ends; `None` after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Kills the process.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM; returns the exit status, if the process ends in time.
    pub fn stop(mut self) -> Option<ExitStatus> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        sent.is_ok_and(|status| status.success()).then(|| self.wait(TIMEOUT)).flatten()
    }

    /// The last lines of the log, without those that list damage.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(": damage at ")).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// What the daemon says of its volumes.
    pub fn volumes_text(&self) -> String {
        match ask(&client(self.admin), Method::Get, "/volumes", Body::None) {
            Ok(reply) => reply.text().trim().to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
