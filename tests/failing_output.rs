//! Commands whose standard output or standard error cannot be written: no panic, an exit code that says so,
//! and nothing stored whose URL is lost.

mod daemon_harness;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use daemon_harness::{Daemon, Options, bytes, data_dir, path};

/// An output that fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// ENOSPC.
    Full,
    /// EPIPE: nobody reads.
    Pipe,
    /// EBADF: opened for reading only, which Rust's own standard output takes for success.
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

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(words).current_dir(self.dir.path()).stdin(Stdio::null());
        if ["put", "get", "import"].contains(&words[0]) {
            command.args(["--server", &self.daemon.data.to_string()]);
        }
        if ["import", "volume", "nginx-config"].contains(&words[0]) {
            command.args(["--admin", &self.daemon.admin.to_string()]);
        }
        command
    }

    /// Photos under these URLs, in the order of the words in which they stand.
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
fn put_names_what_it_stored_on_standard_error_and_stores_no_more() {
    let place = Place::new();
    let first = std::fs::read(place.dir.path().join("photos/0.jpg")).unwrap();
    for broken in ALL {
        let words = ["put", "photos/0.jpg", "photos/1.jpg", "photos/2.jpg"];
        let output = place.command(&words).stdout(broken.open()).output().unwrap();
        let said = error_text(&output);
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {said}");
        assert_eq!(place.stored(&said), std::slice::from_ref(&first), "{broken:?}: {said}");
        assert!(said.contains("standard output"), "{broken:?}: {said}");
    }
    assert!(place.daemon.stop().success());
    let check = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["check", "--data"])
        .arg(place.dir.path().join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("needles 3 "), "one from each run: {said}");
}

