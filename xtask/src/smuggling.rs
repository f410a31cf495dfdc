//! The long run of `tests/smuggling.rs`: sends mutated streams through a real nginx, and compares the
//! requests seen by it and by the daemon.

use std::time::{Duration, Instant};

use crate::process::Failed;
use crate::project::cargo;
use crate::record::Record;

/// Streams per run. Each run starts a new nginx and a new daemon, and has another seed.
const RUN: u64 = 50_000;
/// The tests: of a daemon with its own targets, and of a node of a cluster. Runs take turns.
const TESTS: [&str; 2] = [
    "nginx_and_the_daemon_see_the_same_requests",
    "nginx_and_a_node_of_a_cluster_see_the_same_requests",
];
/// Beginning of the test's message when one request became two.
const SPLIT: &str = "nginx passed ";
/// Beginning of the test's message when a body was taken as a request head.
const TAKEN: &str = "nginx saw no such request";

/// Options of the long run.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Total number of mutated streams.
    pub streams: u64,
    /// Seed of the first run; each later run uses the next number.
    pub seed: u64,
}

/// Parses the arguments after `smuggling`; `None` when they are invalid.
#[must_use]
pub fn plan(args: &[&str]) -> Option<Plan> {
    let mut plan = Plan { streams: 1_000_000, seed: 1 };
    for pair in args.chunks(2) {
        match *pair {
            ["--streams", count] => {
                plan.streams = count.parse().ok().filter(|count| *count > 0)?;
            }
            ["--seed", seed] => plan.seed = seed.parse().ok()?,
            _ => return None,
        }
    }
    Some(plan)
}

/// Counters of the runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Streams sent: the mutated ones, and their originals.
    streams: u64,
    /// Requests that nginx saw in them.
    seen: u64,
    /// Requests that nginx forwarded.
    passed: u64,
    /// Requests that the daemon answered.
    answered: u64,
}

impl Counts {
    /// Parses the output of the test; `None` when it is incomplete.
    fn read(text: &str) -> Option<Self> {
        Some(Self {
            streams: before(text, " streams, ")?,
            seen: before(text, " requests, passed ")?,
            passed: before(text, " of them on, the daemon answered ")?,
            answered: before(text, " of those\n")?,
        })
    }

    fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.seen += other.seen;
        self.passed += other.passed;
        self.answered += other.answered;
    }
}

/// The number in front of `words`.
fn before(text: &str, words: &str) -> Option<u64> {
    let (front, _) = text.split_once(words)?;
    let digits = front.bytes().rev().take_while(u8::is_ascii_digit).count();
    front[front.len() - digits..].parse().ok()
}

/// Runs the test with the given number of streams.
///
/// # Errors
/// When nginx and the daemon disagree, or the test cannot be built or run.
pub fn smuggling(plan: &Plan) -> Result<(), Failed> {
    crate::process::run(&mut cargo(&["test", "--locked", "--no-run", "--test", "smuggling"]))?;
    let began = Instant::now();
    let (mut counts, mut runs, mut left, mut failed) = (Counts::default(), 0, plan.streams, None);
    let mut last = TESTS[0];
    while left > 0 && failed.is_none() {
        let streams = left.min(RUN);
        let seed = plan.seed + runs;
        let test = if runs % 2 == 0 { TESTS[0] } else { TESTS[1] };
        match one(test, streams, seed)? {
            Ok(counted) => counts.add(&counted),
            Err(output) => failed = Some((seed, output)),
        }
        last = test;
        left -= streams;
        runs += 1;
        eprintln!("{}", row(&counts, failed.as_ref(), runs, began.elapsed()));
    }
    let command = format!("cargo xtask smuggling --streams {} --seed {}", plan.streams, plan.seed);
    let text = format!("{NOTES}{}\n", row(&counts, failed.as_ref(), runs, began.elapsed()));
    eprintln!("\n{text}");
    Record { name: "smuggling", title: "Streams behind nginx", command: &command, text: &text }
        .keep()?;
    match failed {
        None => Ok(()),
        Some((seed, output)) => Err(Failed(format!(
            "{output}\na run failed; reproduce it with `HAYLOFT_SMUGGLING_STREAMS={RUN} \
             HAYLOFT_SMUGGLING_SEED={seed} cargo test --test smuggling {last}`, and add the stream \
             above to tests/corpus/http/ or tests/corpus/fid/"
        ))),
    }
}

