//! Logging never affects service: a stderr that fails, blocks or disappears loses log lines, which are
//! counted, and nothing else. A thread that ends unexpectedly ends the daemon.

mod daemon_harness;

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon_harness::{Client, Daemon, Options, bytes, data_dir, free_ports, path};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// Limit of every wait, well above any normal duration.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a daemon with the given stderr, and waits until it is ready.
fn start(dir: &Path, stderr: impl Into<Stdio>, options: &Options) -> Daemon {
    let daemon = Daemon::launch_with(dir, options, stderr.into());
    wait_for("the daemon to be ready", || daemon.ready());
    daemon
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asserts that PUT, GET, volume state changes (which log) and the clean stop work, though lines are lost.
fn assert_works_and_stops(daemon: Daemon, lines_are_lost: bool) {
    let body = bytes(1, 10_000);
    assert_eq!(daemon.client().put(&path(1), &body).unwrap().status, 201);
    change_volume(&daemon, true);
    change_volume(&daemon, false);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, body);
    if lines_are_lost {
        wait_for("lost lines to be counted", || dropped_lines(&daemon) > 0.0);
    }
    let dir = daemon.log.parent().unwrap().to_owned();
    assert_eq!(daemon.stop().code(), Some(0));
    let saved = std::fs::read_dir(dir.join("data")).unwrap();
    let saved = saved.filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "ckpt")
    });
    assert_eq!(saved.count(), 1, "clean stop: a checkpoint was written");
}

/// Log lines dropped so far, from the metric.
fn dropped_lines(daemon: &Daemon) -> f64 {
    daemon.metric("hayloft_log_lines_dropped_total", "")
}

/// Changes the state of volume 1, which logs one line.
fn change_volume(daemon: &Daemon, read_only: bool) {
    let path = if read_only { "/volumes/1/read-only" } else { "/volumes/1/writable" };
    let mut client = Client::new(daemon.admin);
    assert_eq!(client.request("POST", path, &[], Some(b"")).unwrap().status, 200);
}

fn change_volume_often(daemon: &Daemon, times: usize) {
    (0..times).for_each(|n| change_volume(daemon, n % 2 == 0));
}

#[test]
fn full_disk_under_the_log_loses_only_log_lines() {
    let dir = data_dir();
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_works_and_stops(start(dir.path(), full, &Options::default()), true);
}

#[test]
fn closed_stderr_affects_nothing() {
    let dir = data_dir();
    let launcher = ["sh", "-c", "exec \"$0\" \"$@\" 2>&-"].map(str::to_owned).to_vec();
    let options = Options { launcher, ..Options::default() };
    assert_works_and_stops(start(dir.path(), Stdio::null(), &options), false);
}

#[test]
fn pipe_without_reader_loses_only_log_lines() {
    let dir = data_dir();
    let (read, write) = pipe().unwrap();
    let daemon = start(dir.path(), write, &Options::default());
    drop(read);
    assert_works_and_stops(daemon, true);
}

#[test]
fn socket_without_reader_loses_only_log_lines() {
    let dir = data_dir();
    // Stderr of a service under systemd is such a socket.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let daemon = start(dir.path(), OwnedFd::from(theirs), &Options::default());
    drop(ours);
    assert_works_and_stops(daemon, true);
}

#[test]
fn vanished_terminal_loses_only_log_lines() {
    let dir = data_dir();
    // Not `openpty`: a daemon that another test starts would inherit the terminal and keep it open.
    let terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname_r(&terminal).unwrap();
    let inner = File::options().read(true).write(true).open(name).unwrap();
    let daemon = start(dir.path(), inner, &Options::default());
    drop(terminal);
    assert_works_and_stops(daemon, true);
}

/// Fills a pipe completely.
fn fill(pipe: &impl AsFd) {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL).unwrap());
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    for len in [4096, 1] {
        while nix::unistd::write(pipe.as_fd(), &vec![b'\n'; len]).is_ok() {}
    }
    fcntl(pipe, FcntlArg::F_SETFL(flags)).unwrap();
}

