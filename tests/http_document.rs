//! What docs/HTTP.md shows works as printed.

mod daemon_harness;

use std::process::Command;

use daemon_harness::{Daemon, Options, data_dir};

const DOCUMENT: &str = include_str!("../docs/HTTP.md");

/// A command of the document, and what it prints.
struct Example {
    command: &'static str,
    output: Vec<&'static str>,
}

fn examples() -> Vec<Example> {
    let (mut examples, mut inside) = (Vec::<Example>::new(), false);
    for line in DOCUMENT.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example { command, output: Vec::new() }),
                None => examples.last_mut().expect("a command comes first").output.push(line),
            }
        }
    }
    examples
}

/// Whether `text` is `pattern`, in which `...` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let ends = (0..=text.len()).filter(|&at| text.is_char_boundary(at));
    ends.into_iter().any(|at| fits(rest, &text[at..]))
}

/// The same for lines; a line of `...` alone stands for any lines.
fn all_fit(patterns: &[&str], lines: &[&str]) -> bool {
    match patterns {
        [] => lines.is_empty(),
        ["...", rest @ ..] => (0..=lines.len()).any(|at| all_fit(rest, &lines[at..])),
        [first, rest @ ..] => {
            lines.first().is_some_and(|line| fits(first, line)) && all_fit(rest, &lines[1..])
        }
    }
}

#[test]
fn patterns_fit_what_they_should() {
    assert!(fits("a...b", "a12b") && fits("...", "") && fits("x", "x"));
    assert!(!fits("a...b", "a12c") && !fits("x", "x1") && !fits("x...", "yx"));
    assert!(all_fit(&["a", "...", "c"], &["a", "b", "b", "c"]) && all_fit(&[], &[]));
    assert!(!all_fit(&["a"], &["a", "b"]) && !all_fit(&["a", "b"], &["a"]));
}

#[test]
fn its_examples_print_what_they_should() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let place = dir.path().join("here");
    std::fs::create_dir(&place).unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/photo.jpg");
    std::fs::copy(photo, place.join("photo.jpg")).unwrap();
    let examples = examples();
    for Example { command, output } in &examples {
        let command = command.replace("127.0.0.1:8080", &daemon.data.to_string());
        let done =
            Command::new("bash").args(["-c", &command]).current_dir(&place).output().unwrap();
        let (told, wrong) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{command}: {told}{wrong}");
        let lines: Vec<&str> = told.lines().collect();
        assert!(all_fit(output, &lines), "{command} prints\n{told}");
    }
    let requests = examples.iter().filter(|example| example.command.starts_with("curl")).count();
    assert!(requests >= 15, "only {requests} requests were found");
    let photo = std::fs::read(photo).unwrap();
    for name in ["back.jpg", "copy.jpg"] {
        assert!(std::fs::read(place.join(name)).unwrap() == photo, "another photo came back");
    }
    assert!(daemon.stop().success());
}
