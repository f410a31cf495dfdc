//! What docs/OPERATIONS.md names exists: commands with their flags, and metrics.

use std::collections::BTreeSet;

use clap::Parser;
use hayloft::commands::cli::Cli;

const DOCUMENT: &str = include_str!("../docs/OPERATIONS.md");
const METRICS: &str = include_str!("../docs/METRICS.md");

/// Words of a command line up to what the shell does with its output.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').take_while(|word| !["|", ">", "<", "&&"].contains(word)).collect()
}

#[test]
fn every_command_of_ours_is_one() {
    let mut count = 0;
    for line in DOCUMENT.lines().filter_map(|line| line.trim_start().strip_prefix("# ")) {
        // As another user: `runuser -u hayloft -- hayloft ...`.
        let command = line.split_once(" -- ").map_or(line, |(_, command)| command);
        if !command.starts_with("hayloft ") {
            continue;
        }
        if let Err(error) = Cli::try_parse_from(words(command)) {
            panic!("{line}: {error}");
        }
        count += 1;
    }
    assert!(count >= 20, "only {count} commands were found");
}

/// Names of metrics in a text, without what a histogram adds to them.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_word(c)).filter(|word| word.starts_with("hayloft_"));
    words.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn every_metric_of_an_alarm_exists() {
    let (known, named) = (metrics(METRICS), metrics(DOCUMENT));
    let unknown: Vec<&String> = named.difference(&known).collect();
    assert!(unknown.is_empty() && named.len() >= 15, "{unknown:?} of {named:?}");
}
