//! Real curl and tar against the real daemon.

mod daemon_harness;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir, path};

/// A daemon with two shards, also on a unix socket, and a directory for curl.
struct Place {
    daemon: Daemon,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = data_dir();
        let args = vec!["--listen".to_owned(), format!("unix:{}/sock", dir.path().display())];
        let options = Options { shards: 2, volume_size: "256MiB", args, ..Options::default() };
        Self { daemon: Daemon::start(dir.path(), &options), dir }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.daemon.data)
    }

    fn photo(&self, key: u64) -> String {
        self.url(&path(key))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.file(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    /// Stores a photo and returns its bytes.
    fn store(&self, key: u64, len: usize) -> Vec<u8> {
        let photo = bytes(key, len);
        assert_eq!(self.daemon.client().put(&path(key), &photo).unwrap().status / 10, 20);
        photo
    }

    /// Whether a GET returns exactly these bytes.
    fn holds(&self, key: u64, want: &[u8]) -> bool {
        let got = self.daemon.client().get(&path(key)).unwrap();
        got.status == 200 && got.body == want
    }
}

/// Arguments of curl.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { [$(AsRef::<OsStr>::as_ref(&$arg)),*] };
}

/// Runs curl without user settings. Prints the status last, on standard output.
fn curl(args: &[&OsStr]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["-q", "-sS", "--max-time", "60", "-w", "%{http_code}"]).args(args);
    curl.env_remove("http_proxy").env_remove("HTTP_PROXY").env_remove("ALL_PROXY");
    curl.output().expect("curl is needed (Debian package curl)")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs curl, asserts that it succeeded, and returns the status.
fn status(args: &[&OsStr]) -> String {
    let done = curl(args);
    assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
    let out = text(&done.stdout);
    out[out.len() - 3..].to_owned()
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

#[test]
fn small_and_multipart_uploads_are_stored() {
    let place = Place::new();
    for (key, len) in [(1, 0), (2, 5000), (3, 900_000), (4, 1_048_577), (5, 20_000_000)] {
        let photo = bytes(key, len);
        let file = place.write("photo", &photo);
        for want in ["201", "204"] {
            assert_eq!(status(&args!["-T", file, place.photo(key)]), want, "{len} bytes");
            assert!(place.holds(key, &photo), "{len} bytes");
        }
        let back = place.file("back");
        assert_eq!(status(&args!["-o", back, place.photo(key)]), "200");
        assert!(read(&back) == photo, "{len} bytes");
    }
}

/// curl sends `Expect` for bodies above 1 MiB, or on request; without a reply it would wait for its timeout
/// of one second.
#[test]
fn upload_with_expect_gets_100_continue() {
    let place = Place::new();
    let asking = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "30"].map(OsStr::new);
    for (key, len) in [(1, 1), (2, 1_000_000), (3, 1_048_577), (4, 8_000_000)] {
        let file = place.write("photo", &bytes(key, len));
        let began = Instant::now();
        let done = curl(&[&asking[..], &args!["-T", file, place.photo(key)]].concat());
        assert!(began.elapsed() < Duration::from_secs(20), "curl waited for a timeout");
        let output = text(&done.stderr);
        assert_eq!(text(&done.stdout), "201", "{output}");
        assert!(output.contains("< HTTP/1.1 100 Continue"), "{len} bytes: {output}");
        assert!(place.holds(key, &read(&file)));
    }
    // Without being asked to, since the body is large.
    let file = place.file("photo");
    let done = curl(&args!["-v", "-T", file, place.photo(5)]);
    let output = text(&done.stderr);
    assert!(output.contains("> Expect: 100-continue"), "{output}");
    assert!(output.contains("< HTTP/1.1 100 Continue"), "{output}");
}

