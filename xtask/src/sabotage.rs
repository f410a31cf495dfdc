//! Negative controls: the tests are run against each mistake of `src/sabotage.rs`, and must notice it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::suite::{cargo, root};

/// Test binaries on the simulated disk, quick ones first.
const TESTS: [&str; 9] = [
    "engine",
    "states",
    "regressions",
    "golden",
    "golden_large",
    "batch",
    "large",
    "read_only",
    "crash",
];
/// A binary that takes longer than this with a mistake built in hangs (seconds).
const LONGEST: u32 = 300;
/// Names of tests shown for each mistake.
const SHOWN: usize = 3;

/// What noticed a mistake.
struct Caught {
    binary: &'static str,
    tests: Vec<String>,
    after: Duration,
}

/// Runs them all and prints which test caught which.
///
/// # Errors
/// When one was not noticed, or the tests cannot be built.
pub fn run() -> Result<(), Failed> {
    let source = std::fs::read_to_string(root().join("src/sabotage.rs"))
        .map_err(|error| Failed(format!("cannot read src/sabotage.rs: {error}")))?;
    let names = names(&source);
    if names.is_empty() {
        return Err(Failed("src/sabotage.rs names no sabotage".to_owned()));
    }
    let mut build = cargo(&["test", "--locked", "--no-run"]);
    for test in TESTS {
        build.args(["--test", test]);
    }
    crate::run(&mut build)?;
    println!("| sabotage | caught by | after |\n| --- | --- | --- |");
    let mut missed = Vec::new();
    for name in &names {
        match catch(name)? {
            Some(Caught { binary, tests, after }) => {
                let more = tests.len().saturating_sub(SHOWN);
                let shown: Vec<String> =
                    tests.iter().take(SHOWN).map(|test| format!("`{binary}::{test}`")).collect();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let seconds = after.as_secs_f64();
                println!("| {name} | {}{more} | {seconds:.1} s |", shown.join(", "));
            }
            None => {
                println!("| {name} | NOTHING | |");
                missed.push(name.as_str());
            }
        }
    }
    println!("\n{} of {} sabotages caught", names.len() - missed.len(), names.len());
    if missed.is_empty() {
        Ok(())
    } else {
        Err(Failed(format!("not caught: {}", missed.join(", "))))
    }
}

/// The names in the source: the strings behind `Variant = `.
fn names(source: &str) -> Vec<String> {
    let list = source.split_once("sabotages! {\n    ///").map_or("", |(_, list)| list);
    let list = list.split_once("\n}").map_or("", |(list, _)| list);
    let name = |line: &str| {
        let (_, quoted) = line.split_once(" = \"")?;
        Some(quoted.strip_suffix("\",")?.to_owned())
    };
    list.lines().filter_map(name).collect()
}

/// The first binary that fails, and which of its tests did.
fn catch(name: &str) -> Result<Option<Caught>, Failed> {
    let began = Instant::now();
    for binary in TESTS {
        let mut command = Command::new("timeout");
        command.arg(LONGEST.to_string()).arg(env!("CARGO"));
        command.args(["test", "--locked", "--quiet", "--test", binary]).current_dir(root());
        command.env("HAYLOFT_SABOTAGE", name).env("RUST_BACKTRACE", "0");
        let output = command
            .output()
            .map_err(|error| Failed(format!("the tests cannot be started: {error}")))?;
        if output.status.success() {
            continue;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tests = failures(&text);
        if tests.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed(format!("{binary} with {name} ended without a verdict: {said}")));
        }
        return Ok(Some(Caught { binary, tests, after: began.elapsed() }));
    }
    Ok(None)
}

/// The names under the last "failures:" of a test binary.
fn failures(text: &str) -> Vec<String> {
    let Some((_, list)) = text.rsplit_once("\nfailures:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| line.starts_with("    "));
    names.map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let source = std::fs::read_to_string(root().join("src/sabotage.rs")).unwrap();
        let names = names(&source);
        assert_eq!(names.first().map(String::as_str), Some("ack-before-flush"));
        assert_eq!(names.len(), source.matches("\",\n").count(), "{names:?}");
    }

    #[test]
    fn failures_are_read_from_the_end() {
        let text = "\nfailures:\n\n---- a stdout ----\nx\n\nfailures:\n    a\n    b\n\ntest result";
        assert_eq!(failures(text), ["a", "b"]);
        assert!(failures("all well").is_empty());
    }
}
