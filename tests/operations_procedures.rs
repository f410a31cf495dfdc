//! The procedures of docs/OPERATIONS.md for moving, restoring and replacing data, run as printed on two disks
//! with one volume each. Every photo is compared afterwards.

mod daemon_harness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use daemon_harness::{COOKIE, Client, Daemon, Options, bytes, data_dir, free_ports};

const DOCUMENT: &str = include_str!("../docs/OPERATIONS.md");
/// Heading of the section with the procedures.
const SECTION: &str = "## Exporting, backup, moving\n";
const BINARY: &str = env!("CARGO_BIN_EXE_hayloft");

/// Replacements for words of the document, in addition to its addresses: paths below the directory of the
/// test (`~`), and a volume size that fits a test machine.
const SUBSTITUTIONS: [(&str, &str); 8] = [
    ("/disk1", "~/disk1"),
    ("/disk2", "~/disk2"),
    ("/disk3", "~/disk3"),
    ("/backup", "~/backup"),
    ("/srv/photos", "~/srv/photos"),
    ("/var/lib/hayloft", "~/lib"),
    ("/etc/hayloft/hayloft.toml", "~/hayloft.toml"),
    ("100GiB", "64MiB"),
];

/// Shell functions that simulate the service manager, users and devices of the machine. Commands that use the
/// admin API get the address of the test in place of the default one.
const MACHINE: &str = r#"
set -euo pipefail
hayloft() {
    case $1 in
        volume | undelete | background) "$BINARY" "$@" --admin "$ADMIN" ;;
        *) "$BINARY" "$@" ;;
    esac
}
ready() { for _ in $(seq 600); do curl -sf "$ADMIN/readyz" >/dev/null && return; sleep 0.05; done; return 1; }
systemctl() {
    case "$1 $2" in
        "start hayloft")
            setsid "$BINARY" serve --config "$PLACE/hayloft.toml" </dev/null >>"$PLACE/log" 2>&1 &
            echo $! >"$PLACE/pid"; ready ;;
        "stop hayloft")
            pid=$(cat "$PLACE/pid"); kill "$pid"
            while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
            rm "$PLACE/pid" ;;
        *) echo "not expected: systemctl $*"; return 1 ;;
    esac
}
runuser() { [ "$1 $2 $3" = "-u hayloft --" ]; shift 3; "$@"; }
mkfs.xfs() { :; }
mount() { rm -rf "$2"; mkdir "$2"; }
install() { [ "$1 $2 $3 $4 $5 $6" = "-d -o hayloft -g hayloft -m" ]; mkdir -m "$7" "$8"; }
"#;

/// Commands under a heading of the section, in order.
fn commands(heading: &str) -> Vec<&'static str> {
    let section = &DOCUMENT[DOCUMENT.find(SECTION).expect("the section exists")..];
    let start = section.find(&format!("### {heading}\n")).expect(heading);
    let text = &section[start + 4..];
    let end = text.find("\n### ").into_iter().chain(text.find("\n**A single volume file**")).min();
    let text = &text[..end.unwrap_or(text.len())];
    text.lines().filter_map(|line| line.trim_start().strip_prefix("# ")).collect()
}

/// Replaces each `word` in `line` by `replacement`, unless it continues a longer word: not the `/disk1` in
/// `/backup/disk1`.
fn substitute(line: &str, word: &str, replacement: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let (before, after) = rest.split_at(at);
        out += before;
        let continues = out.ends_with(|c: char| c.is_alphanumeric() || "._-/".contains(c));
        out += if continues { word } else { replacement };
        rest = &after[word.len()..];
    }
    out + rest
}

/// Response to a reader: status, body, media type, time of modification.
type Photo = (u16, Vec<u8>, String, String);

struct Machine {
    dir: tempfile::TempDir,
    data: SocketAddr,
    admin: SocketAddr,
    /// Every photo by its URL.
    photos: BTreeMap<String, Photo>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.path("pid"));
        if let Some(pid) = pid.ok().and_then(|pid| pid.trim().parse().ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
    }
}

