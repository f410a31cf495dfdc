//! Coverage of each test: every test is run once without a mistake, and records the mistakes it reaches.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::cache;
use super::options::Options;
use super::source_hashes::SourceHashes;
use super::test_coverage::TestCoverage;
use super::test_process::{self, Binaries, Test, Verdict};
use super::tree::Tree;
use crate::process::Failed;
use crate::project::target;
use crate::record::cannot;

/// Test binaries that check the sources themselves, which differ in the copy.
const OF_SOURCES: &[&str] = &["tidy", "hayloft"];

/// Coverage of all tests, and the tests that fail without a mistake.
pub struct Coverage {
    /// Coverage of the tests that pass.
    pub reach: Vec<TestCoverage>,
    /// Tests that fail.
    pub flawed: Vec<Test>,
}

/// Runs every test whose coverage is not in the cache; tests that fail are run again, one at a time.
///
/// # Errors
/// If a test cannot be run.
pub fn measure(
    tree: &Tree,
    binaries: &Binaries,
    sums: &SourceHashes,
    options: &Options,
) -> Result<Coverage, Failed> {
    let mut known = cache::reach(sums);
    let long = cache::long(sums, options.longest);
    let (mut reach, mut tests) = (Vec::new(), Vec::new());
    for (binary, path) in binaries.iter().filter(|(name, _)| !OF_SOURCES.contains(&name.as_str())) {
        for name in test_process::list(path, tree.dir())? {
            let test = Test { binary: binary.clone(), name };
            match known.remove(&test) {
                Some(it) if it.took <= options.longest => reach.push(it),
                Some(_) => {}
                None if long.contains(&test) => {}
                None => tests.push(test),
            }
        }
    }
    eprintln!(
        "{} tests; running {} to see what they reach",
        reach.len() + tests.len(),
        tests.len()
    );
    for jobs in [options.jobs, 1] {
        let options = Options { jobs, ..options.clone() };
        tests = measure_once(tree, binaries, sums, &options, &tests, &mut reach)?;
    }
    Ok(Coverage { reach, flawed: tests })
}

/// Runs tests once and returns those that fail.
fn measure_once(
    tree: &Tree,
    binaries: &Binaries,
    sums: &SourceHashes,
    options: &Options,
    tests: &[Test],
    reach: &mut Vec<TestCoverage>,
) -> Result<Vec<Test>, Failed> {
    let found = Mutex::new((reach, Vec::new(), 0));
    each(options.jobs, tests.len(), |worker, n| {
        let test = &tests[n];
        let file = target().join(format!("mutants/reached-{worker}"));
        fs::write(&file, []).map_err(cannot("write", &file))?;
        let began = Instant::now();
        let chosen = format!("coverage:{}", file.display());
        let path = &binaries[&test.binary];
        let verdict =
            test_process::run(worker, path, &[&test.name], tree.dir(), &chosen, options.longest)?;
        let took = began.elapsed();
        let bytes = fs::read(&file).map_err(cannot("read", &file))?;
        let reached = (0..).zip(&bytes).filter(|(_, byte)| **byte == 1).map(|(n, _)| n).collect();
        let _ = fs::remove_file(&file);
        let mut found = found.lock().expect("no thread panics with it");
        found.2 += 1;
        if usize::is_multiple_of(found.2, 100) {
            eprintln!("{} of {}", found.2, tests.len());
        }
        match verdict {
            Verdict::Passed => {
                let it = TestCoverage { test: test.clone(), took, reached };
                cache::keep_reach(sums, &it)?;
                found.0.push(it);
            }
            Verdict::Failed(_) => {
                eprintln!("{}::{} fails without a mistake", test.binary, test.name);
                found.1.push(test.clone());
            }
            Verdict::Hung(_) => {
                let seconds = options.longest.as_secs();
                eprintln!("{}::{} takes longer than {seconds} s", test.binary, test.name);
                cache::keep_long(sums, test, options.longest)?;
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner().expect("no thread panicked").1)
}

/// Calls `work` for each number below `count`, on `jobs` threads; the first error ends all of them.
///
/// # Errors
/// The first error of `work`.
pub fn each(
    jobs: usize,
    count: usize,
    work: impl Fn(usize, usize) -> Result<(), Failed> + Sync,
) -> Result<(), Failed> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs)
            .map(|worker| {
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return Ok(());
                        }
                        if let Err(error) = work(worker, n) {
                            next.store(count, Ordering::Relaxed);
                            return Err(error);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}
