//! Stages of the suite: runs them in order with times, and prints a summary of failures.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Failed, announce};
use crate::test_binaries::{self, Ended, TestBinary};

/// Maximum number of the slowest test targets in the summary.
const SLOWEST: usize = 8;

/// A finished stage.
struct Stage {
    name: &'static str,
    took: Duration,
    result: Result<(), Failed>,
}

/// The finished stages, in order.
pub struct Stages {
    began: Instant,
    ended: Vec<Stage>,
    targets: Vec<Target>,
}

/// A finished test target.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    name: String,
    seconds: f64,
}

impl Stages {
    /// Starts without any finished stage.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), ended: Vec::new(), targets: Vec::new() }
    }

    /// Runs a stage. Later stages run even if it fails, so that one run reports all failures.
    pub fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<(), Failed>) {
        let began = Instant::now();
        let result = stage();
        self.end(name, began, result);
    }

    /// Runs a `cargo test` as a stage, and extracts the names of failed tests from its output.
    pub fn test(&mut self, name: &'static str, command: &mut Command) {
        self.test_to(name, command, &mut std::io::stdout());
    }

    fn test_to(&mut self, name: &'static str, command: &mut Command, shown: &mut dyn Write) {
        let began = Instant::now();
        let mut output = TestOutput::default();
        let result = output.watch(command, shown);
        self.targets.append(&mut output.targets);
        self.end(name, began, result);
    }

    /// Runs test binaries as a stage, and extracts the names of failed tests from their output.
    pub fn test_binaries(&mut self, name: &'static str, binaries: &[TestBinary]) {
        let began = Instant::now();
        let mut output = TestOutput::default();
        test_binaries::run(binaries, |ended| {
            output.binary(&ended);
            println!("\n     Running {}", ended.name);
            // A closed standard output changes no result.
            let _ = std::io::stdout().write_all(&ended.output);
        });
        self.targets.append(&mut output.targets);
        self.end(name, began, output.result());
    }

    fn end(&mut self, name: &'static str, began: Instant, result: Result<(), Failed>) {
        let took = began.elapsed();
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        eprintln!("\n== {name}: {verdict} in {:.1} s", took.as_secs_f64());
        self.ended.push(Stage { name, took, result });
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// When a stage failed; the message names them.
    pub fn finish(self) -> Result<(), Failed> {
        eprint!("\n{}", self.summary());
        let failed: Vec<&str> = self
            .ended
            .iter()
            .filter(|stage| stage.result.is_err())
            .map(|stage| stage.name)
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failed(format!("failed: {}", failed.join(", "))))
        }
    }

    fn summary(&self) -> String {
        let mut text = String::from("stage                              seconds\n");
        for Stage { name, took, result } in &self.ended {
            let verdict = if result.is_ok() { "passed" } else { "FAILED" };
            text += &format!("{name:32} {:9.1}  {verdict}\n", took.as_secs_f64());
        }
        text += &format!("{:32} {:9.1}\n", "total", self.began.elapsed().as_secs_f64());
        let mut slow = self.targets.clone();
        slow.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let slow: Vec<String> = slow
            .iter()
            .take(SLOWEST)
            .map(|target| format!("{} {:.1}", target.name, target.seconds))
            .collect();
        if !slow.is_empty() {
            text += &format!("slowest test targets (seconds): {}\n", slow.join(", "));
        }
        for Stage { name, result, .. } in &self.ended {
            if let Err(Failed(why)) = result {
                text += &format!("\n{name} failed:\n{why}\n");
            }
        }
        let failed = self.ended.iter().filter(|stage| stage.result.is_err()).count();
        text + &format!("\nstages: {} passed, {failed} failed\n", self.ended.len() - failed)
    }
}

/// Parsed output of `cargo test`.
#[derive(Default)]
struct TestOutput {
    /// Target that is running.
    running: String,
    targets: Vec<Target>,
    /// Failed tests, then the targets that cargo reports as failed.
    failures: Vec<String>,
}

