//! The real nginx in front of a daemon, with the documented configuration.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon_harness::{Daemon, RawConnection, free_ports};

const EXAMPLE: &str = include_str!("../../docs/nginx.example.conf");

/// How nginx reaches the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    Tcp,
    Unix,
}

/// Path of the unix socket of a daemon in `dir`.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("data.sock")
}

/// Arguments that make a daemon listen on [`socket`].
pub fn listen_unix(dir: &Path) -> Vec<String> {
    vec!["--listen".to_owned(), format!("unix:{}", socket(dir).display())]
}

/// Options of an nginx.
pub struct Setup<'a> {
    pub upstream: Upstream,
    /// Enables the optional settings of the example: the cache.
    pub cache: bool,
    /// Replacements in the configuration; each old text must occur.
    pub edits: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { upstream: Upstream::Tcp, cache: false, edits: &[] }
    }
}

/// A request in the access log of nginx.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// The request line as received; unprintable bytes, `"` and `\` as `\xHH`.
    pub request: String,
    pub status: u16,
    /// Upstream address of each attempt; empty if nginx answered itself.
    pub upstreams: Vec<String>,
    /// Status from the daemon; `-` without a response.
    pub upstream_status: String,
    pub body_bytes: u64,
}

/// A running nginx. Killed when dropped.
pub struct Nginx {
    child: Child,
    dir: PathBuf,
    /// Address of the public server, for reads only.
    pub address: SocketAddr,
    /// Address of the server that accepts writes.
    pub writes: SocketAddr,
}

impl Nginx {
    /// Starts nginx in front of `daemon`. The files of both are in `dir`.
    pub fn start(dir: &Path, daemon: &Daemon, setup: &Setup) -> Self {
        let server = match setup.upstream {
            Upstream::Tcp => daemon.data.to_string(),
            Upstream::Unix => format!("unix:{}", socket(dir).display()),
        };
        Self::start_before(dir, &server, setup)
    }

    /// Starts nginx in front of `server`.
    pub fn start_before(dir: &Path, server: &str, setup: &Setup) -> Self {
        let site = EXAMPLE.replace("server 127.0.0.1:8080 ", &format!("server {server} "));
        Self::start_as(dir, &site, setup)
    }

    /// Starts nginx with a configuration that listens on ports 80 and 8082, as the example does.
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
        let mut site = if setup.cache { with_optional_settings(site) } else { site.to_owned() };
        let cache = own.join("cache");
        // The configuration discards the errors of requests; tests need them.
        let errors = "error_log /dev/null crit;";
        let kept = format!("{errors} error_log {} info;", own.join("requests.log").display());
        let original = site.clone();
        let replacements = [
            ("listen 80;", &format!("listen {address};")[..]),
            (writes_listen(&original), &format!("listen {writes};")[..]),
            (failures, &own_logs),
            (errors, &kept),
            ("/var/cache/nginx/hayloft ", &format!("{} ", cache.display())),
        ];
        for (old, new) in replacements.iter().chain(setup.edits) {
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
        // It begins to listen at one address after the other.
        while [address, writes].iter().any(|address| RawConnection::open(*address).is_err()) {
            let ended = nginx.child.try_wait().unwrap();
            assert!(ended.is_none(), "nginx ended: {}", nginx.errors());
            assert!(Instant::now() < deadline, "nginx does not listen: {}", nginx.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    /// Connects to the public server.
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.address).unwrap()
    }

    /// Connects to the server that accepts writes.
    pub fn writer(&self) -> RawConnection {
        RawConnection::open(self.writes).unwrap()
    }

    /// All errors of nginx: its error log, and errors of requests.
    pub fn errors(&self) -> String {
        let requests = std::fs::read_to_string(self.dir.join("requests.log"));
        self.error_log() + &requests.unwrap_or_default()
    }

    /// The error log as configured.
    pub fn error_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    /// The failure log of the configuration; waits until it has `count` lines.
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

    /// All completed requests. A line may be logged shortly after the response.
    pub fn logged(&self) -> Vec<LoggedRequest> {
        self.logged_since(&mut 0)
    }

    /// All completed requests; waits until there are `count`.
    pub fn logged_all(&self, count: usize) -> Vec<LoggedRequest> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let logged = self.logged();
            if logged.len() >= count || Instant::now() > deadline {
                return logged;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Completed requests from offset `at` of the log (bytes) on; advances `at`.
    pub fn logged_since(&self, at: &mut u64) -> Vec<LoggedRequest> {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.dir.join("access.log")) {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        // The last line may be incomplete.
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

/// The `listen` line of the server for writes: loopback, or all IPv4 addresses.
fn writes_listen(site: &str) -> &'static str {
    let loopback = "listen 127.0.0.1:8082;";
    if site.contains(loopback) { loopback } else { "listen 8082;" }
}

/// The example with its commented-out settings enabled.
fn with_optional_settings(site: &str) -> String {
    let on = |line: &str| {
        let text = line.trim_start();
        match text.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            // Lines inside a block.
            Some(setting) if setting.starts_with("    ") => setting.to_owned(),
            _ => line.to_owned(),
        }
    };
    site.lines().map(|line| on(line) + "\n").collect()
}

/// The main configuration that includes the example: one process, all files in `dir`.
fn main_conf(dir: &Path) -> String {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|name| format!("    {name}_temp_path {dir}/{name};\n")).concat();
    // As root, nginx would run as a default user, who cannot write to `dir`.
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

fn read_line(line: &str) -> LoggedRequest {
    let parts: Vec<&str> = line.split('"').collect();
    let [_, request, status, upstreams, _, upstream_status, body_bytes] = parts[..] else {
        panic!("nginx logged {line:?}")
    };
    let upstreams = upstreams.split(", ").filter(|upstream| *upstream != "-");
    LoggedRequest {
        request: request.to_owned(),
        status: status.trim().parse().unwrap(),
        upstreams: upstreams.map(str::to_owned).collect(),
        upstream_status: upstream_status.to_owned(),
        body_bytes: body_bytes.trim().parse().unwrap(),
    }
}
