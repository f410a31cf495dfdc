//! nginx with one file for each object, at its best: sendfile, threads for what is not in memory, open files
//! and their metadata kept, connections that stay.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Error, file};
use crate::process::Running;
use crate::stand::Stand;

/// Open files that are kept, where a process may have so many. More would take memory from the page cache, of
/// which there is little.
const OPEN_FILES: u64 = 65_536;
/// Connections of the worker.
const CONNECTIONS: u64 = 4096;
/// Descriptors for other things: logs, events, threads, the file of each connection that is not kept.
const OTHER_FILES: u64 = CONNECTIONS + 1024;

/// How many open files can be kept: raises the limit of this process, which nginx inherits, as far as it may.
fn open_files() -> u64 {
    let wanted = OPEN_FILES + CONNECTIONS + OTHER_FILES;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(hard), wanted.max(hard));
    let may_have = if raised.is_ok() { wanted } else { hard.min(wanted) };
    may_have.saturating_sub(CONNECTIONS + OTHER_FILES).max(1)
}

/// The configuration, complete: nothing of the system's is used.
fn config(root: &Path, work: &Path, port: u16, open_files: u64) -> String {
    let (root, work) = (root.display(), work.display());
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\n\
         pid {work}/nginx.pid;\nerror_log stderr warn;\nthread_pool default threads=32;\n\
         events {{ worker_connections {CONNECTIONS}; }}\nhttp {{\n"
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "  {name}_temp_path {work}/nginx-{name};").expect("a string takes it");
    }
    write!(
        text,
        "  access_log off;\n  default_type application/octet-stream;\n  etag on;\n\
         \x20 sendfile on;\n  aio threads;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
         \x20 open_file_cache max={open_files} inactive=10m;\n  open_file_cache_valid 10m;\n\
         \x20 open_file_cache_min_uses 1;\n  open_file_cache_errors on;\n  log_not_found off;\n\
         \x20 keepalive_requests 1000000000;\n  keepalive_timeout 75s;\n\
         \x20 server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}\n}}\n"
    )
    .expect("a string takes it");
    text
}

/// Starts it over the files in `root`.
///
/// # Errors
/// When it does not start.
pub fn start(stand: &Stand, root: &Path, port: u16) -> Result<Running, Error> {
    let path = stand.work.join("nginx.conf");
    std::fs::write(&path, config(root, &stand.work, port, open_files()))
        .map_err(file("write", &path))?;
    let mut command: Command = stand.seat("nginx", 1)?.command(Path::new("nginx"));
    command.arg("-p").arg(&stand.work).arg("-c").arg(&path);
    command.args(["-e", "stderr"]);
    Running::start("nginx", command, &stand.log("nginx"), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_are_kept_than_a_process_may_open() {
        let kept = open_files();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!((1..=OPEN_FILES).contains(&kept) && kept < soft, "{kept} of {soft}");
    }

    #[test]
    fn the_configuration_is_at_its_best() {
        let text = config(Path::new("/data/files"), Path::new("/work"), 8080, 777);
        for words in [
            "sendfile on;",
            "aio threads;",
            "open_file_cache max=777 ",
            "keepalive_requests 1000000000;",
            "access_log off;",
            "listen 127.0.0.1:8080 backlog=4096; root /data/files;",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        let balance = |c| text.matches(c).count();
        assert_eq!(balance('{'), balance('}'));
    }
}
