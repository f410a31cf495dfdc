//! Mutation testing: makes small mistakes one at a time, and looks whether a test notices.
//!
//! All mistakes are built into one copy of the sources, each behind a run-time switch, as a build for each
//! would take two cores days. Which tests can notice a mistake is measured: those that reach it. They are run
//! one after the other, quick ones first, until one fails.

mod options;
mod report;
mod rewrite;
mod run;
mod sites;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::process::{Failed, announce};
use crate::project::{root, target};
use crate::record::cannot;
pub use options::Options;
use report::{Fate, Result as MutantResult};
use run::{Binaries, Test, Verdict, time_limit};
use tree::{Candidate, Tree};

/// Parts of the code, and where they are.
const AREAS: &[(&str, &[&str])] = &[
    ("volume", &["src/volume"]),
    ("http", &["src/http"]),
    ("ring", &["src/ring.rs", "src/ring"]),
    ("shard", &["src/shard"]),
    ("daemon", &["src/daemon"]),
    ("runtime", &["src/runtime", "src/buffer.rs", "src/mailbox.rs"]),
];
/// Test binaries that look at the sources, which are other ones here.
const OF_SOURCES: &[&str] = &["tidy", "hayloft"];
/// Tests at least this quick are run together with others of their binary.
const QUICK: Duration = Duration::from_secs(1);

/// What a test reaches, and how long it takes.
struct Reach {
    test: Test,
    took: Duration,
    reached: BTreeSet<u32>,
}

/// Runs it.
///
/// # Errors
/// When a file cannot be read, the tests fail without a mistake, or a mistake was not noticed.
pub fn mutants(options: &Options) -> Result<(), Failed> {
    let candidates = options.choose(all_candidates()?)?;
    if candidates.is_empty() {
        eprintln!("no mistake can be made there");
        return Ok(());
    }
    if options.list {
        for it in &candidates {
            println!("{}:{}: {}: {}", it.file.display(), it.line, it.function, it.change);
        }
        return Ok(());
    }
    let began = Instant::now();
    let tree = Tree::copy()?;
    eprintln!("{} mistakes; building them in", candidates.len());
    let broken = tree.build_in(&candidates)?;
    let binaries = tree.build_tests()?;
    let (reach, flawed) = measure(&tree, &binaries, options.jobs)?;
    if !flawed.is_empty() {
        let names: Vec<_> = flawed.iter().map(|it| format!("{}::{}", it.binary, it.name)).collect();
        eprintln!("these tests fail without a mistake and are left out: {}", names.join(", "));
    }
    let runner = Runner { tree: &tree, binaries: &binaries, reach: &reach, options };
    let results = runner.run_all(&candidates, &broken)?;
    report::report(&candidates, &results, options, began.elapsed())
}

/// All mistakes that can be made, area by area, in the order of the files.
fn all_candidates() -> Result<Vec<Candidate>, Failed> {
    let mut all = Vec::new();
    for (area, paths) in AREAS {
        for path in *paths {
            for file in sources(Path::new(path))? {
                all.extend(tree::candidates(area, &file)?);
            }
        }
    }
    Ok(all)
}

/// The source files at `path`, without those of tests.
fn sources(path: &Path) -> Result<Vec<PathBuf>, Failed> {
    let full = root().join(path);
    if full.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !full.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&full).map_err(cannot("read", &full))? {
        names.push(path.join(entry.map_err(cannot("read", &full))?.file_name()));
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_rust = name.extension().is_some_and(|extension| extension == "rs");
        if stem == "tests" || (!is_rust && !root().join(&name).is_dir()) {
            continue;
        }
        files.extend(sources(&name)?);
    }
    Ok(files)
}

/// Runs every test once without a mistake: how long it takes and what it reaches, and those that fail.
fn measure(
    tree: &Tree,
    binaries: &Binaries,
    jobs: usize,
) -> Result<(Vec<Reach>, Vec<Test>), Failed> {
    let mut tests = Vec::new();
    for (binary, path) in binaries.iter().filter(|(name, _)| !OF_SOURCES.contains(&name.as_str())) {
        for name in run::list(path, tree.dir())? {
            tests.push(Test { binary: binary.clone(), name });
        }
    }
    eprintln!("{} tests; running each once to see what it reaches", tests.len());
    let covers = target().join("mutants/covers");
    fs::create_dir_all(&covers).map_err(cannot("make", &covers))?;
    let found = Mutex::new((Vec::new(), Vec::new()));
    each(jobs, tests.len(), |worker, n| {
        let test = &tests[n];
        let file = covers.join(worker.to_string());
        fs::write(&file, []).map_err(cannot("write", &file))?;
        let began = Instant::now();
        let chosen = format!("coverage:{}", file.display());
        let path = &binaries[&test.binary];
        let verdict = run::run(path, &[&test.name], tree.dir(), &chosen, Duration::from_secs(600))?;
        let took = began.elapsed();
        let bytes = fs::read(&file).map_err(cannot("read", &file))?;
        let reached = (0..).zip(&bytes).filter(|(_, byte)| **byte == 1).map(|(n, _)| n).collect();
        let mut found = found.lock().expect("no thread panics with it");
        match verdict {
            Verdict::Passed => found.0.push(Reach { test: test.clone(), took, reached }),
            _ => found.1.push(test.clone()),
        }
        Ok(())
    })?;
    Ok(found.into_inner().expect("no thread panicked"))
}

