//! Cases that are hard to produce with a real daemon: volumes that fill up or stop taking writes during an
//! import, and wrong answers. The server here keeps the photos that it receives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::xxh3_64;

use super::volumes::Volumes;
use super::*;
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::commands::client::Client;

#[derive(Default)]
struct FakeStore {
    photos: BTreeMap<String, Vec<u8>>,
    /// Status line of the answer to PUTs to a volume.
    refusals: BTreeMap<char, &'static str>,
    /// Number of further photos that fit into a volume.
    room: BTreeMap<char, usize>,
    states: BTreeMap<char, &'static str>,
    wrong_etag: bool,
    /// Number of polls of a volume that is being created before its state changes.
    polls_left: u32,
    /// State of such a volume after the last of these polls.
    creates: &'static str,
}

impl FakeStore {
    /// Returns a volume as JSON. Each call counts as a poll of a volume that is being created.
    fn describe(&mut self, id: char) -> String {
        let state = self.states.entry(id).or_insert("creating");
        if *state == "creating" && self.polls_left == 0 {
            *state = self.creates;
        }
        self.polls_left = self.polls_left.saturating_sub(1);
        let error =
            if *state == "creation_failed" { r#","error":"The disk is full.""# } else { "" };
        format!(r#"{{"id":{id},"state":"{state}","size":1000,"used":0{error}}}"#)
    }

    fn answer(&mut self, method: &str, path: &str, body: Vec<u8>) -> String {
        let reply = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let etag = |body: &[u8]| format!("ETag: \"{:016x}\"\r\n", xxh3_64(body));
        let volume = path.chars().nth(1).unwrap_or('0');
        match (method, path) {
            ("GET", "/volumes") => {
                let volumes = self.states.iter().map(|(id, state)| {
                    format!(
                        r#"{{"id":{id},"state":"{state}","size":1000,"used":{id},"needles":0}}"#
                    )
                });
                reply("200 OK", &format!("[{}]", volumes.collect::<Vec<_>>().join(",")))
            }
            ("POST", "/volumes") => {
                let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(asked["size"], "16MiB");
                let id = asked["id"].to_string().chars().next().unwrap();
                self.states.insert(id, "creating");
                let described = self.describe(id);
                reply("202 Accepted", &described)
            }
            ("GET", path) if path.starts_with("/volumes/") => {
                let described = self.describe(path.chars().last().unwrap());
                reply("200 OK", &described)
            }
            ("HEAD", path) => match self.photos.get(path) {
                Some(body) => format!(
                    "HTTP/1.1 200 OK\r\n{}Content-Length: {}\r\n\r\n",
                    etag(body),
                    body.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n".to_owned(),
            },
            ("PUT", path) => {
                if let Some(status) = self.refusals.get(&volume) {
                    return reply(status, "not here\n");
                }
                let room = self.room.entry(volume).or_insert(usize::MAX);
                if *room == 0 {
                    return reply("507 Insufficient Storage", "the volume is full\n");
                }
                *room -= 1;
                let tag = if self.wrong_etag { etag(b"something else") } else { etag(&body) };
                self.photos.insert(path.to_owned(), body);
                format!("HTTP/1.1 201 Created\r\n{tag}Content-Length: 0\r\n\r\n")
            }
            _ => reply("405 Method Not Allowed", "no\n"),
        }
    }
}

fn serve(stream: TcpStream, store: &Mutex<FakeStore>) -> Option<()> {
    let (mut out, mut input) = (stream.try_clone().ok()?, BufReader::new(stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; len.map_or(0, |len| len.parse().unwrap())];
        input.read_exact(&mut body).ok()?;
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_uppercase(), words.next()?.to_owned());
        let answer = store.lock().unwrap().answer(&method, &path, body);
        out.write_all(answer.as_bytes()).ok()?;
    }
}

struct ImportSetup {
    dir: tempfile::TempDir,
    store: Arc<Mutex<FakeStore>>,
    address: SocketAddr,
}

impl ImportSetup {
    /// Creates a directory of `files` files, and a store with volumes 1 and 2; volume 1 has more free space.
    fn new(files: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        for n in 0..files {
            std::fs::write(dir.path().join("photos").join(n.to_string()), format!("photo {n}"))
                .unwrap();
        }
        let store = FakeStore {
            states: [('1', "writable"), ('2', "writable")].into(),
            ..FakeStore::default()
        };
        let store = Arc::new(Mutex::new(store));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&store);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let store = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &store));
            }
        });
        Self { dir, store, address }
    }

    fn import(&self) -> (Report, Progress) {
        let plan = Plan {
            server: self.address.into(),
            admin: self.address.into(),
            paired: true,
            verify: false,
            now_ns: 0,
            private: false,
            volume: None,
            volume_map: BTreeMap::new(),
            create_volumes: None,
            manifest: Some(self.dir.path().join("m")),
            parallel: 3,
            hidden: false,
            restore: false,
            overwrite: false,
            prune: false,
        };
        let progress = Progress::default();
        (import(&self.dir.path().join("photos"), &plan, &progress).unwrap(), progress)
    }

    /// Number of photos stored in a volume.
    fn count(&self, volume: char) -> usize {
        let store = self.store.lock().unwrap();
        store.photos.keys().filter(|path| path.chars().nth(1) == Some(volume)).count()
    }
}

