//! `hayloft check`, `dump` and `export` on data directories after clean stops, kills and damage.

mod daemon_harness;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daemon_harness::{COOKIE, Daemon, Options, bytes, data_dir};
use serde_json::Value;

/// Expected content type and body by key and alternate key.
type Model = BTreeMap<(u64, u32), (Option<&'static str>, Vec<u8>)>;

struct CommandOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

fn hayloft(dir: &Path, args: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg(args[0]).arg("--data").arg(dir.join("data")).args(&args[1..]);
    output_of(&mut command)
}

fn output_of(command: &mut Command) -> CommandOutput {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    CommandOutput { code: output.status.code(), out, err }
}

fn check(dir: &Path) -> (Option<i32>, Value) {
    let output = hayloft(dir, &["check", "--json"]);
    let document = serde_json::from_str(&output.out);
    (output.code, document.unwrap_or_else(|error| panic!("{error}: {}{}", output.out, output.err)))
}

/// Returns the finding of damage, of which there must be exactly one.
fn damage(document: &Value) -> &Value {
    let findings = document["findings"].as_array().unwrap();
    let damage: Vec<_> = findings.iter().filter(|f| f["severity"] == "damage").collect();
    assert_eq!(damage.len(), 1, "{document}");
    damage[0]
}

fn put(
    daemon: &Daemon,
    model: &mut Model,
    id: (u64, u32),
    media: Option<&'static str>,
    len: usize,
) {
    let body = bytes(id.0.rotate_left(7) ^ len as u64, len);
    let headers = media.map(|media| ("Content-Type", media));
    let path = format!("/1/{}/{}/{COOKIE}", id.0, id.1);
    let reply = daemon.client().request("PUT", &path, headers.as_slice(), Some(&body)).unwrap();
    assert!(matches!(reply.status, 201 | 204), "{}", reply.status);
    model.insert(id, (media, body));
}

fn fill(daemon: &Daemon) -> Model {
    let mut model = Model::new();
    let jpeg = Some("image/jpeg");
    for (id, media, len) in [
        ((1, 0), jpeg, 700),
        ((2, 0), Some("text/plain; a=\"b\\c\""), 0),
        ((3, 0), jpeg, 1 << 20),
        ((4, 7), Some("video/mp4"), 3 << 20),
        ((5, 0), None, 100_000),
        ((u64::MAX, u32::MAX), jpeg, 10),
        ((6, 0), jpeg, 500),
        ((7, 0), jpeg, 2 << 20),
        ((8, 0), jpeg, 1 << 20),
        // Replacements by longer, shorter and large bodies.
        ((1, 0), Some("image/png"), 900),
        ((5, 0), None, 3_000_000),
        ((3, 0), jpeg, 70_000),
    ] {
        put(daemon, &mut model, id, media, len);
    }
    for id in [(6, 0), (7, 0)] {
        let path = format!("/1/{}/{}/{COOKIE}", id.0, id.1);
        assert_eq!(daemon.client().request("DELETE", &path, &[], None).unwrap().status, 204);
        model.remove(&id);
    }
    model
}

fn filled_store() -> (tempfile::TempDir, Model) {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let model = fill(&daemon);
    assert!(daemon.stop().success());
    (dir, model)
}

fn volume(dir: &Path) -> PathBuf {
    dir.join("data/1.0.vol")
}

/// Offset of these bytes in the volume file.
fn find(dir: &Path, wanted: &[u8]) -> u64 {
    let file = std::fs::read(volume(dir)).unwrap();
    file.windows(wanted.len()).position(|window| window == wanted).expect("the bytes are stored")
        as u64
}

fn flip(dir: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(volume(dir)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    file.sync_all().unwrap();
}

/// Names in the data directory, file times and content of the volume: reveals any modification.
fn snapshot(dir: &Path) -> (Vec<String>, [i64; 6], Vec<u8>) {
    let names = std::fs::read_dir(dir.join("data")).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let there = std::fs::metadata(volume(dir)).unwrap();
    let times = [there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec()];
    let [a, b, c, d] = times;
    (names, [a, b, c, d, there.atime(), there.atime_nsec()], std::fs::read(volume(dir)).unwrap())
}

/// Runs all three commands and asserts that none modifies the data directory.
fn assert_commands_change_nothing(dir: &Path) {
    let before = snapshot(dir);
    // The snapshot itself changed the access time, so it is read afterwards.
    let access = std::fs::metadata(volume(dir)).unwrap();
    for args in [&["check"][..], &["dump"], &["export"], &["check", "--buffered"]] {
        hayloft(dir, args);
    }
    let after = snapshot(dir);
    assert_eq!(after.0, before.0, "names in the directory");
    assert_eq!(after.1[..4], before.1[..4], "times");
    assert_eq!(after.1[4..], [access.atime(), access.atime_nsec()], "time of access");
    assert!(after.2 == before.2, "the volume was changed");
}

/// Entry of a tar archive.
#[derive(Debug, PartialEq)]
struct Entry {
    body: Vec<u8>,
    media: Option<String>,
    volume: String,
    /// Of the pax record and of the ustar header.
    mtime: (String, u64),
    mode: u32,
}

fn entries(tar: &[u8]) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(tar);
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let records = entry.pax_extensions().unwrap().unwrap();
        let records: BTreeMap<String, String> = records
            .map(Result::unwrap)
            .map(|record| (record.key().unwrap().to_owned(), record.value().unwrap().to_owned()))
            .collect();
        let (seconds, mode) = (entry.header().mtime().unwrap(), entry.header().mode().unwrap());
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        let media = records.get("SCHILY.xattr.user.mime_type").cloned();
        let mtime = (records["mtime"].clone(), seconds);
        let volume = records["HAYLOFT.volume"].clone();
        let entry = Entry { body, media, volume, mtime, mode };
        assert!(found.insert(name, entry).is_none(), "duplicate entry");
    }
    found
}

