//! Imports of tar files and of pipes.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Place, assert_done, tar_of, text};
use crate::daemon_harness::{COOKIE, bytes};

#[test]
fn tar_import_keeps_names_types_and_times() {
    let place = Place::new();
    let (small, large) = (bytes(1, 1000), bytes(2, 2_500_000));
    let name = |key: u64| format!("{key}/0/{COOKIE}");
    let photos = [
        (name(1), "image/png", &small[..]),
        (name(u64::MAX), "image/jpeg", &large[..]),
        (format!("7/3/{COOKIE}"), "text/plain", &b""[..]),
    ];
    for volume in [Some("1"), None] {
        std::fs::write(place.dir.path().join("export.tar"), tar_of(&photos, volume)).unwrap();
        let text = assert_done(&place.run(&["import", "export.tar"]));
        let first = volume == Some("1");
        let want = if first { "3 stored (2.4 MiB)" } else { "0 stored (0 B), 3 there already" };
        assert!(text.contains(want), "{text}");
    }
    let mut client = place.daemon.client();
    for (name, kind, content) in &photos {
        let got = client.get(&format!("/1/{name}")).unwrap();
        assert!(got.status == 200 && got.body == *content, "{name}");
        assert_eq!(got.header("content-type"), Some(*kind));
        assert_eq!(got.header("last-modified"), Some("Thu, 02 Jan 2020 03:04:05 GMT"));
    }
    place.assert_needles(3);
    // Another cookie is a conflict; the other photo replaces the stored one.
    let photos = [
        (format!("1/0/{}", "f".repeat(16)), "image/png", &small[..]),
        (name(u64::MAX), "image/jpeg", &small[..]),
    ];
    let mut import = place.command(&["import", "-"]);
    let mut import =
        import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&tar_of(&photos, None)).unwrap();
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("409") && text(&output).contains("1 stored"),
        "{}",
        text(&output)
    );
    assert!(client.get(&format!("/1/{}", name(u64::MAX))).unwrap().body == small);
}

#[test]
fn truncated_or_foreign_tar_is_reported() {
    let place = Place::new();
    let tar = tar_of(&[(format!("1/0/{COOKIE}"), "image/png", &bytes(1, 2000))], None);
    let foreign = tar_of(&[("photo.jpg".to_owned(), "image/png", b"x")], None);
    for (bytes, why) in [
        (&tar[..tar.len() - 1024], "cut off"),
        (&tar[..2000], "cut off"),
        (&tar[..700], "cut off"),
        (&foreign[..], "is not {key}/{alt}/{cookie}"),
        (&[0; 1024][..], "no photo"),
        (b"some text that is no tar", "no tar"),
    ] {
        std::fs::write(place.dir.path().join("x.tar"), bytes).unwrap();
        let output = place.run(&["import", "x.tar"]);
        assert_eq!(output.status.code(), Some(1), "{why}: {}", text(&output));
        assert!(text(&output).contains(why), "{why}: {}", text(&output));
        assert!(!text(&output).contains("goes on from here"), "it would not: {}", text(&output));
    }
}

#[test]
fn signal_stops_an_import_waiting_for_its_pipe() {
    let place = Place::new();
    let path = "7/0/0123456789abcdef".to_owned();
    let tar = tar_of(&[(path.clone(), "image/png", b"photo")], None);
    // Before the first byte, and after a photo.
    for sent in [0, tar.len() - 1024] {
        let mut command = place.command(&["import", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut import = command.spawn().unwrap();
        let mut pipe = import.stdin.take().unwrap();
        pipe.write_all(&tar[..sent]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // The handler of SIGQUIT is installed last but one.
        let handles_signals = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", import.id())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            caught & (1 << (nix::libc::SIGQUIT - 1)) != 0
        };
        let is_stored = || place.daemon.client().get(&format!("/1/{path}")).unwrap().status == 200;
        while !handles_signals() || (sent > 0 && !is_stored()) {
            assert!(Instant::now() < deadline, "the import did not start to wait in time");
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(import.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        while import.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "one signal did not stop the import in time");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(pipe);
        let output = import.wait_with_output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("stopped early: it was interrupted"), "{text}");
        assert!(!text.contains("cut off") && !text.contains("cannot be read"), "{text}");
    }
}
