//! The commands in the README work as printed.

mod daemon_harness;

use std::path::Path;
use std::process::Command;

use daemon_harness::{Daemon, Options, data_dir};

const README: &str = include_str!("../README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Commands of the README whose program is `first`.
fn commands(first: &str) -> impl Iterator<Item = &'static str> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.filter(move |line| line.split(' ').next() == Some(first))
}

fn run(line: &str) -> String {
    let done = Command::new("bash").args(["-c", line]).current_dir(ROOT).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{line}: {}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// Commands of the README whose program is `first`, each with its documented output.
fn transcript(first: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut lines = README.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
            expected += &format!("{line}\n");
        }
        if command.split(' ').next() == Some(first) {
            found.push((command, expected));
        }
    }
    found
}

#[test]
fn curl_commands_print_the_documented_output() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let back = dir.path().join("photo.jpg");
    let transcript = transcript("curl");
    assert_eq!(transcript.len(), 3, "put, get, delete");
    for (line, expected) in transcript {
        let line = line
            .replace("127.0.0.1:8080", &daemon.data.to_string())
            .replace("/tmp/photo.jpg", back.to_str().unwrap());
        assert_eq!(run(&line), expected, "{line}");
        if line.contains("-o ") {
            let photo = std::fs::read(format!("{ROOT}/docs/photo.jpg")).unwrap();
            assert!(std::fs::read(&back).unwrap() == photo, "another photo came back");
        }
    }
}

/// A command with the addresses of the daemon and the directory of the test in place of the defaults.
fn adapted(line: &str, dir: &Path, daemon: Option<&Daemon>) -> String {
    let binary = env!("CARGO_BIN_EXE_hayloft");
    let line = line.replace("/tmp/", &format!("{}/", dir.display()));
    let rest = line.strip_prefix("hayloft ").expect("a hayloft command");
    let command = rest.split(' ').next().unwrap();
    let own = match (command, daemon) {
        ("check" | "export", _) if !rest.contains("--data") => {
            format!("--data {}/data", dir.display())
        }
        ("check" | "export", _) => String::new(),
        ("import", _) if rest.contains("--data") => String::new(),
        ("import", Some(daemon)) => format!("--server {} --admin {}", daemon.data, daemon.admin),
        ("volume" | "list" | "nginx-config", Some(daemon)) => format!("--admin {}", daemon.admin),
        _ => panic!("{line} is not expected here"),
    };
    match rest.split_once(" > ") {
        Some((rest, file)) => format!("{binary} {rest} {own} > {file}"),
        None => format!("{binary} {rest} {own}"),
    }
}

#[test]
fn hayloft_commands_of_the_tour_succeed() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let lines: Vec<&str> = commands("hayloft").collect();
    let stops = lines.iter().position(|line| line.starts_with("hayloft check")).unwrap();
    let (online, offline) = lines.split_at(stops);
    for line in online {
        let said = run(&adapted(line, dir.path(), Some(&daemon)));
        if line.starts_with("hayloft volume list") {
            assert!(said.contains("read_only") && said.contains("writable"), "{said}");
        }
    }
    let manifest = std::fs::read_to_string(dir.path().join("docs.tsv")).unwrap();
    let photo = manifest.lines().find(|line| line.starts_with("photo.jpg\t")).unwrap();
    let path = photo.split('\t').nth(1).unwrap();
    assert_eq!(daemon.client().get(path).unwrap().header("content-type"), Some("image/jpeg"));
    assert!(daemon.stop().success());
    let said: Vec<String> =
        offline.iter().map(|line| run(&adapted(line, dir.path(), None))).collect();
    assert_eq!(
        (online.len(), offline.len()),
        (6, 4),
        "number of commands before and after the stop"
    );
    assert!(said.iter().filter(|said| said.contains("total: sound")).count() == 2, "{said:?}");
}

#[test]
fn cargo_commands_start_the_daemon_and_run_the_ci_tests() {
    let commands: Vec<&str> = commands("cargo").collect();
    assert_eq!(commands, ["cargo run --release -- serve", "cargo xtask test"]);
    let ci = std::fs::read_to_string(format!("{ROOT}/.ci/run")).unwrap();
    assert!(ci.lines().last().unwrap().ends_with(commands[1]), "CI runs the command of the README");
}