fn export(dir: &Path) -> (Option<i32>, Vec<u8>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let output = command.arg("export").arg("--data").arg(dir.join("data")).output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

fn assert_contains(found: &BTreeMap<String, Entry>, model: &Model) {
    let names: Vec<_> = model.keys().map(|(key, alt)| format!("{key}/{alt}/{COOKIE}")).collect();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected);
    for (name, (media, body)) in names.iter().zip(model.values()) {
        let entry = &found[name];
        assert!(entry.body == *body, "{name} has wrong bytes");
        assert_eq!((entry.media.as_deref(), entry.volume.as_str()), (*media, "1"));
        assert_eq!(entry.mode, 0o644);
        let (seconds, nanos) = entry.mtime.0.split_once('.').unwrap();
        assert_eq!((seconds.parse(), nanos.len()), (Ok(entry.mtime.1), 9));
    }
}

#[test]
fn sound_volume_passes_check_and_is_exported_completely() {
    let (dir, model) = filled_store();
    let (code, document) = check(dir.path());
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(
        (&document["sound"], document["findings"].as_array().unwrap().len()),
        (&true.into(), 0)
    );
    let report = &document["volumes"][0];
    for (name, value) in [
        ("volume", 1),
        ("needles", model.len()),
        ("damaged_needles", 0),
        ("large_bodies", 2),
        ("damaged_places", 0),
        ("superblock_copies", 3),
    ] {
        assert_eq!(report[name], value, "{name}: {document}");
    }
    assert_eq!((&report["ending"], &report["state"]), (&"closed".into(), &"writable".into()));
    let text = hayloft(dir.path(), &["check"]);
    assert_eq!((text.code, text.out.lines().count()), (Some(0), 2), "{}", text.out);
    assert!(text.out.starts_with("volume 1: sound: ") && text.err.is_empty(), "{}", text.err);

    let dump = hayloft(dir.path(), &["dump"]);
    assert_eq!((dump.code, dump.err.as_str()), (Some(0), ""));
    let mut lines = dump.out.lines();
    assert!(
        lines.next().unwrap().starts_with("#volume\toffset\tlength\tkey\talt\tcookie\tkind\tsize")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), model.len());
    assert!(rows.is_sorted_by_key(|row| row[1].parse::<u64>().unwrap()));
    for row in &rows {
        let id = (row[3].parse().unwrap(), row[4].parse().unwrap());
        let (media, body) = &model[&id];
        let kind = if body.len() > 1 << 20 { "large" } else { "needle" };
        let media = media.unwrap_or("-").replace('\\', "\\\\");
        let etag = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(body));
        assert_eq!((row[0], row[5], row[6]), ("1", COOKIE, kind));
        assert_eq!((row[7], row[8], row[11]), (&*body.len().to_string(), &*media, &*etag));
        assert!(row[9].starts_with("20") && row[9].len() == 30 && row[9].ends_with('Z'), "{row:?}");
    }
    let hidden = hayloft(dir.path(), &["dump", "--no-cookies"]).out;
    assert!(!hidden.contains(COOKIE) && hidden.lines().count() == rows.len() + 1);
    let json = hayloft(dir.path(), &["dump", "--json"]).out;
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json.len(), rows.len());
    for (json, row) in json.iter().zip(&rows) {
        assert_eq!(json["key"].to_string(), row[3]);
        assert_eq!((json["cookie"].as_str(), json["etag"].as_str()), (Some(row[5]), Some(row[11])));
    }

    let (code, tar, err) = export(dir.path());
    assert_eq!(code, Some(0), "{err}");
    assert_contains(&entries(&tar), &model);
    assert_commands_change_nothing(dir.path());
}

