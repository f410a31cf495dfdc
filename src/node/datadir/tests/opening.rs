//! Tests of opening: new, absent, foreign and damaged directories, and missing permissions.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{DataDir, DataDirError};
use super::opener::spawn_opener;
use super::{base, error_of, listing};

#[test]
fn disk_errors_are_distinguished_from_absent_directories() {
    let of =
        |errno| DataDirError::io("look at", Path::new("/d"), io::Error::from_raw_os_error(errno));
    for errno in [nix::libc::EIO, nix::libc::EROFS, nix::libc::EUCLEAN] {
        assert!(of(errno).is_of_the_disk() && !of(errno).is_absent());
    }
    assert!(!of(nix::libc::EACCES).is_of_the_disk() && !of(nix::libc::ENOSPC).is_of_the_disk());
    let missing = DataDir::open(Path::new("/nonexistent/d"), false).unwrap_err();
    assert!(missing.is_absent() && !missing.is_of_the_disk());
}

#[test]
fn new_directory_is_created_marked_and_reopened() {
    let base = base();
    let path = base.path().join("data");
    let first = DataDir::open(&path, true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(listing(&path), ["LOCK", "hayloft.toml"]);
    assert_eq!(first.volumes().unwrap(), []);
    let (id, created) = (first.store_id(), first.created().to_owned());
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    drop(first);

    let again = DataDir::open(&path, false).unwrap();
    assert_eq!(again.store_id(), id);
    assert_eq!(again.created(), created);
    let other = DataDir::open(&base.path().join("other"), true).unwrap();
    assert_ne!(other.store_id(), id);
}

#[test]
fn empty_directory_is_initialised_only_with_create() {
    let base = base();
    fs::create_dir(base.path().join("lost+found")).unwrap();
    let error = DataDir::open(base.path(), false).unwrap_err();
    assert!(matches!(error, DataDirError::Empty { .. }) && error.is_absent());
    assert_eq!(listing(base.path()), ["lost+found"]);
    DataDir::open(base.path(), true).unwrap();
    assert_eq!(listing(base.path()), ["LOCK", "hayloft.toml", "lost+found"]);
}

#[test]
fn directory_with_a_half_written_marker_is_initialised() {
    let base = base();
    fs::write(base.path().join("LOCK"), "12345\n").unwrap();
    fs::write(base.path().join("hayloft.toml.tmp"), "form").unwrap();
    DataDir::open(base.path(), true).unwrap();
    assert_eq!(listing(base.path()), ["LOCK", "hayloft.toml"]);
}

#[test]
fn absent_directory_and_absent_parent_are_distinguished() {
    let base = base();
    let absent = base.path().join("a");
    let error = DataDir::open(&absent, false).unwrap_err();
    assert!(matches!(error, DataDirError::Missing { .. }) && error.is_absent());
    let deep = absent.join("b");
    let error = DataDir::open(&deep, true).unwrap_err();
    assert!(error.is_absent());
    let text = error.to_string();
    assert!(text.contains(&format!("since {} does not exist", absent.display())), "{text}");
    assert_eq!(listing(base.path()), Vec::<String>::new());
}

#[test]
fn file_in_place_of_a_directory_is_named() {
    let base = base();
    let file = base.path().join("file");
    fs::write(&file, "x").unwrap();
    let dangling = base.path().join("dangling");
    symlink(base.path().join("nowhere"), &dangling).unwrap();
    for (path, obstacle) in [
        (file.clone(), &file),
        (file.join("data"), &file),
        (file.join("a/b"), &file),
        (dangling.clone(), &dangling),
    ] {
        let error = error_of(&path, true);
        let expected = format!(
            "the data directory {} cannot be used, since {} is not a directory",
            path.display(),
            obstacle.display()
        );
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn foreign_directory_is_listed_and_left_unchanged() {
    let base = base();
    for number in 0..10 {
        fs::write(base.path().join(format!("holiday{number}.jpg")), "x").unwrap();
    }
    let before = listing(base.path());
    let error = error_of(base.path(), true);
    assert!(error.contains("holiday0.jpg, holiday1.jpg"), "{error}");
    assert!(error.contains("holiday7.jpg, and 2 more"), "{error}");
    assert!(error.contains("name an empty or a new directory"), "{error}");
    assert_eq!(listing(base.path()), before);
}

#[test]
fn volumes_without_a_marker_are_refused_and_no_marker_is_made() {
    let base = base();
    fs::write(base.path().join("7.1.vol"), "x").unwrap();
    let error = error_of(base.path(), true);
    assert!(error.contains("has volume files (7.1.vol) but no hayloft.toml"), "{error}");
    assert_eq!(listing(base.path()), ["7.1.vol"]);
}

#[test]
fn newer_format_and_damaged_marker_are_distinguished() {
    let base = base();
    let marker = base.path().join("hayloft.toml");
    fs::write(&marker, "format = 2\nshape = \"other\"\n").unwrap();
    assert_eq!(
        error_of(base.path(), true),
        format!("{}: format 2, this build reads 1: use a newer hayloft", marker.display())
    );
    for garbage in ["", "format = 1", "\0\0\0\0"] {
        fs::write(&marker, garbage).unwrap();
        let error = error_of(base.path(), true);
        assert!(error.starts_with(&format!("{} is damaged: ", marker.display())), "{error}");
        assert_eq!(fs::read_to_string(&marker).unwrap(), garbage);
    }
}

#[test]
fn missing_permissions_are_named() {
    let base = base();
    let data = base.path().join("data");
    DataDir::open(&data, true).unwrap();
    let closed = base.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let new = closed.join("new");
    let am_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let said = |path: &Path| {
        if !am_root {
            return error_of(path, true);
        }
        // Root lacks no permission: another user runs a copy of this test binary.
        let copy = base.path().join("copy");
        if !copy.exists() {
            // Copied by another process: if this one had the copy open for writing, a concurrent test that
            // forks would inherit the descriptor, and running the copy would fail with ETXTBSY.
            let copied =
                Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
            assert!(copied.unwrap().success());
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        spawn_opener(path, &copy, Some(65_534)).said.clone()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&closed, 0o555);
    mode(&data, 0o000);
    let results = [
        (said(&data), format!("not permitted to list {}", data.display())),
        (said(&new), format!("not permitted to create {}", new.display())),
    ];
    // Restored first, so that the temporary directory can be removed even if an assertion fails.
    mode(&closed, 0o755);
    mode(&data, 0o700);
    for (said, expected) in results {
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains("chown"), "{said}");
    }
}

#[test]
fn one_directory_under_two_paths_is_refused() {
    let base = base();
    let (a, b, link) = (base.path().join("a"), base.path().join("b"), base.path().join("link"));
    fs::create_dir(&a).unwrap();
    symlink(&a, &link).unwrap();
    let same = |paths: &[&Path]| {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        DataDir::open_all(&paths, true).map_err(|error| error.to_string())
    };
    let error = same(&[&b, &a, &link]).unwrap_err();
    let expected = format!("{} and {} are the same directory", a.display(), link.display());
    assert!(error.contains(&expected), "{error}");
    assert!(same(&[&a, &a.join("../a")]).is_err());
    // Absent directories are compared by parent and name.
    assert!(!b.exists(), "nothing is created before the check");
    assert!(same(&[&b, &base.path().join("a/../b")]).is_err());
    assert!(same(&[&link.join("new"), &a.join("new")]).is_err());
    assert_eq!(same(&[&a, &b]).unwrap().len(), 2);
    assert_eq!(same(&[&b, &a]).unwrap().len(), 2, "both present, and distinct");
}
