//! The daemon behind nginx by subject, and what the tests share.

mod cache;
mod connections;
mod fid;
mod fields;
mod requests;

use crate::daemon_harness::{Daemon, Options, Reply, data_dir};
use crate::nginx_harness::{Nginx, Setup, Upstream, listen_unix};

fn options(dir: &tempfile::TempDir) -> Options {
    let args = listen_unix(dir.path());
    Options { shards: 2, volume_size: "512MiB", args, ..Options::default() }
}

/// Runs a test with the upstream on TCP and on a unix socket, and asserts that no upstream request failed.
fn over_tcp_and_unix(test: impl Fn(&Daemon, &Nginx)) {
    for upstream in [Upstream::Tcp, Upstream::Unix] {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &options(&dir));
        let nginx = Nginx::start(dir.path(), &daemon, &Setup { upstream, ..Setup::default() });
        test(&daemon, &nginx);
        assert_no_upstream_errors(&nginx);
        let wanted = if upstream == Upstream::Unix { "unix:" } else { "127.0.0.1:" };
        let logged = nginx.logged();
        let reached = logged.iter().flat_map(|request| &request.upstreams);
        assert!(reached.clone().count() > 0 && reached.clone().all(|to| to.starts_with(wanted)));
        drop(nginx);
        let log = daemon.log_text();
        assert!(daemon.stop().success(), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Asserts that nginx saw no broken upstream connection, no malformed response, and repeated no request.
fn assert_no_upstream_errors(nginx: &Nginx) {
    let errors = nginx.errors();
    let bad = ["[emerg]", "[alert]", "[crit]", "prematurely", "reset by peer", "Broken pipe"];
    let bad = errors.lines().find(|line| bad.iter().any(|word| line.contains(word)));
    assert_eq!(bad, None);
    for request in nginx.logged() {
        assert!(request.upstreams.len() <= 1, "{request:?}");
        assert_ne!(request.status, 502, "{request:?}");
    }
}

fn has_body(got: &Reply, want: &[u8]) -> bool {
    got.header("content-length") == Some(&want.len().to_string()) && got.body == want
}