#[test]
fn export_can_be_stored_as_a_batch() {
    let (dir, model) = filled_store();
    let (_, tar, _) = export(dir.path());
    let other = data_dir();
    let daemon = Daemon::start(other.path(), &Options::default());
    let reply = daemon.client().request("POST", "/1/batch", &[], Some(&tar)).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.text());
    for ((key, alt), (media, body)) in &model {
        let reply = daemon.client().get(&format!("/1/{key}/{alt}/{COOKIE}")).unwrap();
        assert!(reply.status == 200 && reply.body == *body, "{key}/{alt}");
        let expected = media.unwrap_or("application/octet-stream");
        assert_eq!(reply.header("content-type"), Some(expected));
    }
    assert!(daemon.stop().success());
}

#[test]
fn export_to_a_file_replaces_an_existing_one_only_with_force() {
    let (dir, model) = filled_store();
    let file = dir.path().join("out.tar");
    let name = file.to_str().unwrap();
    let first = hayloft(dir.path(), &["export", "--volume", "1", "-o", name]);
    assert_eq!((first.code, first.out.as_str()), (Some(0), ""), "{}", first.err);
    assert!(first.err.contains("7 photos"), "{}", first.err);
    assert_contains(&entries(&std::fs::read(&file).unwrap()), &model);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "mine").unwrap();
    let second = hayloft(dir.path(), &["export", "-o", name]);
    assert_eq!(second.code, Some(2));
    assert!(second.err.contains("--force"), "{}", second.err);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(hayloft(dir.path(), &["export", "-o", name, "--force"]).code, Some(0));
    assert_contains(&entries(&std::fs::read(&file).unwrap()), &model);
    let nowhere = dir.path().join("no/such/out.tar");
    let third = hayloft(dir.path(), &["export", "-o", nowhere.to_str().unwrap()]);
    assert_eq!(third.code, Some(2), "{}", third.err);
}

