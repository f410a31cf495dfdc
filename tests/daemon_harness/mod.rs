//! The real daemon as a child process, and two ways to send it requests: [`Client`], the client of the
//! commands, and [`RawConnection`], for tests of the protocol.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its own part, so that `expect` would fail in some"
)]

mod client;
pub mod cluster;
mod raw_connection;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use client::{Client, Reply};
pub use raw_connection::RawConnection;
use socket2::{Domain, Socket, Type};

pub const COOKIE: &str = "0123456789abcdef";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout for anything that should succeed, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A temporary directory in `HAYLOFT_TEST_DIR`, or else on the disk of the build: a temporary file system may
/// lack O_DIRECT.
pub fn data_dir() -> tempfile::TempDir {
    let place = std::env::var("HAYLOFT_TEST_DIR");
    tempfile::tempdir_in(place.unwrap_or(env!("CARGO_TARGET_TMPDIR").into())).unwrap()
}

/// The first of `count` consecutive free ports, reserved for this process until it ends, so that concurrent
/// runs of the same tests get others. They are below the ports that the kernel gives to outgoing connections
/// (32768 and up), of which some tests make thousands.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static KEPT: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let start = std::process::id().wrapping_mul(131);
    for _ in 0..20_000 {
        let step = u32::from(NEXT.fetch_add(count, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(start.wrapping_add(step) % 20_000).unwrap();
        let kept: Option<Vec<Socket>> = (port..port + count).map(keep_port).collect();
        if let Some(kept) = kept {
            KEPT.lock().unwrap().extend(kept);
            return port;
        }
    }
    panic!("no {count} consecutive ports from 10000 to 30000 are free");
}

/// Reserves a port by binding it, unless it is in use. A server may still bind it, since this socket does not
/// listen and both allow reuse of the address; another reserving socket cannot.
fn keep_port(port: u16) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    socket.bind(&address.into()).ok()?;
    socket.set_reuse_address(true).unwrap();
    Some(socket)
}

/// How to start a daemon.
pub struct Options {
    pub shards: usize,
    pub config: String,
    pub volume_size: &'static str,
    pub args: Vec<String>,
    /// Runs the daemon through this command.
    pub launcher: Vec<String>,
    /// Runs the daemon as this user.
    pub user: Option<u32>,
    /// A listening socket and its name, passed as by a service manager.
    pub passed: Option<(&'static str, OwnedFd)>,
    /// Data directories are set in `config`, instead of `data` below the daemon's directory.
    pub data_from_config: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 1,
            config: String::new(),
            volume_size: "64MiB",
            args: Vec::new(),
            launcher: Vec::new(),
            user: None,
            passed: None,
            data_from_config: false,
        }
    }
}

/// Passes standard input as in sd_listen_fds(3), under the name in the first argument.
const HAND_OVER: &str = "LISTEN_FDNAMES=$0; LISTEN_PID=$$; LISTEN_FDS=1; \
                         export LISTEN_FDNAMES LISTEN_PID LISTEN_FDS; exec \"$@\" 3<&0 </dev/null";

/// Writes the configuration, and returns the flags of `serve`.
fn arguments(dir: &Path, options: &Options, data: SocketAddr, admin: SocketAddr) -> Vec<OsString> {
    let config = dir.join("config.toml");
    std::fs::write(&config, &options.config).unwrap();
    let cores = if options.shards == 1 { "0" } else { "0,1" };
    let (data, admin) = (data.to_string(), admin.to_string());
    let mut flags = vec!["--listen", &data, "--admin", &admin];
    flags.extend(["--cores", cores, "--volume-size", options.volume_size, "--config"]);
    let mut flags: Vec<OsString> = flags.into_iter().map(OsString::from).collect();
    flags.push(config.into());
    if !options.data_from_config {
        flags.extend([OsString::from("--data"), dir.join("data").into()]);
    }
    flags.extend(options.args.iter().map(OsString::from));
    if !options.args.iter().any(|arg| arg == "--shard-ports") {
        flags.extend(["--shard-ports", "off"].map(OsString::from));
    }
    flags
}

/// The exit code and standard error of `config check` with the options of a daemon.
pub fn config_check(dir: &Path, options: &Options) -> (i32, String) {
    let port = free_ports(2);
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    if let Some(user) = options.user {
        std::os::unix::process::CommandExt::uid(&mut command, user);
    }
    let flags = arguments(dir, options, address(port), address(port + 1));
    let output = command.args(["config", "check"]).args(flags).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}

/// A daemon. Killed when dropped.
pub struct Daemon {
    pub child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    pub log: PathBuf,
}

