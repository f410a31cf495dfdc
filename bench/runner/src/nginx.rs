//! nginx with one file per object, with an optimised configuration: sendfile, threads for files that are not
//! in memory, cache of open files, keep-alive.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Error, file};
use crate::process::Running;
use crate::test_bed::TestBed;

/// Maximum size of the open file cache, if the limits allow it. More would take memory from the page cache,
/// which is limited.
const OPEN_FILES: u64 = 65_536;
/// Connections of the worker process.
const CONNECTIONS: u64 = 4096;
/// Other descriptors: logs, events, threads, uncached files of the connections.
const OTHER_FILES: u64 = CONNECTIONS + 1024;

/// Size of the open file cache. Raises the limit of this process, which nginx inherits, as far as possible.
fn open_files() -> u64 {
    let wanted = OPEN_FILES + CONNECTIONS + OTHER_FILES;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(hard), wanted.max(hard));
    let may_have = if raised.is_ok() { wanted } else { hard.min(wanted) };
    may_have.saturating_sub(CONNECTIONS + OTHER_FILES).max(1)
}

/// Complete configuration; the system's is not used.
fn config(root: &Path, work: &Path, port: u16, open_files: u64) -> String {
    let (root, work) = (root.display(), work.display());
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\n\
         pid {work}/nginx.pid;\nerror_log stderr warn;\nthread_pool default threads=32;\n\
         events {{ worker_connections {CONNECTIONS}; }}\nhttp {{\n"
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "  {name}_temp_path {work}/nginx-{name};")
            .expect("writing to a string cannot fail");
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
    .expect("writing to a string cannot fail");
    text
}

/// Starts nginx with the files in `root`.
///
/// # Errors
/// When it does not start.
pub fn start(bed: &TestBed, root: &Path, port: u16) -> Result<Running, Error> {
    let path = bed.work.join("nginx.conf");
    std::fs::write(&path, config(root, &bed.work, port, open_files()))
        .map_err(file("write", &path))?;
    let mut command: Command = bed.placement("nginx", 1)?.command(Path::new("nginx"));
    command.arg("-p").arg(&bed.work).arg("-c").arg(&path);
    command.args(["-e", "stderr"]);
    Running::start("nginx", command, &bed.log("nginx"), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_file_cache_fits_the_file_limit() {
        let kept = open_files();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!((1..=OPEN_FILES).contains(&kept) && kept < soft, "{kept} of {soft}");
    }

    #[test]
    fn the_configuration_has_all_optimisations() {
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
