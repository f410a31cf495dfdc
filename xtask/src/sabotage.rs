//! Negative controls: enables each deliberate mistake of `src/base/sabotage.rs` and checks that the tests
//! detect it.

mod known;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use known::KNOWN;

use crate::process::{Failed, run};
use crate::project::{cargo, root, target};
use crate::test_binaries;

/// Test binaries and the part of each that runs, fast ones first; the last two start daemons.
const TESTS: [(&str, &str); 36] = [
    (VOLUME, "errors::"),
    (VOLUME, "engine::"),
    (VOLUME, "generations::"),
    (VOLUME, "near_the_end::"),
    (VOLUME, "reserved_space::"),
    (VOLUME, "reserved_space_crash::"),
    (VOLUME, "states::"),
    (VOLUME, "no_buffer::"),
    (VOLUME, "regressions::"),
    (VOLUME, "golden::"),
    (VOLUME, "golden_large::"),
    (VOLUME, "batch::"),
    (VOLUME, "large::"),
    (VOLUME, "multi_delete::"),
    (VOLUME, "expiry::"),
    (VOLUME, "undelete::"),
    (VOLUME, "scrub::"),
    (VOLUME, "health::"),
    (VOLUME, "pull::"),
    (VOLUME, "cluster_volumes::"),
    (VOLUME, "record_stream::"),
    (VOLUME, "read_only::"),
    (VOLUME, "losses::"),
    (VOLUME, "checkpoints::"),
    (VOLUME, "oldest_dead::"),
    ("simulation", ""),
    (VOLUME, "compaction::"),
    (VOLUME, "compaction_faults::"),
    (VOLUME, "compaction_order::"),
    (VOLUME, "compaction_rules::"),
    ("copies", ""),
    (VOLUME, "crash::"),
    ("shards", ""),
    (LIB, ""),
    ("volumes", ""),
    ("logging", ""),
];
/// The tests of a volume on the simulated disk.
const VOLUME: &str = "volume";
/// The unit tests of the library.
const LIB: &str = "lib";
/// Timeout of a test binary with a mistake enabled, which may hang it (seconds).
const LONGEST: u32 = 300;
/// Maximum number of test names printed per mistake.
const SHOWN: usize = 3;
/// Environment variable that enables a mistake. Release builds do not contain it.
const VARIABLE: &str = "HAYLOFT_SABOTAGE";

/// Detection of a mistake.
struct Detection {
    binary: String,
    tests: Vec<String>,
    after: Duration,
}

/// Runs the negative controls and prints which test detected which mistake. Runs the known test of each
/// mistake, or with `all` every test that might detect it.
///
/// # Errors
/// When a mistake was not detected, the tests cannot be built, or, with `all`, the product contains the
/// mistakes.
pub fn run_all(all: bool) -> Result<(), Failed> {
    let binaries = build()?;
    let (caught, of) = catch_all(all, &binaries)?;
    if caught < of {
        return Err(Failed(format!("{} mistakes were not detected", of - caught)));
    }
    if all { check_product(&binaries) } else { Ok(()) }
}

/// Number of mistakes detected by their known tests, and number of all mistakes.
///
/// # Errors
/// When the tests cannot be built or run.
pub fn caught() -> Result<(usize, usize), Failed> {
    catch_all(false, &build()?)
}

/// Runs the negative controls and prints the results; returns the number of detected and of all mistakes.
fn catch_all(all: bool, binaries: &[(String, PathBuf)]) -> Result<(usize, usize), Failed> {
    let source = std::fs::read_to_string(root().join("src/base/sabotage.rs"))
        .map_err(|error| Failed(format!("cannot read src/base/sabotage.rs: {error}")))?;
    let names = names(&source);
    check_known(binaries)?;
    println!("| sabotage | caught by | after |\n| --- | --- | --- |");
    let mut caught = 0;
    for name in &names {
        let found = if all { catch(name, binaries)? } else { catch_known(name, binaries)? };
        let Some(Detection { binary, tests, after }) = found else {
            println!("| {name} | NOT DETECTED | |");
            continue;
        };
        caught += 1;
        let more = tests.len().saturating_sub(SHOWN);
        let shown: Vec<String> =
            tests.iter().take(SHOWN).map(|test| format!("`{binary}::{test}`")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        println!("| {name} | {}{more} | {:.1} s |", shown.join(", "), after.as_secs_f64());
    }
    println!("\n{caught} of {} sabotages caught", names.len());
    Ok((caught, names.len()))
}

/// Names of the mistakes in the source: the strings after `Variant = `.
fn names(source: &str) -> Vec<String> {
    let list = source.split_once("sabotages! {\n    ///").map_or("", |(_, list)| list);
    let list = list.split_once("\n}").map_or("", |(list, _)| list);
    let name = |line: &str| {
        let (_, quoted) = line.split_once(" = \"")?;
        Some(quoted.strip_suffix("\",")?.to_owned())
    };
    list.lines().filter_map(name).collect()
}

/// Builds the test binaries; returns their names and paths.
fn build() -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut build = cargo(&["test", "--workspace", "--locked", "--no-run"]);
    for test in BTreeSet::from(TESTS.map(|(binary, _)| binary)) {
        match test {
            LIB => build.arg("--lib"),
            test => build.args(["--test", test]),
        };
    }
    run(&mut build)?;
    // A second run prints the paths without building.
    let output =
        build.output().map_err(|error| Failed(format!("cargo cannot be started: {error}")))?;
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let binaries: Vec<_> = output.lines().filter_map(executable).collect();
    match TESTS.iter().find(|(test, _)| !binaries.iter().any(|(name, _)| name == test)) {
        None => Ok(binaries),
        Some((test, _)) => {
            Err(Failed(format!("cargo does not say where the test {test} is:\n{output}")))
        }
    }
}

