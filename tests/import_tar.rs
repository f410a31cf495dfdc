//! `hayloft import` of tars with several volumes: every photo goes to its own volume, or nothing is stored
//! and the import reports what is missing.

mod daemon_harness;
mod import_tar_store;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir};
use hayloft::http::photo_tar::Reader;
use import_tar_store::{Photo, Photos, Store, output_text, path};

/// Photos of two volumes, some under the same key and alternate key, small and large.
fn photos() -> Photos {
    let mut photos = Photos::new();
    for (volume, kind) in [(1, "image/png"), (2, "image/jpeg")] {
        for (key, alt, len) in [(1, 0, 700), (2, 3, 0), (3, 0, 2_500_000), (u64::MAX, 7, 70_000)] {
            let modified = 1_577_934_245 + u64::from(volume) * 1000 + key % 100;
            let body = bytes(key ^ u64::from(volume) << 40, len);
            photos.insert((volume, key, alt), Photo { kind, modified, body });
        }
        let body = bytes(u64::from(volume), 100);
        photos.insert((volume, 100 + u64::from(volume), 0), Photo { kind, modified: 99, body });
    }
    photos
}

/// The same photos in other volumes.
fn moved(photos: &Photos, to: impl Fn(u32) -> u32) -> Photos {
    let moved = photos.iter().map(|((volume, key, alt), photo)| ((to(*volume), *key, *alt), photo));
    moved.map(|(place, photo)| (place, photo.clone())).collect()
}

/// The export of a store of two volumes on two disks.
fn exported() -> (tempfile::TempDir, PathBuf, Photos) {
    let mut store = Store::start();
    store.create(2, 1);
    let photos = photos();
    store.fill(&photos);
    let tar = store.dir.path().join("export.tar");
    store.export(&tar);
    (store.dir, tar, photos)
}

/// A tar of photos, each with or without a volume.
fn tar_of(dir: &Path, photos: &[(Option<&str>, u64)]) -> PathBuf {
    let mut tar = tar::Builder::new(Vec::new());
    for (volume, key) in photos {
        if let Some(volume) = volume {
            tar.append_pax_extensions([("HAYLOFT.volume", volume.as_bytes())]).unwrap();
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &b"photo"[..]).unwrap();
    }
    let path = dir.join("made.tar");
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    path
}

