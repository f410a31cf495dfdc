//! Activates one mistake at a time and runs the tests that reach it until one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cache::{self, CachedResult};
use super::candidate::Candidate;
use super::coverage::each;
use super::options::Options;
use super::outcome::{MutantResult, Outcome};
use super::source_hashes::SourceHashes;
use super::test_coverage::TestCoverage;
use super::test_process::{self, Binaries, Test, Verdict, time_limit};
use super::tree::Tree;
use crate::process::Failed;

/// Tests that take less than this share a process with others of their binary.
const QUICK: Duration = Duration::from_secs(1);
/// Total duration from which on no further test is added to a process.
const TOGETHER: Duration = Duration::from_secs(5);
/// Overhead of a process.
const PROCESS: Duration = Duration::from_millis(50);
/// Number of failures that were not reproduced after which the failures of a test are ignored.
const UNSTABLE: u32 = 3;

/// Runs tests against mistakes.
pub struct Runner<'a> {
    tree: &'a Tree,
    binaries: &'a Binaries,
    sums: &'a SourceHashes,
    options: &'a Options,
    candidates: &'a [Candidate],
    reach: &'a [TestCoverage],
    /// Positions in `reach` for each mistake.
    tests_of: Vec<Vec<usize>>,
    history: Mutex<TestHistory>,
}

/// Results of the tests so far, which decide their order.
#[derive(Default)]
struct TestHistory {
    /// Number of mistakes noticed, by file and test.
    in_file: BTreeMap<(PathBuf, usize), u32>,
    /// Number of mistakes noticed, by test.
    noticed: BTreeMap<usize, u32>,
    /// Number of failures that were not reproduced with the same mistake, by test.
    unstable: BTreeMap<usize, u32>,
}

/// Tests that are run in one process.
struct TestGroup {
    tests: Vec<usize>,
    took: Duration,
    /// Priority: groups with higher values are run first.
    worth: f64,
}

