//! Signals sent to `hayloft import`: the first stops it soon, whatever it waits for, with the stored photos
//! in the manifest; a second one stops it immediately; meaningless signals are ignored.

mod daemon_harness;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Timeout for what takes about a second on an idle machine. A request to a server that hangs takes two
/// minutes.
const SOON: Duration = Duration::from_secs(40);

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn handles(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    caught & (1 << (signal as i32 - 1)) != 0
}

/// Waits for a process to exit; returns its exit code and output.
#[track_caller]
fn wait_for_exit(mut child: Child) -> (Option<i32>, String) {
    wait_for("the end of the import", || child.try_wait().unwrap().is_some());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

struct Place {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Place {
    /// A store, and a directory with the given number of photos.
    fn new(photos: u64) -> Self {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &Options::default());
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        let place = Self { dir, daemon };
        place.add_photos(0..photos);
        place
    }

    fn add_photos(&self, photos: Range<u64>) {
        for n in photos {
            let path = self.path("photos").join(format!("{n:04}.jpg"));
            std::fs::write(path, bytes(n, 3000)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn import(&self, words: &[&str]) -> Command {
        let mut command = import(self.dir.path(), words);
        command.args(["--server", &self.daemon.data.to_string()]);
        command.args(["--admin", &self.daemon.admin.to_string()]);
        command
    }

    /// Number of photos that a journal or manifest lists as stored.
    fn stored(&self, file: &str) -> usize {
        let text = std::fs::read_to_string(self.path(file)).unwrap_or_default();
        text.lines().filter(|line| line.split('\t').count() == 5).count()
    }

    /// Resumes the import to its end and compares all photos.
    fn assert_resumes(&self, photos: u64) {
        let output = self.import(&["photos"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(self.path("photos.manifest.tsv")).unwrap();
        let mut client = self.daemon.client();
        for (n, line) in (0..).zip(text.lines().skip(1)) {
            let got = client.get(line.split('\t').nth(1).unwrap()).unwrap();
            assert!(got.status == 200 && got.body == bytes(n, 3000), "{line}");
        }
        assert_eq!(text.lines().count() as u64, 1 + photos);
        wait_for("each photo once", || {
            self.daemon.metric("hayloft_volume_needles", "") == photos as f64
        });
    }
}

fn import(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg("import").args(words).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn signal_stops_import_of_hanging_server_and_keeps_manifest() {
    let place = Place::new(3000);
    for (signal, at) in [(Signal::SIGTERM, 100), (Signal::SIGINT, 600)] {
        let import = place.import(&["photos", "--parallel", "4"]).spawn().unwrap();
        wait_for("photos", || place.stored("photos.manifest.tsv.journal") >= at);
        // To its clients the server hangs.
        place.daemon.signal(Signal::SIGSTOP);
        send(&import, signal);
        let (code, output) = wait_for_exit(import);
        place.daemon.signal(Signal::SIGCONT);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains("stopped early: it was interrupted"), "{output}");
        assert!(output.contains("same command goes on"), "{output}");
        let stored = place.stored("photos.manifest.tsv");
        assert!(stored >= at && place.path("photos.manifest.tsv.journal").exists(), "{stored}");
    }
    place.assert_resumes(3000);
}

#[test]
fn signal_stops_import_without_replies_or_input() {
    let dir = data_dir();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in ["photos", "fifo"] {
        let words = [path, "--server", &address, "--admin", &address];
        let child = import(dir.path(), &words).spawn().unwrap();
        wait_for("handlers", || handles(&child, Signal::SIGQUIT));
        send(&child, Signal::SIGTERM);
        let (code, output) = wait_for_exit(child);
        assert_eq!(code, Some(1), "{path}: {output}");
        assert!(output.contains("stopped early: it was interrupted"), "{path}: {output}");
    }
}

/// A shell without job control has its background jobs ignore SIGINT and SIGQUIT.
#[test]
fn signal_stops_a_background_job_of_a_script() {
    let dir = data_dir();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut command = Command::new("env");
        command.args([
            "--ignore-signal=INT,QUIT",
            env!("CARGO_BIN_EXE_hayloft"),
            "import",
            "photos",
        ]);
        command.args(["--server", &address, "--admin", &address]).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for("handlers", || handles(&child, Signal::SIGQUIT));
        send(&child, signal);
        let (code, output) = wait_for_exit(child);
        assert_eq!(code, Some(1), "{signal}: {output}");
        assert!(output.contains("stopped early: it was interrupted"), "{signal}: {output}");
    }
}

/// A full pipe and its reading end.
fn full_pipe() -> (Stdio, std::io::PipeReader) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(writer.as_fd(), flags).unwrap();
    for piece in [&[b'.'; 4096][..], b"."] {
        while writer.write(piece).is_ok() {}
    }
    let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty());
    nix::fcntl::fcntl(writer.as_fd(), flags).unwrap();
    (OwnedFd::from(writer).into(), reader)
}

#[test]
fn signal_stops_import_blocked_on_output_at_its_end() {
    for (out_is_full, err_is_full) in [(true, false), (false, true), (true, true)] {
        let place = Place::new(40);
        // Skipped files are reported on standard error.
        std::os::unix::fs::symlink("0000.jpg", place.path("photos/link.jpg")).unwrap();
        let ((out, _out), (err, _err)) = (full_pipe(), full_pipe());
        let mut command = place.import(&["photos"]);
        if out_is_full {
            command.stdout(out);
        }
        if err_is_full {
            command.stderr(err);
        }
        let import = command.spawn().unwrap();
        drop(command);
        wait_for("the manifest", || place.stored("photos.manifest.tsv") == 40);
        wait_for("the final report", || !place.path("photos.manifest.tsv.journal").exists());
        send(&import, Signal::SIGTERM);
        let (code, output) = wait_for_exit(import);
        assert_eq!(code, Some(1), "{output}");
        place.assert_resumes(40);
    }
}

/// The same in the middle of the import, before all photos are stored.
#[test]
fn signal_stops_import_blocked_on_output_midway() {
    let place = Place::new(3000);
    let ((out, _out), (err, _err)) = (full_pipe(), full_pipe());
    let mut command = place.import(&["photos", "--parallel", "2"]);
    let import = command.stdout(out).stderr(err).spawn().unwrap();
    drop(command);
    wait_for("photos", || place.stored("photos.manifest.tsv.journal") >= 50);
    send(&import, Signal::SIGUSR1);
    send(&import, Signal::SIGTERM);
    let (code, _) = wait_for_exit(import);
    assert_eq!(code, Some(1));
    assert!(place.stored("photos.manifest.tsv") >= 50);
    place.assert_resumes(3000);
}

#[test]
fn signal_stops_offline_import_cleanly() {
    let mut place = Place::new(200);
    let output = place.import(&["photos"]).output().unwrap();
    assert!(output.status.success());
    let addresses = (place.daemon.data, place.daemon.admin);
    place.daemon.child.kill().unwrap();
    place.daemon.child.wait().unwrap();
    let checkpoint = || {
        let names = std::fs::read_dir(place.path("data")).unwrap();
        names
            .map(|name| name.unwrap().path())
            .any(|name| name.extension().is_some_and(|e| e == "ckpt"))
    };
    assert!(!checkpoint());
    // Enough for the signal to arrive before the end.
    place.add_photos(200..4000);
    let lock = std::fs::metadata(place.path("data/LOCK")).unwrap().modified().unwrap();
    let child = import(place.dir.path(), &["photos", "--data", "data"]).spawn().unwrap();
    wait_for("the lock of the data directory", || {
        std::fs::metadata(place.path("data/LOCK")).unwrap().modified().unwrap() != lock
    });
    send(&child, Signal::SIGTERM);
    let (code, output) = wait_for_exit(child);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("stopped early: it was interrupted"), "{output}");
    // The same while it waits for more input.
    let mut command = import(place.dir.path(), &["-", "--data", "data"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("1/0/{COOKIE}")).unwrap();
    header.set_size(10 << 20);
    header.set_cksum();
    let mut tar = child.stdin.take().unwrap();
    tar.write_all(header.as_bytes()).unwrap();
    // More than a pipe holds: once this is written, the import reads and its volumes are open.
    tar.write_all(&vec![0; 2 << 20]).unwrap();
    send(&child, Signal::SIGTERM);
    let (code, output) = wait_for_exit(child);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("stopped early: it was interrupted"), "{output}");
    assert!(checkpoint(), "its volume was closed cleanly: {output}");
    let options = Options::default();
    place.daemon = Daemon::launch_on(place.dir.path(), &options, addresses.0, addresses.1);
    place.daemon.wait_ready();
    place.assert_resumes(4000);
}

/// An import that has stored 40 photos and blocks on writing its manifest, to a FIFO whose path is returned.
fn import_blocked_on_manifest(place: &Place) -> (Child, PathBuf) {
    let new = place.path("photos.manifest.tsv.new");
    nix::unistd::mkfifo(&new, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let import = place.import(&["photos"]).spawn().unwrap();
    wait_for("photos", || place.stored("photos.manifest.tsv.journal") == 40);
    (import, new)
}

#[test]
fn second_signal_stops_import_immediately() {
    let place = Place::new(40);
    let (mut import, new) = import_blocked_on_manifest(&place);
    wait_for("a second signal to end it", || {
        send(&import, Signal::SIGTERM);
        import.try_wait().unwrap().is_some()
    });
    let (code, output) = wait_for_exit(import);
    // After the first signal alone it would have reported the reason.
    assert_eq!((code, output.contains("interrupted")), (Some(1), false), "{output}");
    std::fs::remove_file(new).unwrap();
    place.assert_resumes(40);
}

/// Work that must not be interrupted is waited for, but not forever.
#[test]
fn signal_stops_import_whose_manifest_write_hangs() {
    let place = Place::new(40);
    let (import, new) = import_blocked_on_manifest(&place);
    send(&import, Signal::SIGTERM);
    let (code, output) = wait_for_exit(import);
    assert_eq!(code, Some(1), "{output}");
    assert!(
        output.contains("ended before volumes were closed or the manifest was written"),
        "{output}"
    );
    std::fs::remove_file(new).unwrap();
    place.assert_resumes(40);
}

#[test]
fn meaningless_signals_are_logged_and_ignored() {
    use Signal::{SIGALRM, SIGIO, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ};
    let place = Place::new(0);
    let output = File::create(place.path("output")).unwrap();
    let mut command = place.import(&["-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(output).spawn().unwrap();
    wait_for("handlers", || handles(&child, SIGXFSZ));
    let output = || std::fs::read_to_string(place.path("output")).unwrap();
    for signal in [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ] {
        send(&child, signal);
        let line = format!("received {signal}: ignored");
        wait_for(&line, || output().contains(&line));
    }
    let mut tar = tar::Builder::new(child.stdin.take().unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    tar.append_data(&mut header, format!("1/0/{COOKIE}"), &b"photo"[..]).unwrap();
    drop(tar.into_inner().unwrap());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", output());
    assert!(out.contains("1 stored"), "{out}");
}

#[test]
fn sigxcpu_stops_import_cleanly() {
    let place = Place::new(3000);
    let import = place.import(&["photos", "--parallel", "1"]).spawn().unwrap();
    wait_for("photos", || place.stored("photos.manifest.tsv.journal") >= 50);
    send(&import, Signal::SIGXCPU);
    let (code, output) = wait_for_exit(import);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("same command goes on"), "{output}");
    assert!(place.stored("photos.manifest.tsv") >= 50);
}