/// Does `work` for each number below `count`, in some threads; the first error ends all.
fn each(
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

struct Runner<'a> {
    tree: &'a Tree,
    binaries: &'a Binaries,
    reach: &'a [Reach],
    options: &'a Options,
}

impl Runner<'_> {
    fn run_all(
        &self,
        candidates: &[Candidate],
        broken: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, MutantResult>, Failed> {
        let results = Mutex::new(BTreeMap::new());
        each(self.options.jobs, candidates.len(), |_, n| {
            let number = u32::try_from(n).expect("fewer mistakes than bytes");
            let began = Instant::now();
            let fate = match broken.contains(&number) {
                true => Fate::NotBuilt,
                false => self.fate(number)?,
            };
            let it = &candidates[n];
            let took = began.elapsed();
            if fate.is_survivor() {
                let place = format!("{}:{}", it.file.display(), it.line);
                eprintln!("{place}: {}: {}: {fate}", it.function, it.change);
            }
            let mut results = results.lock().expect("no thread panics with it");
            results.insert(number, MutantResult { fate, took });
            if results.len() % 50 == 0 {
                eprintln!("{} of {}", results.len(), candidates.len());
            }
            Ok(())
        })?;
        Ok(results.into_inner().expect("no thread panicked"))
    }

    /// What becomes of a mistake.
    fn fate(&self, number: u32) -> Result<Fate, Failed> {
        let mut reach: Vec<&Reach> =
            self.reach.iter().filter(|it| it.reached.contains(&number)).collect();
        if reach.is_empty() {
            return Ok(Fate::NotReached);
        }
        reach.sort_by_key(|it| it.took);
        let began = Instant::now();
        let mut quick: BTreeMap<&str, Vec<&Reach>> = BTreeMap::new();
        for it in reach.iter().filter(|it| it.took < QUICK) {
            quick.entry(&it.test.binary).or_default().push(it);
        }
        let mut groups: Vec<_> = quick.into_values().collect();
        groups.sort_by_key(|group| group.iter().map(|it| it.took).sum::<Duration>());
        groups.extend(reach.iter().filter(|it| it.took >= QUICK).map(|it| vec![*it]));
        let mut left_out = 0;
        for group in groups {
            if began.elapsed() > self.options.budget {
                left_out += group.len();
                continue;
            }
            if let Some(fate) = self.run_group(number, &group)? {
                return Ok(fate);
            }
        }
        Ok(Fate::Survived { tests: reach.len() - left_out, left_out })
    }

    /// Runs tests of one binary; nothing if all pass.
    fn run_group(&self, number: u32, group: &[&Reach]) -> Result<Option<Fate>, Failed> {
        let names: Vec<&str> = group.iter().map(|it| it.test.name.as_str()).collect();
        let limit = time_limit(group.iter().map(|it| it.took).sum());
        let binary = &group[0].test.binary;
        let run = || {
            run::run(&self.binaries[binary], &names, self.tree.dir(), &number.to_string(), limit)
        };
        let by = if names.len() == 1 { format!("{binary}::{}", names[0]) } else { binary.clone() };
        match run()? {
            Verdict::Passed => Ok(None),
            Verdict::Hung => Ok(Some(Fate::Hung { by })),
            // Once more: a test that fails now and then notices nothing.
            Verdict::Failed => Ok((run()? != Verdict::Passed).then_some(Fate::Caught { by })),
        }
    }
}

/// The lines that differ from `base`, by file.
fn changed_lines(base: &str) -> Result<BTreeMap<PathBuf, Vec<std::ops::Range<usize>>>, Failed> {
    let mut git = std::process::Command::new("git");
    git.args(["diff", "--unified=0", "--no-color", base, "--", "src"]).current_dir(root());
    announce(&git);
    let output = git.output().map_err(|error| Failed(format!("git cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(options::lines_of_diff(&String::from_utf8_lossy(&output.stdout)))
}
