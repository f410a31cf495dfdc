//! Figures of the test suite, measured now, and the last results of the long runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::Failed;
use crate::project::{cargo, printed, root};
use crate::record::{Record, cannot};

/// A figure printed by a test of the suite.
struct Figure {
    what: &'static str,
    goal: &'static str,
    /// Minimum of the sum over its lines of the first number in each.
    least: u64,
    test: &'static str,
    /// Filter for tests of the binary; empty for all.
    filter: &'static str,
    /// Text that the line with the figure contains.
    marker: &'static str,
}

const fn figure(
    what: &'static str,
    (least, goal): (u64, &'static str),
    (test, filter): (&'static str, &'static str),
    marker: &'static str,
) -> Figure {
    Figure { what, goal, least, test, filter, marker }
}

const FIGURES: &[Figure] = &[
    figure(
        "crash states",
        (200_000, "200,000, 0 lost"),
        ("volume", "crash::three_operations"),
        "three operations: ",
    ),
    figure("nodes from seeds", (200, "200, twice"), ("simulation", "seeds"), "seeds, each twice"),
    figure(
        "every operation fails",
        (10_000, "10,000 runs, 0 lost, 0 wrong"),
        ("volume", "errors::"),
        "runs with a fault",
    ),
    figure(
        "single bits flipped",
        (524_288, "524,288, 0 served wrong"),
        ("volume", "bit_flips::after_a_clean"),
        "single bits flipped",
    ),
    figure(
        "damage of more bits",
        (50_000, "50,000, 0 wrong"),
        ("volume", "bit_flips::damage"),
        "damages, ",
    ),
    figure("SIGKILLs", (20, "20, 0 lost"), ("kill", ""), " kills, "),
    figure(
        "simulation against kernel",
        (500, "500 scripts, 0 differences"),
        ("parity", ""),
        "scripts, ",
    ),
    figure(
        "HTTP corpus",
        (300, "300 cases, each in 1,000 splits"),
        ("http_corpus", "random"),
        " cases, ",
    ),
];

/// Long runs: file name of the record, and command.
const LONG_RUNS: [(&str, &str); 7] = [
    ("crash-states", "cargo xtask crash-states"),
    ("seeds", "cargo xtask seeds"),
    ("kills", "cargo xtask kills"),
    ("powercut", "cargo xtask powercut"),
    ("powercut-compact", "cargo xtask powercut --compact"),
    ("fuzz", "cargo xtask fuzz"),
    ("smuggling", "cargo xtask smuggling"),
];

/// Measures, prints and records the figures.
///
/// # Errors
/// When a test fails or does not print its figure.
pub fn scorecard() -> Result<(), Failed> {
    let mut text = String::from("\n| figure | goal | now | met |\n| --- | --- | --- | --- |\n");
    let mut add = |what: &str, goal: &str, now: &str, met: bool| {
        let met = if met { "yes" } else { "**NO**" };
        println!("{what}: {now}; goal {goal}, met: {met}");
        text += &format!("| {what} | {goal} | {now} | {met} |\n");
    };
    for figure in FIGURES {
        let lines = measured(figure)?;
        let sum: u64 = lines.iter().filter_map(|line| first_number(line)).sum();
        add(figure.what, figure.goal, &lines.join("; "), sum >= figure.least);
    }
    let (caught, all) = crate::sabotage::caught()?;
    add(
        "mistakes made on purpose and noticed",
        "all",
        &format!("{caught} of {all}"),
        caught == all,
    );
    let exposure = exposure()?;
    let met = exposure.parse().is_ok_and(|exposure: f64| exposure <= 2.0);
    add("exposure of the systemd unit", "2.0", &exposure, met);
    text += "\n## Long runs\n\nThe last run of each command.\n\n";
    for (name, command) in LONG_RUNS {
        match newest(name)? {
            Some(run) => text += &run,
            None => text += &format!("- `{command}`: not run yet\n"),
        }
    }
    Record { name: "scorecard", title: "Scorecard", command: "cargo xtask scorecard", text: &text }
        .keep()
}

/// First number in a line printed by a test.
fn first_number(line: &str) -> Option<u64> {
    let digits = line.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Lines with the figure of a test. The tests themselves assert figures that must be 0.
fn measured(figure: &Figure) -> Result<Vec<String>, Failed> {
    let mut command = cargo(&["test", "--workspace", "--locked", "--quiet", "--test", figure.test]);
    command.args(["--", "--nocapture", "--test-threads=1", figure.filter]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failed(format!("the tests cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(Failed(format!("{} failed:\n{text}", figure.test)));
    }
    let lines: Vec<String> =
        text.lines().filter(|line| line.contains(figure.marker)).map(printed).collect();
    if lines.is_empty() {
        return Err(Failed(format!("{} printed no figure:\n{text}", figure.test)));
    }
    Ok(lines)
}

/// Exposure level of the unit according to `systemd-analyze`, from 0 (none) to 10.
fn exposure() -> Result<String, Failed> {
    let unit = root().join("systemd/hayloft.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .output()
        .map_err(|error| Failed(format!("systemd-analyze cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("Overall exposure level"));
    let figure = line.and_then(|line| line.rsplit(": ").next());
    let figure = figure
        .ok_or_else(|| Failed(format!("systemd-analyze printed no exposure level: {text}")))?;
    Ok(figure.split(' ').next().unwrap_or(figure).to_owned())
}

/// Head and results of the newest record of a long run.
fn newest(name: &str) -> Result<Option<String>, Failed> {
    let dir = root().join("bench/results");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&dir)
        .map_err(cannot("read", &dir))?
        .filter_map(|entry| Some(entry.ok()?.path().join(format!("{name}.md"))))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let Some(path) = found.pop() else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(cannot("read", &path))?;
    let what = text.lines().nth(2).unwrap_or_default();
    let results = text.lines().filter(|line| line.starts_with("- ") || line.starts_with('|'));
    let results: Vec<String> = results.map(|line| format!("  {line}\n")).collect();
    Ok(Some(format!("- {what}\n\n{}\n", results.concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_a_line_is_its_figure() {
        assert_eq!(first_number("three operations: 221040 states at 2052 points"), Some(221_040));
        assert_eq!(first_number("500 scripts, 12 steps"), Some(500));
        assert_eq!(first_number("nothing"), None);
    }
}