impl Daemon {
    /// Starts without waiting.
    pub fn launch(dir: &Path, options: &Options) -> Self {
        let port = free_ports(2);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self::launch_on(dir, options, address(port), address(port + 1))
    }

    /// Starts without waiting, with a standard error other than the file `log`.
    pub fn launch_with(dir: &Path, options: &Options, stderr: Stdio) -> Self {
        let port = free_ports(2);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self::launch_to(dir, options, address(port), address(port + 1), stderr)
    }

    pub fn launch_on(dir: &Path, options: &Options, data: SocketAddr, admin: SocketAddr) -> Self {
        let log = dir.join("log");
        let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        Self::launch_to(dir, options, data, admin, file.into())
    }

    fn launch_to(
        dir: &Path,
        options: &Options,
        data: SocketAddr,
        admin: SocketAddr,
        stderr: Stdio,
    ) -> Self {
        let log = dir.join("log");
        let (stdin, script) = match &options.passed {
            Some((name, socket)) => {
                (Stdio::from(socket.try_clone().unwrap()), vec!["sh", "-c", HAND_OVER, *name])
            }
            None => (Stdio::null(), Vec::new()),
        };
        let words = script.into_iter().chain(options.launcher.iter().map(String::as_str));
        let mut words = words.chain([env!("CARGO_BIN_EXE_hayloft")]);
        let mut command = Command::new(words.next().unwrap());
        if let Some(user) = options.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        let child = command
            .args(words)
            .arg("serve")
            .args(arguments(dir, options, data, admin))
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, data, admin, log }
    }

    /// Starts and waits until it is ready.
    pub fn start(dir: &Path, options: &Options) -> Self {
        let mut daemon = Self::launch(dir, options);
        daemon.wait_ready();
        daemon
    }

    /// Waits until it is ready.
    pub fn wait_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.ready() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended ({status}):\n{}", self.log_text());
            }
            assert!(Instant::now() < deadline, "not ready in time:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn ready(&self) -> bool {
        Client::new(self.admin).get("/readyz").is_ok_and(|reply| reply.status == 200)
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client of the data API, which connects when first needed.
    pub fn client(&self) -> Client {
        Client::new(self.data)
    }

    /// A connection to the data API.
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.data).unwrap()
    }

    /// Sends a GET to the admin API.
    pub fn admin(&self, path: &str) -> Reply {
        Client::new(self.admin).get(path).unwrap()
    }

    /// Sends a request to the admin API.
    pub fn admin_request(&self, method: &str, path: &str, body: &str) -> Reply {
        let body = (!body.is_empty()).then_some(body.as_bytes());
        Client::new(self.admin).request(method, path, &[], body).unwrap()
    }

    /// Runs a command with the address of the admin API. Returns exit code, standard output and error.
    pub fn command(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args(args)
            .args(["--admin", &self.admin.to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The sum of a metric over its series whose line contains `filter`.
    pub fn metric(&self, name: &str, filter: &str) -> f64 {
        let [sum] = self.metrics([(name, filter)]);
        sum
    }

    /// The same for several metrics, from one reply.
    pub fn metrics<const N: usize>(&self, wanted: [(&str, &str); N]) -> [f64; N] {
        let text = String::from_utf8(self.admin("/metrics").body).unwrap();
        wanted.map(|(name, filter)| {
            let lines = text.lines().filter(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && line.contains(filter)
            });
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        })
    }

    /// Waits until a condition holds.
    ///
    /// # Panics
    /// If it does not within a minute; prints `what` and the log.
    pub fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        self.wait_within(LONG, what, holds);
    }

    /// The same with another timeout.
    pub fn wait_within(&self, limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !holds() {
            assert!(Instant::now() < deadline, "waited for {what}:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the sum of a metric (see [`Self::metric`]) is `wanted` or more.
    pub fn wait_for_metric(&self, name: &str, filter: &str, wanted: f64) {
        let deadline = Instant::now() + LONG;
        loop {
            let value = self.metric(name, filter);
            if value >= wanted {
                return;
            }
            let log = self.log_text();
            assert!(
                Instant::now() < deadline,
                "{name} of {filter:?} is {value}, not {wanted}:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Sends SIGTERM and returns the exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let status = self.wait(Duration::from_secs(40));
        status.unwrap_or_else(|| panic!("did not stop:\n{}", self.log_text()))
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON in an answer.
pub fn json(reply: &Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

pub fn path(key: u64) -> String {
    format!("/1/{key}/0/{COOKIE}")
}

/// Bytes that depend on `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&hayloft::runtime::split_mix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
