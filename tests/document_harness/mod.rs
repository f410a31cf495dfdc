//! Runs the commands of a document and compares their output with the documented one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// The data API of the documents.
const DATA: &str = "127.0.0.1:8080";
/// The admin API of the documents.
const ADMIN: &str = "127.0.0.1:8081";

/// A command of a document and its output.
struct Example<'a> {
    command: &'a str,
    output: Vec<&'a str>,
}

/// Examples in the blocks marked `console`: commands after `$ `, each followed by its output.
fn examples(document: &str) -> Vec<Example<'_>> {
    let (mut examples, mut inside) = (Vec::<Example>::new(), false);
    for line in document.lines() {
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

/// Whether `text` matches `pattern`, in which `...` matches anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let ends = (0..=text.len()).filter(|&at| text.is_char_boundary(at));
    ends.into_iter().any(|at| fits(rest, &text[at..]))
}

/// The same for lines; a line `...` matches any lines.
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
fn patterns_match_with_wildcards() {
    assert!(fits("a...b", "a12b") && fits("...", "") && fits("x", "x"));
    assert!(!fits("a...b", "a12c") && !fits("x", "x1") && !fits("x...", "yx"));
    assert!(all_fit(&["a", "...", "c"], &["a", "b", "b", "c"]) && all_fit(&[], &[]));
    assert!(!all_fit(&["a"], &["a", "b"]) && !all_fit(&["a", "b"], &["a"]));
}

/// Runs all commands of `document` in `work_dir`, in order, against a daemon at other addresses than the
/// document's. Returns the number of commands that begin with `with`.
pub fn run(
    document: &str,
    work_dir: &Path,
    data: SocketAddr,
    admin: SocketAddr,
    with: &str,
) -> usize {
    let examples = examples(document);
    for Example { command, output } in &examples {
        let command = command.replace(DATA, &data.to_string()).replace(ADMIN, &admin.to_string());
        let done =
            Command::new("bash").args(["-c", &command]).current_dir(work_dir).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{command}: {stdout}{stderr}");
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(all_fit(output, &lines), "{command} prints\n{stdout}");
    }
    examples.iter().filter(|example| example.command.starts_with(with)).count()
}
