//! A real daemon, and the commands that need none, on volumes with several files that were made by hand.

mod common;
mod daemon_harness;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Process, pool, superblock};
use daemon_harness::{COOKIE, Client, Daemon, Options, config_check, data_dir, json};
use hayloft::base::types::NeedleId;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{self, Expected, Preallocation, Superblock, SuperblockState};

use SuperblockState::{Building, Live};

/// Length of the files that the tests make (bytes).
const SIZE: u64 = 160 * 1024;

/// Reads the first superblock copy of a file.
fn superblock_of(path: &Path) -> Superblock {
    let mut block = [0; 4096];
    std::fs::File::open(path).unwrap().read_exact_at(&mut block, 0).unwrap();
    Superblock::decode(&block).unwrap()
}

/// Writes all superblock copies of a file.
fn set_superblock(path: &Path, superblock: &Superblock) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let mut block = [0; 4096];
    superblock.encode(&mut block);
    for offset in superblock_offsets(superblock.size) {
        file.write_all_at(&block, offset).unwrap();
    }
    file.sync_all().unwrap();
}

/// Store id of a data directory.
fn store_of(dir: &Path) -> [u8; 16] {
    let marker = std::fs::read_to_string(dir.join("hayloft.toml")).unwrap();
    let (_, id) = marker.split_once("store_id = \"").expect("a store id");
    u128::from_str_radix(&id[..32], 16).unwrap().to_be_bytes()
}

/// Writes the file of a generation of volume 1 with these photos into a data directory. Returns its path.
fn make_generation(
    dir: &Path,
    generation: u64,
    parent: u64,
    state: SuperblockState,
    photos: &[(u64, &str)],
) -> PathBuf {
    let wanted = Superblock {
        generation,
        parent,
        incarnation: parent ^ generation ^ 0x5555,
        store: store_of(dir),
        ..superblock(SIZE)
    };
    let mut process = Process::start(1, &Image::default(), &pool(8 << 20));
    let (handle, made) = (process.runtime.handle().clone(), wanted.clone());
    process.run(async move {
        volume::create(&handle, DirId(0), &made, Preallocation::Reserve, |_| ()).await.unwrap();
    });
    let opened = process.open_as(Expected {
        generation,
        store: wanted.store,
        hash_bits: None,
        ..common::expected()
    });
    let opened = opened.unwrap();
    for (key, text) in photos {
        process.put(&opened, NeedleId::new(*key, 0), text.as_bytes()).unwrap();
    }
    process.close(&opened);
    let name = format!("1.{generation}.vol");
    let path = dir.join(&name);
    std::fs::write(&path, process.image().bytes(&name)).unwrap();
    set_superblock(&path, &Superblock { state, ..wanted });
    path
}

fn state(daemon: &Daemon) -> String {
    let shown = json(&daemon.admin("/volumes/1"));
    shown["state"].as_str().expect("a state").to_owned()
}

fn url(key: u64) -> String {
    format!("/1/{key}/0/{COOKIE}")
}

fn get(daemon: &Daemon, key: u64) -> (u16, String) {
    let reply = daemon.client().get(&url(key)).unwrap();
    (reply.status, reply.text())
}

fn photo(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

/// Names of the files of volume 1 in a data directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("1.")).collect();
    names.sort();
    names
}

/// All files of a directory, with their bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// A store whose volume 1 has generation 0 with photo 1. Returns its directory and the incarnation of the
/// file.
fn store(options: &Options) -> (tempfile::TempDir, PathBuf, u64) {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), options);
    assert_eq!(daemon.client().put(&url(1), b"old").unwrap().status, 201);
    assert!(daemon.stop().success());
    let data = dir.path().join("data");
    let incarnation = superblock_of(&data.join("1.0.vol")).incarnation;
    (dir, data, incarnation)
}