#[test]
fn damaged_needle_is_reported_by_name_and_not_exported() {
    let (dir, model) = filled_store();
    let (_, whole, _) = export(dir.path());
    let whole = entries(&whole);
    // Damages the data of a small needle, of one with a chunk table, and of the second part of a large body.
    for (id, within) in [((1, 0), 400), ((3, 0), 66_000), ((4, 7), (1 << 20) + 300_000)] {
        let (_, body) = &model[&id];
        let at = find(dir.path(), &body[within..within + 64]);
        flip(dir.path(), at);
        let (code, document) = check(dir.path());
        assert_eq!(code, Some(1));
        let found = damage(&document);
        assert_eq!((&found["key"], &found["alt"]), (&id.0.into(), &id.1.into()));
        let offset = found["offset"].as_u64().unwrap();
        assert!(found["text"].as_str().unwrap().contains("is damaged (chunk "), "{found}");
        assert_eq!(document["total"]["damaged_needles"], 1);
        let text = hayloft(dir.path(), &["check"]);
        let name = format!("volume 1, byte {offset}, needle {}/{}", id.0, id.1);
        assert!(text.out.starts_with(&format!("damage: {name}: ")), "{}", text.out);
        assert!(
            !text.out.contains(COOKIE) && text.out.contains("volume 1: DAMAGED"),
            "{}",
            text.out
        );

        let dump = hayloft(dir.path(), &["dump"]);
        assert_eq!(dump.code, Some(1));
        assert!(dump.out.contains(&format!("\n# {name}: damaged: chunk ")), "{}", dump.out);
        assert_eq!(dump.out.lines().filter(|line| !line.starts_with('#')).count(), model.len() - 1);

        let (code, tar, err) = export(dir.path());
        assert_eq!(code, Some(1));
        assert!(err.contains(&format!("left out: {name}: damaged: chunk ")), "{err}");
        let lost = format!("{}/{}/{COOKIE}", id.0, id.1);
        let found = entries(&tar);
        assert_eq!(found.len(), whole.len() - 1);
        assert!(!found.contains_key(&lost));
        assert!(
            found.iter().all(|(name, entry)| whole[name] == *entry),
            "the others are unchanged"
        );
        assert_commands_change_nothing(dir.path());
        flip(dir.path(), at);
    }
    assert_eq!(check(dir.path()).0, Some(0));
}

#[test]
fn damaged_superblock_and_headers_are_reported_not_repaired() {
    let (dir, model) = filled_store();
    flip(dir.path(), 40);
    let (code, document) = check(dir.path());
    assert_eq!((code, &damage(&document)["offset"]), (Some(1), &0.into()));
    assert_eq!(document["volumes"][0]["superblock_copies"], 2);
    assert_commands_change_nothing(dir.path());
    // No needle is affected.
    assert_eq!(hayloft(dir.path(), &["dump"]).code, Some(0));
    assert_eq!(export(dir.path()).0, Some(0));
    flip(dir.path(), 40);

    // The header of a live needle: found by recovery and by the walk, reported once.
    let dump = hayloft(dir.path(), &["dump"]).out;
    let row = dump.lines().find(|line| line.split('\t').nth(3) == Some("1")).unwrap();
    let at: u64 = row.split('\t').nth(1).unwrap().parse().unwrap();
    flip(dir.path(), at + 20);
    let (code, document) = check(dir.path());
    assert_eq!((code, &damage(&document)["key"]), (Some(1), &1.into()));
    assert_eq!(document["volumes"][0]["damaged_places"], 1);
    assert_eq!(hayloft(dir.path(), &["dump"]).out.lines().count(), model.len() + 1);
    // A commit record: the log is damaged, but no live needle.
    flip(dir.path(), at + 20);
    flip(dir.path(), 65_536 + 20);
    let (code, document) = check(dir.path());
    assert_eq!((code, &damage(&document)["offset"]), (Some(1), &65_536.into()));
    assert_eq!(document["total"]["damaged_needles"], 0);
    let text = hayloft(dir.path(), &["check"]).out;
    assert!(text.starts_with("damage: volume 1, byte 65536: "), "{text}");
    assert_eq!(export(dir.path()).0, Some(0));
}

