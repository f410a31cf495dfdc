//! Long runs of tests of the suite, with other seeds each time, and a record of the results.

use std::process::Stdio;
use std::time::Instant;

use crate::process::{Failed, run};
use crate::project::{cargo, printed};
use crate::record::Record;

/// Seeds per round of [`seeds`].
const SEEDS_AT_ONCE: u64 = 5000;
/// Kills per round of `tests/kill.rs`, with one and two shards, single writes and batches.
const KILLS_IN_A_ROUND: u64 = 40;

/// Parses the only flag there is; `default` without it, `None` when the arguments are invalid.
#[must_use]
pub fn count(args: &[&str], flag: &str, default: u64) -> Option<u64> {
    match args {
        [] => Some(default),
        [name, value] if *name == flag => value.parse().ok().filter(|count| *count > 0),
        _ => None,
    }
}

/// Runs a test of the release build with environment variables; returns the printed lines that contain
/// `marker`.
///
/// # Errors
/// When it fails, or prints no such line, which means that it did not run.
fn lines_of(test: &str, marker: &str, variables: &[(&str, String)]) -> Result<Vec<String>, Failed> {
    let mut command = cargo(&["test", "--release", "--locked", "--quiet", "--test", test]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failed(format!("the tests cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> =
        text.lines().filter(|line| line.contains(marker)).map(printed).collect();
    if !output.status.success() || lines.is_empty() {
        return Err(Failed(format!("{test} with {variables:?} failed:\n{text}")));
    }
    Ok(lines)
}

fn build(test: &str) -> Result<(), Failed> {
    run(&mut cargo(&["test", "--release", "--locked", "--no-run", "--test", test]))
}

/// Simulates seeds that the suite does not use, and records the result.
///
/// # Errors
/// When a seed fails: the first one.
pub fn seeds(count: u64) -> Result<(), Failed> {
    build("simulation")?;
    let began = Instant::now();
    let (mut done, mut text) = (0, String::new());
    while done < count {
        let now = SEEDS_AT_ONCE.min(count - done);
        // The suite's own seeds are lower.
        let first = 1_000_000 + done;
        let variables =
            [("HAYLOFT_FIRST_SEED", first.to_string()), ("HAYLOFT_SEEDS", now.to_string())];
        for line in lines_of("simulation", "seeds, each twice", &variables)? {
            println!("from {first}: {line}");
            text += &format!("- from {first}: {line}\n");
        }
        done += now;
    }
    let took = began.elapsed().as_secs();
    let how = "\nEach seed is a node with its clients in the simulated world (`tests/simulation.rs`), run \
               twice; both runs were equal, and the model explains what the clients observed.\n\n";
    let text = format!("{how}{text}- {count} seeds in {took} s, 0 violations\n");
    let command = format!("cargo xtask seeds --seeds {count}");
    Record { name: "seeds", title: "Seeds", command: &command, text: &text }.keep()
}

/// Kills the daemon at least `count` times under load, and records the result.
///
/// # Errors
/// When an acknowledged write is missing.
pub fn kills(count: u64) -> Result<(), Failed> {
    build("kill")?;
    let began = Instant::now();
    let rounds = count.div_ceil(KILLS_IN_A_ROUND);
    let mut text = String::new();
    for round in 0..rounds {
        let seed = [("HAYLOFT_KILL_SEED", (1000 + round).to_string())];
        for line in lines_of("kill", " kills, ", &seed)? {
            println!("round {}: {line}", round + 1);
            text += &format!("- {line}\n");
        }
    }
    let (took, kills) = (began.elapsed().as_secs(), rounds * KILLS_IN_A_ROUND);
    let how = "\n`kill -9` under load; after each kill all acknowledged writes were checked \
               (`tests/kill.rs`), with the release build of the tests.\n\n";
    let text = format!("{how}{text}- {kills} kills in {took} s, 0 lost\n");
    let command = format!("cargo xtask kills --kills {count}");
    Record { name: "kills", title: "Kills", command: &command, text: &text }.keep()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_flag_is_parsed_and_others_rejected() {
        assert_eq!(count(&[], "--seeds", 7), Some(7));
        assert_eq!(count(&["--seeds", "9"], "--seeds", 7), Some(9));
        for wrong in [&["--seeds"][..], &["--seeds", "0"], &["--seeds", "x"], &["--kills", "9"]] {
            assert_eq!(count(wrong, "--seeds", 7), None, "{wrong:?}");
        }
    }
}