impl Machine {
    /// A store with two disks and one volume on each. Both volumes contain imported photos, photos stored
    /// under the same keys, a replaced one and a deleted one.
    fn new() -> Self {
        let port = free_ports(2);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let dir = data_dir();
        let photos = BTreeMap::new();
        let mut machine = Self { dir, data: address(port), admin: address(port + 1), photos };
        for name in ["disk1/hayloft", "disk2/hayloft", "disk3", "backup", "srv/photos", "lib"] {
            std::fs::create_dir_all(machine.path(name)).unwrap();
        }
        let data = ["disk1", "disk2"].map(|disk| machine.path(disk).join("hayloft/data"));
        let config = format!(
            "data = [\"{}\", \"{}\"]\nlisten = [\"{}\"]\nadmin = \"{}\"\nvolume_size = \"64MiB\"\n\
             shard_ports = \"off\"\ncores = \"0\"\n",
            data[0].display(),
            data[1].display(),
            machine.data,
            machine.admin
        );
        std::fs::write(machine.path("hayloft.toml"), config).unwrap();
        machine.run("systemctl start hayloft");
        machine.run("hayloft volume create 2 --disk 1");
        machine.fill();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> Client {
        Client::new(self.data)
    }

    fn fill(&mut self) {
        for n in 0..30 {
            let path = self.path("srv/photos").join(format!("{n}.{}", ["jpg", "png"][n % 2]));
            let len = if n == 7 { 2_500_000 } else { 100 + 300 * n };
            std::fs::write(&path, bytes(n as u64, len)).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + n as u64);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
        self.run(&format!(
            "hayloft import --server {} --admin {} --manifest /var/lib/hayloft/photos.manifest.tsv \
             /srv/photos",
            self.data, self.admin
        ));
        let manifest = std::fs::read_to_string(self.path("lib/photos.manifest.tsv")).unwrap();
        let mut urls: Vec<String> = manifest
            .lines()
            .skip(1)
            .map(|line| line.split('\t').nth(1).unwrap().to_owned())
            .collect();
        let mut client = self.client();
        for volume in 1..=2 {
            for (key, alt) in [(1, 0), (1, 7), (2, 0), (3, 0)] {
                let url = format!("/{volume}/{key}/{alt}/{COOKIE}");
                let content = bytes(key * 100 + volume, 700);
                assert_eq!(client.put(&url, &content).unwrap().status, 201);
                urls.push(url);
            }
            let replaced = format!("/{volume}/2/0/{COOKIE}");
            assert_eq!(client.put(&replaced, b"replaced").unwrap().status, 204);
            let deleted = format!("/{volume}/3/0/{COOKIE}");
            assert_eq!(client.request("DELETE", &deleted, &[], None).unwrap().status, 204);
        }
        self.photos = urls.into_iter().map(|url| (url.clone(), photo(&mut client, &url))).collect();
        let gone = self.photos.values().filter(|photo| photo.0 == 404).count();
        assert!(self.photos.len() == 38 && gone == 2, "{gone} of {}", self.photos.len());
        for volume in ["/1/", "/2/"] {
            assert!(self.photos.keys().filter(|url| url.starts_with(volume)).count() > 8);
        }
    }

    /// URLs of the photos that were imported from files.
    fn imported(&self) -> Vec<String> {
        let cookie = |url: &&String| !url.ends_with(COOKIE);
        self.photos.keys().filter(cookie).cloned().collect()
    }

    /// Runs a command of the document, which must succeed.
    fn run(&self, command: &str) -> Output {
        let output = self.try_run(command);
        assert!(output.status.success(), "{command}: {output:?}");
        output
    }

    fn try_run(&self, command: &str) -> Output {
        let mut line = command.to_owned();
        for (word, replacement) in SUBSTITUTIONS {
            let replacement = replacement.replace('~', self.dir.path().to_str().unwrap());
            line = substitute(&line, word, &replacement);
        }
        line = line.replace("127.0.0.1:8081", &self.admin.to_string());
        Command::new("bash")
            .args(["-c", &format!("{MACHINE}\n{line}")])
            .env("BINARY", BINARY)
            .env("ADMIN", format!("http://{}", self.admin))
            .env("PLACE", self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs all commands of a procedure of the document.
    fn run_procedure(&self, heading: &str) {
        let commands = commands(heading);
        assert!(commands.len() >= 2, "{heading}: {commands:?}");
        for command in commands {
            self.run(command);
        }
    }

    /// Asserts that every photo is unchanged, except those in `lost`, which must be absent.
    fn assert_photos(&self, lost: &[String]) {
        let mut client = self.client();
        for (url, before) in &self.photos {
            let now = photo(&mut client, url);
            let same = if lost.contains(url) { now.0 == 404 } else { now == *before };
            assert!(same, "{url}: {} before, {} now", before.0, now.0);
        }
    }

    /// Reads all photos continuously while `act` runs, and asserts that none is ever answered with 404.
    fn assert_never_404(&self, act: impl FnOnce()) {
        /// Stops the reader when dropped, also when `act` panics.
        struct StopReader<'a>(&'a AtomicBool);
        impl Drop for StopReader<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while !end.load(Ordering::Relaxed) {
                    for (url, _) in self.photos.iter().filter(|(_, photo)| photo.0 == 200) {
                        // Connection refused or closed by the stop: no response that a cache would keep.
                        let Ok(reply) = Client::new(self.data).get(url) else { continue };
                        assert!([200, 503].contains(&reply.status), "{url}: {}", reply.status);
                        seen += 1;
                    }
                }
                seen
            });
            {
                let _end = StopReader(&end);
                act();
            }
            assert!(reader.join().unwrap() > 0, "the reader received responses");
        });
    }

    fn lose_disk(&self, disk: &str) {
        std::fs::remove_dir_all(self.path(disk)).unwrap();
        std::fs::create_dir(self.path(disk)).unwrap();
    }
}

