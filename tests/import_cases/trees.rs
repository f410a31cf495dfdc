//! Imports of directories, also when they are interrupted.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::{MODIFIED_NS, Place, assert_done, set_modified, text};
use crate::daemon_harness::{Daemon, Options, bytes};

#[test]
fn tree_with_unusual_names_is_imported() {
    let place = Place::new();
    let root = place.photos();
    let large = bytes(1, 3 << 20);
    let files: [(&[u8], &str, &[u8], &str); 9] = [
        (b"a b.jpg", "a b.jpg", b"blank", "image/jpeg"),
        ("\u{e4}\u{4e2d}.PNG".as_bytes(), "\u{e4}\u{4e2d}.PNG", b"unicode", "image/png"),
        (b"tab\there.gif", "tab\\there.gif", b"tab", "image/gif"),
        (b"new\nline.webp", "new\\nline.webp", b"line", "image/webp"),
        (b"back\\slash", "back\\\\slash", b"backslash", "application/octet-stream"),
        (b"\xff\xfe.jpg", "\\xff\\xfe.jpg", b"bytes", "image/jpeg"),
        (b"#first.jpg", "\\x23first.jpg", b"hash", "image/jpeg"),
        (b"sub/dir/empty.jpg", "sub/dir/empty.jpg", b"", "image/jpeg"),
        (b"sub/large.jpeg", "sub/large.jpeg", &large, "image/jpeg"),
    ];
    std::fs::create_dir_all(root.join("sub/dir")).unwrap();
    std::fs::create_dir_all(root.join(".thumbnails")).unwrap();
    std::fs::write(root.join(".thumbnails/x.jpg"), "thumb").unwrap();
    std::fs::write(root.join(".DS_Store"), "no photo").unwrap();
    std::os::unix::fs::symlink(root.join("a b.jpg"), root.join("link.jpg")).unwrap();
    for (name, _, content, _) in &files {
        let path = root.join(OsStr::from_bytes(name));
        std::fs::write(&path, content).unwrap();
        set_modified(&path, MODIFIED_NS);
    }
    let output = place.run(&["import", "photos"]);
    let text = assert_done(&output);
    assert!(text.contains("9 stored"), "{text}");
    assert!(text.contains("1 symbolic links") && text.contains("2 hidden entries"), "{text}");
    let rows = place.rows();
    assert_eq!(rows.len(), files.len());
    let mut client = place.daemon.client();
    for (_, escaped, content, kind) in &files {
        let [url, size, modified, etag] = &rows[*escaped];
        assert_eq!((size.parse(), modified.as_str()), (Ok(content.len()), "1577934245.678900001"));
        assert_eq!(*etag, format!("{:016x}", xxh3_64(content)));
        let got = client.get(url).unwrap();
        assert!(got.status == 200 && got.body == *content, "{escaped}: {}", got.status);
        assert_eq!(got.header("content-type"), Some(*kind), "{escaped}");
        assert_eq!(got.header("last-modified"), Some("Thu, 02 Jan 2020 03:04:05 GMT"));
    }
    place.assert_needles(9);
    assert!(!place.journal().exists());
    let text = assert_done(&place.run(&["import", "photos", "--hidden"]));
    assert!(text.contains("2 stored") && text.contains("9 in the manifest and in"), "{text}");
    assert_eq!(place.rows().len(), 11);
}

#[test]
fn second_run_stores_only_new_or_changed_files() {
    let place = Place::new();
    let mut files = place.fill(20);
    assert_done(&place.run(&["import", "photos", "--volume", "1"]));
    place.assert_all_there(&files);
    let before = place.rows();
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains("0 stored") && text.contains("20 in the manifest and in"), "{text}");
    assert_eq!(place.rows(), before);
    std::fs::write(place.photos().join("d00/3.jpg"), "changed").unwrap();
    files.insert("d00/3.jpg".to_owned(), b"changed".to_vec());
    std::fs::write(place.photos().join("d00/new.jpg"), "new").unwrap();
    files.insert("d00/new.jpg".to_owned(), b"new".to_vec());
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains("2 stored") && text.contains("19 in the manifest and in"), "{text}");
    place.assert_all_there(&files);
    assert_eq!(place.rows()["d00/3.jpg"][0], before["d00/3.jpg"][0], "the URL is unchanged");
    // A file that is gone from the directory stays in the manifest: nothing else knows its URL.
    std::fs::remove_file(place.photos().join("d00/new.jpg")).unwrap();
    assert_done(&place.run(&["import", "photos"]));
    place.assert_all_there(&files);
}

#[test]
fn killed_import_resumes() {
    let place = Place::new();
    let files = place.fill(2500);
    for share in [1, 700, 1500] {
        let mut import = place.spawn(&["import", "photos", "--parallel", "2"]);
        place.await_stored(share);
        import.kill().unwrap();
        import.wait().unwrap();
        assert!(!place.manifest().exists(), "killed too late");
    }
    // A partial line, as a power cut may leave.
    let mut journal = std::fs::File::options().append(true).open(place.journal()).unwrap();
    journal.write_all(b"d00/1.jpg\t/1/77").unwrap();
    // Ctrl-C.
    let mut import = place.spawn(&["import", "photos", "--parallel", "2"]);
    place.await_stored(1700);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(import.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(import.wait().unwrap().code(), Some(1));
    let mut stderr = String::new();
    import.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("interrupted") && stderr.contains("same command"), "{stderr}");
    let manifest = std::fs::read_to_string(place.manifest()).unwrap();
    let stored = manifest.lines().count() - 1;
    assert!(stored >= 1700 && place.journal().exists(), "{stored} are in the manifest");
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(text.contains(&format!("{stored} in the manifest and in the store")), "{text}");
    place.assert_all_there(&files);
}