/// Name and path out of `  Executable tests/name.rs (path)`, or of the line of the library's unit tests.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let (source, path) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
    let path = root().join(path.strip_suffix(')')?);
    if source == "unittests src/lib.rs" {
        // Other members of the workspace are libraries too.
        let file = path.file_name()?.to_str()?;
        return file.starts_with("hayloft-").then(|| (LIB.to_owned(), path));
    }
    Some((test_binaries::name_of(Path::new(source))?.to_owned(), path))
}

fn run_test(path: &Path, args: &[&str], sabotage: Option<&str>) -> Result<Output, Failed> {
    let mut command = Command::new("timeout");
    command.arg(LONGEST.to_string()).arg(path).args(args).current_dir(root());
    command.env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    if let Some(sabotage) = sabotage {
        command.env(VARIABLE, sabotage);
    }
    command.output().map_err(|error| Failed(format!("the tests cannot be started: {error}")))
}

/// Checks that the tests pass without a mistake; otherwise they would prove nothing.
fn check_known(binaries: &[(String, PathBuf)]) -> Result<(), Failed> {
    let known: BTreeSet<_> = KNOWN.iter().map(|(_, binary, test)| (*binary, *test)).collect();
    for (binary, test) in known {
        let path =
            &binaries.iter().find(|(name, _)| name == binary).expect("build() returns all").1;
        if !run_test(path, &["--exact", test], None)?.status.success() {
            return Err(Failed(format!("{binary}::{test} fails without any mistake enabled")));
        }
    }
    Ok(())
}

/// Runs the known test of a mistake.
fn catch_known(name: &str, binaries: &[(String, PathBuf)]) -> Result<Option<Detection>, Failed> {
    let began = Instant::now();
    let known = KNOWN.iter().find(|(known, ..)| *known == name);
    let Some((_, binary, test)) = known else {
        return Err(Failed(format!("no test is listed for {name}; find one with `--all`")));
    };
    let path = &binaries.iter().find(|(name, _)| name == binary).expect("build() returns all").1;
    let output = run_test(path, &["--exact", test], Some(name))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains("\nrunning 1 test\n") {
        return Err(Failed(format!("there is no test {binary}::{test}")));
    }
    let caught = Detection {
        binary: (*binary).to_owned(),
        tests: vec![(*test).to_owned()],
        after: began.elapsed(),
    };
    Ok((!output.status.success()).then_some(caught))
}

/// Runs the test binaries until one fails; returns it with its failed tests.
fn catch(name: &str, binaries: &[(String, PathBuf)]) -> Result<Option<Detection>, Failed> {
    let began = Instant::now();
    for (test, filter) in TESTS {
        let (binary, path) =
            binaries.iter().find(|(name, _)| name == test).expect("build() returns all");
        let output = run_test(path, &[filter], Some(name))?;
        if output.status.success() {
            continue;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tests = failures(&text);
        if tests.is_empty() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failed(format!(
                "{binary} with {name} failed without naming a test: {output}"
            )));
        }
        return Ok(Some(Detection { binary: binary.clone(), tests, after: began.elapsed() }));
    }
    Ok(None)
}

/// Names under the last "failures:" in the output of a test binary.
fn failures(text: &str) -> Vec<String> {
    let Some((_, list)) = text.rsplit_once("\nfailures:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| line.starts_with("    "));
    names.map(|line| line.trim().to_owned()).collect()
}

/// Checks that the release build does not contain the variable, while the tests do.
fn check_product(binaries: &[(String, PathBuf)]) -> Result<(), Failed> {
    run(&mut cargo(&["build", "--release", "--locked", "--bin", "hayloft"]))?;
    let knows = |path: &Path| {
        let bytes = std::fs::read(path)
            .map_err(|error| Failed(format!("cannot read {}: {error}", path.display())))?;
        Ok(bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE.as_bytes()))
    };
    let product = target().join("release/hayloft");
    if knows(&product)? {
        return Err(Failed(format!("{} contains {VARIABLE}", product.display())));
    }
    if !knows(&binaries[0].1)? {
        return Err(Failed(format!(
            "the tests do not contain {VARIABLE}, so its absence proves nothing"
        )));
    }
    println!("the release build does not contain {VARIABLE}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_in_the_source_has_a_known_test() {
        let source = std::fs::read_to_string(root().join("src/base/sabotage.rs")).unwrap();
        let names = names(&source);
        assert_eq!(names.first().map(String::as_str), Some("ack-before-flush"));
        assert_eq!(names.len(), source.matches("\",\n").count(), "{names:?}");
        let known: Vec<&str> = KNOWN.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, known, "KNOWN lists every mistake in the order of the source");
        assert!(KNOWN.iter().all(|(_, binary, _)| TESTS.iter().any(|(test, _)| test == binary)));
    }

    #[test]
    fn the_last_list_of_failures_is_used() {
        let text = "\nfailures:\n\n---- a stdout ----\nx\n\nfailures:\n    a\n    b\n\ntest result";
        assert_eq!(failures(text), ["a", "b"]);
        assert!(failures("all well").is_empty());
    }

    #[test]
    fn executables_are_parsed_from_the_output_of_cargo() {
        let (name, path) = executable("  Executable tests/engine.rs (target/debug/x-1)").unwrap();
        assert_eq!((name.as_str(), path), ("engine", root().join("target/debug/x-1")));
        assert!(executable("  Executable unittests src/lib.rs (target/debug/y)").is_none());
        let lib =
            |file: &str| executable(&format!("  Executable unittests src/lib.rs (deps/{file})"));
        assert_eq!(lib("hayloft-1").map(|(name, _)| name).as_deref(), Some(LIB));
        assert_eq!(lib("hayloft_fuzz-1"), None);
    }
}
