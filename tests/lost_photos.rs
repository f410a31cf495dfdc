//! A volume with records of losses on a real disk: what the daemon, `hayloft check`, `dump` and `export` say.

mod common;
mod daemon_harness;

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use common::{Process, bytes, pool, superblock_with_losses};
use daemon_harness::{COOKIE, Daemon, Options, data_dir};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{EarlierRange, HashPrefix, Loss};
use hayloft::volume::{Expected, Hasher, Superblock};
use serde_json::Value;

const SIZE: u64 = 16 << 20;
const FILE: &str = "1.0.vol";
const RANGE: EarlierRange = EarlierRange { generation: 3, offset: 70_144, len: 8192 };

/// A data directory whose volume holds photos 1 and 2, and records of the loss of photo 2, of photo 3, of
/// photo 4 without its key, and of a damaged range.
fn store_with_losses() -> tempfile::TempDir {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert!(daemon.stop().success());
    let path = dir.path().join("data").join(FILE);
    let store = std::fs::read(&path).unwrap()[88..104].try_into().unwrap();
    std::fs::write(&path, volume_with_losses(store)).unwrap();
    // A checkpoint of the first file would be discarded, with a warning.
    drop(std::fs::remove_file(path.with_extension("ckpt")));
    dir
}

fn volume_with_losses(store: [u8; 16]) -> Vec<u8> {
    let id = |key| NeedleId::new(key, 0);
    let cookie = Cookie(u64::from_str_radix(COOKIE, 16).unwrap());
    let mut process = Process::start(1, &Image::default(), &pool(16 << 20));
    process.create_as(Superblock { store, ..superblock_with_losses(SIZE) });
    let expected = Expected { store, hash_bits: None, ..common::expected() };
    let volume = process.open_as(expected).unwrap();
    for key in [1, 2] {
        process.put(&volume, id(key), &bytes(key, 300)).unwrap();
    }
    let superseded = volume.volume().walk().unwrap().places()[1].offset;
    let object = |key| Loss::Object { id: id(key), cookie, len: 1024 };
    let leading = Hasher::new(42).hash(id(4)).bits() >> 22 << 22;
    let hash = HashPrefix { leading, bits: 42 };
    let losses = [
        (object(2), superseded),
        (object(3), 0),
        (Loss::Unidentified { hash, len: 2048 }, 0),
        (Loss::Range(RANGE), 0),
    ];
    process.record(&volume, &losses).unwrap();
    let closing = Rc::clone(&volume);
    process.run(async move { closing.close().await });
    process.image().bytes(FILE)
}

fn hayloft(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg(args[0]).arg("--data").arg(dir.join("data")).args(&args[1..]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Key, alternate key and text of each finding of damage.
fn findings(dir: &Path) -> Vec<(Option<u64>, Option<u64>, String)> {
    let (code, out, _) = hayloft(dir, &["check", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    let findings = document["findings"].as_array().unwrap();
    assert_eq!(code, Some(i32::from(!findings.is_empty())));
    assert!(!out.contains(COOKIE), "{out}");
    let text = |finding: &Value| finding["text"].as_str().unwrap().to_owned();
    let of = |f: &Value| (f["key"].as_u64(), f["alt"].as_u64(), text(f));
    findings.iter().map(of).collect()
}

#[test]
fn check_dump_and_export_report_losses_by_key() {
    let dir = store_with_losses();
    let found = findings(dir.path());
    assert_eq!(found.len(), 4, "{found:?}");
    let (_, _, range) = &found[0];
    assert!(range.contains("8192 bytes") && range.contains("generation 3"), "{range}");
    for (finding, key, len) in [(&found[1], Some(2), 1024), (&found[2], Some(3), 1024)] {
        assert_eq!((finding.0, finding.1), (key, Some(0)));
        assert!(finding.2.contains(&format!("its {len} bytes could not be read")), "{finding:?}");
    }
    assert_eq!((found[3].0, found[3].1), (None, None));
    assert!(found[3].2.contains("its key is not known (its 2048 bytes"), "{found:?}");

    let (code, out, _) = hayloft(dir.path(), &["dump"]);
    let rows = out.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!((code, rows), (Some(1), 1), "{out}");
    for name in
        ["needle 2/0: damaged: its 1024", "needle 3/0: damaged: its 1024", "damaged: its 2048"]
    {
        assert!(out.contains(name), "{out}");
    }
    let tar = dir.path().join("photos.tar");
    let (code, _, err) = hayloft(dir.path(), &["export", "-o", tar.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("left out: ") && err.contains("needle 3/0"), "{err}");
    assert!(err.contains("1 photos") && err.contains("3 left out"), "{err}");
}

#[test]
fn daemon_answers_500_for_lost_photos_until_they_are_stored_again() {
    let dir = store_with_losses();
    let daemon = Daemon::start(dir.path(), &Options::default());
    for text in ["lost in a compaction, record at byte ", "damage in generation 3 at byte 70144"] {
        daemon.wait_until(text, || daemon.log_text().contains(text));
    }
    let log = daemon.log_text();
    assert!(!log.contains(COOKIE), "{log}");
    let path = |key: u64| format!("/1/{key}/0/{COOKIE}");
    let status = |method: &str, key: u64| {
        let body = (method == "PUT").then_some(&b"again"[..]);
        let headers = [("Content-Type", "application/octet-stream")];
        daemon.client().request(method, &path(key), &headers, body).unwrap().status
    };
    for method in ["GET", "HEAD"] {
        let answers = [1, 2, 3, 4, 5].map(|key| status(method, key));
        assert_eq!(answers, [200, 500, 500, 500, 404], "{method}");
    }
    let wrong = format!("/1/3/0/{:016x}", 1);
    assert_eq!(daemon.client().get(&wrong).unwrap().status, 404);
    assert_eq!(daemon.client().put(&wrong, b"other").unwrap().status, 409);
    assert_eq!([status("PUT", 2), status("DELETE", 3), status("DELETE", 4)], [204, 204, 500]);
    assert_eq!(status("PUT", 4), 201);
    assert_eq!([1, 2, 3, 4].map(|key| status("GET", key)), [200, 200, 404, 200]);
    assert!(daemon.stop().success());

    // The object whose key is not known may be another one, so it stays lost.
    let found = findings(dir.path());
    assert_eq!(found.iter().map(|finding| finding.0).collect::<Vec<_>>(), [None, None]);
}