/// Refusals come before the body is sent.
#[test]
fn body_of_refused_upload_is_not_sent() {
    let place = Place::new();
    let photo = place.store(1, 10);
    let foreign = place.url(&format!("/1/1/0/{}", "f".repeat(16)));
    let absent = place.url(&format!("/9/1/0/{COOKIE}"));
    let there = place.photo(1);
    let asking = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "30"].map(OsStr::new);
    for len in [5000, 1_048_576, 3_000_000] {
        let file = place.write("photo", &bytes(2, len));
        let create = "If-None-Match: *";
        for (want, more) in [
            ("409", args!["-T", file, foreign].to_vec()),
            ("404", args!["-T", file, absent].to_vec()),
            ("412", args!["-H", create, "-T", file, there].to_vec()),
        ] {
            let before = place.daemon.metric("hayloft_payload_in_bytes_total", "");
            let more = [&asking[..], &more, &args!["-w", "%{http_code} %{size_upload}"]].concat();
            let done = curl(&more);
            let output = text(&done.stderr);
            assert!(text(&done.stdout).ends_with(&format!("{want} 0")), "{output}");
            assert!(!output.contains("100 Continue"), "{output}");
            assert_eq!(place.daemon.metric("hayloft_payload_in_bytes_total", ""), before);
        }
    }
    // Above the largest body, with curl's defaults.
    let file = place.write("photo", &vec![0; (64 << 20) + 1]);
    let format = "%{http_code} %{size_upload}";
    let done = curl(&args!["-w", format, "-T", file, place.photo(2)]);
    assert!(text(&done.stdout).ends_with("413 0"), "{}", text(&done.stderr));
    assert!(place.holds(1, &photo));
}

#[test]
fn a_download_is_resumed() {
    let place = Place::new();
    for (key, len) in [(1, 700_000), (2, 5_000_000)] {
        let photo = place.store(key, len);
        for have in [1, len / 3, len - 1] {
            let file = place.write("part", &photo[..have]);
            assert_eq!(status(&args!["-C", "-", "-o", file, place.photo(key)]), "206");
            assert!(read(&file) == photo, "{len} bytes, of which {have} were there");
        }
        // The file is complete already.
        let file = place.write("part", &photo);
        assert_eq!(status(&args!["-C", "-", "-o", file, place.photo(key)]), "416");
        assert!(read(&file) == photo);
    }
}

#[test]
fn byte_ranges_are_served() {
    let place = Place::new();
    let photo = place.store(1, 200_000);
    let (part, url) = (place.file("part"), place.photo(1));
    for (range, want) in [("0-0", 0..1), ("65530-65541", 65_530..65_542), ("-5", 199_995..200_000)]
    {
        assert_eq!(status(&args!["-r", range, "-o", part, url]), "206");
        assert!(read(&part) == photo[want], "{range}");
    }
    assert_eq!(status(&args!["-r", "199990-", "-o", part, url]), "206");
    assert!(read(&part) == photo[199_990..]);
    assert_eq!(status(&args!["-r", "200000-", "-o", part, url]), "416");
    assert_eq!(status(&args!["-r", "0-1,5-6", "-o", part, url]), "200");
    assert!(read(&part) == photo, "several ranges get the whole photo");
}

#[test]
fn head_and_conditional_requests_are_answered() {
    let place = Place::new();
    let photo = place.store(1, 30_000);
    let url = place.photo(1);
    let done = curl(&args!["-I", url]);
    let head = text(&done.stdout);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n200"), "{head}");
    assert!(head.contains("Content-Length: 30000\r\n"), "{head}");
    let (out, tag) = (place.file("out"), place.file("tag"));
    // A file as new as the photo: -R gives it the photo's time.
    assert_eq!(status(&args!["-R", "-o", out, url]), "200");
    let other = place.file("other");
    assert_eq!(status(&args!["-z", out, "-o", other, url]), "304");
    assert!(!other.exists(), "no body was sent");
    assert_eq!(status(&args!["-z", "20010101", "-o", other, url]), "200");
    assert!(read(&other) == photo);
    assert_eq!(status(&args!["-z", "-20010101", "-o", other, url]), "412");

    assert_eq!(status(&args!["--etag-save", tag, "-o", out, url]), "200");
    assert_eq!(read(&tag).len(), 19, "two quotes, 16 digits and a line end");
    std::fs::remove_file(&other).unwrap();
    assert_eq!(status(&args!["--etag-compare", tag, "-o", other, url]), "304");
    assert!(!other.exists(), "no body was sent");
    place.store(1, 30_001);
    assert_eq!(status(&args!["--etag-compare", tag, "-o", other, url]), "200");
    assert_eq!(read(&other).len(), 30_001);
    assert_eq!(status(&args!["-X", "DELETE", url]), "204");
    assert_eq!(status(&args!["-X", "DELETE", url]), "404");
}

