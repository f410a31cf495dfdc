//! `hayloft import`, `put` and `get` against the real daemon: every photo is stored exactly once, also after
//! interruptions.

mod daemon_harness;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir};
use hayloft::commands::transfer::import::escape::unescape;
use xxhash_rust::xxh3::xxh3_64;

/// 2020-01-02 03:04:05.678900001.
const MODIFIED_NS: u64 = 1_577_934_245_678_900_001;

struct Place {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Place {
    fn new() -> Self {
        Self::with(&Options::default())
    }

    fn with(options: &Options) -> Self {
        let dir = data_dir();
        let daemon = Daemon::start(dir.path(), options);
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        Self { dir, daemon }
    }

    fn photos(&self) -> PathBuf {
        self.dir.path().join("photos")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(words).args(["--server", &self.daemon.data.to_string()]);
        if words[0] == "import" {
            command.args(["--admin", &self.daemon.admin.to_string()]);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts the command without waiting for it.
    fn spawn(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn manifest(&self) -> PathBuf {
        self.dir.path().join("photos.manifest.tsv")
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("photos.manifest.tsv.journal")
    }

    /// Rows of the manifest: the other four columns by path.
    fn rows(&self) -> BTreeMap<String, [String; 4]> {
        let text = std::fs::read_to_string(self.manifest()).unwrap();
        let (title, rest) = text.split_once('\n').unwrap();
        let root = self.photos().canonicalize().unwrap();
        assert_eq!(title, format!("# hayloft import 1\t{}", root.display()));
        let rows: BTreeMap<String, [String; 4]> = rest
            .lines()
            .map(|line| {
                let mut fields = line.split('\t').map(str::to_owned);
                let path = fields.next().unwrap();
                (path, fields.collect::<Vec<_>>().try_into().unwrap())
            })
            .collect();
        let paths = rest.lines().map(|line| unescape(line.split('\t').next().unwrap()).unwrap());
        assert!(paths.is_sorted(), "by path");
        rows
    }

    /// Waits until the metric of needles is `want`; metrics are updated with a delay.
    fn assert_needles(&self, want: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let needles = self.daemon.metric("hayloft_volume_needles", "");
            if needles == want as f64 {
                return;
            }
            assert!(Instant::now() < deadline, "{needles} needles, not {want}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the journal lists `want` stored photos.
    fn await_stored(&self, want: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read(self.journal()).unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n');
            let stored = lines.filter(|line| line.iter().filter(|b| **b == b'\t').count() == 4);
            if stored.count() >= want {
                return;
            }
            assert!(Instant::now() < deadline, "not {want} stored in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asserts that every file is stored once, as the manifest says.
    fn assert_all_there(&self, files: &BTreeMap<String, Vec<u8>>) {
        let rows = self.rows();
        assert_eq!(rows.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
        let mut client = self.daemon.client();
        for (path, content) in files {
            let [url, size, _, etag] = &rows[path];
            assert_eq!(*size, content.len().to_string());
            assert_eq!(*etag, format!("{:016x}", xxh3_64(content)));
            let got = client.get(url).unwrap();
            assert!(got.status == 200 && got.body == *content, "{path}: {}", got.status);
        }
        self.assert_needles(files.len());
    }

    /// Creates `count` small files in directories; returns their content by path.
    fn fill(&self, count: u64) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for n in 0..count {
            let (dir, name) = (format!("d{:02}", n / 100), format!("{n}.jpg"));
            std::fs::create_dir_all(self.photos().join(&dir)).unwrap();
            let content = bytes(n, 20 + usize::try_from(n).unwrap() % 700);
            std::fs::write(self.photos().join(&dir).join(&name), &content).unwrap();
            files.insert(format!("{dir}/{name}"), content);
        }
        files
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn assert_done(output: &Output) -> String {
    let text = text(output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

fn set_modified(path: &Path, ns: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_nanos(ns)).unwrap();
}

#[test]
fn tree_with_unusual_names_is_imported() {
    let place = Place::new();
    let root = place.photos();
    let large = bytes(1, 3 << 20);
    let files: [(&[u8], &str, &[u8], &str); 9] = [
        (b"a b.jpg", "a b.jpg", b"blank", "image/jpeg"),
        ("\u{e4}\u{4e2d}.PNG".as_bytes(), "\u{e4}\u{4e2d}.PNG", b"unicode", "image/png"),
        (b"tab\there.gif", "tab\\there.gif", b"tab", "image/gif"),
        (b"new\nline.webp", "new\\nline.webp", b"line", "image/webp"),
        (b"back\\slash", "back\\\\slash", b"backslash", "application/octet-stream"),
        (b"\xff\xfe.jpg", "\\xff\\xfe.jpg", b"bytes", "image/jpeg"),
        (b"#first.jpg", "\\x23first.jpg", b"hash", "image/jpeg"),
        (b"sub/dir/empty.jpg", "sub/dir/empty.jpg", b"", "image/jpeg"),
        (b"sub/large.jpeg", "sub/large.jpeg", &large, "image/jpeg"),
    ];
    std::fs::create_dir_all(root.join("sub/dir")).unwrap();
    std::fs::create_dir_all(root.join(".thumbnails")).unwrap();
    std::fs::write(root.join(".thumbnails/x.jpg"), "thumb").unwrap();
    std::fs::write(root.join(".DS_Store"), "no photo").unwrap();
    std::os::unix::fs::symlink(root.join("a b.jpg"), root.join("link.jpg")).unwrap();
    for (name, _, content, _) in &files {
        let path = root.join(OsStr::from_bytes(name));
        std::fs::write(&path, content).unwrap();
        set_modified(&path, MODIFIED_NS);
    }
    let output = place.run(&["import", "photos"]);
    let text = assert_done(&output);
    assert!(text.contains("9 stored"), "{text}");
    assert!(text.contains("1 symbolic links") && text.contains("2 hidden entries"), "{text}");
    let rows = place.rows();
    assert_eq!(rows.len(), files.len());
    let mut client = place.daemon.client();
    for (_, escaped, content, kind) in &files {
        let [url, size, modified, etag] = &rows[*escaped];
        assert_eq!((size.parse(), modified.as_str()), (Ok(content.len()), "1577934245.678900001"));
        assert_eq!(*etag, format!("{:016x}", xxh3_64(content)));
        let got = client.get(url).unwrap();
        assert!(got.status == 200 && got.body == *content, "{escaped}: {}", got.status);
        assert_eq!(got.header("content-type"), Some(*kind), "{escaped}");
        assert_eq!(got.header("last-modified"), Some("Thu, 02 Jan 2020 03:04:05 GMT"));
    }
    place.assert_needles(9);
    assert!(!place.journal().exists());
    let text = assert_done(&place.run(&["import", "photos", "--hidden"]));
    assert!(text.contains("2 stored") && text.contains("9 in the manifest and in"), "{text}");
    assert_eq!(place.rows().len(), 11);
}

#[test]
fn second_run_stores_only_new_or_changed_files() {
    let place = Place::new();
    let mut files = place.fill(20);
    assert_done(&place.run(&["import", "photos", "--volume", "1"]));
    place.assert_all_there(&files);
    let before = place.rows();
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains("0 stored") && text.contains("20 in the manifest and in"), "{text}");
    assert_eq!(place.rows(), before);
    std::fs::write(place.photos().join("d00/3.jpg"), "changed").unwrap();
    files.insert("d00/3.jpg".to_owned(), b"changed".to_vec());
    std::fs::write(place.photos().join("d00/new.jpg"), "new").unwrap();
    files.insert("d00/new.jpg".to_owned(), b"new".to_vec());
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains("2 stored") && text.contains("19 in the manifest and in"), "{text}");
    place.assert_all_there(&files);
    assert_eq!(place.rows()["d00/3.jpg"][0], before["d00/3.jpg"][0], "the URL is unchanged");
    // A file that is gone from the directory stays in the manifest: nothing else knows its URL.
    std::fs::remove_file(place.photos().join("d00/new.jpg")).unwrap();
    assert_done(&place.run(&["import", "photos"]));
    place.assert_all_there(&files);
}

#[test]
fn killed_import_resumes() {
    let place = Place::new();
    let files = place.fill(2500);
    for share in [1, 700, 1500] {
        let mut import = place.spawn(&["import", "photos", "--parallel", "2"]);
        place.await_stored(share);
        import.kill().unwrap();
        import.wait().unwrap();
        assert!(!place.manifest().exists(), "killed too late");
    }
    // A partial line, as a power cut may leave.
    let mut journal = std::fs::File::options().append(true).open(place.journal()).unwrap();
    journal.write_all(b"d00/1.jpg\t/1/77").unwrap();
    // Ctrl-C.
    let mut import = place.spawn(&["import", "photos", "--parallel", "2"]);
    place.await_stored(1700);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(import.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(import.wait().unwrap().code(), Some(1));
    let mut stderr = String::new();
    import.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("interrupted") && stderr.contains("same command"), "{stderr}");
    let manifest = std::fs::read_to_string(place.manifest()).unwrap();
    let stored = manifest.lines().count() - 1;
    assert!(stored >= 1700 && place.journal().exists(), "{stored} are in the manifest");
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains(&format!("{stored} in the manifest and in the store")), "{text}");
    place.assert_all_there(&files);
}

#[test]
fn import_waits_for_a_killed_daemon_to_return() {
    let mut place = Place::new();
    let files = place.fill(2000);
    let import = place.spawn(&["import", "photos"]);
    for share in [200, 1000] {
        place.await_stored(share);
        let (data, admin) = (place.daemon.data, place.daemon.admin);
        place.daemon.child.kill().unwrap();
        place.daemon.child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        place.daemon = Daemon::launch_on(place.dir.path(), &Options::default(), data, admin);
    }
    assert_done(&import.wait_with_output().unwrap());
    place.assert_all_there(&files);
}

#[test]
fn unreadable_and_too_large_files_are_listed_others_stored() {
    let config = "[limits]\nlargest_body = \"2MiB\"\n".to_owned();
    let place = Place::with(&Options { config, ..Options::default() });
    // Root can read everything: import as another user, from a directory that it can access.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let (root, binary) = (dir.path().join("photos"), dir.path().join("hayloft"));
    std::fs::create_dir_all(root.join("closed")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_hayloft"), &binary).unwrap();
    for (name, content) in [("a.jpg", bytes(1, 10)), ("large.jpg", bytes(2, 3 << 20))] {
        std::fs::write(root.join(name), content).unwrap();
    }
    std::fs::write(root.join("secret.jpg"), "x").unwrap();
    std::fs::set_permissions(root.join("secret.jpg"), PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let import = |flags: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["import", "photos", "--server", &place.daemon.data.to_string()]);
        command.args(["--admin", &place.daemon.admin.to_string()]).args(flags);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        }
        let output = command.current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    let text = import(&[]);
    for what in ["1 stored", "3 failed", "secret.jpg: ", "closed: ", "large.jpg: ", "largest_body"]
    {
        assert!(text.contains(what), "{what}: {text}");
    }
    let manifest = std::fs::read_to_string(dir.path().join("photos.manifest.tsv")).unwrap();
    assert_eq!(manifest.lines().count(), 2, "{manifest}");
    assert!(!dir.path().join("photos.manifest.tsv.journal").exists());
    place.assert_needles(1);
    // The content of an unreadable directory is unknown: nothing counts as removed.
    std::fs::remove_file(root.join("a.jpg")).unwrap();
    let text = import(&["--prune"]);
    assert!(text.contains("nothing was pruned") && !text.contains("1 pruned"), "{text}");
    place.assert_needles(1);
}

#[test]
fn too_large_files_are_reported_early_and_not_sent() {
    let config = "[limits]\nlargest_body = \"2MiB\"\n".to_owned();
    let place = Place::with(&Options { config, ..Options::default() });
    place.fill(300);
    for n in 0..7 {
        let file = std::fs::File::create(place.photos().join(format!("z{n}.tif"))).unwrap();
        file.set_len((2 << 20) + 1 + n).unwrap();
    }
    let largest = std::fs::File::create(place.photos().join("largest.tif")).unwrap();
    largest.set_len(2 << 20).unwrap();
    let stderr = place.dir.path().join("stderr");
    let mut command = place.command(&["import", "photos", "--parallel", "1"]);
    let import = command.stderr(std::fs::File::create(&stderr).unwrap()).spawn().unwrap();
    // Once one photo is stored, stop the daemon: the warning must have been printed already.
    place.await_stored(1);
    place.daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    let stderr = || std::fs::read_to_string(&stderr).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stderr().contains("larger than the store takes") {
        assert!(Instant::now() < deadline, "they were not reported: {}", stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    place.daemon.signal(nix::sys::signal::Signal::SIGCONT);
    let code = import.wait_with_output().unwrap().status.code();
    assert_eq!(code, Some(1), "{}", stderr());
    let stderr = stderr();
    for part in ["z0.tif (2097153 bytes)", "z4.tif (2097157 bytes) and 2 more", "largest_body"] {
        let line =
            stderr.lines().find(|line| line.contains("larger than the store takes")).unwrap();
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        stderr.contains("failed: 7") && stderr.contains("z6.tif: it has 2097159 bytes"),
        "{stderr}"
    );
    assert_eq!(place.daemon.metric("hayloft_requests_total", "method=\"put\""), 301.0);
    place.assert_needles(301);
    // Without these files nothing is reported.
    let mut files = std::fs::read_dir(place.photos()).unwrap().map(|entry| entry.unwrap().path());
    let too_large = |path: &PathBuf| path.to_string_lossy().contains("/z");
    files.by_ref().filter(too_large).for_each(|path| std::fs::remove_file(path).unwrap());
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(!text.contains("larger than"), "{text}");
}

#[test]
fn admin_api_of_another_daemon_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    place.fill(3);
    std::fs::write(place.dir.path().join("x.tar"), tar_of(&[], Some("7"))).unwrap();
    let instance = |place: &Place| {
        let reply = place.daemon.client().get("/").unwrap();
        assert_eq!(reply.status, 405);
        let instance = reply.header("x-hayloft-instance").unwrap().to_owned();
        let status: serde_json::Value =
            serde_json::from_slice(&place.daemon.admin("/status").body).unwrap();
        assert_eq!(status["instance"], instance);
        assert!(
            instance.len() == 16 && instance.bytes().all(|b| b.is_ascii_hexdigit()),
            "{instance}"
        );
        instance
    };
    assert_ne!(instance(&place), instance(&other));
    assert!(place.daemon.client().get("/1").unwrap().header("x-hayloft-instance").is_none());
    for words in [
        &["photos"][..],
        &["photos", "--volume", "7", "--create-volumes", "16MiB"],
        &["photos", "--volume", "1"],
        &["x.tar", "--create-volumes", "16MiB"],
    ] {
        let mut import = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        import.arg("import").args(words).args(["--server", &other.daemon.data.to_string()]);
        import.args(["--admin", &place.daemon.admin.to_string()]).current_dir(place.dir.path());
        let output = import.output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains("belongs to another daemon"), "{words:?}: {text}");
    }
    for place in [&place, &other] {
        let volumes: serde_json::Value =
            serde_json::from_slice(&place.daemon.admin("/volumes").body).unwrap();
        assert_eq!(volumes.as_array().unwrap().len(), 1, "none was created");
        place.assert_needles(0);
    }
    assert!(!place.manifest().exists() && !place.journal().exists());
}

#[test]
fn offline_import_creates_volumes_only_on_request() {
    let dir = data_dir();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    std::fs::write(dir.path().join("photos/a.jpg"), "a photo").unwrap();
    let tar = |volume| tar_of(&[(format!("1/0/{COOKIE}"), "image/png", b"photo")], volume);
    std::fs::write(dir.path().join("none.tar"), tar(None)).unwrap();
    std::fs::write(dir.path().join("one.tar"), tar(Some("1"))).unwrap();
    let import = |path: &str, store: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(["import", path, "--data", store]).args(more);
        command.current_dir(dir.path()).output().unwrap()
    };
    let volumes = |store: &str| {
        let names = std::fs::read_dir(dir.path().join(store)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".vol")).count()
    };
    for (path, why) in [
        ("photos", "the store has no volume yet"),
        ("none.tar", "the store has no volume yet"),
        ("one.tar", "volume 1 does not exist"),
    ] {
        let store = format!("{}-store", path.trim_end_matches(".tar"));
        let output = import(path, &store, &[]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{path}: {text}");
        assert!(text.contains(why) && text.contains("--create-volumes SIZE"), "{path}: {text}");
        assert_eq!(volumes(&store), 0, "{path}");
        assert_done(&import(path, &store, &["--create-volumes", "16MiB"]));
        assert_eq!(volumes(&store), 1, "{path}");
    }
}

#[test]
fn full_volume_stops_import_and_manifest_is_kept() {
    let place = Place::with(&Options { volume_size: "16MiB", ..Options::default() });
    for n in 0..40 {
        std::fs::write(place.photos().join(format!("{n:02}.bin")), bytes(n, 700_000)).unwrap();
    }
    for words in [&["import", "photos"][..], &["import", "photos", "--volume", "1"]] {
        let output = place.run(words);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("full") && text.contains("same command"), "{text}");
    }
    // The stored photos are in the manifest nevertheless.
    let rows = place.rows();
    assert!(place.journal().exists() && (10..40).contains(&rows.len()), "{}", rows.len());
    for [url, ..] in rows.values() {
        assert_eq!(place.daemon.client().get(url).unwrap().status, 200);
    }
}

#[test]
fn import_that_cannot_start_explains_why() {
    let place = Place::new();
    place.fill(3);
    let refused = |words: &[&str], why: &str| {
        let output = place.run(words);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains(why), "{words:?}: {text}");
    };
    refused(&["import", "absent"], "cannot read absent");
    std::fs::write(place.dir.path().join("x.tar.gz"), b"\x1f\x8b\x08").unwrap();
    refused(&["import", "x.tar.gz"], "is compressed");
    std::fs::create_dir(place.dir.path().join("other")).unwrap();
    assert_done(&place.run(&["import", "photos"]));
    refused(&["import", "other", "--manifest", "photos.manifest.tsv"], "another manifest");
    refused(&["import", "photos", "--parallel", "0"], "1..=256");
    let mut away = place.command(&["import", "photos"]);
    let away = away.args(["--manifest", "m"]);
    let away = away.env("http_proxy", "http://127.0.0.1:1").output().unwrap();
    assert_done(&away);
    // The same manifest with another store: nothing counts as stored there.
    let second = Place::new();
    std::fs::remove_dir(second.photos()).unwrap();
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    elsewhere.args(["import", "photos", "--server", &second.daemon.data.to_string()]);
    elsewhere.args(["--volume", "1"]).current_dir(place.dir.path());
    let output = elsewhere.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--server"), "{}", text(&output));
    // Nor is the local admin API taken for that of another server.
    for flags in [&[][..], &["--volume", "7", "--create-volumes", "16MiB"]] {
        for path in ["photos", "-"] {
            let mut unpaired = Command::new(env!("CARGO_BIN_EXE_hayloft"));
            unpaired.args(["import", path, "--server", &second.daemon.data.to_string()]);
            unpaired.args(flags).stdin(Stdio::null()).current_dir(place.dir.path());
            let output = unpaired.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{flags:?}");
            assert!(text(&output).contains("name its admin API with --admin"), "{}", text(&output));
        }
    }
    let address = second.daemon.data.to_string();
    assert!(second.daemon.stop().success());
    let away = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["put", "photos/d00/1.jpg", "--server", &address])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(2));
    assert!(text(&away).contains("is the daemon running?"), "{}", text(&away));
}

#[test]
fn import_without_daemon_starts_its_own() {
    let mut place = Place::new();
    let files = place.fill(300);
    let data = place.dir.path().join("data").into_os_string().into_string().unwrap();
    let import = |place: &Place, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(["import", "photos", "--data", &data]).args(more);
        command.current_dir(place.dir.path()).output().unwrap()
    };
    // Refused while a daemon holds the directory.
    let output = import(&place, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("is locked by process"), "{}", text(&output));
    assert_eq!(import(&place, &["--admin", "127.0.0.1:1"]).status.code(), Some(2));
    let (addresses, options) = ((place.daemon.data, place.daemon.admin), Options::default());
    place.daemon.child.kill().unwrap();
    place.daemon.child.wait().unwrap();
    let text = assert_done(&import(&place, &[]));
    assert!(text.contains("300 stored"), "{text}");
    let text = assert_done(&import(&place, &["--volume", "1"]));
    assert!(text.contains("300 in the manifest and in the store"), "{text}");
    place.daemon = Daemon::launch_on(place.dir.path(), &options, addresses.0, addresses.1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !place.daemon.ready() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    place.assert_all_there(&files);
}

/// A tar as `hayloft export` writes it.
fn tar_of(photos: &[(String, &str, &[u8])], volume: Option<&str>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in photos {
        let mut records = vec![
            ("mtime", &b"1577934245.678900001"[..]),
            ("SCHILY.xattr.user.mime_type", kind.as_bytes()),
        ];
        records.extend(volume.map(|volume| ("HAYLOFT.volume", volume.as_bytes())));
        tar.append_pax_extensions(records).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn tar_import_keeps_names_types_and_times() {
    let place = Place::new();
    let (small, large) = (bytes(1, 1000), bytes(2, 2_500_000));
    let name = |key: u64| format!("{key}/0/{COOKIE}");
    let photos = [
        (name(1), "image/png", &small[..]),
        (name(u64::MAX), "image/jpeg", &large[..]),
        (format!("7/3/{COOKIE}"), "text/plain", &b""[..]),
    ];
    for volume in [Some("1"), None] {
        std::fs::write(place.dir.path().join("export.tar"), tar_of(&photos, volume)).unwrap();
        let text = assert_done(&place.run(&["import", "export.tar"]));
        let first = volume == Some("1");
        let want = if first { "3 stored (2.4 MiB)" } else { "0 stored (0 B), 3 there already" };
        assert!(text.contains(want), "{text}");
    }
    let mut client = place.daemon.client();
    for (name, kind, content) in &photos {
        let got = client.get(&format!("/1/{name}")).unwrap();
        assert!(got.status == 200 && got.body == *content, "{name}");
        assert_eq!(got.header("content-type"), Some(*kind));
        assert_eq!(got.header("last-modified"), Some("Thu, 02 Jan 2020 03:04:05 GMT"));
    }
    place.assert_needles(3);
    // Another cookie is a conflict; the other photo replaces the stored one.
    let photos = [
        (format!("1/0/{}", "f".repeat(16)), "image/png", &small[..]),
        (name(u64::MAX), "image/jpeg", &small[..]),
    ];
    let mut import = place.command(&["import", "-"]);
    let mut import =
        import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&tar_of(&photos, None)).unwrap();
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("409") && text(&output).contains("1 stored"),
        "{}",
        text(&output)
    );
    assert!(client.get(&format!("/1/{}", name(u64::MAX))).unwrap().body == small);
}

#[test]
fn truncated_or_foreign_tar_is_reported() {
    let place = Place::new();
    let tar = tar_of(&[(format!("1/0/{COOKIE}"), "image/png", &bytes(1, 2000))], None);
    let foreign = tar_of(&[("photo.jpg".to_owned(), "image/png", b"x")], None);
    for (bytes, why) in [
        (&tar[..tar.len() - 1024], "cut off"),
        (&tar[..2000], "cut off"),
        (&tar[..700], "cut off"),
        (&foreign[..], "is not {key}/{alt}/{cookie}"),
        (&[0; 1024][..], "no photo"),
        (b"some text that is no tar", "no tar"),
    ] {
        std::fs::write(place.dir.path().join("x.tar"), bytes).unwrap();
        let output = place.run(&["import", "x.tar"]);
        assert_eq!(output.status.code(), Some(1), "{why}: {}", text(&output));
        assert!(text(&output).contains(why), "{why}: {}", text(&output));
        assert!(!text(&output).contains("goes on from here"), "it would not: {}", text(&output));
    }
}

#[test]
fn signal_stops_an_import_waiting_for_its_pipe() {
    let place = Place::new();
    let path = "7/0/0123456789abcdef".to_owned();
    let tar = tar_of(&[(path.clone(), "image/png", b"photo")], None);
    // Before the first byte, and after a photo.
    for sent in [0, tar.len() - 1024] {
        let mut command = place.command(&["import", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut import = command.spawn().unwrap();
        let mut pipe = import.stdin.take().unwrap();
        pipe.write_all(&tar[..sent]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // The handler of SIGQUIT is installed last but one.
        let handles_signals = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", import.id())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            caught & (1 << (nix::libc::SIGQUIT - 1)) != 0
        };
        let is_stored = || place.daemon.client().get(&format!("/1/{path}")).unwrap().status == 200;
        while !handles_signals() || (sent > 0 && !is_stored()) {
            assert!(Instant::now() < deadline, "the import did not start to wait in time");
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(import.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        while import.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "one signal did not stop the import in time");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(pipe);
        let output = import.wait_with_output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("stopped early: it was interrupted"), "{text}");
        assert!(!text.contains("cut off") && !text.contains("cannot be read"), "{text}");
    }
}

#[test]
fn put_and_get_transfer_photos_and_report_errors() {
    let place = Place::new();
    let (small, large) = (bytes(1, 1000), bytes(2, 5_000_000));
    std::fs::write(place.photos().join("a.jpg"), &small).unwrap();
    std::fs::write(place.photos().join("b.png"), &large).unwrap();
    set_modified(&place.photos().join("a.jpg"), MODIFIED_NS);
    let output = place.run(&["put", "photos/a.jpg", "photos/absent.jpg", "photos/b.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("absent.jpg: it cannot be read"), "{}", text(&output));
    let urls = String::from_utf8(output.stdout).unwrap();
    let urls: Vec<&str> = urls.lines().collect();
    let server = format!("http://{}", place.daemon.data);
    assert!(urls.len() == 2 && urls.iter().all(|url| url.starts_with(&server)), "{urls:?}");
    // A full URL overrides --server.
    let mut get = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let get = get.args(["get", urls[0], "-o", "back.jpg", "--server", "127.0.0.1:1"]);
    assert_done(&get.current_dir(place.dir.path()).output().unwrap());
    let back = place.dir.path().join("back.jpg");
    assert!(std::fs::read(&back).unwrap() == small);
    let modified = back.metadata().unwrap().modified().unwrap();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(MODIFIED_NS / 1_000_000_000));
    assert_eq!(back.metadata().unwrap().permissions().mode() & 0o400, 0o400);
    // No file is overwritten without --force.
    let output = place.run(&["get", urls[1], "-o", "back.jpg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--force") && std::fs::read(&back).unwrap() == small);
    assert_done(&place.run(&["get", urls[1], "-o", "back.jpg", "--force"]));
    assert!(std::fs::read(&back).unwrap() == large);
    let path = urls[1].strip_prefix(&server).unwrap();
    let output = place.run(&["get", path]);
    assert!(output.status.success() && output.stdout == large);
    // Missing photos, invalid names, unusable files.
    for (words, code, why) in [
        (&["get", "/1/1/0/0123456789abcdef"][..], 1, "404"),
        (&["get", "/1/1/0"], 2, "names no photo"),
        (&["get", "https://a/1/1/0/0123456789abcdef"], 2, "no TLS"),
        (&["get", path, "-o", "no/such/dir"], 2, "cannot write"),
        (&["put", "photos/a.jpg", "--volume", "9"], 1, "no such volume"),
        (&["put", "photos"], 1, "no regular file"),
        (&["put", "photos/a.jpg", "--content-type", ""], 2, "visible characters"),
    ] {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
        assert!(text(&output).contains(why), "{words:?}: {}", text(&output));
    }
    let leftovers = std::fs::read_dir(place.dir.path()).unwrap();
    let leftovers = leftovers
        .filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().starts_with(b".hayloft"));
    assert_eq!(leftovers.count(), 0);
    // Standard input has no name to derive a type from.
    let mut put = place.command(&["put", "-", "--content-type", "image/webp", "--volume", "1"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    put.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    let output = put.wait_with_output().unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    let got = place.daemon.client().get(url.trim().strip_prefix(&server).unwrap()).unwrap();
    assert_eq!(
        (got.text().as_str(), got.header("content-type")),
        ("from a pipe", Some("image/webp"))
    );
    let modified = got.header("last-modified").unwrap().as_bytes();
    assert!(hayloft::http::date::parse(modified, began).unwrap() >= began);
}

/// A photo without a name or a known extension gets the media type of its first bytes; a page or a script
/// never does.
#[test]
fn media_type_is_sniffed_without_a_known_extension() {
    let place = Place::new();
    let photo = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/photo.jpg")).unwrap();
    let server = format!("http://{}", place.daemon.data);
    let type_of = |url: &str| {
        let path = url.strip_prefix(&server).unwrap();
        place.daemon.client().get(path).unwrap().header("content-type").unwrap().to_owned()
    };
    let put = |args: &[&str], stdin: &[u8]| {
        let mut put = place.command(&[&["put"], args].concat());
        let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        put.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = put.wait_with_output().unwrap();
        assert!(output.status.success());
        type_of(String::from_utf8(output.stdout).unwrap().trim())
    };
    assert_eq!(put(&["-"], &photo), "image/jpeg");
    assert_eq!(put(&["--content-type", "image/x-mine", "-"], &photo), "image/x-mine");
    assert_eq!(put(&["-"], b"<!DOCTYPE html><script>"), "application/octet-stream");
    assert_eq!(put(&["-"], b""), "application/octet-stream");
    std::fs::write(place.dir.path().join("upload"), &photo).unwrap();
    std::fs::write(place.dir.path().join("photo.png"), &photo).unwrap();
    assert_eq!(put(&["upload"], b""), "image/jpeg");
    assert_eq!(put(&["photo.png"], b""), "image/png", "a name counts more");
}
