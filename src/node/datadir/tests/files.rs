//! Tests of the files in a data directory.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::{DataDir, DataDirError};
use super::base;
use super::listing;
use crate::base::types::VolumeId;

#[test]
fn volumes_are_listed_by_id_and_generation() {
    let base = base();
    drop(DataDir::open(base.path(), true).unwrap());
    for name in ["10.1.vol", "2.10.vol", "2.9.vol", "2.9.ckpt", "02.9.vol", "notes.txt"] {
        fs::write(base.path().join(name), "x").unwrap();
    }
    let directory = DataDir::open(base.path(), false).unwrap();
    let volumes = directory.volumes().unwrap();
    let found: Vec<_> = volumes
        .iter()
        .map(|volume| (volume.id.0, volume.generation, volume.file_name.as_str()))
        .collect();
    assert_eq!(found, [(2, 9, "2.9.vol"), (2, 10, "2.10.vol"), (10, 1, "10.1.vol")]);
    for volume in &volumes {
        assert_eq!(volume.path, directory.volume_path(volume.id, volume.generation));
        assert_eq!(fs::read(&volume.path).unwrap(), b"x");
    }
    assert_eq!(directory.unknown_names(), ["02.9.vol", "notes.txt"]);
    assert!(base.path().join("notes.txt").exists());
}

#[test]
fn only_own_temporary_files_are_removed() {
    let base = base();
    drop(DataDir::open(base.path(), true).unwrap());
    let ours = ["3.1.vol", "3.1.ckpt", "3.1.ckpt.new", "3.2.vol.tmp", "3.0.ckpt", "9.1.ckpt"];
    for name in ours.iter().chain(&["04.1.vol.tmp", "other.tmp"]) {
        fs::write(base.path().join(name), "x").unwrap();
    }
    fs::create_dir(base.path().join("5.1.vol.tmp")).unwrap();
    let directory = DataDir::open(base.path(), false).unwrap();
    // Of the checkpoints, those whose volume file was removed.
    let removed = ["3.0.ckpt", "3.1.ckpt.new", "3.2.vol.tmp", "9.1.ckpt"];
    assert_eq!(directory.removed_leftovers(), removed);
    assert_eq!(directory.unknown_names(), ["04.1.vol.tmp", "5.1.vol.tmp", "other.tmp"]);
    assert_eq!(
        listing(base.path()),
        ["04.1.vol.tmp", "3.1.ckpt", "3.1.vol", "5.1.vol.tmp", "LOCK", "hayloft.toml", "other.tmp"]
    );
    // A volume being created while the directory is open is not touched.
    let growing = directory.volume_temporary_path(VolumeId(6), 1);
    fs::write(&growing, "x").unwrap();
    assert_eq!(directory.volumes().unwrap().len(), 1);
    assert!(growing.exists());
}

#[test]
fn directory_or_link_named_like_a_volume_is_refused() {
    let base = base();
    let directory = DataDir::open(base.path(), true).unwrap();
    let path = directory.volume_path(VolumeId(1), 1);
    fs::create_dir(&path).unwrap();
    let error = directory.volumes().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} has the name of a volume", path.display())), "{error}");
    fs::remove_dir(&path).unwrap();
    // A link to a file is refused too: the file may be on another disk.
    let elsewhere = base.path().join("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(directory.volumes(), Err(DataDirError::NotAVolume { .. })));
}
