//! Results of earlier runs, below `target/mutants`: the mistakes that do not compile, the coverage of each
//! test, and the outcome of each mistake. Lines are appended at once, so that an interrupted run can be
//! continued.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::candidate::Candidate;
use super::outcome::{MutantResult, Outcome};
use super::source_hashes::SourceHashes;
use super::test_coverage::TestCoverage;
use super::test_process::Test;
use crate::process::Failed;
use crate::project::target;
use crate::record::cannot;

fn path(name: &str) -> PathBuf {
    target().join("mutants").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

fn add(name: &str, line: &str) -> Result<(), Failed> {
    let path = path(name);
    let mut file =
        OpenOptions::new().append(true).create(true).open(&path).map_err(cannot("open", &path))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(cannot("write", &path))
}

/// Returns the mistakes that do not compile; empty if the sources have changed.
#[must_use]
pub fn not_built(sums: &SourceHashes, candidates: &[Candidate]) -> BTreeSet<u32> {
    let text = read("not-built.tsv");
    let Some(keys) = text.strip_prefix(&format!("{:x}\n", sums.product())) else {
        return BTreeSet::new();
    };
    let keys: BTreeSet<&str> = keys.lines().collect();
    let numbered = (0..).zip(candidates);
    numbered.filter(|(_, it)| keys.contains(it.key().as_str())).map(|(n, _)| n).collect()
}

/// Stores the mistakes that do not compile.
///
/// # Errors
/// If the file cannot be written.
pub fn keep_not_built(
    sums: &SourceHashes,
    candidates: &[Candidate],
    numbers: &BTreeSet<u32>,
) -> Result<(), Failed> {
    let mut text = format!("{:x}\n", sums.product());
    for number in numbers {
        let _ = writeln!(text, "{}", candidates[*number as usize].key());
    }
    let path = path("not-built.tsv");
    fs::write(&path, text).map_err(cannot("write", &path))
}

const REACH: &str = "reach.tsv";

/// Returns the stored coverage of the tests whose sources have not changed.
#[must_use]
pub fn reach(sums: &SourceHashes) -> BTreeMap<Test, TestCoverage> {
    let mut all = BTreeMap::new();
    for line in read(REACH).lines() {
        if let Some((sum, it)) = reach_of(line)
            && sum == format!("{:x}", sums.of_binary(&it.test.binary))
        {
            all.insert(it.test.clone(), it);
        }
    }
    all
}

fn reach_of(line: &str) -> Option<(&str, TestCoverage)> {
    let mut fields = line.split('\t');
    let sum = fields.next()?;
    let test = Test { binary: fields.next()?.to_owned(), name: fields.next()?.to_owned() };
    let took = Duration::from_millis(fields.next()?.parse().ok()?);
    let mut reached = Vec::new();
    for range in fields.next()?.split_terminator(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        reached.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    // Without the end mark, the line was not written completely.
    (fields.next()? == ".").then_some((sum, TestCoverage { test, took, reached }))
}

/// Stores the coverage of a test.
///
/// # Errors
/// If the file cannot be written.
pub fn keep_reach(sums: &SourceHashes, reach: &TestCoverage) -> Result<(), Failed> {
    let TestCoverage { test, took, reached } = reach;
    let mut ranges = String::new();
    let mut at = 0;
    while at < reached.len() {
        let first = reached[at];
        let (mut last, mut next) = (first, at + 1);
        while reached.get(next) == Some(&(last + 1)) {
            last += 1;
            next += 1;
        }
        let _ = write!(ranges, "{first}-{last},");
        at = next;
    }
    let sum = sums.of_binary(&test.binary);
    let (binary, name, took) = (&test.binary, &test.name, took.as_millis());
    add(REACH, &format!("{sum:x}\t{binary}\t{name}\t{took}\t{ranges}\t."))
}

const LONG: &str = "long.tsv";

/// Returns the unchanged tests that are known to take longer than `longest`.
#[must_use]
pub fn long(sums: &SourceHashes, longest: Duration) -> BTreeSet<Test> {
    let mut all = BTreeSet::new();
    for line in read(LONG).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [sum, binary, name, seconds] = fields[..] else { continue };
        if sum == format!("{:x}", sums.of_binary(binary))
            && seconds.parse().is_ok_and(|it: u64| it >= longest.as_secs())
        {
            all.insert(Test { binary: binary.to_owned(), name: name.to_owned() });
        }
    }
    all
}

/// Stores that a test takes longer than `longest`.
///
/// # Errors
/// If the file cannot be written.
pub fn keep_long(sums: &SourceHashes, test: &Test, longest: Duration) -> Result<(), Failed> {
    let Test { binary, name } = test;
    add(LONG, &format!("{:x}\t{binary}\t{name}\t{}", sums.of_binary(binary), longest.as_secs()))
}

const RESULTS: &str = "results.tsv";

/// Stored outcome of a mistake.
#[derive(Clone, Debug)]
pub struct CachedResult {
    /// Whether sources and tests have not changed since.
    pub is_of_these: bool,
    /// Time budget of its tests (seconds).
    pub budget: u64,
    /// The outcome.
    pub result: MutantResult,
}

/// Returns the last stored outcome of each mistake, by [`Candidate::key`].
#[must_use]
pub fn results(sums: &SourceHashes) -> BTreeMap<String, CachedResult> {
    let now = format!("{:x}", sums.of_all());
    let mut all = BTreeMap::new();
    for line in read(RESULTS).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [sum, budget, took, outcome, by, file, function, change, nth] = fields[..] else {
            continue;
        };
        let (Ok(budget), Ok(took)) = (budget.parse(), took.parse()) else { continue };
        let Some(outcome) = outcome_of(outcome, by) else { continue };
        let result = MutantResult { outcome, took: Duration::from_millis(took) };
        let key = format!("{file}\t{function}\t{change}\t{nth}");
        all.insert(key, CachedResult { is_of_these: sum == now, budget, result });
    }
    all
}

