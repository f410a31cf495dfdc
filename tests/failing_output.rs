//! Commands whose standard output or standard error cannot be written: no panic, a failing exit code, and no
//! stored photo whose URL is lost.

mod daemon_harness;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use daemon_harness::{Daemon, Options, bytes, data_dir, path};

/// A way in which an output fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// ENOSPC.
    Full,
    /// EPIPE: the reader is closed.
    Pipe,
    /// EBADF: opened read-only; Rust's own standard output ignores this error.
    ReadOnly,
}

const ALL: [Broken; 3] = [Broken::Full, Broken::Pipe, Broken::ReadOnly];

impl Broken {
    fn open(self) -> Stdio {
        match self {
            Self::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            Self::Pipe => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                OwnedFd::from(writer).into()
            }
            Self::ReadOnly => File::open("/dev/null").unwrap().into(),
        }
    }
}

struct Place {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Place {
    fn new() -> Self {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &Options::default());
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        for n in 0..4 {
            let file = dir.path().join("photos").join(format!("{n}.jpg"));
            std::fs::write(file, bytes(n, 5000)).unwrap();
        }
        Self { dir, daemon }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        if ["put", "get", "delete", "import"].contains(&args[0]) {
            command.args(["--server", &self.daemon.data.to_string()]);
        }
        if ["import", "volume", "nginx-config"].contains(&args[0]) {
            command.args(["--admin", &self.daemon.admin.to_string()]);
        }
        command
    }

    /// The stored photos of all URLs in a text, in order.
    fn stored(&self, text: &str) -> Vec<Vec<u8>> {
        let server = format!("http://{}", self.daemon.data);
        let urls = text.split_whitespace().filter_map(|word| word.strip_prefix(&server));
        let mut client = self.daemon.client();
        urls.map(|url| client.get(url).unwrap())
            .filter(|got| got.status == 200)
            .map(|got| got.body)
            .collect()
    }
}

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn put_prints_lost_urls_to_stderr_and_stops() {
    let place = Place::new();
    let first = std::fs::read(place.dir.path().join("photos/0.jpg")).unwrap();
    for broken in ALL {
        let args = ["put", "photos/0.jpg", "photos/1.jpg", "photos/2.jpg"];
        let output = place.command(&args).stdout(broken.open()).output().unwrap();
        let stderr = error_text(&output);
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {stderr}");
        assert_eq!(place.stored(&stderr), std::slice::from_ref(&first), "{broken:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{broken:?}: {stderr}");
    }
    assert!(place.daemon.stop().success());
    let check = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["check", "--data"])
        .arg(place.dir.path().join("data"))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(stdout.contains("needles 3 "), "one from each run: {stdout}");
}

