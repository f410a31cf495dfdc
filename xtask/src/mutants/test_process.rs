//! Runs tests of a tree with mistakes built in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::packages::search_path;
use crate::process::Failed;
use crate::project::target;
use crate::record::cannot;

/// How the environment names a mistake, or where to write what was reached.
const VARIABLE: &str = "HAYLOFT_MUTANT";
/// How it names the run that a process belongs to, whatever became of its parents.
const RUN: &str = "HAYLOFT_MUTANTS_RUN";
/// Address space and file size of a test's processes (bytes): a mistake must not take the machine.
const LIMITS: [&str; 2] = ["--as=8589934592", "--fsize=8589934592"];
/// A test that takes longer than this many times its time without a mistake hangs,
const HANG_FACTOR: u32 = 5;
/// if it also takes longer than this beyond it.
const HANG_AT_LEAST: Duration = Duration::from_secs(10);

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

/// How tests ended. The first that does not pass ends those of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They passed.
    Passed,
    /// One failed: its name, if it is known.
    Failed(Option<String>),
    /// One did not end in time and was killed.
    Hung(Option<String>),
}

/// How long tests may take that took so long without a mistake.
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

/// Where tests of one worker leave their files and what they print, below `target/mutants`.
fn place(worker: usize) -> PathBuf {
    target().join(format!("mutants/scratch/{worker}"))
}

/// Runs some tests of one binary in one process, one after the other, until one does not pass.
///
/// # Errors
/// When it cannot be started.
pub fn run(
    worker: usize,
    binary: &Path,
    tests: &[&str],
    dir: &Path,
    chosen: &str,
    limit: Duration,
) -> Result<Verdict, Failed> {
    let place = place(worker);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(place.join("tmp")).map_err(cannot("make", &place))?;
    let printed = place.join("printed");
    let file = File::create(&printed).map_err(cannot("make", &printed))?;
    // Ends with this program.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "prlimit"]).args(LIMITS).arg(binary);
    command.arg("--exact").args(tests).arg("--test-threads=1").current_dir(dir);
    command.env(VARIABLE, chosen).env(RUN, &place).env("RUST_BACKTRACE", "0");
    command.env("PATH", search_path());
    command.env("TMPDIR", place.join("tmp")).env("HAYLOFT_TEST_DIR", place.join("tmp"));
    // A smaller input that also fails is of no use, and the same mistake is to meet the same inputs.
    command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
    command.env("PROPTEST_RNG_SEED", "1");
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    // A group of its own: what a test started and left behind ends with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|error| Failed(format!("setpriv: {error}")))?;
    let leader = child.id();
    let verdict = await_end(child, &printed, limit);
    end_group(leader);
    end_leftovers(&place);
    let _ = fs::remove_dir_all(&place);
    verdict
}

fn await_end(mut child: Child, printed: &Path, limit: Duration) -> Result<Verdict, Failed> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let status = child.try_wait().map_err(|error| Failed(format!("a test: {error}")))?;
        let text = || String::from_utf8_lossy(&fs::read(printed).unwrap_or_default()).into_owned();
        if let Some(status) = status {
            return Ok(match status.success() {
                true => Verdict::Passed,
                false => Verdict::Failed(failed_in(&text()).or_else(|| last_in(&text()))),
            });
        }
        let failed = failed_in(&text());
        if failed.is_some() || began.elapsed() > limit {
            let by = failed.clone().or_else(|| last_in(&text()));
            end_group(child.id());
            let _ = child.wait();
            return Ok(if failed.is_some() { Verdict::Failed(by) } else { Verdict::Hung(by) });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The name of a test in what is printed before it runs.
fn name_in(line: &str) -> Option<&str> {
    let name = line.strip_prefix("test ")?.split_once(" ... ")?.0;
    Some(name.strip_suffix(" - should panic").unwrap_or(name))
}

/// The first test that failed.
fn failed_in(printed: &str) -> Option<String> {
    let line = printed.lines().find(|line| line.ends_with(" ... FAILED"))?;
    name_in(line).map(str::to_owned)
}

/// The last test that was begun.
fn last_in(printed: &str) -> Option<String> {
    printed.lines().rev().find_map(name_in).map(str::to_owned)
}

/// Kills what is left of a test's process group.
fn end_group(leader: u32) {
    let group = format!("-{leader}");
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
}

/// Kills processes that belong to a run below `place` and left its process group.
pub fn end_leftovers(place: &Path) {
    let mark = format!("{RUN}={}", place.display());
    let Ok(all) = fs::read_dir("/proc") else { return };
    for process in all.flatten() {
        let Ok(environment) = fs::read(process.path().join("environ")) else { continue };
        let mut variables = environment.split(|byte| *byte == 0);
        if variables.any(|it| Path::new(&*String::from_utf8_lossy(it)).starts_with(&mark)) {
            let id = process.file_name();
            let _ = Command::new("kill").arg("-KILL").arg(id).stderr(Stdio::null()).status();
        }
    }
}

/// Ends and removes what an earlier run left that was killed.
pub fn clean_up() {
    let all = target().join("mutants/scratch");
    end_leftovers(&all);
    let _ = fs::remove_dir_all(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_and_last_test_are_parsed_from_the_output() {
        let printed = "\nrunning 3 tests\ntest a::b ... ok\ntest a::c - should panic ... ok\n\
                       test a::d ... FAILED\ntest a::e ... ";
        assert_eq!(failed_in(printed).as_deref(), Some("a::d"));
        assert_eq!(last_in(printed).as_deref(), Some("a::e"));
        let printed = "\nrunning 1 test\ntest a::c - should panic ... FAILED";
        assert_eq!(failed_in(printed).as_deref(), Some("a::c"));
        assert_eq!(failed_in("running 1 test\ntest a ... "), None);
    }

    #[test]
    fn processes_left_by_a_test_are_ended() {
        let place = target().join("mutants/left-by-a-test");
        let mut child =
            Command::new("sleep").arg("600").env(RUN, place.join("1")).spawn().expect("it starts");
        // A process has begun before the kernel shows its environment.
        let environment = format!("/proc/{}/environ", child.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        while fs::read(&environment).expect("it runs").is_empty() {
            assert!(Instant::now() < deadline, "the environment of {} stays empty", child.id());
            std::thread::yield_now();
        }
        end_leftovers(&place);
        // Waits for ten minutes if the process was not ended.
        assert!(!child.wait().expect("it was started").success());
    }
}