impl TestOutput {
    /// Runs the command and copies its output to `shown`.
    fn watch(&mut self, command: &mut Command, shown: &mut dyn Write) -> Result<(), Failed> {
        let line = announce(command);
        let cannot = |error| Failed(format!("`{line}` cannot be run: {error}"));
        let (reader, writer) = std::io::pipe().map_err(cannot)?;
        // One pipe for both streams keeps their lines in order.
        command.stdout(writer.try_clone().map_err(cannot)?).stderr(writer);
        let mut child = command.spawn().map_err(cannot)?;
        // The command still holds the writing end, without which the reader would never see the end.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        for bytes in BufReader::new(reader).split(b'\n') {
            let mut bytes = bytes.map_err(cannot)?;
            self.line(&String::from_utf8_lossy(&bytes));
            bytes.push(b'\n');
            shown.write_all(&bytes).map_err(cannot)?;
        }
        let status = child.wait().map_err(cannot)?;
        if status.success() {
            return Ok(());
        }
        self.failures.push(format!("`{line}`: {status}"));
        self.result()
    }

    /// Takes over the output of a test binary, and how it ended.
    fn binary(&mut self, ended: &Ended) {
        self.running.clone_from(&ended.name);
        String::from_utf8_lossy(&ended.output).lines().for_each(|line| self.line(line));
        match &ended.status {
            Ok(status) if status.success() => {}
            Ok(status) => self.failures.push(format!("{}: {status}", ended.name)),
            Err(error) => self.failures.push(format!("{}: cannot be run: {error}", ended.name)),
        }
    }

    fn result(&self) -> Result<(), Failed> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> =
            self.failures.iter().map(|failure| format!("  {failure}")).collect();
        Err(Failed(lines.join("\n")))
    }

    fn line(&mut self, line: &str) {
        let word = line.trim_start();
        if let Some(rest) = word.strip_prefix("Running ") {
            let name = rest.split(" (").next().unwrap_or(rest);
            self.running = name.trim_start_matches("unittests ").to_owned();
        } else if let Some(name) = word.strip_prefix("Doc-tests ") {
            self.running = format!("doc-tests {name}");
        } else if let Some(test) = failed_test(line) {
            self.failures.push(format!("{}: {test}", self.running));
        } else if let Some(seconds) = finished_in(line) {
            self.targets.push(Target { name: self.running.clone(), seconds });
        } else if word.starts_with("`-p ") {
            self.failures.push(word.to_owned());
        }
    }
}

/// Test name in `test NAME ... FAILED`, with any output of the test in between.
fn failed_test(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("test ")?.strip_suffix("FAILED")?.split_once(" ... ")?;
    Some(name)
}

/// Time in `test result: ...; finished in 1.23s`, in seconds.
fn finished_in(line: &str) -> Option<f64> {
    let (_, time) = line.strip_prefix("test result: ")?.split_once("finished in ")?;
    time.trim_end_matches('s').parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    const OUTPUT: &str = "     Running unittests src/lib.rs (target/debug/deps/hayloft-1)
test ring::tests::wakes ... ok
test ring::tests::waits ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.50s
     Running tests/crash.rs (target/debug/deps/crash-1)
test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 41.07s
error: 1 target failed:
    `-p hayloft --lib`";

    #[test]
    fn failed_tests_and_times_are_parsed_from_the_output_of_cargo() {
        let mut output = TestOutput::default();
        OUTPUT.lines().for_each(|line| output.line(line));
        assert_eq!(output.failures, ["src/lib.rs: ring::tests::waits", "`-p hayloft --lib`"]);
        let target = |name: &str, seconds| Target { name: name.to_owned(), seconds };
        assert_eq!(output.targets, [target("src/lib.rs", 2.5), target("tests/crash.rs", 41.07)]);
    }

    #[test]
    fn failures_of_test_binaries_are_named_with_their_tests() {
        let mut output = TestOutput::default();
        let ended = |name: &str, text: &str, code: i32| Ended {
            name: name.to_owned(),
            output: text.as_bytes().to_vec(),
            status: Ok(ExitStatus::from_raw(code << 8)),
        };
        output.binary(&ended("tests/a.rs", "test one ... ok\n", 0));
        assert!(output.result().is_ok());
        output.binary(&ended("tests/b.rs", "test two ... FAILED\n", 101));
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        output.binary(&Ended { status: Err(missing), ..ended("tests/c.rs", "", 0) });
        let Failed(why) = output.result().unwrap_err();
        let lines: Vec<&str> = why.lines().collect();
        assert_eq!(lines[..2], ["  tests/b.rs: two", "  tests/b.rs: exit status: 101"]);
        assert!(lines[2].starts_with("  tests/c.rs: cannot be run: "), "{why}");
    }

    #[test]
    fn the_summary_names_failures_and_later_stages_run() {
        let mut stages = Stages::new();
        stages.run("lints", || Err(Failed("unused import".to_owned())));
        stages.run("documentation", || Ok(()));
        let summary = stages.summary();
        assert!(summary.contains("lints failed:\nunused import\n"), "{summary}");
        assert!(summary.ends_with("\nstages: 1 passed, 1 failed\n"), "{summary}");
        assert_eq!(stages.finish().unwrap_err().0, "failed: lints");
    }

    #[test]
    fn a_failed_command_is_a_failed_stage_that_names_its_tests() {
        let mut stages = Stages::new();
        let script = "echo 'test a::b ... FAILED'; echo noise >&2; exit 3";
        let mut shown = Vec::new();
        stages.test_to("tests", Command::new("sh").args(["-c", script]), &mut shown);
        stages.test_to("more tests", &mut Command::new("true"), &mut shown);
        assert_eq!(shown, b"test a::b ... FAILED\nnoise\n");
        let summary = stages.summary();
        assert!(
            summary.contains("tests failed:\n  : a::b\n") && summary.contains("exit status: 3"),
            "{summary}"
        );
        assert!(summary.ends_with("\nstages: 1 passed, 1 failed\n"), "{summary}");
    }
}