#[test]
fn put_loses_no_url_when_its_reader_exits() {
    let place = Place::new();
    let mut put = place.command(&["put", "photos/0.jpg", "-", "photos/1.jpg"]);
    put.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut put = put.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(put.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The reader is closed before the second photo is sent.
    put.stdin.take().unwrap().write_all(b"second").unwrap();
    let output = put.wait_with_output().unwrap();
    let stderr = error_text(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(place.stored(&stderr), [b"second"], "{stderr}");
    assert_eq!(place.stored(&line), [bytes(0, 5000)], "{line}");
}

#[test]
fn import_completes_its_manifest_when_output_fails() {
    let place = Place::new();
    for broken in ALL {
        let manifest = format!("{broken:?}.tsv");
        let args = ["import", "photos", "--manifest", &manifest];
        let output = place.command(&args).stdout(broken.open()).output().unwrap();
        let stderr = error_text(&output);
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {stderr}");
        assert!(stderr.contains("4 stored") && stderr.contains(&manifest), "{broken:?}: {stderr}");
        let text = std::fs::read_to_string(place.dir.path().join(&manifest)).unwrap();
        let urls = text.lines().skip(1).map(|line| line.split('\t').nth(1).unwrap());
        let urls: Vec<_> = urls.map(|url| format!("http://{}{url}", place.daemon.data)).collect();
        assert_eq!(place.stored(&urls.join(" ")).len(), 4, "{broken:?}: {text}");
        assert!(!place.dir.path().join(format!("{manifest}.journal")).exists());
    }
}

/// The command with standard input and output closed by a shell. The Rust runtime opens `/dev/null` for
/// closed descriptors.
fn closed(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&-", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    shell
}

#[test]
fn closed_descriptors_are_not_treated_as_dev_null() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let output = closed(&place.command(args)).output().unwrap();
        (output.status.code(), error_text(&output))
    };
    let (code, stderr) = run(&["put", "photos/0.jpg", "photos/1.jpg"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(place.stored(&stderr), [bytes(0, 5000)], "its URL is on standard error: {stderr}");
    let (code, stderr) = run(&["put", "-"]);
    assert_eq!(code, Some(1), "no empty photo is stored: {stderr}");
    assert!(stderr.contains("Bad file descriptor") && place.stored(&stderr).is_empty(), "{stderr}");
    let (code, stderr) = run(&["import", "-"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot read standard input: Bad file descriptor"), "{stderr}");
    let (code, stderr) = run(&["import", "photos"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("4 stored") && stderr.contains("standard output"), "{stderr}");
    for args in [&["volume", "list"][..], &["--help"], &["--version"], &["man"]] {
        let (code, stderr) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{args:?}: {stderr}");
    }
    // An explicit `/dev/null` is not an error.
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let output = place.command(&["put", "photos/0.jpg"]).stdout(null).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_text(&output));
    let Place { dir, daemon } = place;
    assert!(daemon.stop().success());
    let mut export = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    export.args(["export", "--data", "data"]).current_dir(dir.path());
    let output = closed(&export).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", error_text(&output));
    assert!(error_text(&output).contains("standard output"), "{}", error_text(&output));
}

#[test]
fn commands_take_effect_and_report_on_stderr() {
    let place = Place::new();
    for broken in ALL {
        for (args, wanted) in [
            (&["volume", "create", "7", "--size", "16MiB"][..], "volume 7: writable, 16.0 MiB"),
            (&["volume", "read-only", "7", "1"][..], "volume 1: read_only"),
            (&["volume", "writable", "1", "7"][..], "volume 7: writable"),
            (&["volume", "delete", "7", "--yes"][..], "volume 7: deleted"),
        ] {
            let output = place.command(args).stdout(broken.open()).output().unwrap();
            let stderr = error_text(&output);
            assert_eq!(output.status.code(), Some(1), "{broken:?}: {args:?}: {stderr}");
            assert!(stderr.contains(wanted), "{broken:?}: {args:?}: {stderr}");
        }
        let init = place.dir.path().join(format!("{broken:?}"));
        let args = ["init", init.to_str().unwrap()];
        let output = place.command(&args).stdout(broken.open()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {}", error_text(&output));
        assert!(init.join("hayloft.toml").exists(), "{broken:?}");
    }
}

#[test]
fn delete_reports_on_stderr_and_stops() {
    let place = Place::new();
    let create = ["volume", "create", "2", "--size", "16MiB"];
    assert!(place.command(&create).output().unwrap().status.success());
    let urls = ["/1/1/0/0123456789abcdef", "/2/1/0/0123456789abcdef"];
    for broken in ALL {
        for url in urls {
            assert!(place.daemon.client().put(url, b"photo").unwrap().status < 300);
        }
        let args = ["delete", urls[0], urls[1]];
        let output = place.command(&args).stdout(broken.open()).output().unwrap();
        let stderr = error_text(&output);
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {stderr}");
        let line = format!("deleted http://{}{}", place.daemon.data, urls[0]);
        assert!(
            stderr.contains(&line) && stderr.contains("standard output"),
            "{broken:?}: {stderr}"
        );
        assert!(!stderr.contains(urls[1]), "no further request is sent: {stderr}");
        let status_of = |url: &str| place.daemon.client().get(url).unwrap().status;
        assert_eq!(urls.map(status_of), [404, 200], "{broken:?}");
    }
    let (code, stderr) = {
        let output = closed(&place.command(&["delete", "-"])).output().unwrap();
        (output.status.code(), error_text(&output))
    };
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot read standard input: Bad file descriptor"), "{stderr}");
}

/// Commands that print: those for a running daemon, and those that need it stopped.
fn printing<'a>(data: &'a str, url: &'a str) -> (Vec<Vec<&'a str>>, Vec<Vec<&'a str>>) {
    let running: [&[&str]; 14] = [
        &["volume", "list"],
        &["volume", "list", "--json"],
        &["volume", "show", "1"],
        &["nginx-config"],
        &["config", "check"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
        &["serve", "--help"],
        &["help", "import"],
        &["--version"],
        &["get", url],
        &["delete", url],
        &["import", "photos"],
    ];
    let stopped: [&[&str]; 5] = [
        &["check", "--data", data],
        &["check", "--data", data, "--json"],
        &["dump", "--data", data],
        &["dump", "--data", data, "--json"],
        &["export", "--data", data],
    ];
    (
        running.iter().map(|args| args.to_vec()).collect(),
        stopped.iter().map(|w| w.to_vec()).collect(),
    )
}

/// No panic; a full output is reported by the exit code.
fn assert_handled(command: &mut Command, args: &[&str], broken: Broken) {
    let output = command.stdout(broken.open()).output().unwrap();
    let (stderr, code) = (error_text(&output), output.status.code());
    assert!(
        matches!(code, Some(0..=2)) && !stderr.contains("panicked"),
        "{args:?}: {code:?} {stderr}"
    );
    if broken == Broken::Full {
        assert!(matches!(code, Some(1 | 2)), "{args:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{args:?}: {stderr}");
    }
}

#[test]
fn no_command_panics_when_an_output_fails() {
    let place = Place::new();
    let url = path(1);
    assert_eq!(place.daemon.client().put(&url, b"photo").unwrap().status, 201);
    let data = place.dir.path().join("data").into_os_string().into_string().unwrap();
    let (running, stopped) = printing(&data, &url);
    let both_fail = |command: &mut Command, args: &[&str]| {
        let status = command.stdout(Broken::Full.open()).stderr(Broken::Full.open()).status();
        assert!(matches!(status.unwrap().code(), Some(0..=2)), "{args:?}");
    };
    for args in &running {
        for broken in ALL {
            assert_handled(&mut place.command(args), args, broken);
        }
        both_fail(&mut place.command(args), args);
    }
    both_fail(&mut place.command(&["put", "photos/0.jpg", "photos/none.jpg"]), &["put"]);
    let Place { dir, daemon } = place;
    assert!(daemon.stop().success());
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(args).current_dir(dir.path()).stdin(Stdio::null());
        command
    };
    for args in &stopped {
        for broken in ALL {
            assert_handled(&mut command(args), args, broken);
        }
        both_fail(&mut command(args), args);
    }
}