#[test]
fn kill_loses_no_needle_and_a_torn_tail_is_not_damage() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let model = fill(&daemon);
    let mut last = Model::new();
    // A tail hint is written after an idle second, so no hint covers this commit.
    put(&daemon, &mut last, (50, 0), None, 5000);
    daemon.kill();
    assert_commands_change_nothing(dir.path());
    let (code, document) = check(dir.path());
    assert_eq!((code, &document["volumes"][0]["ending"]), (Some(0), &"open".into()), "{document}");
    assert_eq!(document["total"]["needles"], model.len() + 1);
    let (_, tar, _) = export(dir.path());
    let whole: Model =
        model.iter().chain(&last).map(|(id, needle)| (*id, needle.clone())).collect();
    assert_contains(&entries(&tar), &whole);

    // Simulates a power cut in the middle of the last write.
    let body = &last[&(50, 0)].1;
    flip(dir.path(), find(dir.path(), &body[4000..4064]));
    assert_commands_change_nothing(dir.path());
    let (code, document) = check(dir.path());
    assert_eq!((code, &document["volumes"][0]["ending"]), (Some(0), &"torn".into()), "{document}");
    let findings = document["findings"].as_array().unwrap();
    assert!(findings.len() == 1 && findings[0]["severity"] == "note", "{document}");
    let text = hayloft(dir.path(), &["check"]).out;
    assert!(text.starts_with("note: volume 1, byte ") && text.contains("cut off"), "{text}");
    assert_contains(&entries(&export(dir.path()).1), &model);
}

#[test]
fn unopenable_or_ambiguous_volumes_are_reported() {
    let (dir, _) = filled_store();
    let path = volume(dir.path());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 8192]).unwrap();
    let text = hayloft(dir.path(), &["check"]);
    assert_eq!(text.code, Some(1));
    assert!(text.out.contains("1.0.vol cannot be opened: the file is "), "{}", text.out);
    assert!(
        text.out.contains("restore it whole") && text.out.contains("not checked 1"),
        "{}",
        text.out
    );
    let dump = hayloft(dir.path(), &["dump"]);
    assert!(dump.code == Some(1) && dump.out.contains("\n# volume 1: damaged: "), "{}", dump.out);
    let (code, tar, err) = export(dir.path());
    assert!(
        code == Some(1) && entries(&tar).is_empty() && err.contains("left out: volume 1"),
        "{err}"
    );
    std::fs::write(&path, "").unwrap();
    assert_eq!(check(dir.path()).0, Some(1));

    std::fs::write(&path, &whole).unwrap();
    std::fs::write(dir.path().join("data/1.1.vol"), "").unwrap();
    let text = hayloft(dir.path(), &["check"]);
    assert_eq!(text.code, Some(1));
    assert!(
        text.out.contains("has 2 files, ")
            && text.out.contains("1.1.vol: generation 1 cannot be used"),
        "{}",
        text.out
    );
    assert_eq!(export(dir.path()).0, Some(1));
}

#[test]
fn missing_empty_or_locked_data_directories_are_refused() {
    let dir = data_dir();
    let absent = hayloft(dir.path(), &["check"]);
    assert_eq!(absent.code, Some(2));
    assert!(absent.err.contains("does not exist") && absent.out.is_empty(), "{}", absent.err);
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let empty = hayloft(dir.path(), &["dump"]);
    assert!(empty.code == Some(2) && empty.err.contains("not a data directory"), "{}", empty.err);
    assert_eq!(
        std::fs::read_dir(dir.path().join("data")).unwrap().count(),
        0,
        "nothing is created"
    );

    let daemon = Daemon::start(dir.path(), &Options::default());
    for command in ["check", "dump", "export"] {
        let locked = hayloft(dir.path(), &[command]);
        assert_eq!(locked.code, Some(2));
        let holder = format!("is locked by process {}; stop that daemon", daemon.child.id());
        assert!(locked.err.contains(&holder), "{}", locked.err);
    }
    assert!(daemon.stop().success());
    let unknown = hayloft(dir.path(), &["check", "--volume", "1", "--volume", "7"]);
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.err.contains("no volume 7") && unknown.err.contains("only volume 1"),
        "{}",
        unknown.err
    );
    let twice =
        hayloft(dir.path(), &["check", "--data", dir.path().join("data").to_str().unwrap()]);
    assert!(twice.code == Some(2) && twice.err.contains("name it once"), "{}", twice.err);
    // An empty volume passes.
    assert_eq!(check(dir.path()).0, Some(0));
}

