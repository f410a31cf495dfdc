//! What the README shows works as printed.

mod daemon_harness;

use std::process::Command;

use daemon_harness::{Daemon, Options, data_dir};

const README: &str = include_str!("../README.md");

#[test]
fn its_curl_lines_put_and_get_a_photo() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let back = dir.path().join("photo.jpg");
    let lines = README
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.starts_with("curl"));
    let mut ran = 0;
    for line in lines {
        let line = line
            .replace("127.0.0.1:8080", &daemon.data.to_string())
            .replace("/tmp/photo.jpg", back.to_str().unwrap());
        let root = env!("CARGO_MANIFEST_DIR");
        let done = Command::new("bash").args(["-c", &line]).current_dir(root).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        ran += 1;
        if line.contains("-o ") {
            let photo = std::fs::read(format!("{root}/docs/photo.jpg")).unwrap();
            assert!(std::fs::read(&back).unwrap() == photo, "another photo came back");
        }
    }
    assert_eq!(ran, 3, "put, get, delete");
}

#[test]
fn its_first_commands_are_the_ones_to_start_and_to_test() {
    let commands: Vec<&str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.starts_with("cargo"))
        .collect();
    assert_eq!(commands, ["cargo run --release -- serve", "cargo xtask test"]);
    let ci = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/run")).unwrap();
    assert!(ci.lines().last().unwrap().ends_with(commands[1]), "CI runs what the README says");
}
