//! The real curl, and the real tar, with the real daemon: what their users get.

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

    /// Whether this is what is stored.
    fn holds(&self, key: u64, want: &[u8]) -> bool {
        let got = self.daemon.client().get(&path(key)).unwrap();
        got.status == 200 && got.body == want
    }
}

/// Words for curl.
macro_rules! words {
    ($($word:expr),* $(,)?) => { [$(AsRef::<OsStr>::as_ref(&$word)),*] };
}

/// Runs curl without anybody's settings. It says the status last, on standard output.
fn curl(words: &[&OsStr]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["-q", "-sS", "--max-time", "60", "-w", "%{http_code}"]).args(words);
    curl.env_remove("http_proxy").env_remove("HTTP_PROXY").env_remove("ALL_PROXY");
    curl.output().expect("curl is needed (Debian package curl)")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The same: the status, once curl has succeeded.
fn status(words: &[&OsStr]) -> String {
    let done = curl(words);
    assert!(done.status.success(), "{words:?}: {}", text(&done.stderr));
    let out = text(&done.stdout);
    out[out.len() - 3..].to_owned()
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

#[test]
fn uploads_small_and_large() {
    let place = Place::new();
    for (key, len) in [(1, 0), (2, 5000), (3, 900_000), (4, 1_048_577), (5, 20_000_000)] {
        let photo = bytes(key, len);
        let file = place.write("photo", &photo);
        for want in ["201", "204"] {
            assert_eq!(status(&words!["-T", file, place.photo(key)]), want, "{len} bytes");
            assert!(place.holds(key, &photo), "{len} bytes");
        }
        let back = place.file("back");
        assert_eq!(status(&words!["-o", back, place.photo(key)]), "200");
        assert!(read(&back) == photo, "{len} bytes");
    }
}

/// curl asks before it sends more than 1 MiB, or when told to: it must be answered, not left to its
/// patience of one second.
#[test]
fn uploads_are_asked_for() {
    let place = Place::new();
    let asking = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "30"].map(OsStr::new);
    for (key, len) in [(1, 1), (2, 1_000_000), (3, 1_048_577), (4, 8_000_000)] {
        let file = place.write("photo", &bytes(key, len));
        let began = Instant::now();
        let done = curl(&[&asking[..], &words!["-T", file, place.photo(key)]].concat());
        assert!(began.elapsed() < Duration::from_secs(20), "it waited");
        let said = text(&done.stderr);
        assert_eq!(text(&done.stdout), "201", "{said}");
        assert!(said.contains("< HTTP/1.1 100 Continue"), "{len} bytes: {said}");
        assert!(place.holds(key, &read(&file)));
    }
    // Of its own accord.
    let file = place.file("photo");
    let done = curl(&words!["-v", "-T", file, place.photo(5)]);
    let said = text(&done.stderr);
    assert!(said.contains("> Expect: 100-continue"), "{said}");
    assert!(said.contains("< HTTP/1.1 100 Continue"), "{said}");
}

/// What will be refused is refused before it is sent.
#[test]
fn refused_uploads_are_not_sent() {
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
            ("409", words!["-T", file, foreign].to_vec()),
            ("404", words!["-T", file, absent].to_vec()),
            ("412", words!["-H", create, "-T", file, there].to_vec()),
        ] {
            let before = place.daemon.metric("hayloft_payload_in_bytes_total", "");
            let more = [&asking[..], &more, &words!["-w", "%{http_code} %{size_upload}"]].concat();
            let done = curl(&more);
            let said = text(&done.stderr);
            assert!(text(&done.stdout).ends_with(&format!("{want} 0")), "{said}");
            assert!(!said.contains("100 Continue"), "{said}");
            assert_eq!(place.daemon.metric("hayloft_payload_in_bytes_total", ""), before);
        }
    }
    // Beyond the largest body, curl's own way.
    let file = place.write("photo", &vec![0; (64 << 20) + 1]);
    let said = "%{http_code} %{size_upload}";
    let done = curl(&words!["-w", said, "-T", file, place.photo(2)]);
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
            assert_eq!(status(&words!["-C", "-", "-o", file, place.photo(key)]), "206");
            assert!(read(&file) == photo, "{len} bytes, of which {have} were there");
        }
        // Nothing is missing.
        let file = place.write("part", &photo);
        assert_eq!(status(&words!["-C", "-", "-o", file, place.photo(key)]), "416");
        assert!(read(&file) == photo);
    }
}