#[test]
fn post_stores_under_a_picked_name() {
    let place = Place::new();
    let photo = bytes(1, 300_000);
    let data = format!("@{}", place.write("photo", &photo).display());
    for path in ["/", "/1"] {
        let reply = place.file("reply");
        let (kind, url) = ("Content-Type: image/png", place.url(path));
        assert_eq!(status(&args!["--data-binary", data, "-H", kind, "-o", reply, url]), "201");
        let reply: serde_json::Value = serde_json::from_slice(&read(&reply)).unwrap();
        let (url, back) = (place.url(reply["url"].as_str().unwrap()), place.file("back"));
        assert_eq!(status(&args!["-o", back, url]), "200");
        assert!(read(&back) == photo);
    }
}

/// A directory tree packed by tar.
#[test]
fn batch_packed_by_tar_is_stored() {
    let place = Place::new();
    let tree = place.file("tree");
    let photos: Vec<(u64, u32, Vec<u8>)> = (0..40u32)
        .map(|n| (u64::from(n / 2) + 1, n % 2, bytes(n.into(), n as usize * 3001)))
        .collect();
    for (key, alt, photo) in &photos {
        let dir = tree.join(format!("{key}/{alt}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(COOKIE), photo).unwrap();
    }
    let assert_all = |wanted: u16| {
        let mut client = place.daemon.client();
        for (key, alt, photo) in &photos {
            let got = client.get(&format!("/1/{key}/{alt}/{COOKIE}")).unwrap();
            assert_eq!(got.status, wanted);
            assert!(wanted != 200 || got.body == *photo, "{key}/{alt}");
        }
    };
    // The keys are arguments, so that the archive contains their directories; in each format of tar.
    let file = place.file("photos.tar");
    let url = place.url("/1/batch");
    for format in ["gnu", "posix", "ustar", "v7", "oldgnu"] {
        let tar =
            format!("cd {} && tar --format={format} -cf - * > {}", tree.display(), file.display());
        assert!(Command::new("sh").args(["-c", &tar]).status().unwrap().success());
        let data = format!("@{}", file.display());
        let output = place.file("output");
        let kind = "Content-Type: application/x-tar";
        let got = status(&args!["-H", kind, "--data-binary", data, "-o", output, url]);
        assert_eq!(got, "201", "{format}: {}", text(&read(&output)));
        let reply: serde_json::Value = serde_json::from_slice(&read(&output)).unwrap();
        assert_eq!(reply.as_array().unwrap().len(), photos.len(), "{format}");
        assert_all(200);
        let mut client = place.daemon.client();
        for (key, alt, _) in &photos {
            let gone = client.request("DELETE", &format!("/1/{key}/{alt}/{COOKIE}"), &[], None);
            assert_eq!(gone.unwrap().status, 204);
        }
        assert_all(404);
    }
    // Packed from inside, so that the names begin with "./".
    let tar = format!("tar -C {} -cf {} .", tree.display(), file.display());
    assert!(Command::new("sh").args(["-c", &tar]).status().unwrap().success());
    let (data, output) = (format!("@{}", file.display()), place.file("output"));
    let kind = "Content-Type: application/octet-stream";
    assert_eq!(status(&args!["-H", kind, "--data-binary", data, "-o", output, url]), "201");
    assert_all(200);
    // Piped from tar, so that curl does not know the length: refused.
    let pipe = format!(
        "tar -C {} -cf - . | curl -q -sS -X POST -T - -w '%{{http_code}}' {url}",
        tree.display()
    );
    let done = Command::new("sh").args(["-c", &pipe]).output().unwrap();
    let out = text(&done.stdout);
    assert!(out.contains("Transfer-Encoding") && out.ends_with("501"), "{out}");
}

#[test]
fn unix_socket_and_http_1_0_work() {
    let place = Place::new();
    let photo = bytes(1, 2_000_000);
    let (file, back) = (place.write("photo", &photo), place.file("back"));
    let (socket, url) = (place.file("sock"), format!("http://photos.example{}", path(1)));
    assert_eq!(status(&args!["--unix-socket", socket, "-T", file, url]), "201");
    assert_eq!(status(&args!["--unix-socket", socket, "-o", back, url]), "200");
    assert!(read(&back) == photo);
    assert_eq!(status(&args!["--http1.0", "-T", file, place.photo(2)]), "201");
    assert_eq!(status(&args!["--http1.0", "-o", back, place.photo(2)]), "200");
    assert!(read(&back) == photo);
    assert_eq!(status(&args!["-0", "-I", place.photo(2)]), "200");
}

#[test]
fn fifty_parallel_downloads_succeed() {
    let place = Place::new();
    for key in 0..50 {
        place.store(key, 10_000 + usize::try_from(key).unwrap() * 777);
    }
    let url = place.url(&format!("/1/[0-49]/0/{COOKIE}"));
    for parallel in [&["-Z", "--parallel-max", "50"][..], &[]] {
        let out = place.file("#1.jpg");
        let parallel: Vec<&OsStr> = parallel.iter().map(OsStr::new).collect();
        let done = curl(&[&parallel[..], &args!["-o", out, url]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "200".repeat(50));
        for key in 0..50 {
            let file = place.file(&format!("{key}.jpg"));
            assert!(place.holds(key, &read(&file)), "{key}");
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// Slow, but within the daemon's deadlines: a few seconds, in pieces with pauses.
#[test]
fn slow_upload_is_stored() {
    let place = Place::new();
    for (key, len, rate) in [(1, 300_000, "60k"), (2, 1_500_000, "400k")] {
        let file = place.write("photo", &bytes(key, len));
        let began = Instant::now();
        assert_eq!(status(&args!["--limit-rate", rate, "-T", file, place.photo(key)]), "201");
        // curl keeps to a rate on the whole, not exactly.
        assert!(began.elapsed() > Duration::from_secs(1), "not slow: {:?}", began.elapsed());
        assert!(place.holds(key, &read(&file)));
    }
}

/// Commands that work with other stores, and the continuation of an interrupted upload.
#[test]
fn forms_parts_and_encoded_bodies_are_refused_with_advice() {
    let place = Place::new();
    let photo = place.write("photo", &bytes(1, 300_000));
    let (object, root, batch) = (place.photo(1), place.url("/"), place.url("/1/batch"));
    assert_eq!(status(&args!["-T", photo, object]), "201");
    let (output, form) = (place.file("output"), format!("file=@{}", photo.display()));
    let data = format!("@{}", photo.display());
    for (url, command) in
        [(&object, "curl -T "), (&root, "--data-binary @"), (&batch, "@batch.tar")]
    {
        for args in [args!["-F", form], args!["-d", data], args!["--data-binary", data]] {
            assert_eq!(status(&[&args[..], &args!["-o", output, url]].concat()), "415");
            assert!(text(&read(&output)).contains(command), "{}", text(&read(&output)));
        }
    }
    for offset in ["299990", "1"] {
        let args = args!["-C", offset, "-T", photo, "-o", output, object];
        let done = curl(&args);
        assert!(text(&done.stdout).ends_with("400"), "{}", text(&done.stdout));
    }
    let coded = args!["-H", "Content-Encoding: gzip", "-T", photo, "-o", output, object];
    assert_eq!(status(&coded), "415");
    assert!(place.holds(1, &read(&photo)), "nothing was stored");
}

#[test]
fn http_2_upgrade_and_proxy_requests_are_served() {
    let place = Place::new();
    let (photo, back) = (place.write("photo", &bytes(1, 2_000_000)), place.file("back"));
    let proxy = place.url("");
    for (key, how) in [(1, &args!["--http2"][..]), (2, &args!["-x", proxy])] {
        let url = place.photo(key);
        assert_eq!(status(&[how, &args!["-T", photo, url]].concat()), "201");
        assert_eq!(status(&[how, &args!["-o", back, url]].concat()), "200");
        assert!(read(&back) == read(&photo));
    }
}
