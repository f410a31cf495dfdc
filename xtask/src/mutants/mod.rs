//! Mutation testing: makes small mistakes one at a time, and looks whether a test notices.
//!
//! All mistakes are built into one copy of the sources, each behind a run-time switch, as a build for each
//! would take two cores days. Which tests can notice a mistake is measured: those that reach it. They are run
//! one after the other until one fails, first those that notice much for the time they take. What is found
//! out is kept (`known.rs`), so that a run that was stopped goes on, and one after tests were added is short.

mod known;
mod options;
mod reach;
mod report;
mod rewrite;
mod run;
mod runner;
mod sites;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::process::{Failed, announce};
use crate::project::{root, target};
use crate::record::cannot;
use known::Sums;
pub use options::Options;
use reach::{Measured, measure};
use runner::Runner;
use tree::{Candidate, Tree};

/// Parts of the code, and where they are.
const AREAS: &[(&str, &[&str])] = &[
    ("volume", &["src/volume"]),
    ("http", &["src/http"]),
    ("ring", &["src/ring.rs", "src/ring"]),
    ("shard", &["src/node/shard"]),
    ("daemon", &["src/node/daemon"]),
    (
        "runtime",
        &[
            "src/runtime/buffer.rs",
            "src/runtime/executor.rs",
            "src/runtime/mailbox.rs",
            "src/runtime/sync.rs",
            "src/runtime/timer.rs",
        ],
    ),
];

/// Runs it.
///
/// # Errors
/// When a file cannot be read, the tests fail without a mistake, or a mistake was not noticed.
pub fn mutants(options: &Options) -> Result<(), Failed> {
    let candidates = all_candidates()?;
    let mut chosen = options.choose(&candidates)?;
    let sums = Sums::of_sources(&options.tests)?;
    let known = known::results(&sums);
    if options.survivors {
        chosen.retain(|number| known.contains_key(&candidates[*number as usize].key()));
    }
    if chosen.is_empty() {
        eprintln!("no mistake can be made there");
        return Ok(());
    }
    if options.list {
        for it in chosen.iter().map(|number| &candidates[*number as usize]) {
            println!("{}:{}: {}: {}", it.file.display(), it.line, it.function, it.change);
        }
        return Ok(());
    }
    let began = Instant::now();
    let dir = target().join("mutants");
    fs::create_dir_all(&dir).map_err(cannot("make", &dir))?;
    run::clean_up();
    let tree = Tree::copy(&candidates)?;
    eprintln!("building {} mistakes in", candidates.len());
    let keep = |broken: &_| known::keep_not_built(&sums, &candidates, broken);
    let broken = tree.build_in(&candidates, known::not_built(&sums, &candidates), keep)?;
    let binaries = tree.build_tests(&options.tests)?;
    eprintln!("built after {} s", began.elapsed().as_secs());
    let Measured { reach, flawed } = measure(&tree, &binaries, &sums, options)?;
    if !flawed.is_empty() {
        let names: Vec<_> = flawed.iter().map(|it| format!("{}::{}", it.binary, it.name)).collect();
        eprintln!("these tests fail without a mistake and are left out: {}", names.join(", "));
    }
    eprintln!("measured after {} s", began.elapsed().as_secs());
    let runner = Runner::new((&tree, &binaries, &sums), options, &candidates, &reach);
    let results = runner.run_all(&chosen, &broken, &known)?;
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
        let is_of_tests = stem == "tests" || is_only_for_tests(&full, stem);
        if is_of_tests || (!is_rust && !root().join(&name).is_dir()) {
            continue;
        }
        files.extend(sources(&name)?);
    }
    Ok(files)
}

/// Whether the module whose files are in `dir` has this one in builds for tests only.
fn is_only_for_tests(dir: &Path, stem: &str) -> bool {
    let parents = [dir.join("mod.rs"), dir.with_extension("rs")];
    let declared = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok());
    let declaration = format!("#[cfg(test)]\nmod {stem};");
    declared.into_iter().any(|text| text.contains(&declaration))
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