impl<'a> Runner<'a> {
    /// Creates a runner; runs nothing.
    #[must_use]
    pub fn new(
        (tree, binaries, sums): (&'a Tree, &'a Binaries, &'a SourceHashes),
        options: &'a Options,
        candidates: &'a [Candidate],
        reach: &'a [TestCoverage],
    ) -> Self {
        let mut tests_of = vec![Vec::new(); candidates.len()];
        for (test, it) in reach.iter().enumerate() {
            for number in &it.reached {
                if let Some(tests) = tests_of.get_mut(*number as usize) {
                    tests.push(test);
                }
            }
        }
        let history = Mutex::default();
        Self { tree, binaries, sums, options, candidates, reach, tests_of, history }
    }

    /// Makes the mistakes that are `chosen`, and are not `known`.
    ///
    /// # Errors
    /// If a test cannot be run.
    pub fn run_all(
        &self,
        chosen: &[u32],
        broken: &BTreeSet<u32>,
        known: &BTreeMap<String, CachedResult>,
    ) -> Result<BTreeMap<u32, MutantResult>, Failed> {
        let mut results = BTreeMap::new();
        let mut left = Vec::new();
        self.remember(known);
        for number in chosen {
            let took = Duration::ZERO;
            let known = known.get(&self.candidates[*number as usize].key());
            if broken.contains(number) {
                results.insert(*number, MutantResult { outcome: Outcome::NotBuilt, took });
            } else if let Some(it) = known.filter(|it| self.holds(it)) {
                results.insert(*number, it.result.clone());
            } else {
                left.push(*number);
            }
        }
        // Neighbours are not made at the same time, and an end before the end has tried some of each file.
        left.sort_by_key(|number| number.wrapping_mul(2_654_435_761));
        eprintln!("{} mistakes, {} of them known", chosen.len(), chosen.len() - left.len());
        let results = Mutex::new(results);
        each(self.options.jobs, left.len(), |worker, n| {
            let number = left[n];
            let began = Instant::now();
            let outcome = self.outcome(worker, number)?;
            let it = &self.candidates[number as usize];
            let result = MutantResult { outcome, took: began.elapsed() };
            cache::keep_result(self.sums, it, self.options.budget, &result)?;
            let outcome = &result.outcome;
            if outcome.is_survivor() {
                let place = format!("{}:{}", it.file.display(), it.line);
                eprintln!("{place}: {}: {}: {outcome}", it.function, it.change);
            }
            let mut results = results.lock().expect("no thread panics with it");
            results.insert(number, result);
            let done = results.len() + left.len() - chosen.len();
            if done.is_multiple_of(50) {
                eprintln!("{done} of {}", left.len());
            }
            Ok(())
        })?;
        Ok(results.into_inner().expect("no thread panicked"))
    }

    /// Whether a stored outcome is still valid.
    fn holds(&self, known: &CachedResult) -> bool {
        match known.result.outcome {
            Outcome::Caught { .. } | Outcome::Hung { .. } => {
                known.is_of_these || self.options.survivors
            }
            Outcome::Survived { left_out: 1.., .. } => {
                known.is_of_these && known.budget >= self.options.budget.as_secs()
            }
            _ => known.is_of_these,
        }
    }

    /// Counts what the tests noticed in earlier runs.
    fn remember(&self, known: &BTreeMap<String, CachedResult>) {
        let name = |it: &Test| format!("{}::{}", it.binary, it.name);
        let tests = self.reach.iter().enumerate().map(|(n, it)| (name(&it.test), n));
        let tests: BTreeMap<String, usize> = tests.collect();
        let mut history = self.history.lock().expect("no thread panics with it");
        for (key, it) in known {
            if let Outcome::Caught { by } = &it.result.outcome
                && let Some(test) = tests.get(by)
            {
                let file = Path::new(key.split('\t').next().unwrap_or_default());
                history.add(file, *test);
            }
        }
    }

    /// Determines the outcome of a mistake.
    fn outcome(&self, worker: usize, number: u32) -> Result<Outcome, Failed> {
        let tests = &self.tests_of[number as usize];
        if tests.is_empty() {
            return Ok(Outcome::NotReached);
        }
        let mut spent = Duration::ZERO;
        let mut run = 0;
        for group in self.groups(number) {
            if run > 0 && spent + group.took > self.options.budget {
                continue;
            }
            spent += group.took;
            run += group.tests.len();
            if let Some(outcome) = self.run_group(worker, number, group.tests)? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Survived { tests: run, left_out: tests.len() - run })
    }

    /// The tests that reach a mistake, in the order in which to run them.
    fn groups(&self, number: u32) -> Vec<TestGroup> {
        let it = &self.candidates[number as usize];
        let subject = Subject::of(&it.file);
        let history = self.history.lock().expect("no thread panics with it");
        let usable = |test: &&usize| history.unstable.get(*test).is_none_or(|n| *n < UNSTABLE);
        let mut quick: BTreeMap<(&str, u32), Vec<usize>> = BTreeMap::new();
        let mut groups = Vec::new();
        let worth = |tests: &[usize], nearness: u32| {
            let took: Duration = tests.iter().map(|test| self.reach[*test].took).sum();
            let noticed: u32 = tests.iter().map(|test| history.worth(&it.file, *test)).sum();
            let worth =
                f64::from(nearness) * f64::from(noticed + 1) / (took + PROCESS).as_secs_f64();
            TestGroup { tests: tests.to_vec(), took, worth }
        };
        for test in self.tests_of[number as usize].iter().filter(usable) {
            let TestCoverage { test: Test { binary, name }, took, .. } = &self.reach[*test];
            let nearness = subject.nearness(binary, name);
            match *took < QUICK {
                true => quick.entry((binary, nearness)).or_default().push(*test),
                false => groups.push(worth(&[*test], nearness)),
            }
        }
        for ((_, nearness), mut tests) in quick {
            tests.sort_by_key(|test| {
                (std::cmp::Reverse(history.worth(&it.file, *test)), self.reach[*test].took)
            });
            let (mut some, mut took) = (Vec::new(), Duration::ZERO);
            for test in tests {
                some.push(test);
                took += self.reach[test].took;
                if took >= TOGETHER {
                    groups.push(worth(&some, nearness));
                    (some, took) = (Vec::new(), Duration::ZERO);
                }
            }
            if !some.is_empty() {
                groups.push(worth(&some, nearness));
            }
        }
        groups.sort_by(|a, b| b.worth.total_cmp(&a.worth));
        groups
    }

    /// Runs tests of one binary; nothing if all pass.
    fn run_group(
        &self,
        worker: usize,
        number: u32,
        mut tests: Vec<usize>,
    ) -> Result<Option<Outcome>, Failed> {
        let binary = &self.reach[tests[0]].test.binary;
        while !tests.is_empty() {
            let by = match self.run(worker, number, &tests)? {
                Verdict::Passed => return Ok(None),
                Verdict::Failed(by) | Verdict::Hung(by) => by,
            };
            // Once more, alone: a test that fails now and then notices nothing.
            let named = |test: &usize| Some(&self.reach[*test].test.name) == by.as_ref();
            let suspect = tests.iter().position(named);
            let alone = suspect.map_or(tests.clone(), |at| vec![tests[at]]);
            let by = suspect.map_or(binary.clone(), |at| {
                format!("{binary}::{}", self.reach[tests[at]].test.name)
            });
            let again = self.run(worker, number, &alone)?;
            let mut history = self.history.lock().expect("no thread panics with it");
            if again != Verdict::Passed {
                if let Some(at) = suspect {
                    history.add(&self.candidates[number as usize].file, tests[at]);
                }
                let hung = matches!(again, Verdict::Hung(_));
                return Ok(Some(if hung { Outcome::Hung { by } } else { Outcome::Caught { by } }));
            }
            eprintln!("{by} failed, and then passed with the same mistake");
            for test in alone {
                *history.unstable.entry(test).or_default() += 1;
                tests.retain(|it| *it != test);
            }
        }
        Ok(None)
    }

    fn run(&self, worker: usize, number: u32, tests: &[usize]) -> Result<Verdict, Failed> {
        let names: Vec<&str> =
            tests.iter().map(|test| self.reach[*test].test.name.as_str()).collect();
        let limit = time_limit(tests.iter().map(|test| self.reach[*test].took).sum());
        let path = &self.binaries[&self.reach[tests[0]].test.binary];
        test_process::run(worker, path, &names, self.tree.dir(), &number.to_string(), limit)
    }
}

impl TestHistory {
    fn add(&mut self, file: &Path, test: usize) {
        *self.in_file.entry((file.to_owned(), test)).or_default() += 1;
        *self.noticed.entry(test).or_default() += 1;
    }