#[test]
fn data_directories_are_read_from_the_configuration() {
    let (dir, _) = filled_store();
    let config = dir.path().join("other.toml");
    std::fs::write(&config, format!("data = [{:?}]\n", dir.path().join("data"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let text = output_of(command.arg("check").arg("--config").arg(&config));
    assert!(text.code == Some(0) && text.out.contains("needles 7"), "{}{}", text.out, text.err);
    std::fs::write(&config, "dta = []\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let text = output_of(command.arg("check").arg("--config").arg(&config));
    assert!(text.code == Some(2) && text.err.contains("dta"), "{}", text.err);
}

#[test]
fn golden_images_pass_the_check() {
    for (image, needles) in [("v1.vol", 6), ("v1-large.vol", 4)] {
        let dir = data_dir();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(image);
        std::fs::copy(golden, volume(dir.path())).unwrap();
        let store: String = b"a store of tests".iter().map(|byte| format!("{byte:02x}")).collect();
        let marker =
            format!("format = 1\nstore_id = \"{store}\"\ncreated = 1970-01-01T00:00:00Z\n");
        std::fs::write(dir.path().join("data/hayloft.toml"), marker).unwrap();
        let (code, document) = check(dir.path());
        assert_eq!(code, Some(0), "{image}: {document}");
        assert_eq!(document["total"]["needles"], needles, "{image}: {document}");
        assert_commands_change_nothing(dir.path());
    }
}

#[test]
fn dump_ends_without_error_when_its_reader_closes_the_pipe() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let mut tar = tar::Builder::new(Vec::new());
    for key in 0..1000 {
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, format!("{key}/0/{COOKIE}"), &b"x"[..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    assert_eq!(daemon.client().request("POST", "/1/batch", &[], Some(&tar)).unwrap().status, 201);
    assert!(daemon.stop().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command.arg("dump").arg("--data").arg(dir.path().join("data"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(100, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("#volume"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Runs the command as a user without write permission, who cannot open the lock file at first.
#[test]
fn check_works_with_read_permission_only() {
    let is_root = nix::unistd::geteuid().is_root();
    assert!(
        is_root,
        "this test runs a command as another user, which only root may: run it as root"
    );
    let (dir, model) = filled_store();
    let set = |path: PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Copied by another process: a concurrent fork would inherit a descriptor open for writing (ETXTBSY).
    let copy = dir.path().join("hayloft");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_hayloft")).arg(&copy).status();
    assert!(copied.unwrap().success());
    for (name, mode) in [("", 0o755), ("hayloft", 0o755), ("data", 0o755), ("data/1.0.vol", 0o644)]
    {
        set(dir.path().join(name), mode);
    }
    let before = snapshot(dir.path());
    let run = || {
        let mut command = Command::new(&copy);
        output_of(
            command
                .args(["check", "--json", "--data"])
                .arg(dir.path().join("data"))
                .uid(65_534)
                .gid(65_534),
        )
    };
    let unlocked = run();
    assert_eq!(unlocked.code, Some(0), "{}", unlocked.err);
    assert!(unlocked.err.contains("could not be locked"), "{}", unlocked.err);
    let document: Value = serde_json::from_str(&unlocked.out).unwrap();
    assert_eq!(document["total"]["needles"], model.len());
    set(dir.path().join("data/LOCK"), 0o644);
    let locked = run();
    assert_eq!((locked.code, locked.err.as_str()), (Some(0), ""));
    let after = snapshot(dir.path());
    assert_eq!((after.0, &after.1[..2]), (before.0, &before.1[..2]));
    assert!(after.2 == before.2);
}