fn photo(client: &mut Client, url: &str) -> Photo {
    let reply = client.get(url).unwrap();
    let header = |name| reply.header(name).unwrap_or_default().to_owned();
    (reply.status, reply.body.clone(), header("content-type"), header("last-modified"))
}

#[test]
fn offline_compaction_keeps_every_photo_readable() {
    let machine = Machine::new();
    let steps = commands("Getting space back offline");
    assert_eq!(steps[0], "hayloft volume read-only 1");
    machine.assert_never_404(|| {
        machine.run(steps[0]);
        machine.assert_photos(&[]);
        let put = machine.client().put(&format!("/1/9/0/{COOKIE}"), b"x").unwrap();
        let other = machine.client().put(&format!("/2/9/0/{COOKIE}"), b"x").unwrap();
        assert_eq!((put.status, other.status), (503, 201), "as the procedure says");
        for step in &steps[1..] {
            machine.run(step);
        }
    });
    machine.assert_photos(&[]);
    let put = machine.client().put(&format!("/1/9/0/{COOKIE}"), b"x").unwrap();
    assert_eq!(put.status, 201, "the volume is writable again");
    let check = machine.run("systemctl stop hayloft; hayloft check --data /disk1/hayloft/data");
    let text = String::from_utf8(check.stdout).unwrap();
    assert!(text.contains("total: sound"), "{text}");
}

#[test]
fn lost_disk_is_restored_from_tars() {
    let machine = Machine::new();
    machine.run("systemctl stop hayloft");
    machine.run("hayloft export --data /disk2/hayloft/data -o /backup/disk2.tar");
    machine.lose_disk("disk2");
    machine.run("systemctl start hayloft");
    machine.assert_never_404(|| machine.run_procedure("Replacing a lost disk from tars"));
    machine.assert_photos(&[]);
}