#[test]
fn put_into_a_reader_that_leaves_after_one_line_loses_no_url() {
    let place = Place::new();
    let mut put = place.command(&["put", "photos/0.jpg", "-", "photos/1.jpg"]);
    put.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut put = put.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(put.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The reader is gone; only now the second photo is there.
    put.stdin.take().unwrap().write_all(b"second").unwrap();
    let output = put.wait_with_output().unwrap();
    let said = error_text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(place.stored(&said), [b"second"], "{said}");
    assert_eq!(place.stored(&line), [bytes(0, 5000)], "{line}");
}

#[test]
fn import_ends_in_order_and_its_manifest_is_there() {
    let place = Place::new();
    for broken in ALL {
        let manifest = format!("{broken:?}.tsv");
        let words = ["import", "photos", "--manifest", &manifest];
        let output = place.command(&words).stdout(broken.open()).output().unwrap();
        let said = error_text(&output);
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {said}");
        assert!(said.contains("4 stored") && said.contains(&manifest), "{broken:?}: {said}");
        let text = std::fs::read_to_string(place.dir.path().join(&manifest)).unwrap();
        let urls = text.lines().skip(1).map(|line| line.split('\t').nth(1).unwrap());
        let urls: Vec<_> = urls.map(|url| format!("http://{}{url}", place.daemon.data)).collect();
        assert_eq!(place.stored(&urls.join(" ")).len(), 4, "{broken:?}: {text}");
        assert!(!place.dir.path().join(format!("{manifest}.journal")).exists());
    }
}

/// A command that is started with standard input and output closed, as a shell does it. The runtime of Rust
/// opens `/dev/null` for those.
fn closed(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&-", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    shell
}

#[test]
fn closed_descriptors_are_no_dev_null() {
    let place = Place::new();
    let run = |words: &[&str]| {
        let output = closed(&place.command(words)).output().unwrap();
        (output.status.code(), error_text(&output))
    };
    let (code, said) = run(&["put", "photos/0.jpg", "photos/1.jpg"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(place.stored(&said), [bytes(0, 5000)], "its URL is on standard error: {said}");
    let (code, said) = run(&["put", "-"]);
    assert_eq!(code, Some(1), "no photo of 0 bytes: {said}");
    assert!(said.contains("Bad file descriptor") && place.stored(&said).is_empty(), "{said}");
    let (code, said) = run(&["import", "-"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot read standard input: Bad file descriptor"), "{said}");
    let (code, said) = run(&["import", "photos"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("4 stored") && said.contains("standard output"), "{said}");
    for words in [&["volume", "list"][..], &["--help"], &["--version"], &["man"]] {
        let (code, said) = run(words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains("standard output"), "{words:?}: {said}");
    }
    // Somebody who wants the URL nowhere gets it nowhere.
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
fn acts_are_carried_out_and_said_to_be_on_standard_error() {
    let place = Place::new();
    for broken in ALL {
        for (words, wanted) in [
            (&["volume", "create", "7", "--size", "16MiB"][..], "volume 7: writable, 16.0 MiB"),
            (&["volume", "read-only", "7", "1"][..], "volume 1: read_only"),
            (&["volume", "writable", "1", "7"][..], "volume 7: writable"),
            (&["volume", "delete", "7", "--yes"][..], "volume 7: deleted"),
        ] {
            let output = place.command(words).stdout(broken.open()).output().unwrap();
            let said = error_text(&output);
            assert_eq!(output.status.code(), Some(1), "{broken:?}: {words:?}: {said}");
            assert!(said.contains(wanted), "{broken:?}: {words:?}: {said}");
        }
        let init = place.dir.path().join(format!("{broken:?}"));
        let words = ["init", init.to_str().unwrap()];
        let output = place.command(&words).stdout(broken.open()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{broken:?}: {}", error_text(&output));
        assert!(init.join("hayloft.toml").exists(), "{broken:?}");
    }
}

/// Commands that print; those that look at volumes need a stopped daemon.
fn printing<'a>(data: &'a str, url: &'a str) -> (Vec<Vec<&'a str>>, Vec<Vec<&'a str>>) {
    let running: [&[&str]; 13] = [
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
        running.iter().map(|words| words.to_vec()).collect(),
        stopped.iter().map(|w| w.to_vec()).collect(),
    )
}

/// No panic; a full output is reported by the exit code.
fn assert_handled(command: &mut Command, words: &[&str], broken: Broken) {
    let output = command.stdout(broken.open()).output().unwrap();
    let (said, code) = (error_text(&output), output.status.code());
    assert!(
        matches!(code, Some(0..=2)) && !said.contains("panicked"),
        "{words:?}: {code:?} {said}"
    );
    if broken == Broken::Full {
        assert!(matches!(code, Some(1 | 2)), "{words:?}: {said}");
        assert!(said.contains("standard output"), "{words:?}: {said}");
    }
}

#[test]
fn no_command_panics_when_an_output_fails() {
    let place = Place::new();
    let url = path(1);
    assert_eq!(place.daemon.client().put(&url, b"photo").unwrap().status, 201);
    let data = place.dir.path().join("data").into_os_string().into_string().unwrap();
    let (running, stopped) = printing(&data, &url);
    let both_fail = |command: &mut Command, words: &[&str]| {
        let status = command.stdout(Broken::Full.open()).stderr(Broken::Full.open()).status();
        assert!(matches!(status.unwrap().code(), Some(0..=2)), "{words:?}");
    };
    for words in &running {
        for broken in ALL {
            assert_handled(&mut place.command(words), words, broken);
        }
        both_fail(&mut place.command(words), words);
    }
    both_fail(&mut place.command(&["put", "photos/0.jpg", "photos/none.jpg"]), &["put"]);
    let Place { dir, daemon } = place;
    assert!(daemon.stop().success());
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(words).current_dir(dir.path()).stdin(Stdio::null());
        command
    };
    for words in &stopped {
        for broken in ALL {
            assert_handled(&mut command(words), words, broken);
        }
        both_fail(&mut command(words), words);
    }
}
