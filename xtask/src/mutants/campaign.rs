//! One run of mutation testing, from the choice of the mistakes to the report.

use std::fs;
use std::time::Instant;

use super::cache;
use super::candidate::all_candidates;
use super::coverage::{Coverage, measure};
use super::options::Options;
use super::report::report;
use super::runner::Runner;
use super::source_hashes::SourceHashes;
use super::test_process;
use super::tree::Tree;
use crate::process::Failed;
use crate::project::target;
use crate::record::cannot;

/// Makes the chosen mistakes and reports which were noticed.
///
/// # Errors
/// When a file cannot be read, the tests fail without a mistake, or a mistake was not noticed.
pub fn mutants(options: &Options) -> Result<(), Failed> {
    let candidates = all_candidates()?;
    let mut chosen = options.choose(&candidates)?;
    let sums = SourceHashes::of_sources(&options.tests)?;
    let known = cache::results(&sums);
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
    test_process::clean_up();
    let tree = Tree::copy(&candidates)?;
    eprintln!("building {} mistakes in", candidates.len());
    let keep = |broken: &_| cache::keep_not_built(&sums, &candidates, broken);
    let broken = tree.build_in(&candidates, cache::not_built(&sums, &candidates), keep)?;
    let binaries = tree.build_tests(&options.tests)?;
    eprintln!("built after {} s", began.elapsed().as_secs());
    let Coverage { reach, flawed } = measure(&tree, &binaries, &sums, options)?;
    if !flawed.is_empty() {
        let names: Vec<_> = flawed.iter().map(|it| format!("{}::{}", it.binary, it.name)).collect();
        eprintln!("these tests fail without a mistake and are left out: {}", names.join(", "));
    }
    eprintln!("measured after {} s", began.elapsed().as_secs());
    let runner = Runner::new((&tree, &binaries, &sums), options, &candidates, &reach);
    let results = runner.run_all(&chosen, &broken, &known)?;
    report(&candidates, &results, options, began.elapsed())
}
