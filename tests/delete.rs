//! `hayloft delete`: the photos that it names are deleted, many with one request, and a line says what became
//! of each.

mod daemon_harness;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, path};

struct Place {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Place {
    fn new() -> Self {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
        Self { dir, daemon }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn delete(&self, urls: &[&str]) -> Output {
        let server = self.daemon.data.to_string();
        let args = [&["delete", "--server", &server], urls].concat();
        self.command(&args).output().unwrap()
    }

    fn put(&self, path: &str) {
        let len = if path.ends_with("/7/0/0123456789abcdef") { 2_000_000 } else { 1000 };
        assert_eq!(self.daemon.client().put(path, &bytes(1, len)).unwrap().status, 201, "{path}");
    }

    fn status_of(&self, path: &str) -> u16 {
        self.daemon.client().request("HEAD", path, &[], None).unwrap().status
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.daemon.data)
    }

    /// Creates another volume.
    fn create_volume(&self, id: &str) {
        let admin = self.daemon.admin.to_string();
        let args = ["volume", "create", id, "--size", "16MiB", "--admin", &admin];
        assert!(self.command(&args).output().unwrap().status.success());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn photos_of_several_volumes_are_deleted_with_one_request_each() {
    let place = Place::new();
    place.create_volume("2");
    let paths = [path(1), format!("/2/1/0/{COOKIE}"), path(7), format!("/1/1/3/{COOKIE}")];
    paths.iter().for_each(|path| place.put(path));
    let kept = path(2);
    place.put(&kept);
    let urls = [place.url(&paths[0]), paths[1].clone(), paths[2].clone(), place.url(&paths[3])];
    let requests = || place.daemon.metric("hayloft_requests_total", "post");
    let before = requests();
    let output = place.delete(&urls.each_ref().map(|url| &url[..]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    let line = |n: usize| format!("deleted {}", place.url(&paths[n]));
    assert_eq!(lines, [line(0), line(2), line(3), line(1)], "volume by volume");
    assert_eq!(requests() - before, 2.0);
    assert!(paths.iter().all(|path| place.status_of(path) == 404));
    assert_eq!(place.status_of(&kept), 200);
}

#[test]
fn photos_that_are_not_found_are_named() {
    let place = Place::new();
    place.put(&path(1));
    place.put(&path(2));
    let other = format!("/1/2/0/{}", "f".repeat(16));
    // The second one is named again, with its own cookie.
    let output = place.delete(&[&path(9), &path(1), &other, &path(2), &path(1)]);
    assert_eq!(output.status.code(), Some(1));
    let url = |path: &str| place.url(path);
    let lines = [
        format!("not found {}", url(&path(9))),
        format!("deleted {}", url(&path(1))),
        format!("not found {}", url(&other)),
        format!("deleted {}", url(&path(2))),
    ];
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), lines);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn urls_are_read_from_standard_input() {
    let place = Place::new();
    place.put(&path(1));
    place.put(&path(2));
    let run = |input: &str| {
        let server = place.daemon.data.to_string();
        let mut command = place.command(&["delete", "-", "--server", &server]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let bad = run(&format!("{}\n\n{}x\n", path(1), path(2)));
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("line 3 of standard input: "), "{}", text(&bad.stderr));
    assert_eq!(place.status_of(&path(1)), 200, "nothing was deleted");
    let output = run(&format!("{}\r\n\n{}", path(1), place.url(&path(2))));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    assert_eq!([1, 2].map(|key| place.status_of(&path(key))), [404, 404]);
    assert_eq!(run("").status.code(), Some(0), "nothing to do");
}

#[test]
fn more_photos_than_a_request_takes_are_deleted() {
    let place = Place::new();
    let mut client = place.daemon.client();
    let mut tar = tar::Builder::new(Vec::new());
    for key in 0..1000 {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &b"x"[..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    assert_eq!(client.request("POST", "/1/batch", &[], Some(&tar)).unwrap().status, 201);
    let paths: Vec<String> = (0..1500).rev().map(path).collect();
    let output = place.delete(&paths.iter().map(|path| &path[..]).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    let count = |word| stdout.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("deleted "), count("not found "), stdout.lines().count()), (1000, 500, 1500));
}

#[test]
fn malformed_url_deletes_nothing() {
    let place = Place::new();
    place.put(&path(1));
    for bad in ["/1/2", "nonsense", "http://a/1/2/0/0123", "https://a/1/2/0/0123456789abcdef", ""] {
        let output = place.delete(&[&path(1), bad]);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{stderr}");
        assert!(stderr.starts_with("hayloft: ") && stderr.lines().count() == 1, "{stderr}");
    }
    assert_eq!(place.status_of(&path(1)), 200);
    assert_eq!(place.delete(&[]).status.code(), Some(2), "a URL is required");
}

#[test]
fn request_that_fails_does_not_stop_the_others() {
    let place = Place::new();
    place.create_volume("2");
    let second = format!("/2/1/0/{COOKIE}");
    place.put(&path(1));
    place.put(&second);
    let admin = place.daemon.admin.to_string();
    let close = ["volume", "read-only", "1", "--admin", &admin];
    assert!(place.command(&close).output().unwrap().status.success());
    // No daemon is there.
    let gone = format!("http://127.0.0.1:1/1/1/0/{COOKIE}");
    let output = place.delete(&[&path(1), &format!("/9/1/0/{COOKIE}"), &second]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(
        text(&output.stdout).lines().collect::<Vec<_>>(),
        [
            format!("failed {}", place.url(&path(1))),
            format!("failed {}", place.url(&format!("/9/1/0/{COOKIE}"))),
            format!("deleted {}", place.url(&second)),
        ]
    );
    assert!(
        stderr.contains("POST /1/delete was answered with 503: the volume is read-only"),
        "{stderr}"
    );
    assert!(stderr.contains("POST /9/delete was answered with 404: no such volume"), "{stderr}");
    place.put(&second);
    let output = place.delete(&[&gone, &gone.replace("/1/1/0", "/2/1/0"), &second]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let stdout = text(&output.stdout);
    assert_eq!(stdout.matches("failed http://127.0.0.1:1/").count(), 2, "{stdout}");
    assert!(stdout.ends_with(&format!("deleted {}\n", place.url(&second))), "{stdout}");
    assert_eq!(
        stderr.matches("cannot reach 127.0.0.1:1").count()
            + stderr.matches("cannot reach http://127.0.0.1:1").count(),
        1,
        "{stderr}"
    );
}