/// Runs a daemon whose stderr is a full pipe without a reader, blocking or not.
fn full_pipe_is_harmless(non_blocking: bool) {
    let dir = data_dir();
    let (read, write) = pipe().unwrap();
    if non_blocking {
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    }
    fill(&write);
    let daemon = start(dir.path(), write.try_clone().unwrap(), &Options::default());
    let began = Instant::now();
    assert_works_and_stops(daemon, false);
    // The exit waits one second for the last lines, plus the time of a stop.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(read);
}

#[test]
fn full_blocking_pipe_delays_neither_shards_nor_exit() {
    full_pipe_is_harmless(false);
}

#[test]
fn full_nonblocking_pipe_delays_neither_shards_nor_exit() {
    full_pipe_is_harmless(true);
}

#[test]
fn dropped_lines_are_counted_and_reported_in_the_log() {
    let dir = data_dir();
    let (read, write) = pipe().unwrap();
    fill(&write);
    // More lines than the queue holds: one audit line per refused DELETE.
    let options = Options { config: "audit_log = true\n".to_owned(), ..Options::default() };
    let daemon = start(dir.path(), write, &options);
    let mut client = daemon.client();
    let refused = (0..hayloft::base::limits::LOG_LINES_MAX + 100).filter(|_| {
        let reply = client.request("DELETE", &path(9), &[], None).unwrap();
        reply.status == 404
    });
    assert_eq!(
        refused.count(),
        hayloft::base::limits::LOG_LINES_MAX + 100,
        "no request waited for the log"
    );
    let dropped = dropped_lines(&daemon);
    assert!(dropped >= 1.0, "{dropped}");
    // A reader appears.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        { read }.read_to_string(&mut text).unwrap();
        text
    });
    change_volume_often(&daemon, 2);
    assert_eq!(daemon.stop().code(), Some(0));
    let text = reader.join().unwrap();
    let reported: u64 = text
        .lines()
        .filter_map(|line| {
            line.strip_suffix(" log lines dropped")?.rsplit(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    assert!(reported as f64 >= dropped, "{reported} of {dropped}");
    assert!(text.lines().last().unwrap().ends_with("stopped"), "lines logged later are present");
    assert_eq!(text.lines().filter(|line| line.contains("made read-only")).count(), 1);
}

/// A file system of 64 KiB; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=64k", "none"];
        assert!(Command::new("mount").args(mount).arg(&at).status().unwrap().success());
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn log_resumes_after_the_disk_was_full() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: mounting a small tmpfs needs root");
    }
    let dir = data_dir();
    let disk = SmallDisk::mount(dir.path().join("small"));
    let (log, ballast) = (disk.0.join("log"), disk.0.join("ballast"));
    let stderr = File::options().create(true).append(true).open(&log).unwrap();
    let daemon = start(dir.path(), stderr, &Options::default());
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    // The rest of the last block of the log file is filled first.
    wait_for("lost lines", || {
        change_volume_often(&daemon, 10);
        dropped_lines(&daemon) > 0.0
    });
    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    change_volume(&daemon, false);
    let log_text = || std::fs::read_to_string(&log).unwrap();
    wait_for("the log to say what was dropped", || log_text().contains(" log lines dropped\n"));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(log_text().ends_with("stopped\n"), "{}", log_text());
}

/// Ends the thread `name` of a daemon. Returns the exit code of the daemon and its log.
fn run_ending_thread(name: &str, options: &Options) -> (Option<i32>, String) {
    let dir = data_dir();
    let variable = format!("{}={name}", hayloft::base::sabotage::THREAD_VARIABLE);
    let launcher = vec!["env".to_owned(), variable];
    let mut daemon = Daemon::launch(dir.path(), &Options { launcher, ..clone(options) });
    let status = daemon.wait(TIMEOUT / 2);
    let status =
        status.unwrap_or_else(|| panic!("still running without {name}:\n{}", daemon.log_text()));
    (status.code(), daemon.log_text())
}