fn outcome_of(outcome: &str, by: &str) -> Option<Outcome> {
    Some(match outcome {
        "caught" => Outcome::Caught { by: by.to_owned() },
        "hung" => Outcome::Hung { by: by.to_owned() },
        "not-reached" => Outcome::NotReached,
        "survived" => {
            let (tests, left_out) = by.split_once('+')?;
            Outcome::Survived { tests: tests.parse().ok()?, left_out: left_out.parse().ok()? }
        }
        _ => return None,
    })
}

/// Stores the outcome of a mistake.
///
/// # Errors
/// If the file cannot be written.
pub fn keep_result(
    sums: &SourceHashes,
    it: &Candidate,
    budget: Duration,
    result: &MutantResult,
) -> Result<(), Failed> {
    let (outcome, by) = match &result.outcome {
        Outcome::NotBuilt => return Ok(()),
        Outcome::Caught { by } => ("caught", by.clone()),
        Outcome::Hung { by } => ("hung", by.clone()),
        Outcome::NotReached => ("not-reached", String::new()),
        Outcome::Survived { tests, left_out } => ("survived", format!("{tests}+{left_out}")),
    };
    let (sum, budget, took) = (sums.of_all(), budget.as_secs(), result.took.as_millis());
    add(RESULTS, &format!("{sum:x}\t{budget}\t{took}\t{outcome}\t{by}\t{}", it.key()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_line_is_ignored() {
        let line = "ab\tlib\ta::b\t12\t1-3,7-7,\t.";
        let (sum, reach) = reach_of(line).unwrap();
        assert_eq!((sum, reach.reached), ("ab", vec![1, 2, 3, 7]));
        assert!(reach_of(&line[..line.len() - 2]).is_none());
        assert!(reach_of(&line[..line.len() - 1]).is_none());
        assert!(reach_of("ab\tlib\ta::b\t12\t\t.").unwrap().1.reached.is_empty());
    }

    #[test]
    fn outcomes_are_parsed_and_unknown_ones_ignored() {
        assert_eq!(
            outcome_of("survived", "3+4"),
            Some(Outcome::Survived { tests: 3, left_out: 4 })
        );
        assert_eq!(outcome_of("caught", "a"), Some(Outcome::Caught { by: "a".to_owned() }));
        assert_eq!(outcome_of("surv", "3+4"), None);
    }
}