#[test]
fn volume_is_restored_from_exports_of_the_running_daemon() {
    let machine = Machine::new();
    machine.assert_never_404(|| machine.run_procedure("Exporting from a running daemon"));
    machine.run("hayloft volume delete 1 --yes");
    machine.run("hayloft volume create 1");
    for tar in ["volume1.tar", "volume1.1.tar"] {
        let Machine { data, admin, .. } = &machine;
        machine.run(&format!("hayloft import --server {data} --admin {admin} /backup/{tar}"));
    }
    machine.assert_photos(&[]);
}

#[test]
fn deleted_photo_is_taken_back() {
    let mut machine = Machine::new();
    machine.run("systemctl stop hayloft");
    let config = machine.path("hayloft.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "[compaction]\nundelete_within = \"7d\"\n").unwrap();
    machine.run("systemctl start hayloft");
    machine.run_procedure("Taking a deleted photo back");
    let url = format!("/2/3/0/{COOKIE}");
    let back = photo(&mut machine.client(), &url);
    assert_eq!((back.0, &back.1), (200, &bytes(302, 700)));
    machine.photos.insert(url, back);
    machine.assert_photos(&[]);
}

#[test]
fn lost_disk_is_restored_from_files_except_photos_never_imported() {
    let machine = Machine::new();
    machine.run("systemctl stop hayloft");
    machine.lose_disk("disk2");
    machine.run("systemctl start hayloft");
    machine.run_procedure("Replacing a lost disk from files");
    // Photos that were never imported are lost with the disk.
    let imported = machine.imported();
    let is_lost = |url: &&String| url.starts_with("/2/") && !imported.contains(url);
    let lost: Vec<String> = machine.photos.keys().filter(is_lost).cloned().collect();
    assert_eq!(lost.len(), 4);
    machine.assert_photos(&lost);
}

#[test]
fn imported_photos_are_restored_after_total_loss() {
    let machine = Machine::new();
    machine.run("systemctl stop hayloft");
    machine.lose_disk("disk1");
    machine.lose_disk("disk2");
    machine.run_procedure("Restoring after a total loss");
    let imported = machine.imported();
    assert_eq!(imported.len(), 30);
    let lost: Vec<String> =
        machine.photos.keys().filter(|url| !imported.contains(url)).cloned().collect();
    machine.assert_photos(&lost);
}