fn clone(options: &Options) -> Options {
    Options { shards: options.shards, config: options.config.clone(), ..Options::default() }
}

#[test]
fn panic_of_any_thread_ends_the_daemon_and_names_the_thread() {
    let trace = data_dir();
    let config =
        format!("[access_trace]\nfile = {:?}\n", trace.path().join("trace").display().to_string());
    let options = Options { shards: 2, config, ..Options::default() };
    for thread in ["hayloft-admin", "disks", "access-trace", "log", "shard-0", "shard-1"] {
        let (code, log) = run_ending_thread(thread, &options);
        assert_eq!(code, Some(1), "{thread}:\n{log}");
        let ended = format!("ERROR hayloft::node::daemon::ended: thread {thread} ended by itself");
        assert!(log.contains(&ended), "{thread}:\n{log}");
        let panicked = format!("ERROR hayloft: thread {thread} panicked at src/base/threads.rs:");
        assert!(log.contains(&panicked), "{thread}:\n{log}");
        let drained = log.trim_end().ends_with("stopped");
        assert_eq!(drained, !thread.starts_with("shard"), "{thread}:\n{log}");
    }
}

#[test]
fn exit_of_any_thread_ends_the_daemon_and_names_the_thread() {
    let trace = data_dir();
    let config =
        format!("[access_trace]\nfile = {:?}\n", trace.path().join("trace").display().to_string());
    let options = Options { shards: 2, config, ..Options::default() };
    for thread in ["hayloft-admin", "disks", "access-trace", "log", "shard-0", "shard-1"] {
        let (code, log) = run_ending_thread(&format!("exit:{thread}"), &options);
        assert_eq!(code, Some(1), "{thread}:\n{log}");
        let ended = format!("ERROR hayloft::node::daemon::ended: thread {thread} ended by itself");
        assert!(log.contains(&ended), "{thread}:\n{log}");
        let drained = log.trim_end().ends_with("stopped");
        assert_eq!(drained, !thread.starts_with("shard"), "{thread}:\n{log}");
    }
}

#[test]
fn main_thread_panic_is_logged_and_ends_the_process() {
    let (code, log) = run_ending_thread("main", &Options::default());
    assert_eq!(code, Some(101), "{log}");
    assert!(
        log.contains("ERROR hayloft: thread main panicked at src/node/daemon/watch.rs:"),
        "{log}"
    );
}

#[test]
fn offline_import_does_not_wait_for_a_log_reader() {
    let dir = data_dir();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("a.jpg"), b"a photo").unwrap();
    let (_read, write) = pipe().unwrap();
    fill(&write);
    // A low limit of locked memory makes the import log a warning.
    let mut child = Command::new("bash")
        .args(["-c", "ulimit -l 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hayloft"), "import"])
        .args([std::ffi::OsStr::new("--data"), dir.path().join("data").as_os_str()])
        .args(["--create-volumes", "64MiB", "--manifest"])
        .arg(dir.path().join("manifest.tsv"))
        .arg(&photos)
        .stdout(Stdio::null())
        .stderr(write)
        .spawn()
        .unwrap();
    wait_for("the import to end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let manifest = std::fs::read_to_string(dir.path().join("manifest.tsv")).unwrap();
    assert!(manifest.contains("a.jpg\t/1/"), "{manifest}");
}

#[test]
fn failed_start_prints_the_error_last_and_waits_for_no_reader() {
    let dir = data_dir();
    let port = free_ports(1);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let run = |stderr: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--cores", "0"])
            .args(["--volume-size", "16MiB"])
            .arg("--data")
            .arg(dir.path().join("data"))
            .stderr(stderr)
            .spawn()
            .unwrap()
    };
    let output = run(Stdio::piped()).wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.lines().last().unwrap().starts_with("hayloft: cannot listen on"), "{text}");
    let (_read, write) = pipe().unwrap();
    fill(&write);
    let mut child = run(write.into());
    wait_for("the exit", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
