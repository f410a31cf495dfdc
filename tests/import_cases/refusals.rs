//! Imports that do not begin.

use std::process::{Command, Stdio};

use super::{Place, assert_done, tar_of, text};

#[test]
fn admin_api_of_another_daemon_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    place.fill(3);
    std::fs::write(place.dir.path().join("x.tar"), tar_of(&[], Some("7"))).unwrap();
    let instance = |place: &Place| {
        let reply = place.daemon.client().get("/").unwrap();
        assert_eq!(reply.status, 405);
        let instance = reply.header("x-hayloft-instance").unwrap().to_owned();
        let status: serde_json::Value =
            serde_json::from_slice(&place.daemon.admin("/status").body).unwrap();
        assert_eq!(status["instance"], instance);
        assert!(
            instance.len() == 16 && instance.bytes().all(|b| b.is_ascii_hexdigit()),
            "{instance}"
        );
        instance
    };
    assert_ne!(instance(&place), instance(&other));
    assert!(place.daemon.client().get("/1").unwrap().header("x-hayloft-instance").is_none());
    for words in [
        &["photos"][..],
        &["photos", "--volume", "7", "--create-volumes", "16MiB"],
        &["photos", "--volume", "1"],
        &["x.tar", "--create-volumes", "16MiB"],
    ] {
        let mut import = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        import.arg("import").args(words).args(["--server", &other.daemon.data.to_string()]);
        import.args(["--admin", &place.daemon.admin.to_string()]).current_dir(place.dir.path());
        let output = import.output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains("belongs to another daemon"), "{words:?}: {text}");
    }
    for place in [&place, &other] {
        let volumes: serde_json::Value =
            serde_json::from_slice(&place.daemon.admin("/volumes").body).unwrap();
        assert_eq!(volumes.as_array().unwrap().len(), 1, "none was created");
        place.assert_needles(0);
    }
    assert!(!place.manifest().exists() && !place.journal().exists());
}

#[test]
fn import_that_cannot_start_explains_why() {
    let place = Place::new();
    place.fill(3);
    let refused = |words: &[&str], why: &str| {
        let output = place.run(words);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains(why), "{words:?}: {text}");
    };
    refused(&["import", "absent"], "cannot read absent");
    std::fs::write(place.dir.path().join("x.tar.gz"), b"\x1f\x8b\x08").unwrap();
    refused(&["import", "x.tar.gz"], "is compressed");
    std::fs::create_dir(place.dir.path().join("other")).unwrap();
    assert_done(&place.run(&["import", "photos"]));
    refused(&["import", "other", "--manifest", "photos.manifest.tsv"], "another manifest");
    refused(&["import", "photos", "--parallel", "0"], "1..=256");
    let mut away = place.command(&["import", "photos"]);
    let away = away.args(["--manifest", "m"]);
    let away = away.env("http_proxy", "http://127.0.0.1:1").output().unwrap();
    assert_done(&away);
    // The same manifest with another store: nothing counts as stored there.
    let second = Place::new();
    std::fs::remove_dir(second.photos()).unwrap();
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    elsewhere.args(["import", "photos", "--server", &second.daemon.data.to_string()]);
    elsewhere.args(["--volume", "1"]).current_dir(place.dir.path());
    let output = elsewhere.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--server"), "{}", text(&output));
    // Nor is the local admin API taken for that of another server.
    for flags in [&[][..], &["--volume", "7", "--create-volumes", "16MiB"]] {
        for path in ["photos", "-"] {
            let mut unpaired = Command::new(env!("CARGO_BIN_EXE_hayloft"));
            unpaired.args(["import", path, "--server", &second.daemon.data.to_string()]);
            unpaired.args(flags).stdin(Stdio::null()).current_dir(place.dir.path());
            let output = unpaired.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{flags:?}");
            assert!(text(&output).contains("name its admin API with --admin"), "{}", text(&output));
        }
    }
    let address = second.daemon.data.to_string();
    assert!(second.daemon.stop().success());
    let away = Command::new(env!("CARGO_BIN_EXE_hayloft"))
        .args(["put", "photos/d00/1.jpg", "--server", &address])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(2));
    assert!(text(&away).contains("is the daemon running?"), "{}", text(&away));
}
