//! The long run of `tests/volume/crash.rs`: histories of three operations with a power cut at every point.

use std::fmt::Write;

use crate::process::{Failed, printed_by, run};
use crate::project::cargo;
use crate::record::Record;

/// Default number of distinct states.
const STATES: &str = "20000000";
const HOW: &str = "Each state differs from all others and was recovered, checked, recovered again and \
                   written to;\nall were allowed by the model. Seconds are CPU seconds of two threads \
                   together.\n\n";
/// Text in front of the figures in a line of the test.
const MARKER: &str = "three operations: ";

/// Checks a number of states (`--states N`) with the release build, and records the figures.
///
/// # Errors
/// When the test fails, above all at a state that the model does not allow.
pub fn run_long(flags: &[&str]) -> Result<(), Failed> {
    let states = match flags {
        [] => STATES,
        ["--states", states] if states.parse::<u64>().is_ok() => states,
        _ => return Err(Failed("the only flag is --states N".to_owned())),
    };
    let test = ["test", "--release", "--locked", "--test", "volume"];
    run(cargo(&test).arg("--no-run"))?;
    let mut long = cargo(&test);
    long.args(["--quiet", "--", "--exact", "crash::three_operations", "--nocapture"]);
    let output = printed_by(long.env("HAYLOFT_CRASH_STATES", states))?;
    let mut text = HOW.to_owned();
    for (_, figures) in output.lines().filter_map(|line| line.split_once(MARKER)) {
        let _ = writeln!(text, "- {figures}");
    }
    print!("{text}");
    let command = format!("cargo xtask crash-states --states {states}");
    Record { name: "crash-states", title: "Crash states", command: &command, text: &text }.keep()
}