#[test]
fn two_volumes_are_restored_as_exported() {
    let (_dir, tar, photos) = exported();
    let store = Store::start();
    let command = format!("hayloft volume create 2 --admin http://{}", store.daemon().admin);
    store.refuses(&[], &tar, &["volume 2 does not exist", &command, "--create-volumes SIZE"]);
    store.imports(&["--create-volumes", "64MiB"], &tar, "10 stored");
    store.assert_holds(&photos);
    store.imports(&[], &tar, "0 stored (0 B), 10 there already");
    // Standard input is scanned first, too, if it is a file.
    let fresh = Store::start();
    let output = fresh.command(&["-"]).stdin(File::open(&tar).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output_text(&output).contains("nothing was stored"), "{}", output_text(&output));
    fresh.create(2, 0);
    let output = fresh.command(&["-"]).stdin(File::open(&tar).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    fresh.assert_holds(&photos);
}

#[test]
fn times_of_expiry_are_exported_and_imported() {
    let mut store = Store::start();
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let soon = (soon.as_secs() + 2).to_string();
    let times = [(1, Some("4102444800.25")), (2, None), (3, Some(&*soon))];
    let mut client = store.daemon().client();
    for (key, time) in times {
        let headers: Vec<(&str, &str)> =
            time.map(|time| ("X-Hayloft-Expires", time)).into_iter().collect();
        let len = if key == 1 { 2_000_000 } else { 1000 };
        let reply = client.request("PUT", &path((1, key, 0)), &headers, Some(&bytes(key, len)));
        assert_eq!(reply.unwrap().status, 201);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while client.get(&path((1, 3, 0))).unwrap().status != 404 {
        assert!(std::time::Instant::now() < deadline, "it does not expire");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let tar = store.dir.path().join("photos.tar");
    store.export(&tar);
    let mut reader = Reader::new(File::open(&tar).unwrap());
    let mut found = BTreeMap::new();
    while let Some(photo) = reader.next_photo().unwrap() {
        found.insert(photo.key, photo.expires_ns);
    }
    let wanted = [(1, Some(4_102_444_800_250_000_000)), (2, None)];
    assert_eq!(found, BTreeMap::from(wanted), "not the one that has expired");
    let target = Store::start();
    target.imports(&[], &tar, "2 stored");
    let mut client = target.daemon().client();
    let got = client.get(&path((1, 1, 0))).unwrap();
    assert_eq!(got.header("x-hayloft-expires"), Some("4102444800.250000000"));
    assert!(got.body == bytes(1, 2_000_000));
    assert_eq!(client.get(&path((1, 2, 0))).unwrap().header("x-hayloft-expires"), None);
    // What has expired since the export is left out.
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("HAYLOFT.expires", &b"1577934245"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("9/0/{COOKIE}")).unwrap();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, &b"x"[..]).unwrap();
    let late = target.dir.path().join("late.tar");
    std::fs::write(&late, tar.into_inner().unwrap()).unwrap();
    target.imports(&["--volume", "1"], &late, "1 photos were left out, since they have expired");
}

#[test]
fn import_from_pipe_stops_at_a_missing_volume() {
    let (_dir, tar, photos) = exported();
    let pipe = |store: &Store, args: &[&str]| {
        let mut command = store.command(args);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = std::fs::read(&tar).unwrap();
        let writer = std::thread::spawn(move || {
            // The import may stop before it has read everything.
            let _ = input.write_all(&bytes);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    };
    let store = Store::start();
    let output = pipe(&store, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = output_text(&output);
    assert!(text.contains("volume 2 does not exist") && text.contains("same command"), "{text}");
    let output = pipe(&store, &["--create-volumes", "64MiB"]);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    store.assert_holds(&photos);
}

#[test]
fn volume_map_and_volume_flag_redirect_photos() {
    let (_dir, tar, photos) = exported();
    let store = Store::start();
    let mapped = ["--volume-map", "2=7"];
    store.refuses(&mapped, &tar, &["volume 7 does not exist", "hayloft volume create 7"]);
    store.imports(&["--volume-map", "2=7", "--create-volumes", "64MiB"], &tar, "10 stored");
    store.assert_holds(&moved(&photos, |volume| if volume == 2 { 7 } else { 1 }));
    assert_eq!(store.needles().keys().copied().collect::<Vec<_>>(), [1, 7]);
    // Repeated and as a list; the volumes are swapped.
    let store = Store::start();
    store.create(2, 1);
    store.imports(&["--volume-map", "1=2", "--volume-map", "2=1,1=2"], &tar, "10 stored");
    let says = ["no photo of the tar comes from volumes 8 and 9", "come from volumes 1 and 2"];
    store.refuses(&["--volume-map", "1=1,9=9,8=1"], &tar, &says);
    store.assert_holds(&moved(&photos, |volume| 3 - volume));
    // One volume cannot take all of it while two photos would have the same URL.
    let collides =
        ["from volume 1 and from volume 2", "would go to volume 2", "key 1, alternate key 0"];
    store.refuses(&["--volume", "2"], &tar, &collides);
    store.refuses(&["--volume-map", "1=2"], &tar, &collides);
    let apart = tar_of(store.dir.path(), &[(Some("1"), 51), (Some("8"), 52), (None, 53)]);
    store.refuses(&[], &apart, &["volume 8 does not exist"]);
    store.imports(&["--volume", "2"], &apart, "3 stored");
    let mut client = store.daemon().client();
    for key in 51..54 {
        assert_eq!(client.get(&path((2, key, 0))).unwrap().body, b"photo");
    }
    store.imports(&["--volume", "5", "--create-volumes", "16MiB"], &apart, "3 stored");
    for wrong in ["2", "2=", "a=1", "1=2=3", "+1=2", "1=4294967296"] {
        let output = store.command(&["--volume-map", wrong]).arg(&tar).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    for wrong in [&["--volume-map", "1=2,1=3"][..], &["--volume", "1", "--volume-map", "1=2"]] {
        let output = store.command(wrong).arg(&tar).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let output = store.command(&["--volume-map", "1=2"]).arg(store.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output_text(&output).contains("--volume-map is for the photos of a tar"),
        "{}",
        output_text(&output)
    );
}

#[test]
fn duplicate_photo_is_an_error_within_one_volume() {
    let store = Store::start();
    store.create(2, 1);
    let twice = tar_of(store.dir.path(), &[(Some("1"), 5), (Some("2"), 6), (Some("1"), 5)]);
    store.refuses(&[], &twice, &["stands there twice"]);
    let twice = tar_of(store.dir.path(), &[(None, 5), (None, 5)]);
    store.refuses(&[], &twice, &["stands there twice"]);
    let legal = tar_of(store.dir.path(), &[(Some("1"), 5), (Some("2"), 5)]);
    store.imports(&[], &legal, "2 stored");
}

#[test]
fn tar_without_volumes_is_refused_if_ambiguous() {
    let store = Store::start();
    for volume in [2, 3] {
        store.create(volume, 1);
    }
    let tar = tar_of(store.dir.path(), &[(None, 5), (None, 6)]);
    let says = ["entry", "HAYLOFT.volume", "--volume N"];
    store.refuses(&["--volume-map", "1=2"], &tar, &says);
    let mut client = store.daemon().client();
    for (volume, body) in [(1, b"one"), (3, b"two")] {
        assert_eq!(client.put(&path((volume, 5, 0)), body).unwrap().status, 201);
    }
    let says = ["key 5, alternate key 0 is in volumes 1 and 3", "--volume N"];
    store.refuses(&[], &tar, &says);
    store.imports(&["--volume", "3"], &tar, "2 stored");
    assert_eq!(client.get(&path((1, 5, 0))).unwrap().body, b"one");
    client.request("DELETE", &path((1, 5, 0)), &[], None).unwrap();
    store.imports(&[], &tar, "0 stored (0 B), 2 there already");
}

#[test]
fn time_zero_and_form_media_types_are_imported() {
    let mut store = Store::start();
    let kind = "image/png";
    let photos: Photos =
        [((1, 1, 0), Photo { kind, modified: 0, body: bytes(1, 700) })].into_iter().collect();
    store.fill(&photos);
    store.assert_holds(&photos);
    let tar = store.dir.path().join("export.tar");
    store.export(&tar);
    let fresh = Store::start();
    fresh.imports(&[], &tar, "1 stored");
    fresh.assert_holds(&photos);
    // Older versions accepted such types and exported them.
    let mut tar = tar::Builder::new(Vec::new());
    for (key, kind) in
        [(5, "multipart/mixed; boundary=x"), (6, "application/x-www-form-urlencoded"), (7, kind)]
    {
        let kind = ("SCHILY.xattr.user.mime_type", kind.as_bytes());
        tar.append_pax_extensions([("HAYLOFT.volume", &b"1"[..]), kind]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &b"photo"[..]).unwrap();
    }
    let old = store.dir.path().join("old.tar");
    std::fs::write(&old, tar.into_inner().unwrap()).unwrap();
    fresh.imports(&[], &old, "2 photos had the media type of a form");
    let mut client = fresh.daemon().client();
    for (key, want) in [(5, "application/octet-stream"), (6, "application/octet-stream"), (7, kind)]
    {
        let got = client.get(&path((1, key, 0))).unwrap();
        assert_eq!((&got.body[..], got.header("content-type")), (&b"photo"[..], Some(want)));
    }
}

/// Inverts a byte of the first volume of the first disk, `at` bytes after the start of `body`.
fn damage(store: &Store, body: &[u8], at: i64) {
    let disk = std::fs::read_dir(store.disk(1)).unwrap();
    let file = disk
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "vol"));
    let file = file.unwrap();
    let volume = std::fs::read(&file).unwrap();
    let start = &body[..body.len().min(700)];
    let found = volume.windows(start.len()).position(|window| window == start).unwrap();
    let at = found.checked_add_signed(isize::try_from(at).unwrap()).unwrap();
    let file = File::options().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[volume[at] ^ 0xff], at as u64).unwrap();
}

#[test]
fn damaged_photo_is_stored_again() {
    let mut store = Store::start();
    let all = photos();
    let photos: Photos = all.into_iter().filter(|((volume, ..), _)| *volume == 1).collect();
    store.fill(&photos);
    let tar = store.dir.path().join("export.tar");
    store.export(&tar);
    // In the needle header, just before its media type.
    damage(&store, &photos[&(1, 1, 0)].body, -40);
    // Beyond what a HEAD reads.
    damage(&store, &photos[&(1, 3, 0)].body, 300_000);
    let args = vec!["--data".to_owned(), store.disk(2).display().to_string()];
    store.daemon = Some(Daemon::start(store.dir.path(), &Options { args, ..Options::default() }));
    let mut client = store.daemon().client();
    for (key, status) in [(1, 500), (3, 200)] {
        let head = client.request("HEAD", &path((1, key, 0)), &[], None).unwrap();
        assert_eq!(head.status, status, "{key}");
    }
    store.imports(&[], &tar, "1 stored (700 B), 4 there already");
    store.imports(&[], &tar, "their bytes were not read: --verify finds damaged ones");
    let output = store.command(&["--verify"]).arg(&tar).output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("1 stored (2.4 MiB), 4 there already"), "{text}");
    assert!(!text.contains("were not read"), "{text}");
    store.assert_holds(&photos);
    // The same from a pipe.
    let mut command = store.command(&["--verify", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&tar).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output_text(&output).contains("0 stored (0 B), 5 there already"),
        "{}",
        output_text(&output)
    );
}

#[test]
fn photo_in_read_only_volume_is_not_stored_twice() {
    let store = Store::start();
    store.create(2, 1);
    let tar = tar_of(store.dir.path(), &[(None, 5), (None, 6)]);
    let mut client = store.daemon().client();
    for key in [5, 6] {
        assert_eq!(client.put(&path((2, key, 0)), b"photo").unwrap().status, 201);
    }
    store.admin("POST", "/volumes/2/read-only", "");
    store.refuses(&[], &tar, &["volume 2 takes no writes: it is read-only", "--volume N"]);
    store.imports(&["--volume", "1"], &tar, "2 stored");
}

#[test]
fn too_large_entries_are_reported_first_and_not_sent() {
    let mut store = Store::start();
    let args = || vec!["--data".to_owned(), store.disk(2).display().to_string()];
    let (args, photos) = (args(), photos());
    store.create(2, 1);
    store.fill(&photos);
    let tar = store.dir.path().join("export.tar");
    store.export(&tar);
    let config = "[limits]\nlargest_body = \"1MiB\"\n".to_owned();
    let options = Options { args, config, ..Options::default() };
    store.daemon = Some(Daemon::start(store.dir.path(), &options));
    // Photos that are stored already cause no error.
    store.imports(&[], &tar, "10 there already");
    let mut client = store.daemon().client();
    client.request("DELETE", &path((1, 3, 0)), &[], None).unwrap();
    let puts = store.daemon().metric("hayloft_requests_total", "method=\"put\"");
    let output = store.command(&[]).arg(&tar).output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("9 there already, 1 failed"), "{text}");
    let named = format!("unless it is there already: 3/0/{COOKIE} (2500000 bytes)");
    assert!(text.contains(&named) && text.contains("1048576 bytes: raise it"), "{text}");
    assert!(text.contains(&format!("3/0/{COOKIE}: it has 2500000 bytes")), "{text}");
    assert_eq!(store.daemon().metric("hayloft_requests_total", "method=\"put\""), puts);
}

#[test]
fn offline_import_restores_photos_above_the_default_limit() {
    let mut store = Store { dir: data_dir(), daemon: None };
    let args = vec!["--data".to_owned(), store.disk(2).display().to_string()];
    let config = "[limits]\nlargest_body = \"100MiB\"\n".to_owned();
    let options = Options { args, config, volume_size: "256MiB", ..Options::default() };
    store.daemon = Some(Daemon::start(store.dir.path(), &options));
    let body = bytes(9, (64 << 20) + 1);
    let photo = Photo { kind: "image/tiff", modified: 7, body };
    let photos: Photos = [((1, 9, 0), photo)].into_iter().collect();
    store.fill(&photos);
    let tar = store.dir.path().join("export.tar");
    store.export(&tar);
    for disk in [1, 2] {
        std::fs::remove_dir_all(store.disk(disk)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg("import").arg("--data").arg(store.disk(1)).arg("--data").arg(store.disk(2));
    command.args(["--buffered", "--create-volumes", "256MiB"]).arg(&tar);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    store.daemon = Some(Daemon::start(store.dir.path(), &options));
    store.assert_holds(&photos);
    let output = store.command(&["--buffered"]).arg(&tar).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "only of --data: {}", output_text(&output));
}

#[test]
fn entry_longer_than_the_tar_is_reported() {
    let store = Store::start();
    let tar = tar_of(store.dir.path(), &[(Some("1"), 5), (Some("1"), 6)]);
    let mut bytes = std::fs::read(&tar).unwrap();
    let entry = bytes.windows(4).rposition(|window| window == b"6/0/").unwrap();
    let header = &mut bytes[entry..entry + 512];
    header[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    std::fs::write(&tar, bytes).unwrap();
    let output = store.command(&[]).arg(&tar).output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let says = format!("entry \"6/0/{COOKIE}\" is longer than the tar");
    assert!(text.contains(&says) && text.contains("1 stored"), "{text}");
}

#[test]
fn read_only_volume_refuses_import_before_storing() {
    let (_dir, tar, photos) = exported();
    let store = Store::start();
    store.create(2, 1);
    store.admin("POST", "/volumes/2/read-only", "");
    let command = format!("hayloft volume writable 2 --admin http://{}", store.daemon().admin);
    let says = ["volume 2 takes no writes: it is read-only", &*command];
    store.refuses(&[], &tar, &says);
    store.refuses(&["--create-volumes", "64MiB"], &tar, &says);
    let apart = tar_of(store.dir.path(), &[(None, 5)]);
    store.refuses(&["--volume", "2"], &apart, &says);
    store.admin("POST", "/volumes/2/writable", "");
    store.imports(&[], &tar, "10 stored");
    store.assert_holds(&photos);
}

#[test]
fn volume_that_becomes_full_is_named() {
    let (_dir, tar, _) = exported();
    let store = Store::with("16MiB");
    store.admin("POST", "/volumes", r#"{"id":2,"size":"16MiB"}"#);
    let mut client = store.daemon().client();
    let full = (0..20).any(|key| {
        let put = client.put(&path((2, 1000 + key, 0)), &bytes(key, 1 << 20)).unwrap();
        put.status == 507
    });
    assert!(full);
    let output = store.command(&[]).arg(&tar).output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for says in ["volume 2: the volume is full", "--volume-map 2=N", "same command"] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn too_small_volume_refuses_import_before_storing() {
    let store = Store::with("16MiB");
    let mut tar = tar::Builder::new(Vec::new());
    for key in 0..9 {
        let volume = if key == 0 { "1" } else { "2" };
        tar.append_pax_extensions([("HAYLOFT.volume", volume.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(2 << 20);
        let body = bytes(key, 2 << 20);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &body[..]).unwrap();
    }
    let path = store.dir.path().join("large.tar");
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let says = ["volume 2 has room for 15.", "the photos for it have 16.0 MiB"];
    store.refuses(&["--create-volumes", "15MiB"], &path, &["volume 2 has room for 15.0 MiB"]);
    assert_eq!(store.needles().len(), 1, "nor was it created");
    store.admin("POST", "/volumes", r#"{"id":2,"size":"16MiB"}"#);
    store.refuses(&[], &path, &says);
    store.admin("DELETE", "/volumes/2", "");
    store.imports(&["--create-volumes", "32MiB"], &path, "9 stored");
}

#[test]
fn volume_that_cannot_be_created_refuses_import() {
    let (_dir, tar, _) = exported();
    let store = Store::start();
    store.refuses(
        &["--create-volumes", "900TiB"],
        &tar,
        &["volume 2 was not created", "16MiB to 1TiB"],
    );
    store.refuses(
        &["--create-volumes", "1TiB"],
        &tar,
        &["volume 2 was not created", "does not fit"],
    );
}

#[test]
fn offline_import_creates_missing_volumes_on_request() {
    let (_dir, tar, photos) = exported();
    let mut store = Store::start();
    assert!(store.daemon.take().unwrap().stop().success());
    let import = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.arg("import").arg("--data").arg(store.disk(1)).arg("--data").arg(store.disk(2));
        command.args(args).arg(&tar).output().unwrap()
    };
    let output = import(&[]);
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for says in ["volume 2 does not exist", "--create-volumes SIZE", "nothing was stored"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(!text.contains("hayloft volume create"), "no daemon runs that could: {text}");
    let output = import(&["--create-volumes", "64MiB"]);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let args = vec!["--data".to_owned(), store.disk(2).display().to_string()];
    store.daemon = Some(Daemon::start(store.dir.path(), &Options { args, ..Options::default() }));
    store.assert_holds(&photos);
}

#[test]
fn every_format_of_gnu_tar_is_read() {
    let dir = data_dir();
    std::fs::create_dir_all(dir.path().join("7/0")).unwrap();
    std::fs::write(dir.path().join("7/0").join(COOKIE), "some bytes").unwrap();
    for format in ["v7", "oldgnu", "gnu", "ustar", "pax"] {
        for packed in ["7", "./7", "."] {
            let mut command = Command::new("tar");
            command.args(["--format", format, "--mtime=@1577934245", "-cf", "-", packed]);
            let output = command.current_dir(dir.path()).output().unwrap();
            assert!(output.status.success(), "{}", output_text(&output));
            let mut tar = Reader::new(&output.stdout[..]);
            let photo = tar.next_photo().unwrap().unwrap();
            let mut body = Vec::new();
            tar.read_to_end(&mut body).unwrap();
            assert_eq!((photo.name(), &body[..]), (format!("7/0/{COOKIE}"), &b"some bytes"[..]));
            assert_eq!(photo.modified_ns, Some(1_577_934_245_000_000_000), "{format}");
            assert!(tar.next_photo().unwrap().is_none(), "{format} {packed}");
        }
    }
}

#[test]
fn sparse_or_concatenated_tar_stores_nothing() {
    let store = Store::start();
    let place = store.dir.path().join("packed");
    std::fs::create_dir_all(place.join("6/0")).unwrap();
    std::fs::create_dir_all(place.join("7/0")).unwrap();
    std::fs::write(place.join("6/0").join(COOKIE), "whole").unwrap();
    let sparse = File::create(place.join("7/0").join(COOKIE)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"TAIL", 1 << 20).unwrap();
    let tar = store.dir.path().join("packed.tar");
    for format in [
        &["--format=pax", "--sparse-version=0.0"][..],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
        &["--format=gnu"],
        &["--format=oldgnu"],
    ] {
        let mut command = Command::new("tar");
        command.arg("--sparse").args(format).arg("-C").arg(&place).arg("-cf").arg(&tar);
        assert!(command.args(["6", "7"]).status().unwrap().success());
        let name = format!("7/0/{COOKIE}");
        store.refuses(&[], &tar, &["is a sparse file", &name]);
        let packed = std::fs::read(&tar).unwrap();
        let mut client = store.daemon().client();
        let reply = client.request("POST", "/1/batch", &[], Some(&packed)).unwrap();
        assert_eq!((reply.status, reply.text().lines().count()), (400, 1), "{}", reply.text());
        assert!(reply.text().contains("is a sparse file"), "{}", reply.text());
        assert_eq!(client.get(&path((1, 6, 0))).unwrap().status, 404);
    }
    let joined = [std::fs::read(tar_of(&place, &[(None, 1)])).unwrap(), vec![0; 1024]].concat();
    let joined = [&joined[..], &std::fs::read(tar_of(&place, &[(None, 2)])).unwrap()].concat();
    std::fs::write(&tar, joined).unwrap();
    store.refuses(&[], &tar, &["another tar follows"]);
}
