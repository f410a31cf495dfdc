//! The long run of `tests/crash.rs`: histories of three operations, cut off everywhere.

use std::fmt::Write;

use crate::process::{Failed, printed_by, run};
use crate::project::cargo;
use crate::record::Record;

/// Distinct states when nobody says how many.
const STATES: &str = "20000000";
const HOW: &str = "Each state differs from all others and was recovered, checked, recovered again and \
                   written to;\neach was what the model allows. Seconds are of the processor, of two threads \
                   together.\n\n";
/// What stands before the figures in a line of the test.
const MARKER: &str = "three operations: ";

/// Looks at so many states (`--states N`) with the release build, and records the figures.
///
/// # Errors
/// What failed: a state that must not be, above all.
pub fn run_long(flags: &[&str]) -> Result<(), Failed> {
    let states = match flags {
        [] => STATES,
        ["--states", states] if states.parse::<u64>().is_ok() => states,
        _ => return Err(Failed("it takes no other flag than --states N".to_owned())),
    };
    let test = ["test", "--release", "--locked", "--test", "crash"];
    run(cargo(&test).arg("--no-run"))?;
    let mut long = cargo(&test);
    long.args(["--quiet", "--", "--exact", "three_operations", "--nocapture"]);
    let output = printed_by(long.env("HAYLOFT_CRASH_STATES", states))?;
    let mut text = HOW.to_owned();
    for (_, figures) in output.lines().filter_map(|line| line.split_once(MARKER)) {
        let _ = writeln!(text, "- {figures}");
    }
    print!("{text}");
    let command = format!("cargo xtask crash-states --states {states}");
    Record { name: "crash-states", title: "Crash states", command: &command, text: &text }.keep()
}
