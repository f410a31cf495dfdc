//! Imports by subject, and what the tests share.

mod offline;
mod put_and_get;
mod refusals;
mod tars;
mod trees;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use hayloft::commands::transfer::import::escape::unescape;
use xxhash_rust::xxh3::xxh3_64;

use crate::daemon_harness::{Daemon, Options, bytes, data_dir};

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