#[test]
fn rest_goes_to_another_volume_when_one_is_full() {
    let setup = ImportSetup::new(40);
    setup.store.lock().unwrap().room.insert('1', 5);
    let (report, progress) = setup.import();
    assert!(report.stopped.is_none() && report.failures.is_empty(), "{report:?}");
    assert_eq!((progress.done(), setup.count('1'), setup.count('2')), (40, 5, 35));
}

#[test]
fn volume_made_read_only_during_an_import_is_abandoned() {
    let setup = ImportSetup::new(20);
    {
        let mut store = setup.store.lock().unwrap();
        store.refusals.insert('1', "503 Service Unavailable");
        // Changed after a refusal, since no test can change it between the listing and the first photo.
        store.states.insert('1', "writable");
    }
    let store = Arc::clone(&setup.store);
    let change = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        store.lock().unwrap().states.insert('1', "read_only");
    });
    let (report, _) = setup.import();
    change.join().unwrap();
    assert!(report.stopped.is_none() && report.failures.is_empty(), "{report:?}");
    assert_eq!((setup.count('1'), setup.count('2')), (0, 20));
}

#[test]
fn photos_stored_by_a_killed_run_are_not_stored_again() {
    let setup = ImportSetup::new(10);
    let (report, _) = setup.import();
    assert!(report.stopped.is_none(), "{report:?}");
    let before = setup.count('1');
    assert!(before > 0);
    // The state after the importer was killed: all photos are stored, but no answer was recorded.
    let manifest = std::fs::read_to_string(setup.dir.path().join("m")).unwrap();
    let drawn =
        manifest.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join("\t") + "\n");
    std::fs::write(setup.dir.path().join("m.journal"), drawn.collect::<String>()).unwrap();
    std::fs::remove_file(setup.dir.path().join("m")).unwrap();
    setup.store.lock().unwrap().refusals.insert('1', "507 Insufficient Storage");
    let (report, progress) = setup.import();
    assert!(report.stopped.is_none() && progress.done() == 10, "{report:?}");
    assert_eq!((setup.count('1'), setup.count('1') + setup.count('2')), (before, 10));
}

#[test]
fn wrong_checksum_in_an_answer_is_a_failure_and_keeps_the_name() {
    let setup = ImportSetup::new(3);
    setup.store.lock().unwrap().wrong_etag = true;
    let (report, progress) = setup.import();
    assert_eq!((report.failures.len(), progress.done()), (3, 3));
    assert!(report.failures[0].why.contains("checksum"), "{report:?}");
    setup.store.lock().unwrap().wrong_etag = false;
    let (report, _) = setup.import();
    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(setup.count('1') + setup.count('2'), 3, "under the same names");
    assert!(!setup.dir.path().join("m.journal").exists());
}

#[test]
fn import_pauses_when_all_volumes_are_full_and_resumes() {
    let setup = ImportSetup::new(10);
    setup.store.lock().unwrap().room.extend([('1', 2), ('2', 3)]);
    let (report, _) = setup.import();
    let wanted = "hayloft volume create";
    assert!(
        matches!(&report.stopped, Some(Stop::Pause(why)) if why.contains(wanted)),
        "{report:?}"
    );
    let manifest = std::fs::read_to_string(report.manifest.unwrap()).unwrap();
    assert_eq!(manifest.lines().count(), 1 + 5, "what was stored: {manifest}");
    setup.store.lock().unwrap().room.clear();
    let (report, _) = setup.import();
    assert!(report.stopped.is_none(), "{report:?}");
    assert_eq!(setup.count('1') + setup.count('2'), 10);
}

#[test]
fn import_waits_for_volume_creation_and_reports_failure() {
    let setup = ImportSetup::new(0);
    let create = |polls_left, creates, id, stop| {
        let mut store = setup.store.lock().unwrap();
        (store.polls_left, store.creates) = (polls_left, creates);
        drop(store);
        let volumes = Volumes::ask(Client::new(setup.address.into(), "--admin")).unwrap();
        let needed = BTreeSet::from([VolumeId(1), VolumeId(id)]);
        let created = volumes.create_missing(&needed, ByteSize::mib(16), &AtomicBool::new(stop));
        created.map(|created| (created, volumes.readable().unwrap()))
    };
    let (created, all) = create(3, "writable", 5, false).unwrap();
    assert!(created == [VolumeId(5)] && all.contains(&VolumeId(5)), "{created:?} {all:?}");
    // Nothing is created twice.
    assert!(create(0, "writable", 5, false).unwrap().0.is_empty());
    let error = create(2, "creation_failed", 6, false).unwrap_err();
    assert!(
        matches!(&error, CreateError::Failed { id: VolumeId(6), reason } if reason.contains("full"))
    );
    let error = create(u32::MAX, "writable", 7, true).unwrap_err();
    assert!(matches!(error, CreateError::Interrupted(VolumeId(7))), "{error}");
    // A volume whose creation failed is created again.
    assert_eq!(create(1, "writable", 6, false).unwrap().0, [VolumeId(6)]);
}
