//! Commands, flags and metrics named in docs/OPERATIONS.md exist.

use std::collections::BTreeSet;

use clap::Parser;
use hayloft::commands::cli::Cli;

const DOCUMENT: &str = include_str!("../docs/OPERATIONS.md");
const METRICS: &str = include_str!("../docs/METRICS.md");

/// Words of a command line up to the first pipe, redirection or `&&`.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').take_while(|word| !["|", ">", "<", "&&"].contains(word)).collect()
}

#[test]
fn every_hayloft_command_parses() {
    let mut count = 0;
    for line in DOCUMENT.lines().filter_map(|line| line.trim_start().strip_prefix("# ")) {
        // Run as another user: `runuser -u hayloft -- hayloft ...`.
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

/// Names of metrics in a text, without the `_bucket` suffix of histograms.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_word(c)).filter(|word| word.starts_with("hayloft_"));
    words.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn every_named_metric_is_documented() {
    let (known, named) = (metrics(METRICS), metrics(DOCUMENT));
    let unknown: Vec<&String> = named.difference(&known).collect();
    assert!(unknown.is_empty() && named.len() >= 15, "{unknown:?} of {named:?}");
}
