//! The long run of `tests/crash.rs`: histories of three operations, cut off everywhere.

use std::process::Command;

use crate::process::{Failed, run};
use crate::project::{cargo, root};

/// Distinct states when nobody says how many.
const STATES: &str = "20000000";

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
    run(&mut cargo(&["test", "--release", "--locked", "--no-run", "--test", "crash"]))?;
    let mut script = Command::new("bash");
    run(script.arg("bench/crash_states.sh").arg(states).current_dir(root()))
}