/// Runs a command on data directories. Returns exit code, standard output and standard error.
fn hayloft(command: &[&str], dirs: &[&Path]) -> (i32, String, String) {
    let mut hayloft = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    hayloft.args(command);
    for dir in dirs {
        hayloft.arg("--data").arg(dir);
    }
    let output = hayloft.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn newer_generation_is_served_and_the_older_one_removed() {
    let options = Options::default();
    let (dir, data, first) = store(&options);
    assert_eq!(names(&data), ["1.0.ckpt", "1.0.vol"]);
    make_generation(&data, 1, first, Live, &[(1, "new"), (2, "later")]);

    let before = files(&data);
    let (code, said) = config_check(dir.path(), &options);
    assert!(code == 0 && said.contains("data/1.1.vol counts"), "{said}");
    assert!(said.contains("would remove") && said.contains("data/1.0.vol"), "{said}");
    let (code, out, _) = hayloft(&["check"], &[&data]);
    assert!(code == 0 && out.starts_with("note: volume 1: "), "{out}");
    assert!(
        out.contains("1.1.vol is read: it was made from ") && out.contains("needles 2"),
        "{out}"
    );
    let (code, out, said) = hayloft(&["dump"], &[&data]);
    assert!(code == 0 && said.contains("note: volume 1: ") && said.contains("1.1.vol is read"));
    assert_eq!(out.lines().count(), 3, "a heading and two photos: {out}");
    let (code, _, said) = hayloft(&["export"], &[&data]);
    assert!(code == 0 && said.contains("1.1.vol is read") && said.contains("2 photos"), "{said}");
    assert!(files(&data) == before, "a command changed a file");

    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!([get(&daemon, 1), get(&daemon, 2)], ["new", "later"].map(photo));
    assert_eq!(names(&data), ["1.1.vol"]);
    let log = daemon.log_text();
    assert!(log.contains("removed the file of generation 0, which does not count"), "{log}");
    assert_eq!(daemon.client().put(&url(3), b"stored").unwrap().status, 201);
    daemon.kill();

    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(get(&daemon, 3), photo("stored"));
    // The file of generation 1 is the one that is monitored.
    std::fs::remove_file(data.join("1.1.vol")).unwrap();
    daemon.wait_until("volume 1 to be lost", || state(&daemon) == "lost");
    assert_eq!(get(&daemon, 2), photo("later"));
    assert_eq!(daemon.client().put(&url(4), b"x").unwrap().status, 503);
}

#[test]
fn unfinished_generation_is_removed() {
    let options = Options::default();
    let (dir, data, first) = store(&options);
    make_generation(&data, 1, first, Building, &[(1, "half")]);
    let (code, out, _) = hayloft(&["check"], &[&data]);
    assert!(
        code == 0 && out.contains("1.0.vol is read: ") && out.contains("was not finished"),
        "{out}"
    );
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(get(&daemon, 1), photo("old"));
    assert_eq!(names(&data), ["1.0.ckpt", "1.0.vol"]);
    assert!(daemon.stop().success());
}

/// A deletion that was interrupted after the removal of generation 0.
#[test]
fn lone_unfinished_generation_ends_the_volume() {
    let options = Options::default();
    let (dir, data, first) = store(&options);
    make_generation(&data, 1, first, Building, &[(1, "half")]);
    std::fs::remove_file(data.join("1.0.vol")).unwrap();
    let before = files(&data);
    let (code, out, _) = hayloft(&["check"], &[&data]);
    assert!(code == 0 && out.contains("was not finished and holds nothing that counts"), "{out}");
    let (code, out, said) = hayloft(&["dump"], &[&data]);
    assert!(code == 0 && out.lines().count() == 1 && said.contains("was not finished"), "{said}");
    let (code, said) = config_check(dir.path(), &options);
    assert!(
        code == 0 && said.contains("volume 1 was not finished: the start would remove"),
        "{said}"
    );
    assert!(files(&data) == before, "a command changed a file");

    let daemon = Daemon::launch(dir.path(), &options);
    daemon.wait_until("the volume to be gone", || {
        Client::new(daemon.admin).get("/volumes/1").is_ok_and(|shown| shown.status == 404)
    });
    assert!(names(&data).is_empty(), "a checkpoint without its volume file is removed");
    assert_eq!(get(&daemon, 1).0, 404);
    assert_eq!(
        daemon.admin_request("POST", "/volumes", r#"{"id": 1, "size": "16MiB"}"#).status,
        201
    );
    assert_eq!(get(&daemon, 1).0, 404, "nothing of the deleted volume");
    assert!(daemon.log_text().contains("A deletion of the volume was interrupted"));
    assert!(daemon.stop().success());
}

#[test]
fn undecided_volume_fails_with_the_reason_and_can_be_deleted() {
    let options = Options::default();
    let (dir, data, first) = store(&options);
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(
        daemon.admin_request("POST", "/volumes", r#"{"id": 2, "size": "16MiB"}"#).status,
        201
    );
    assert!(daemon.stop().success());
    make_generation(&data, 1, first ^ 1, Live, &[(1, "whose?")]);
    let before = files(&data);
    let (code, out, _) = hayloft(&["check"], &[&data]);
    assert!(code == 1 && out.contains("damage: volume 1: has 2 files, "), "{out}");
    assert!(out.contains("generation 1 was not made from generation 0"), "{out}");
    let (code, _, said) = hayloft(&["export"], &[&data]);
    assert!(code == 1 && said.contains("left out: volume 1"), "{said}");
    let (code, said) = config_check(dir.path(), &options);
    assert!(code == 0 && said.contains("volume 1 would not be opened, with "), "{said}");
    assert!(files(&data) == before, "a command changed a file");

    let daemon = Daemon::start(dir.path(), &options);
    daemon.wait_until("volume 1 to fail", || state(&daemon) == "failed");
    assert_eq!(get(&daemon, 1).0, 503);
    let log = daemon.log_text();
    for words in [
        "cannot open the volume with the files ",
        "data/1.0.vol and ",
        "data/1.1.vol: generation 1 was not made from generation 0. Compare the two files",
        "No file of the volume was changed",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(names(&data), ["1.0.ckpt", "1.0.vol", "1.1.vol"]);
    let taken = daemon.admin_request("POST", "/volumes", r#"{"id": 1, "size": "16MiB"}"#);
    assert_eq!(taken.status, 409, "{taken:?}");
    assert_eq!(daemon.admin_request("DELETE", "/volumes/1", "").status, 204);
    assert_eq!(names(&data), [""; 0]);
    assert_eq!(
        daemon.admin_request("POST", "/volumes", r#"{"id": 1, "size": "16MiB"}"#).status,
        201
    );
    // A file that came since the start has a number, too.
    std::fs::write(data.join("9.4.vol"), "").unwrap();
    let taken = daemon.admin_request("POST", "/volumes", r#"{"id": 9, "size": "16MiB"}"#);
    assert!(taken.status == 409 && taken.text().contains("9.4.vol"), "{taken:?}");
    assert!(daemon.stop().success());
}

#[test]
fn move_between_disks_is_decided_only_with_both() {
    let mut options = Options::default();
    let (dir, data, first) = store(&options);
    let second = dir.path().join("second");
    let (code, _, said) = {
        let mut init = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        let output = init.arg("init").arg(&second).output().unwrap();
        (output.status.code().unwrap(), "", String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code, 0, "{said}");
    options.args = vec!["--data".into(), second.to_str().unwrap().into()];
    let daemon = Daemon::start(dir.path(), &options);
    let body = r#"{"id": 2, "size": "16MiB", "disk": 0}"#;
    assert_eq!(daemon.admin_request("POST", "/volumes", body).status, 201);
    assert!(daemon.stop().success());
    // As a move leaves them that is cut off right after the newer generation was finished.
    let old = data.join("1.0.vol");
    let superblock = superblock_of(&old);
    let revision = superblock.revision + 1;
    set_superblock(&old, &Superblock { revision, ..superblock.with_moving(true) });
    make_generation(&second, 1, first, Live, &[(1, "new")]);

    let away = dir.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    let before = std::fs::read(&old).unwrap();
    let (code, out, _) = hayloft(&["check"], &[&data]);
    assert!(code == 0 && out.contains("was moving to another data directory"), "{out}");
    let (code, said) = config_check(dir.path(), &options);
    assert!(code == 0 && said.contains("generation 0 was moving to another"), "{said}");
    let daemon = Daemon::start(dir.path(), &options);
    daemon.wait_until("volume 1 to fail", || state(&daemon) == "failed");
    assert_eq!(get(&daemon, 1).0, 503, "an older state must not be served");
    assert!(
        daemon.log_text().contains("was moving to another data directory, and one is not in use")
    );
    assert_eq!(json(&daemon.admin("/volumes/2"))["state"], "writable");
    assert!(daemon.stop().success());
    assert!(std::fs::read(&old).unwrap() == before, "the file was changed");

    std::fs::rename(&away, &second).unwrap();
    let (code, out, _) = hayloft(&["check"], &[&data, &second]);
    assert!(code == 0 && out.contains("second/1.1.vol is read: it was made from "), "{out}");
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(get(&daemon, 1), photo("new"));
    assert_eq!(json(&daemon.admin("/volumes/1"))["disk"], 1);
    assert_eq!((names(&data), names(&second)), (vec![], vec!["1.1.vol".to_owned()]));
    // Its directory is monitored.
    std::fs::rename(&second, &away).unwrap();
    daemon.wait_until("volume 1 to be lost", || state(&daemon) == "lost");
    assert_eq!(json(&daemon.admin("/volumes/2"))["state"], "writable");
    assert!(daemon.stop().success());
}
