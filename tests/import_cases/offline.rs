//! Imports that start a daemon of their own.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Place, assert_done, tar_of, text};
use crate::daemon_harness::{COOKIE, Daemon, Options, data_dir};

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