#[test]
fn copy_in_another_store_is_identical() {
    let mut machine = Machine::new();
    let dir = data_dir();
    let token = "token-of-the-other-store";
    std::fs::write(dir.path().join("token"), token).unwrap();
    let config = format!("admin_token_file = \"{}\"\n", dir.path().join("token").display());
    let other = Daemon::start(dir.path(), &Options { config, ..Options::default() });
    for command in commands("Copying to another store") {
        let command = command
            .replace("10.0.0.2:8080", &other.data.to_string())
            .replace("10.0.0.2:8081", &other.admin.to_string());
        machine.run(&command);
    }
    machine.assert_photos(&[]);
    let own = std::mem::replace(&mut machine.data, other.data);
    machine.assert_photos(&[]);

    std::fs::write(machine.path("lib/store2.token"), token).unwrap();
    let comparisons = commands("Comparing two copies of a volume");
    assert_eq!(comparisons.len(), 2);
    let compare = |command: &str| {
        machine.try_run(&command.replace("10.0.0.2:8081", &other.admin.to_string()))
    };
    for command in &comparisons {
        let output = compare(command);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let url = format!("/1/1/0/{COOKIE}");
    assert_eq!(Client::new(own).request("DELETE", &url, &[], None).unwrap().status, 204);
    let output = compare(comparisons[0]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.starts_with("+ 1/0: 700 bytes"), "{text}");
}

#[test]
fn copy_follows_its_source_and_takes_its_place() {
    let machine = Machine::new();
    let dir = data_dir();
    let token = "token-of-the-other-store";
    std::fs::write(dir.path().join("token"), token).unwrap();
    std::fs::write(machine.path("lib/store2.token"), token).unwrap();
    let config = format!("admin_token_file = \"{}\"\n", dir.path().join("token").display());
    let other = Daemon::start(dir.path(), &Options { config, ..Options::default() });
    let (code, _, said) = other.command(&["volume", "create", "5", "--size", "32MiB"]);
    assert_eq!(code, 0, "{said}");
    let mut source = other.client();
    let url = |key: u64| format!("/5/{key}/0/{COOKIE}");
    for key in 0..20 {
        assert_eq!(source.put(&url(key), &vec![7; 1000]).unwrap().status, 201);
    }
    let [pull, diff, writable] = commands("Keeping a copy in another store")[..] else {
        panic!("three commands")
    };
    let there = |command: &str| command.replace("10.0.0.2:8081", &other.admin.to_string());
    machine.run(&there(pull));
    machine.run(&there(diff));
    assert_eq!(source.request("DELETE", &url(3), &[], None).unwrap().status, 204);
    assert_eq!(machine.try_run(&there(diff)).status.code(), Some(1));
    machine.run(&there(pull));
    machine.run(&there(diff));
    assert!(other.stop().success());
    machine.run(writable);
    let mut copy = machine.client();
    assert_eq!(copy.get(&url(4)).unwrap().body, vec![7; 1000]);
    assert_eq!(copy.get(&url(3)).unwrap().status, 404);
    assert_eq!(copy.put(&url(3), b"new").unwrap().status, 201);
    machine.assert_photos(&[]);
}

#[test]
fn backup_can_be_restored() {
    let machine = Machine::new();
    machine.run_procedure("Backup");
    machine.assert_photos(&[]);
    let volume = machine.path("disk2/hayloft/data/2.0.vol");
    machine.run("systemctl stop hayloft");
    std::fs::write(volume, "not a volume any more").unwrap();
    machine.run("systemctl start hayloft");
    machine.run_procedure("Restoring a backup");
    machine.assert_photos(&[]);
}

#[test]
fn data_directory_can_be_moved_without_404() {
    let machine = Machine::new();
    machine.assert_never_404(|| machine.run_procedure("Moving a data directory"));
    machine.assert_photos(&[]);
    machine.lose_disk("disk2");
    machine.assert_photos(&[]);
}

#[test]
fn disk_can_be_removed_without_losing_photos() {
    let machine = Machine::new();
    machine.assert_never_404(|| machine.run_procedure("Removing a disk"));
    machine.lose_disk("disk2");
    machine.assert_photos(&[]);
}

#[test]
fn copy_of_one_volume_taken_online_can_be_restored() {
    let machine = Machine::new();
    machine.run_procedure("Copying one volume");
    machine.assert_photos(&[]);
    machine.run("hayloft volume writable 2");
    let mut client = machine.client();
    let url = format!("/2/1/0/{COOKIE}");
    assert_eq!(client.put(&url, b"overwritten by mistake").unwrap().status, 204);
    drop(client);
    machine.run_procedure("Putting one volume back");
    machine.assert_photos(&[]);
}

#[test]
fn every_procedure_of_the_section_is_run() {
    let section = &DOCUMENT[DOCUMENT.find(SECTION).unwrap() + SECTION.len()..];
    let section = &section[..section.find("\n## ").unwrap()];
    let headings: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings.len(), 15, "{headings:?}");
    let source = include_str!("operations_procedures.rs");
    for heading in headings {
        let called = ["run_procedure(\"", "commands(\""].map(|call| format!("{call}{heading}\")"));
        assert!(called.iter().any(|call| source.contains(call)), "{heading} is not run");
    }
}
