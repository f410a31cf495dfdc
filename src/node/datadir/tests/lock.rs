//! Tests of the lock: daemons exclude each other, readers share.

use std::fs;
use std::time::{Duration, Instant};

use super::super::{DataDir, DataDirError};
use super::opener::spawn_same_user;
use super::{base, error_of, listing};

#[test]
fn second_process_gets_an_error_that_names_the_lock_holder() {
    let base = base();
    let held = DataDir::open(base.path(), true).unwrap();
    let second = spawn_same_user(base.path());
    let expected = format!(
        "the data directory {} is locked by process {};",
        base.path().display(),
        std::process::id()
    );
    assert!(second.said.starts_with(&expected), "{}", second.said);

    let store_id = held.store_id();
    drop(held);
    let third = spawn_same_user(base.path());
    assert_eq!(third.said, format!("opened {store_id}"));
}

#[test]
fn same_process_cannot_open_a_directory_twice() {
    let base = base();
    let _held = DataDir::open(base.path(), true).unwrap();
    let started = Instant::now();
    let error = error_of(base.path(), true);
    assert!(error.contains("which is the number of this process"), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(500), "ten retries of 50 ms");
}

#[test]
fn opening_waits_for_a_lock_that_is_soon_released() {
    let base = base();
    let mut holder = spawn_same_user(base.path());
    assert!(holder.said.starts_with("opened"), "{}", holder.said);
    let stdin = holder.stdin.take();
    let started = Instant::now();
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(120));
            drop(stdin);
        });
        DataDir::open(base.path(), true)
    });
    opened.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(120), "it was held at first");
}

#[test]
fn killed_holder_leaves_no_lock() {
    let base = base();
    let mut holder = spawn_same_user(base.path());
    assert!(holder.said.starts_with("opened"), "{}", holder.said);
    holder.process.kill().unwrap();
    let lock = fs::read_to_string(base.path().join("LOCK")).unwrap();
    assert_eq!(lock, format!("{}\n", holder.process.id()));
    DataDir::open(base.path(), true).unwrap();
}

#[test]
fn readers_share_a_directory_and_exclude_daemons() {
    let base = base();
    let path = base.path().join("data");
    let store_id = DataDir::open(&path, true).unwrap().store_id();
    fs::write(path.join("3.2.vol.tmp"), "x").unwrap();
    // The lock file as left by a killed daemon.
    fs::write(path.join("LOCK"), "4000000\n").unwrap();
    let first = DataDir::open_read_only(&path).unwrap();
    let second = DataDir::open_read_only(&path).unwrap();
    assert!(first.is_locked() && second.is_locked());
    assert_eq!(second.store_id(), store_id);
    assert_eq!(listing(&path), ["3.2.vol.tmp", "LOCK", "hayloft.toml"], "nothing is removed");
    drop(first);
    let daemon = spawn_same_user(&path);
    assert!(daemon.said.contains("is locked by another process"), "{}", daemon.said);
    drop(second);
    let _daemon = DataDir::open(&path, false).unwrap();
    let error = DataDir::open_read_only(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("is locked by process {}", std::process::id())), "{error}");
}

#[test]
fn read_only_opening_creates_no_data_directory() {
    let base = base();
    let error = DataDir::open_read_only(&base.path().join("absent")).unwrap_err();
    assert!(matches!(error, DataDirError::Missing { .. }), "{error}");
    let error = DataDir::open_read_only(base.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Empty { .. }), "{error}");
    fs::write(base.path().join("notes.txt"), "x").unwrap();
    let error = DataDir::open_read_only(base.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Foreign { .. }), "{error}");
    assert_eq!(listing(base.path()), ["notes.txt"]);
}
