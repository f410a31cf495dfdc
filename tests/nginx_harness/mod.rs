//! The real nginx in front of a daemon, with the configuration that the documents show.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its own part, so that `expect` would fail in some"
)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon_harness::{Client, Daemon, free_ports};

const EXAMPLE: &str = include_str!("../../docs/nginx.example.conf");

/// How nginx reaches the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    Tcp,
    Unix,
}

/// Where a daemon started in `dir` listens beside its TCP address.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("data.sock")
}

/// The arguments that make a daemon listen there.
pub fn listen_unix(dir: &Path) -> Vec<String> {
    vec!["--listen".to_owned(), format!("unix:{}", socket(dir).display())]
}

/// How to start nginx.
pub struct Setup<'a> {
    pub upstream: Upstream,
    /// Switches on what is switched off in the example: the cache.
    pub cache: bool,
    /// What to replace in the example; each must be there.
    pub edits: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { upstream: Upstream::Tcp, cache: false, edits: &[] }
    }
}

/// A request as nginx saw it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The first line as it came; bytes that are not printable, `"` and `\` as `\xHH`.
    pub request: String,
    pub status: u16,
    /// Whom nginx passed it to: one for each attempt, nobody if it answered itself.
    pub upstreams: Vec<String>,
    /// What the daemon said; `-` if nothing came.
    pub upstream_status: String,
    pub body_bytes: u64,
}

/// An nginx. Killed when dropped.
pub struct Nginx {
    child: Child,
    dir: PathBuf,
    /// The public server, for reads only.
    pub address: SocketAddr,
    /// The server that takes writes too.
    pub writes: SocketAddr,
}

impl Nginx {
    /// Starts it in front of `daemon`, whose files and its own are in `dir`.
    pub fn start(dir: &Path, daemon: &Daemon, setup: &Setup) -> Self {
        let server = match setup.upstream {
            Upstream::Tcp => daemon.data.to_string(),
            Upstream::Unix => format!("unix:{}", socket(dir).display()),
        };
        Self::start_before(dir, &server, setup)
    }

    /// Starts it in front of `server`.
    pub fn start_before(dir: &Path, server: &str, setup: &Setup) -> Self {
        let site = EXAMPLE.replace("server 127.0.0.1:8080 ", &format!("server {server} "));
        Self::start_as(dir, &site, setup)
    }

    /// Starts it with this configuration, which listens on ports 80 and 8082 as the example does.
    pub fn start_as(dir: &Path, site: &str, setup: &Setup) -> Self {
        let own = dir.join("nginx");
        std::fs::create_dir(&own).unwrap();
        let port = free_ports(2);
        let [address, writes] = [port, port + 1].map(|port| ([127, 0, 0, 1], port).into());
        let failures = "access_log /var/log/nginx/hayloft-failures.log ";
        let own_logs = format!(
            "access_log {} raw; access_log {} ",
            own.join("access.log").display(),
            own.join("failures.log").display()
        );
        let mut site = if setup.cache { switched_on(site) } else { site.to_owned() };
        let cache = own.join("cache");
        // Tests judge by what the configuration itself keeps nowhere.
        let errors = "error_log /dev/null crit;";
        let kept = format!("{errors} error_log {} info;", own.join("requests.log").display());
        let original = site.clone();
        let ours = [
            ("listen 80;", &format!("listen {address};")[..]),
            (writes_listen(&original), &format!("listen {writes};")[..]),
            (failures, &own_logs),
            (errors, &kept),
            ("/var/cache/nginx/hayloft ", &format!("{} ", cache.display())),
        ];
        for (old, new) in ours.iter().chain(setup.edits) {
            assert!(site.contains(old), "the configuration has no {old:?}");
            site = site.replace(old, new);
        }
        std::fs::write(own.join("site.conf"), site).unwrap();
        std::fs::write(own.join("nginx.conf"), main_conf(&own)).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .arg("-c")
            .arg(own.join("nginx.conf"))
            .arg("-e")
            .arg(own.join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is needed (Debian package nginx-light)");
        let mut nginx = Self { child, dir: own, address, writes };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Client::connect(address).is_err() {
            let ended = nginx.child.try_wait().unwrap();
            assert!(ended.is_none(), "nginx ended: {}", nginx.errors());
            assert!(Instant::now() < deadline, "nginx does not listen: {}", nginx.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    /// A client of the public server.
    pub fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// A client of the server that takes writes.
    pub fn writer(&self) -> Client {
        Client::connect(self.writes).unwrap()
    }

    /// What it complained about, in its error log or about requests.
    pub fn errors(&self) -> String {
        let requests = std::fs::read_to_string(self.dir.join("requests.log"));
        self.error_log() + &requests.unwrap_or_default()
    }

    /// What the configuration lets it write to its error log.
    pub fn error_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    /// The log of failures that the configuration keeps, once it has so many lines.
    pub fn failures_all(&self, count: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let log = std::fs::read_to_string(self.dir.join("failures.log")).unwrap();
            if log.lines().count() >= count || Instant::now() > deadline {
                return log;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All requests that are over. The line of one may come a little later than its answer.
    pub fn logged(&self) -> Vec<Logged> {
        self.logged_since(&mut 0)
    }

    /// The same, once there are so many.
    pub fn logged_all(&self, count: usize) -> Vec<Logged> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let logged = self.logged();
            if logged.len() >= count || Instant::now() > deadline {
                return logged;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same from byte `at` of the log on, which is moved behind them.
    pub fn logged_since(&self, at: &mut u64) -> Vec<Logged> {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.dir.join("access.log")) {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        // The last line may be half written.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        *at += text.len() as u64;
        text.lines().map(read_line).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the server for writes listens: on loopback, or on all addresses of IPv4.
fn writes_listen(site: &str) -> &'static str {
    let loopback = "listen 127.0.0.1:8082;";
    if site.contains(loopback) { loopback } else { "listen 8082;" }
}

/// The example with everything that is switched off in it switched on.
fn switched_on(site: &str) -> String {
    let on = |line: &str| {
        let text = line.trim_start();
        match text.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            // The inner lines of a block.
            Some(setting) if setting.starts_with("    ") => setting.to_owned(),
            _ => line.to_owned(),
        }
    };
    site.lines().map(|line| on(line) + "\n").collect()
}

/// What the example is included in: everything in one process and one directory.
fn main_conf(dir: &Path) -> String {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|name| format!("    {name}_temp_path {dir}/{name};\n")).concat();
    // Only root can, and must, say as whom to run: the default user could not write here.
    let user = if nix::unistd::Uid::effective().is_root() { "user root;\n" } else { "" };
    format!(
        r#"daemon off;
master_process off;
{user}pid {dir}/pid;
error_log {dir}/error.log info;
events {{
    worker_connections 512;
}}
http {{
    log_format raw '"$request" $status "$upstream_addr" "$upstream_status" $body_bytes_sent';
{temp}    include {dir}/site.conf;
}}
"#
    )
}

fn read_line(line: &str) -> Logged {
    let parts: Vec<&str> = line.split('"').collect();
    let [_, request, status, upstreams, _, upstream_status, body_bytes] = parts[..] else {
        panic!("nginx logged {line:?}")
    };
    let upstreams = upstreams.split(", ").filter(|upstream| *upstream != "-");
    Logged {
        request: request.to_owned(),
        status: status.trim().parse().unwrap(),
        upstreams: upstreams.map(str::to_owned).collect(),
        upstream_status: upstream_status.to_owned(),
        body_bytes: body_bytes.trim().parse().unwrap(),
    }
}
