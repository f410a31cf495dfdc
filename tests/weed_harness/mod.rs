//! The real SeaweedFS around a daemon: a master, and its shell.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its own part, so that `expect` would fail in some"
)]

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon_harness::{Client, Daemon, Options, free_ports};

/// Timeout for anything that should succeed, also on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The program: that of `HAYLOFT_WEED`, or the one that the suite installs.
fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../seaweedfs/bin/weed");
    let program = std::env::var_os("HAYLOFT_WEED").map_or(installed, PathBuf::from);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask weed`, or name another one in HAYLOFT_WEED",
        program.display()
    );
    program
}

/// Waits until `get` returns something.
///
/// # Panics
/// If it does not in time; names `what`.
pub fn wait_for<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = get() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ports of a master: HTTP and gRPC.
#[derive(Clone, Copy)]
pub struct MasterPorts {
    http: u16,
    grpc: u16,
}

impl MasterPorts {
    /// Ports that are free, and reserved for this process.
    pub fn free() -> Self {
        let http = free_ports(2);
        Self { http, grpc: http + 1 }
    }

    /// The address as a node and the shell take it.
    pub fn address(self) -> String {
        format!("127.0.0.1:{}.{}", self.http, self.grpc)
    }
}

/// A running master. Killed when dropped.
pub struct Master {
    child: Child,
    pub ports: MasterPorts,
    log: PathBuf,
}

impl Master {
    /// Starts a master that takes volumes for full at 16 MiB, with data in `dir`.
    pub fn start(dir: &Path, ports: MasterPorts) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let log = dir.with_extension("log");
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(program());
        command.args(["master", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-peers=none"]);
        command.args(["-telemetry=false", "-volumeSizeLimitMB=16"]);
        command.args([format!("-port={}", ports.http), format!("-port.grpc={}", ports.grpc)]);
        command.arg(format!("-mdir={}", dir.display()));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().unwrap();
        let master = Self { child, ports, log };
        wait_for("the master", || master.get("/dir/status"));
        master
    }

    /// Asks the master; `None` if it does not answer with JSON, or not with success.
    pub fn get(&self, path: &str) -> Option<Value> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports.http));
        let reply = Client::new(address).get(path).ok()?;
        let json = serde_json::from_slice(&reply.body).ok()?;
        (reply.status == 200).then_some(json)
    }

    /// Has the master assign an id, growing if needed; returns it.
    pub fn assign(&self, query: &str) -> String {
        let path = format!("/dir/assign{query}");
        let fid = || self.get(&path)?["fid"].as_str().map(str::to_owned);
        wait_for(&format!("{path}: {}", self.log.display()), fid)
    }

    /// Volume of an assigned id.
    pub fn assigned_volume(&self, query: &str) -> u32 {
        let fid = self.assign(query);
        fid.split(',').next().unwrap().parse().unwrap()
    }

    /// The node with this data API, as the master shows it, if it is registered.
    pub fn node(&self, address: SocketAddr) -> Option<Value> {
        let status = self.get("/dir/status")?;
        let centers = status["Topology"]["DataCenters"].as_array()?.clone();
        let racks = centers.iter().filter_map(|center| center["Racks"].as_array());
        let nodes = racks.flatten().filter_map(|rack| rack["DataNodes"].as_array());
        let mut nodes = nodes.flatten();
        nodes.find(|node| node["Url"] == address.to_string()).cloned()
    }

    /// Number of volumes of a node by the master; `None` if it is not registered.
    pub fn volumes_of(&self, address: SocketAddr) -> Option<u64> {
        self.node(address)?["Volumes"].as_u64()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Runs commands of the shell, and returns what it prints.
    pub fn shell(&self, commands: &[&str]) -> String {
        use std::io::Write;
        let mut command = Command::new(program());
        command.args(["shell", "-master", &self.ports.address()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        for line in commands {
            writeln!(input, "{line}").unwrap();
        }
        drop(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running program of SeaweedFS beside the master. Killed when dropped.
pub struct Weed {
    child: Child,
    /// Address of its HTTP server.
    pub address: SocketAddr,
}

impl Weed {
    /// Starts `weed NAME` with these arguments, and its address and that of the master; waits until it
    /// answers requests for `path`. Its log is in `dir`.
    fn start(dir: &Path, name: &str, master: &Master, args: &[String], path: &str) -> Self {
        let http = free_ports(2);
        let address = SocketAddr::from(([127, 0, 0, 1], http));
        let output = File::create(dir.join(format!("{name}-{http}.log"))).unwrap();
        let mut command = Command::new(program());
        command.args([name, "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args([format!("-port={http}"), format!("-port.grpc={}", http + 1)]);
        command.args([format!("-master={}", master.ports.address())]).args(args);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let weed = Self { child: command.current_dir(dir).spawn().unwrap(), address };
        wait_for(name, || Client::new(address).get(path).ok());
        weed
    }

    /// Starts a filer with its data in `dir`.
    pub fn filer(dir: &Path, master: &Master) -> Self {
        Self::start(dir, "filer", master, &[format!("-defaultStoreDir={}", dir.display())], "/")
    }

    /// Starts a stock volume server with its data in `dir`.
    pub fn volume_server(dir: &Path, master: &Master) -> Self {
        let args = [
            format!("-dir={}", dir.display()),
            "-max=20".into(),
            "-preStopSeconds=1".into(),
            "-rack=stock".into(),
        ];
        let server = Self::start(dir, "volume", master, &args, "/status");
        wait_for("the stock node", || master.node(server.address));
        server
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `weed` with these arguments to its end. Returns what it prints.
///
/// # Panics
/// If it fails.
pub fn weed(args: &[&str]) -> String {
    let output = Command::new(program()).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{args:?}: {printed}{}", text(&output.stderr));
    printed
}

/// Addresses of a daemon, for one that is started again.
#[derive(Clone, Copy)]
pub struct NodePorts {
    pub data: SocketAddr,
    admin: SocketAddr,
    grpc: SocketAddr,
}

impl NodePorts {
    /// Addresses with ports that are free, and reserved for this process.
    pub fn free() -> Self {
        let first = free_ports(3);
        let address = |n| SocketAddr::from(([127, 0, 0, 1], first + n));
        Self { data: address(0), admin: address(1), grpc: address(2) }
    }

    /// Name of the node for the shell, which otherwise expects its gRPC port elsewhere.
    pub fn name(self) -> String {
        format!("{}.{}", self.data, self.grpc.port())
    }
}

/// Starts a daemon that is a volume server of a cluster with these masters, and waits until it is ready.
pub fn start_node(dir: &Path, ports: NodePorts, masters: &[String], args: &[&str]) -> Daemon {
    let mut all = vec!["--cluster-grpc".to_owned(), ports.grpc.to_string()];
    for master in masters {
        all.extend(["--master".to_owned(), master.clone()]);
    }
    all.extend(args.iter().map(|&arg| arg.to_owned()));
    let config = "[compaction]\nreserve = \"1MiB\"\n".to_owned();
    let options = Options { shards: 2, args: all, config, ..Options::default() };
    let mut daemon = Daemon::launch_on(dir, &options, ports.data, ports.admin);
    daemon.wait_ready();
    daemon
}