const NOTES: &str = "\
Each stream has its own connection; the daemon has debug assertions, and is a node of a cluster in each second
run. Requests seen and passed on are counted
in nginx, answered ones in the daemon. A request became two when the daemon counted one that nginx did not
pass on; a body was taken for a head when a canary request in it took effect (`tests/smuggling.rs`). A run
ends with its first failure.

| streams | runs | requests seen | passed on | answered | became two | body as a head | seconds | streams/s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

fn row(counts: &Counts, failed: Option<&(u64, String)>, runs: u64, took: Duration) -> String {
    let Counts { streams, seen, passed, answered } = counts;
    let failures = |words: &str| u8::from(failed.is_some_and(|(_, text)| text.contains(words)));
    let (split, taken) = (failures(SPLIT), failures(TAKEN));
    let seconds = took.as_secs().max(1);
    let speed = streams / seconds;
    format!(
        "| {streams} | {runs} | {seen} | {passed} | {answered} | {split} | {taken} | {seconds} | {speed} |"
    )
}

/// Runs a test once; returns its counters, or its output when it failed.
fn one(test: &str, streams: u64, seed: u64) -> Result<Result<Counts, String>, Failed> {
    let mut command =
        cargo(&["test", "--locked", "--quiet", "--test", "smuggling", "--", "--exact", test]);
    command.arg("--nocapture").env("HAYLOFT_SMUGGLING_STREAMS", streams.to_string());
    let output = command
        .env("HAYLOFT_SMUGGLING_SEED", seed.to_string())
        .output()
        .map_err(|error| Failed(format!("the test cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failure = || text.clone() + &String::from_utf8_lossy(&output.stderr);
    match Counts::read(&text).filter(|_| output.status.success()) {
        Some(counts) => Ok(Ok(counts)),
        None => Ok(Err(failure())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::root;

    #[test]
    fn output_of_the_test_is_parsed() {
        let text = "\n70 streams, 50 of them mutated with seed 1\nnginx saw 90 requests, passed 80 of \
                    them on, the daemon answered 79 of those\n.";
        let counts = Counts { streams: 70, seen: 90, passed: 80, answered: 79 };
        assert_eq!(Counts::read(text), Some(counts));
        assert_eq!(Counts::read("70 streams, 50 of them"), None);
    }

    #[test]
    fn failures_are_classified_by_the_messages_of_the_test() {
        let source = std::fs::read_to_string(root().join("tests/smuggling.rs")).unwrap();
        for words in
            [SPLIT, TAKEN, TESTS[0], TESTS[1], " requests, passed ", "HAYLOFT_SMUGGLING_STREAMS"]
        {
            assert!(source.contains(words), "{words}");
        }
        let failed = (1, format!("panicked\n{TAKEN}:\nPUT"));
        let row = row(&Counts::default(), Some(&failed), 1, Duration::from_secs(2));
        assert_eq!(row, "| 0 | 1 | 0 | 0 | 0 | 0 | 1 | 2 | 0 |");
    }

    #[test]
    fn arguments_are_parsed_and_invalid_ones_rejected() {
        assert_eq!(plan(&[]), Some(Plan { streams: 1_000_000, seed: 1 }));
        let given = plan(&["--streams", "5", "--seed", "7"]);
        assert_eq!(given, Some(Plan { streams: 5, seed: 7 }));
        for bad in [&["--streams"][..], &["--streams", "0"], &["9"], &["--seed", "x"]] {
            assert_eq!(plan(bad), None, "{bad:?}");
        }
    }
}
