//! Messages of the daemon at start, of `config check` before it, and about a port that is in use.

mod daemon_harness;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use daemon_harness::{Daemon, Options, bytes, data_dir, free_ports};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn with_args(args: &[&str]) -> Options {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Options { shards: 2, args, ..Options::default() }
}

/// The exit code, standard output and standard error of `config check` with these arguments.
fn config_check(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["config", "check"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn start_logs_version_addresses_ports_and_a_working_command() {
    let dir = data_dir();
    let ports = free_ports(2);
    let daemon = Daemon::start(dir.path(), &with_args(&["--shard-ports", &ports.to_string()]));
    let log = daemon.log_text();
    for part in [
        concat!("hayloft ", env!("CARGO_PKG_VERSION"), ", 2 shards"),
        &format!("photos on http://{}, admin on http://{}", daemon.data, daemon.admin),
        &format!("shard 0 also on http://127.0.0.1:{ports}, shard k on port {ports} + k"),
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let (_, command) = log.split_once("to try it: ").expect("a command");
    let command = command.lines().next().unwrap();
    std::fs::write(dir.path().join("photo.jpg"), bytes(1, 1000)).unwrap();
    let run = Command::new("sh").args(["-c", command]).current_dir(dir.path()).output().unwrap();
    let created: serde_json::Value = serde_json::from_slice(&run.stdout).expect(command);
    let got = daemon.client().get(created["url"].as_str().unwrap()).unwrap();
    assert_eq!((got.header("content-type"), &got.body), (Some("image/jpeg"), &bytes(1, 1000)));
}

#[test]
fn port_in_use_is_reported_with_its_shard_and_flag() {
    let dir = data_dir();
    for (offset, wanted, advice) in [
        (0, "the data API (--listen): Address already in use", "another --listen"),
        (1, "the admin API (--admin): Address already in use", "another --admin"),
        (3, "the port of shard 1 (--shard-ports): Address already in use", "--shard-ports off"),
    ] {
        let ports = free_ports(4);
        let taken = ports + offset;
        let options = with_args(&["--shard-ports", &(ports + 2).to_string()]);
        let (data, admin) = (loopback(ports), loopback(ports + 1));
        let _other = TcpListener::bind(loopback(taken)).unwrap();
        let mut daemon = Daemon::launch_on(dir.path(), &options, data, admin);
        let ended = daemon.wait(Duration::from_secs(20)).expect("the daemon did not exit");
        let log = daemon.log_text();
        let last = log.lines().last().unwrap();
        assert_eq!(ended.code(), Some(2), "{log}");
        assert!(last.contains(&format!("cannot listen on 127.0.0.1:{taken}, {wanted}")), "{last}");
        assert!(last.contains(advice), "{last}");
        assert!(!dir.path().join("data/1.0.vol").exists(), "a store is left behind");
    }
}

#[test]
fn public_address_is_warned_about_by_serve_and_config_check() {
    let dir = data_dir();
    let port = free_ports(2);
    let public = SocketAddr::from(([0, 0, 0, 0], port));
    let warning = format!("photos are served on {public}, not a loopback address");
    for (args, wanted) in [(&[][..], true), (&["--trusted-network"], false)] {
        let options = with_args(args);
        let mut daemon = Daemon::launch_on(dir.path(), &options, public, loopback(port + 1));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !daemon.ready() {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {}", daemon.log_text());
            assert!(std::time::Instant::now() < deadline, "not ready: {}", daemon.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(daemon.log_text().contains(&warning), wanted, "{args:?}: {}", daemon.log_text());
        assert!(daemon.stop().success());
        std::fs::remove_file(dir.path().join("log")).unwrap();

        let listen = public.to_string();
        let args = [&["--listen", &listen, "--data", "new"], args].concat();
        let (code, _, stderr) = config_check(dir.path(), &args);
        assert_eq!((code, stderr.contains(&warning)), (0, wanted), "{stderr}");
    }
    let (code, _, stderr) = config_check(dir.path(), &["--data", "new"]);
    assert_eq!((code, &stderr[..]), (0, ""), "the default is on loopback");
}

#[test]
fn config_check_refuses_what_serve_refuses_and_changes_nothing() {
    let dir = data_dir();
    let work_dir = dir.path();
    std::fs::create_dir(work_dir.join("a")).unwrap();
    std::fs::create_dir(work_dir.join("mine")).unwrap();
    std::fs::write(work_dir.join("mine/letter.txt"), "dear").unwrap();
    std::fs::write(work_dir.join("file"), "").unwrap();
    std::os::unix::fs::symlink("a", work_dir.join("link")).unwrap();
    for (data, wanted) in [
        (&["a", "./a"][..], "are the same directory"),
        (&["a", "link"], "are the same directory"),
        (&["new", "./new"], "are the same directory"),
        (&["a", "a/../a"], "are the same directory"),
        (&["absent/new"], "absent does not exist"),
        (&["file"], "is not a directory"),
        (&["file/x"], "is not a directory"),
        (&["mine"], "is not a data directory"),
    ] {
        let flags: Vec<&str> = data.iter().flat_map(|path| ["--data", path]).collect();
        let (code, text, stderr) = config_check(work_dir, &flags);
        assert_eq!((code, &text[..]), (2, ""), "{data:?}: {stderr}");
        assert!(stderr.contains(wanted), "{data:?}: {stderr}");
        // `serve` prints the same.
        let config: Vec<String> = data.iter().map(|path| format!("{path:?}")).collect();
        std::fs::write(work_dir.join("c.toml"), format!("data = [{}]\n", config.join(", ")))
            .unwrap();
        let (code, _, from_file) = config_check(work_dir, &["c.toml"]);
        assert_eq!((code, &from_file), (2, &stderr), "{data:?}");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        let started =
            serve.args(["serve", "--config", "c.toml"]).current_dir(work_dir).output().unwrap();
        let last = String::from_utf8(started.stderr).unwrap();
        assert_eq!((started.status.code(), last.lines().last()), (Some(2), stderr.lines().last()));
    }
    let (code, _, stderr) = config_check(work_dir, &["--listen", "192.0.2.1:80", "--data", "a"]);
    assert!(code == 2 && stderr.contains("192.0.2.1:80, the data API (--listen)"), "{stderr}");
    let left = std::fs::read_dir(work_dir.join("a")).unwrap().count();
    assert!(left == 0 && !work_dir.join("new").exists(), "something was created");
}

#[test]
fn config_check_works_while_the_daemon_runs() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let (data, listen) = (dir.path().join("data"), daemon.data.to_string());
    let args = ["--data", data.to_str().unwrap(), "--listen", &listen];
    let (code, text, stderr) = config_check(dir.path(), &args);
    assert!(code == 0 && stderr.is_empty() && text.contains(&listen), "{stderr}");
    // A missing disk does not prevent the start.
    let absent = dir.path().join("absent/data");
    let args = [&args[..], &["--data", absent.to_str().unwrap()]].concat();
    let (code, _, stderr) = config_check(dir.path(), &args);
    assert!(code == 0 && stderr.contains("Its volumes would be out"), "{stderr}");
}