#[test]
fn import_waits_for_a_killed_daemon_to_return() {
    let mut place = Place::new();
    let files = place.fill(2000);
    let import = place.spawn(&["import", "photos"]);
    for share in [200, 1000] {
        place.await_stored(share);
        let (data, admin) = (place.daemon.data, place.daemon.admin);
        place.daemon.child.kill().unwrap();
        place.daemon.child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        place.daemon = Daemon::launch_on(place.dir.path(), &Options::default(), data, admin);
    }
    assert_done(&import.wait_with_output().unwrap());
    place.assert_all_there(&files);
}

#[test]
fn unreadable_and_too_large_files_are_listed_others_stored() {
    let config = "[limits]\nlargest_body = \"2MiB\"\n".to_owned();
    let place = Place::with(&Options { config, ..Options::default() });
    // Root can read everything: import as another user, from a directory that it can access.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let (root, binary) = (dir.path().join("photos"), dir.path().join("hayloft"));
    std::fs::create_dir_all(root.join("closed")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_hayloft"), &binary).unwrap();
    for (name, content) in [("a.jpg", bytes(1, 10)), ("large.jpg", bytes(2, 3 << 20))] {
        std::fs::write(root.join(name), content).unwrap();
    }
    std::fs::write(root.join("secret.jpg"), "x").unwrap();
    std::fs::set_permissions(root.join("secret.jpg"), PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let import = |flags: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["import", "photos", "--server", &place.daemon.data.to_string()]);
        command.args(["--admin", &place.daemon.admin.to_string()]).args(flags);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        }
        let output = command.current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    let text = import(&[]);
    for what in ["1 stored", "3 failed", "secret.jpg: ", "closed: ", "large.jpg: ", "largest_body"]
    {
        assert!(text.contains(what), "{what}: {text}");
    }
    let manifest = std::fs::read_to_string(dir.path().join("photos.manifest.tsv")).unwrap();
    assert_eq!(manifest.lines().count(), 2, "{manifest}");
    assert!(!dir.path().join("photos.manifest.tsv.journal").exists());
    place.assert_needles(1);
    // The content of an unreadable directory is unknown: nothing counts as removed.
    std::fs::remove_file(root.join("a.jpg")).unwrap();
    let text = import(&["--prune"]);
    assert!(text.contains("nothing was pruned") && !text.contains("1 pruned"), "{text}");
    place.assert_needles(1);
}

#[test]
fn too_large_files_are_reported_early_and_not_sent() {
    let config = "[limits]\nlargest_body = \"2MiB\"\n".to_owned();
    let place = Place::with(&Options { config, ..Options::default() });
    place.fill(300);
    for n in 0..7 {
        let file = std::fs::File::create(place.photos().join(format!("z{n}.tif"))).unwrap();
        file.set_len((2 << 20) + 1 + n).unwrap();
    }
    let largest = std::fs::File::create(place.photos().join("largest.tif")).unwrap();
    largest.set_len(2 << 20).unwrap();
    let stderr = place.dir.path().join("stderr");
    let mut command = place.command(&["import", "photos", "--parallel", "1"]);
    let import = command.stderr(std::fs::File::create(&stderr).unwrap()).spawn().unwrap();
    // Once one photo is stored, stop the daemon: the warning must have been printed already.
    place.await_stored(1);
    place.daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    let stderr = || std::fs::read_to_string(&stderr).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stderr().contains("larger than the store takes") {
        assert!(Instant::now() < deadline, "they were not reported: {}", stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    place.daemon.signal(nix::sys::signal::Signal::SIGCONT);
    let code = import.wait_with_output().unwrap().status.code();
    assert_eq!(code, Some(1), "{}", stderr());
    let stderr = stderr();
    for part in ["z0.tif (2097153 bytes)", "z4.tif (2097157 bytes) and 2 more", "largest_body"] {
        let line =
            stderr.lines().find(|line| line.contains("larger than the store takes")).unwrap();
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        stderr.contains("failed: 7") && stderr.contains("z6.tif: it has 2097159 bytes"),
        "{stderr}"
    );
    assert_eq!(place.daemon.metric("hayloft_requests_total", "method=\"put\""), 301.0);
    place.assert_needles(301);
    // Without these files nothing is reported.
    let mut files = std::fs::read_dir(place.photos()).unwrap().map(|entry| entry.unwrap().path());
    let too_large = |path: &PathBuf| path.to_string_lossy().contains("/z");
    files.by_ref().filter(too_large).for_each(|path| std::fs::remove_file(path).unwrap());
    let text = assert_done(&place.run(&["import", "photos"]));
    assert!(!text.contains("larger than"), "{text}");
}

#[test]
fn full_volume_stops_import_and_manifest_is_kept() {
    let place = Place::with(&Options { volume_size: "16MiB", ..Options::default() });
    for n in 0..40 {
        std::fs::write(place.photos().join(format!("{n:02}.bin")), bytes(n, 700_000)).unwrap();
    }
    for words in [&["import", "photos"][..], &["import", "photos", "--volume", "1"]] {
        let output = place.run(words);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("full") && text.contains("same command"), "{text}");
    }
    // The stored photos are in the manifest nevertheless.
    let rows = place.rows();
    assert!(place.journal().exists() && (10..40).contains(&rows.len()), "{}", rows.len());
    for [url, ..] in rows.values() {
        assert_eq!(place.daemon.client().get(url).unwrap().status, 200);
    }
}
