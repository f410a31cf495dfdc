//! Runs tests of a tree with mistakes built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Failed;

/// How the environment names a mistake, or where to write what was reached.
const VARIABLE: &str = "HAYLOFT_MUTANT";
/// Address space and file size of a test's processes (bytes): a mistake must not take the machine.
const LIMITS: [&str; 2] = ["--as=17179869184", "--fsize=8589934592"];
/// A test that takes longer than this many times its time without a mistake hangs,
const HANG_FACTOR: u32 = 5;
/// if it also takes longer than this beyond it.
const HANG_AT_LEAST: Duration = Duration::from_secs(20);

/// A test of the suite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The binary's name, such as `crash` or `lib`.
    pub binary: String,
    /// Its name in the binary.
    pub name: String,
}

/// The binaries of the tests: names and where they are.
pub type Binaries = BTreeMap<String, PathBuf>;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It did not end in time and was killed.
    Hung,
}

/// How long a test may take that took so long without a mistake.
#[must_use]
pub fn time_limit(without: Duration) -> Duration {
    (without * HANG_FACTOR).max(without + HANG_AT_LEAST)
}

/// The names of a binary's tests.
///
/// # Errors
/// When it cannot be run.
pub fn list(binary: &Path, dir: &Path) -> Result<Vec<String>, Failed> {
    let output = Command::new(binary).args(["--list", "--format=terse"]).current_dir(dir).output();
    let output = output.map_err(|error| Failed(format!("{}: {error}", binary.display())))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs some tests of one binary in one process.
///
/// # Errors
/// When it cannot be started.
pub fn run(
    binary: &Path,
    tests: &[&str],
    dir: &Path,
    chosen: &str,
    limit: Duration,
) -> Result<Verdict, Failed> {
    let mut command = Command::new("prlimit");
    command.args(LIMITS).arg(binary).arg("--exact").args(tests).arg("--test-threads=1");
    command.env(VARIABLE, chosen).env("RUST_BACKTRACE", "0").current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: what a test started and left behind ends with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|error| Failed(format!("prlimit: {error}")))?;
    let verdict = await_end(child, limit)?;
    Ok(verdict)
}

fn await_end(mut child: Child, limit: Duration) -> Result<Verdict, Failed> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let status = child.try_wait().map_err(|error| Failed(format!("a test: {error}")))?;
        if let Some(status) = status {
            end_group(child.id());
            return Ok(if status.success() { Verdict::Passed } else { Verdict::Failed });
        }
        if began.elapsed() > limit {
            end_group(child.id());
            let _ = child.wait();
            return Ok(Verdict::Hung);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills what is left of a test's process group.
fn end_group(leader: u32) {
    let group = format!("-{leader}");
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
}