#[test]
fn ranges() {
    let place = Place::new();
    let photo = place.store(1, 200_000);
    let (part, url) = (place.file("part"), place.photo(1));
    for (range, want) in [("0-0", 0..1), ("65530-65541", 65_530..65_542), ("-5", 199_995..200_000)]
    {
        assert_eq!(status(&words!["-r", range, "-o", part, url]), "206");
        assert!(read(&part) == photo[want], "{range}");
    }
    assert_eq!(status(&words!["-r", "199990-", "-o", part, url]), "206");
    assert!(read(&part) == photo[199_990..]);
    assert_eq!(status(&words!["-r", "200000-", "-o", part, url]), "416");
    assert_eq!(status(&words!["-r", "0-1,5-6", "-o", part, url]), "200");
    assert!(read(&part) == photo, "several ranges are answered with all");
}

#[test]
fn heads_and_conditions() {
    let place = Place::new();
    let photo = place.store(1, 30_000);
    let url = place.photo(1);
    let done = curl(&words!["-I", url]);
    let head = text(&done.stdout);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n200"), "{head}");
    assert!(head.contains("Content-Length: 30000\r\n"), "{head}");
    let (out, tag) = (place.file("out"), place.file("tag"));
    // A file as new as the photo: -R gives it the photo's time.
    assert_eq!(status(&words!["-R", "-o", out, url]), "200");
    let other = place.file("other");
    assert_eq!(status(&words!["-z", out, "-o", other, url]), "304");
    assert!(!other.exists(), "nothing came");
    assert_eq!(status(&words!["-z", "20010101", "-o", other, url]), "200");
    assert!(read(&other) == photo);
    assert_eq!(status(&words!["-z", "-20010101", "-o", other, url]), "412");

    assert_eq!(status(&words!["--etag-save", tag, "-o", out, url]), "200");
    assert_eq!(read(&tag).len(), 19, "two quotes, 16 digits and a line end");
    std::fs::remove_file(&other).unwrap();
    assert_eq!(status(&words!["--etag-compare", tag, "-o", other, url]), "304");
    assert!(!other.exists(), "nothing came");
    place.store(1, 30_001);
    assert_eq!(status(&words!["--etag-compare", tag, "-o", other, url]), "200");
    assert_eq!(read(&other).len(), 30_001);
    assert_eq!(status(&words!["-X", "DELETE", url]), "204");
    assert_eq!(status(&words!["-X", "DELETE", url]), "404");
}

#[test]
fn the_store_picks_a_name() {
    let place = Place::new();
    let photo = bytes(1, 300_000);
    let data = format!("@{}", place.write("photo", &photo).display());
    for path in ["/", "/1"] {
        let told = place.file("told");
        let (kind, url) = ("Content-Type: image/png", place.url(path));
        assert_eq!(status(&words!["--data-binary", data, "-H", kind, "-o", told, url]), "201");
        let told: serde_json::Value = serde_json::from_slice(&read(&told)).unwrap();
        let (url, back) = (place.url(told["url"].as_str().unwrap()), place.file("back"));
        assert_eq!(status(&words!["-o", back, url]), "200");
        assert!(read(&back) == photo);
    }
}

/// A directory tree, as tar puts it together.
#[test]
fn a_batch_that_tar_made() {
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
    let there = |wanted: u16| {
        let mut client = place.daemon.client();
        for (key, alt, photo) in &photos {
            let got = client.get(&format!("/1/{key}/{alt}/{COOKIE}")).unwrap();
            assert_eq!(got.status, wanted);
            assert!(wanted != 200 || got.body == *photo, "{key}/{alt}");
        }
    };
    // The keys as arguments, so that their directories come along; in each format that tar knows.
    let file = place.file("photos.tar");
    let url = place.url("/1/batch");
    for format in ["gnu", "posix", "ustar", "v7", "oldgnu"] {
        let tar =
            format!("cd {} && tar --format={format} -cf - * > {}", tree.display(), file.display());
        assert!(Command::new("sh").args(["-c", &tar]).status().unwrap().success());
        let data = format!("@{}", file.display());
        let said = place.file("said");
        let kind = "Content-Type: application/x-tar";
        let got = status(&words!["-H", kind, "--data-binary", data, "-o", said, url]);
        assert_eq!(got, "201", "{format}: {}", text(&read(&said)));
        let told: serde_json::Value = serde_json::from_slice(&read(&said)).unwrap();
        assert_eq!(told.as_array().unwrap().len(), photos.len(), "{format}");
        there(200);
        let mut client = place.daemon.client();
        for (key, alt, _) in &photos {
            let gone = client.request("DELETE", &format!("/1/{key}/{alt}/{COOKIE}"), &[], None);
            assert_eq!(gone.unwrap().status, 204);
        }
        there(404);
    }
    // Packed from inside, so that the names begin with "./".
    let tar = format!("tar -C {} -cf {} .", tree.display(), file.display());
    assert!(Command::new("sh").args(["-c", &tar]).status().unwrap().success());
    let (data, said) = (format!("@{}", file.display()), place.file("said"));
    let kind = "Content-Type: application/octet-stream";
    assert_eq!(status(&words!["-H", kind, "--data-binary", data, "-o", said, url]), "201");
    there(200);
    // Straight from tar, so that curl does not know the length: it is told so.
    let pipe = format!(
        "tar -C {} -cf - . | curl -q -sS -X POST -T - -w '%{{http_code}}' {url}",
        tree.display()
    );
    let done = Command::new("sh").args(["-c", &pipe]).output().unwrap();
    let out = text(&done.stdout);
    assert!(out.contains("Transfer-Encoding") && out.ends_with("501"), "{out}");
}

