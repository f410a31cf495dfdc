//! `hayloft put` and `hayloft get`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{MODIFIED_NS, Place, assert_done, set_modified, text};
use crate::daemon_harness::bytes;

#[test]
fn put_and_get_transfer_photos_and_report_errors() {
    let place = Place::new();
    let (small, large) = (bytes(1, 1000), bytes(2, 5_000_000));
    std::fs::write(place.photos().join("a.jpg"), &small).unwrap();
    std::fs::write(place.photos().join("b.png"), &large).unwrap();
    set_modified(&place.photos().join("a.jpg"), MODIFIED_NS);
    let output = place.run(&["put", "photos/a.jpg", "photos/absent.jpg", "photos/b.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("absent.jpg: it cannot be read"), "{}", text(&output));
    let urls = String::from_utf8(output.stdout).unwrap();
    let urls: Vec<&str> = urls.lines().collect();
    let server = format!("http://{}", place.daemon.data);
    assert!(urls.len() == 2 && urls.iter().all(|url| url.starts_with(&server)), "{urls:?}");
    // A full URL overrides --server.
    let mut get = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    let get = get.args(["get", urls[0], "-o", "back.jpg", "--server", "127.0.0.1:1"]);
    assert_done(&get.current_dir(place.dir.path()).output().unwrap());
    let back = place.dir.path().join("back.jpg");
    assert!(std::fs::read(&back).unwrap() == small);
    let modified = back.metadata().unwrap().modified().unwrap();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(MODIFIED_NS / 1_000_000_000));
    assert_eq!(back.metadata().unwrap().permissions().mode() & 0o400, 0o400);
    // No file is overwritten without --force.
    let output = place.run(&["get", urls[1], "-o", "back.jpg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--force") && std::fs::read(&back).unwrap() == small);
    assert_done(&place.run(&["get", urls[1], "-o", "back.jpg", "--force"]));
    assert!(std::fs::read(&back).unwrap() == large);
    let path = urls[1].strip_prefix(&server).unwrap();
    let output = place.run(&["get", path]);
    assert!(output.status.success() && output.stdout == large);
    // Missing photos, invalid names, unusable files.
    for (words, code, why) in [
        (&["get", "/1/1/0/0123456789abcdef"][..], 1, "404"),
        (&["get", "/1/1/0"], 2, "names no photo"),
        (&["get", "https://a/1/1/0/0123456789abcdef"], 2, "no TLS"),
        (&["get", path, "-o", "no/such/dir"], 2, "cannot write"),
        (&["put", "photos/a.jpg", "--volume", "9"], 1, "no such volume"),
        (&["put", "photos"], 1, "no regular file"),
        (&["put", "photos/a.jpg", "--content-type", ""], 2, "visible characters"),
    ] {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
        assert!(text(&output).contains(why), "{words:?}: {}", text(&output));
    }
    let leftovers = std::fs::read_dir(place.dir.path()).unwrap();
    let leftovers = leftovers
        .filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().starts_with(b".hayloft"));
    assert_eq!(leftovers.count(), 0);
    // Standard input has no name to derive a type from.
    let mut put = place.command(&["put", "-", "--content-type", "image/webp", "--volume", "1"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    put.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    let output = put.wait_with_output().unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    let got = place.daemon.client().get(url.trim().strip_prefix(&server).unwrap()).unwrap();
    assert_eq!(
        (got.text().as_str(), got.header("content-type")),
        ("from a pipe", Some("image/webp"))
    );
    let modified = got.header("last-modified").unwrap().as_bytes();
    assert!(hayloft::http::date::parse(modified, began).unwrap() >= began);
}

/// A photo without a name or a known extension gets the media type of its first bytes; a page or a script
/// never does.
#[test]
fn media_type_is_sniffed_without_a_known_extension() {
    let place = Place::new();
    let photo = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/photo.jpg")).unwrap();
    let server = format!("http://{}", place.daemon.data);
    let type_of = |url: &str| {
        let path = url.strip_prefix(&server).unwrap();
        place.daemon.client().get(path).unwrap().header("content-type").unwrap().to_owned()
    };
    let put = |args: &[&str], stdin: &[u8]| {
        let mut put = place.command(&[&["put"], args].concat());
        let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        put.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = put.wait_with_output().unwrap();
        assert!(output.status.success());
        type_of(String::from_utf8(output.stdout).unwrap().trim())
    };
    assert_eq!(put(&["-"], &photo), "image/jpeg");
    assert_eq!(put(&["--content-type", "image/x-mine", "-"], &photo), "image/x-mine");
    assert_eq!(put(&["-"], b"<!DOCTYPE html><script>"), "application/octet-stream");
    assert_eq!(put(&["-"], b""), "application/octet-stream");
    std::fs::write(place.dir.path().join("upload"), &photo).unwrap();
    std::fs::write(place.dir.path().join("photo.png"), &photo).unwrap();
    assert_eq!(put(&["upload"], b""), "image/jpeg");
    assert_eq!(put(&["photo.png"], b""), "image/png", "a name counts more");
}
