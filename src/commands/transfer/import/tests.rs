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
use crate::commands::client::Client;

#[derive(Default)]
struct World {
    photos: BTreeMap<String, Vec<u8>>,
    /// Status line of the answer to PUTs to a volume.
    refusals: BTreeMap<char, &'static str>,
    /// Number of further photos that fit into a volume.
    room: BTreeMap<char, usize>,
    states: BTreeMap<char, &'static str>,
    wrong_etag: bool,
    /// Number of polls of a volume that is being created before its state changes.
    polls_left: u32,
    /// The state that it then gets.
    creates: &'static str,
}

impl World {
    /// Describes one volume. A volume that is being created makes progress.
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

fn serve(stream: TcpStream, world: &Mutex<World>) -> Option<()> {
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
        let answer = world.lock().unwrap().answer(&method, &path, body);
        out.write_all(answer.as_bytes()).ok()?;
    }
}

struct Place {
    dir: tempfile::TempDir,
    world: Arc<Mutex<World>>,
    address: SocketAddr,
}

impl Place {
    /// A directory of files, and a store with volumes 1 and 2, of which 1 has more room.
    fn new(files: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("photos")).unwrap();
        for n in 0..files {
            std::fs::write(dir.path().join("photos").join(n.to_string()), format!("photo {n}"))
                .unwrap();
        }
        let world =
            World { states: [('1', "writable"), ('2', "writable")].into(), ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let world = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &world));
            }
        });
        Self { dir, world, address }
    }

    fn import(&self) -> (Report, Progress) {
        let plan = Plan {
            server: self.address.into(),
            admin: self.address.into(),
            paired: true,
            verify: false,
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

    /// Photos in a volume.
    fn count(&self, volume: char) -> usize {
        let world = self.world.lock().unwrap();
        world.photos.keys().filter(|path| path.chars().nth(1) == Some(volume)).count()
    }
}

#[test]
fn when_a_volume_is_full_another_takes_the_rest() {
    let place = Place::new(40);
    place.world.lock().unwrap().room.insert('1', 5);
    let (report, progress) = place.import();
    assert!(report.stopped.is_none() && report.failures.is_empty(), "{report:?}");
    assert_eq!((progress.done(), place.count('1'), place.count('2')), (40, 5, 35));
}

#[test]
fn a_volume_that_takes_no_writes_any_more_is_left() {
    let place = Place::new(20);
    {
        let mut world = place.world.lock().unwrap();
        world.refusals.insert('1', "503 Service Unavailable");
        // The state cannot be changed between the listing and the first photo: it changes after a refusal.
        world.states.insert('1', "writable");
    }
    let world = Arc::clone(&place.world);
    let change = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        world.lock().unwrap().states.insert('1', "read_only");
    });
    let (report, _) = place.import();
    change.join().unwrap();
    assert!(report.stopped.is_none() && report.failures.is_empty(), "{report:?}");
    assert_eq!((place.count('1'), place.count('2')), (0, 20));
}

#[test]
fn what_an_earlier_run_stored_unheard_is_not_stored_elsewhere() {
    let place = Place::new(10);
    let (report, _) = place.import();
    assert!(report.stopped.is_none(), "{report:?}");
    let before = place.count('1');
    assert!(before > 0);
    // As if the importer had been killed after the last PUT and before any answer.
    let manifest = std::fs::read_to_string(place.dir.path().join("m")).unwrap();
    let drawn =
        manifest.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join("\t") + "\n");
    std::fs::write(place.dir.path().join("m.journal"), drawn.collect::<String>()).unwrap();
    std::fs::remove_file(place.dir.path().join("m")).unwrap();
    place.world.lock().unwrap().refusals.insert('1', "507 Insufficient Storage");
    let (report, progress) = place.import();
    assert!(report.stopped.is_none() && progress.done() == 10, "{report:?}");
    assert_eq!((place.count('1'), place.count('1') + place.count('2')), (before, 10));
}

#[test]
fn an_answer_with_another_checksum_is_a_failure_and_its_name_is_kept() {
    let place = Place::new(3);
    place.world.lock().unwrap().wrong_etag = true;
    let (report, progress) = place.import();
    assert_eq!((report.failures.len(), progress.done()), (3, 3));
    assert!(report.failures[0].why.contains("checksum"), "{report:?}");
    place.world.lock().unwrap().wrong_etag = false;
    let (report, _) = place.import();
    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(place.count('1') + place.count('2'), 3, "under the same names");
    assert!(!place.dir.path().join("m.journal").exists());
}

#[test]
fn when_no_volume_has_room_it_ends_and_goes_on_later() {
    let place = Place::new(10);
    place.world.lock().unwrap().room.extend([('1', 2), ('2', 3)]);
    let (report, _) = place.import();
    let wanted = "hayloft volume create";
    assert!(
        matches!(&report.stopped, Some(Stop::Pause(why)) if why.contains(wanted)),
        "{report:?}"
    );
    let manifest = std::fs::read_to_string(report.manifest.unwrap()).unwrap();
    assert_eq!(manifest.lines().count(), 1 + 5, "what was stored: {manifest}");
    place.world.lock().unwrap().room.clear();
    let (report, _) = place.import();
    assert!(report.stopped.is_none(), "{report:?}");
    assert_eq!(place.count('1') + place.count('2'), 10);
}

#[test]
fn a_volume_that_is_being_created_is_waited_for() {
    let place = Place::new(0);
    let create = |polls_left, creates, id, stop| {
        let mut world = place.world.lock().unwrap();
        (world.polls_left, world.creates) = (polls_left, creates);
        drop(world);
        let volumes = Volumes::ask(Client::new(place.address.into(), "--admin")).unwrap();
        let needed = BTreeSet::from([1, id]);
        let created = volumes.create_missing(&needed, ByteSize::mib(16), &AtomicBool::new(stop));
        created.map(|created| (created, volumes.readable().unwrap()))
    };
    let (created, all) = create(3, "writable", 5, false).unwrap();
    assert!(created == [5] && all.contains(&5), "{created:?} {all:?}");
    // Nothing is created twice.
    assert!(create(0, "writable", 5, false).unwrap().0.is_empty());
    let error = create(2, "creation_failed", 6, false).unwrap_err();
    assert!(matches!(&error, CreateError::Failed { id: 6, reason } if reason.contains("full")));
    let error = create(u32::MAX, "writable", 7, true).unwrap_err();
    assert!(matches!(error, CreateError::Interrupted(7)), "{error}");
    // A volume whose creation failed is created again.
    assert_eq!(create(1, "writable", 6, false).unwrap().0, [6]);
}