#[test]
fn over_the_unix_socket_and_as_http_1_0() {
    let place = Place::new();
    let photo = bytes(1, 2_000_000);
    let (file, back) = (place.write("photo", &photo), place.file("back"));
    let (socket, url) = (place.file("sock"), format!("http://photos.example{}", path(1)));
    assert_eq!(status(&words!["--unix-socket", socket, "-T", file, url]), "201");
    assert_eq!(status(&words!["--unix-socket", socket, "-o", back, url]), "200");
    assert!(read(&back) == photo);
    assert_eq!(status(&words!["--http1.0", "-T", file, place.photo(2)]), "201");
    assert_eq!(status(&words!["--http1.0", "-o", back, place.photo(2)]), "200");
    assert!(read(&back) == photo);
    assert_eq!(status(&words!["-0", "-I", place.photo(2)]), "200");
}

#[test]
fn fifty_at_once() {
    let place = Place::new();
    for key in 0..50 {
        place.store(key, 10_000 + usize::try_from(key).unwrap() * 777);
    }
    let url = place.url(&format!("/1/[0-49]/0/{COOKIE}"));
    for parallel in [&["-Z", "--parallel-max", "50"][..], &[]] {
        let out = place.file("#1.jpg");
        let parallel: Vec<&OsStr> = parallel.iter().map(OsStr::new).collect();
        let done = curl(&[&parallel[..], &words!["-o", out, url]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "200".repeat(50));
        for key in 0..50 {
            let file = place.file(&format!("{key}.jpg"));
            assert!(place.holds(key, &read(&file)), "{key}");
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// Slow, but within the daemon's patience: a few seconds, in pieces with pauses in between.
#[test]
fn a_slow_upload() {
    let place = Place::new();
    for (key, len, rate) in [(1, 300_000, "60k"), (2, 1_500_000, "400k")] {
        let file = place.write("photo", &bytes(key, len));
        let began = Instant::now();
        assert_eq!(status(&words!["--limit-rate", rate, "-T", file, place.photo(key)]), "201");
        // curl keeps to a rate on the whole, not exactly.
        assert!(began.elapsed() > Duration::from_secs(1), "not slow: {:?}", began.elapsed());
        assert!(place.holds(key, &read(&file)));
    }
}

/// What users of other stores type, and what continues an upload that was cut off.
#[test]
fn what_is_not_the_photo_itself_is_refused_with_advice() {
    let place = Place::new();
    let photo = place.write("photo", &bytes(1, 300_000));
    let (object, root, batch) = (place.photo(1), place.url("/"), place.url("/1/batch"));
    assert_eq!(status(&words!["-T", photo, object]), "201");
    let (said, form) = (place.file("said"), format!("file=@{}", photo.display()));
    let data = format!("@{}", photo.display());
    for (url, command) in
        [(&object, "curl -T "), (&root, "--data-binary @"), (&batch, "@batch.tar")]
    {
        for words in [words!["-F", form], words!["-d", data], words!["--data-binary", data]] {
            assert_eq!(status(&[&words[..], &words!["-o", said, url]].concat()), "415");
            assert!(text(&read(&said)).contains(command), "{}", text(&read(&said)));
        }
    }
    for offset in ["299990", "1"] {
        let words = words!["-C", offset, "-T", photo, "-o", said, object];
        let done = curl(&words);
        assert!(text(&done.stdout).ends_with("400"), "{}", text(&done.stdout));
    }
    let coded = words!["-H", "Content-Encoding: gzip", "-T", photo, "-o", said, object];
    assert_eq!(status(&coded), "415");
    assert!(place.holds(1, &read(&photo)), "nothing was stored");
}

#[test]
fn who_asks_for_http_2_or_takes_the_daemon_for_a_proxy_is_served() {
    let place = Place::new();
    let (photo, back) = (place.write("photo", &bytes(1, 2_000_000)), place.file("back"));
    let proxy = place.url("");
    for (key, how) in [(1, &words!["--http2"][..]), (2, &words!["-x", proxy])] {
        let url = place.photo(key);
        assert_eq!(status(&[how, &words!["-T", photo, url]].concat()), "201");
        assert_eq!(status(&[how, &words!["-o", back, url]].concat()), "200");
        assert!(read(&back) == read(&photo));
    }
}
