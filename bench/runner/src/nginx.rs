//! nginx with one file for each object, at its best: sendfile, threads for what is not in memory, open files
//! and their metadata kept, connections that stay.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, file};
use crate::process::Running;
use crate::stand::Stand;

/// Open files that are kept. More would take memory from the page cache, of which there is little.
const OPEN_FILES: u32 = 65_536;

/// The configuration, complete: nothing of the system's is used.
fn config(root: &Path, work: &Path, port: u16) -> String {
    let (root, work) = (root.display(), work.display());
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\nworker_rlimit_nofile {};\n\
         pid {work}/nginx.pid;\nerror_log stderr warn;\nthread_pool default threads=32;\n\
         events {{ worker_connections 8192; }}\nhttp {{\n",
        2 * OPEN_FILES
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "  {name}_temp_path {work}/nginx-{name};").expect("a string takes it");
    }
    write!(
        text,
        "  access_log off;\n  default_type application/octet-stream;\n  etag on;\n\
         \x20 sendfile on;\n  aio threads;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
         \x20 open_file_cache max={OPEN_FILES} inactive=10m;\n  open_file_cache_valid 10m;\n\
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
    std::fs::write(&path, config(root, &stand.work, port)).map_err(file("write", &path))?;
    let mut command: Command = stand.seat("nginx", 1)?.command(Path::new("nginx"));
    command.arg("-p").arg(&stand.work).arg("-c").arg(&path);
    command.args(["-e", "stderr"]);
    Running::start("nginx", command, &stand.log("nginx"), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_at_its_best() {
        let text = config(Path::new("/data/files"), Path::new("/work"), 8080);
        for words in [
            "sendfile on;",
            "aio threads;",
            "open_file_cache max=65536",
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