    /// The higher, the more likely a test notices a mistake in a file.
    fn worth(&self, file: &Path, test: usize) -> u32 {
        let in_file = self.in_file.get(&(file.to_owned(), test)).copied().unwrap_or(0);
        in_file * 10 + self.noticed.get(&test).copied().unwrap_or(0)
    }
}

/// What a source file is about, as names of its tests begin.
struct Subject {
    /// Its module, and the module of the tests of its directory.
    modules: [String; 2],
    /// Its name, the first word of it, and the name of its directory.
    words: Vec<String>,
}

impl Subject {
    fn of(file: &Path) -> Self {
        let parts = file.with_extension("");
        let parts = parts.iter().skip(1).map(|part| part.to_string_lossy());
        let parts: Vec<_> = parts.filter(|it| it != "mod").collect();
        let path = |parts: &[_]| parts.iter().map(|part| format!("{part}::")).collect::<String>();
        let dir = parts.split_last().map_or(&[][..], |(_, dir)| dir);
        // Of `scrub_progress`, `scrub` too.
        let names = parts.iter().rev().take(2).map(ToString::to_string);
        let first = parts.last().and_then(|name| name.split_once('_')).map(|(word, _)| word);
        let first = first.filter(|word| word.len() > 4).map(str::to_owned);
        let words = names.chain(first).collect();
        Self { modules: [path(&parts), path(dir) + "tests::"], words }
    }

    /// How much more a test is worth than one of another subject.
    fn nearness(&self, binary: &str, name: &str) -> u32 {
        if binary == "lib" {
            let is_near = self.modules.iter().any(|module| name.starts_with(module));
            return if is_near { 1000 } else { 1 };
        }
        let modules = name.rsplit_once("::").map_or("", |(modules, _)| modules);
        let is_near = |word: &String| {
            binary.starts_with(&**word) || modules.split("::").any(|it| it.starts_with(&**word))
        };
        if self.words.iter().any(is_near) { 30 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_the_subject_of_a_file_are_near_it() {
        let near = |file, binary, name| Subject::of(Path::new(file)).nearness(binary, name);
        assert_eq!(near("src/http/head.rs", "lib", "http::head::tests::a"), 1000);
        assert_eq!(near("src/ring.rs", "lib", "ring::tests::a"), 1000);
        assert_eq!(near("src/volume/index/mod.rs", "lib", "volume::index::tests::a"), 1000);
        let run = "src/runtime/background/run.rs";
        assert_eq!(near(run, "lib", "runtime::background::tests::a"), 1000);
        assert_eq!(near(run, "lib", "runtime::tests::a"), 1);
        let walk = "src/volume/scrub/walk.rs";
        assert_eq!(near(walk, "volume", "scrub::a"), 30);
        assert_eq!(near(walk, "scrub_daemon", "a"), 30);
        assert_eq!(near("src/node/shard/scrub_progress.rs", "scrub_daemon", "a"), 30);
        assert_eq!(near(walk, "volume", "engine::scrub_is_no_module"), 1);
    }
}
