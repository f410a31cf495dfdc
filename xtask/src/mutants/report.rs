//! Table of the outcomes, and the equivalent mistakes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::candidate::Candidate;
use super::options::Options;
use super::outcome::{MutantResult, Outcome};
use crate::process::Failed;
use crate::record::Record;

/// Equivalent mistakes, which have no observable effect. Each line has the key of the mistake
/// ([`Candidate::key`]) and the reason, separated by a tab.
const EQUIVALENT: &str = include_str!("equivalent.tsv");
/// Required share of noticed mistakes among those that are not equivalent, 0 to 1.
const NOTICED_MIN: f64 = 0.95;

/// The reason why a mistake is equivalent, if it is listed.
fn reason_of(it: &Candidate) -> Option<&'static str> {
    let key = it.key();
    let lines = EQUIVALENT.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once('\t')).find(|(of, _)| *of == key).map(|(_, why)| why)
}

#[derive(Default)]
struct AreaTotal {
    made: usize,
    not_built: usize,
    noticed: usize,
    hung: usize,
    equivalent: usize,
    survived: usize,
}

impl AreaTotal {
    fn add(&mut self, outcome: &Outcome, is_equivalent: bool) {
        self.made += 1;
        match outcome {
            Outcome::NotBuilt => self.not_built += 1,
            Outcome::Caught { .. } => self.noticed += 1,
            Outcome::Hung { .. } => {
                self.noticed += 1;
                self.hung += 1;
            }
            _ if is_equivalent => self.equivalent += 1,
            _ => self.survived += 1,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "few mistakes")]
    fn share(&self) -> f64 {
        self.noticed as f64 / ((self.noticed + self.survived).max(1)) as f64
    }

    fn row(&self, name: &str) -> String {
        let Self { made, not_built, noticed, hung, equivalent, survived } = self;
        let share = self.share() * 100.0;
        format!(
            "| {name} | {made} | {not_built} | {noticed} ({hung}) | {equivalent} | {survived} | \
             {share:.1} % |\n"
        )
    }
}

/// Prints and records the table.
///
/// # Errors
/// If the share of noticed mistakes is below [`NOTICED_MIN`].
#[expect(clippy::cast_precision_loss, reason = "few mistakes")]
pub fn report(
    candidates: &[Candidate],
    results: &BTreeMap<u32, MutantResult>,
    options: &Options,
    took: Duration,
) -> Result<(), Failed> {
    let (mut areas, mut all) = (BTreeMap::<&str, AreaTotal>::new(), AreaTotal::default());
    let mut survivors = String::new();
    let mut equivalents = String::new();
    for (number, MutantResult { outcome, .. }) in results {
        let it = &candidates[*number as usize];
        let reason = reason_of(it).filter(|_| outcome.is_survivor());
        areas.entry(it.area).or_default().add(outcome, reason.is_some());
        all.add(outcome, reason.is_some());
        let place = format!("`{}:{}` `{}`", it.file.display(), it.line, it.function);
        let nth = if it.nth > 1 { format!(" ({})", it.nth) } else { String::new() };
        let change = it.change.replace('|', "\\|") + &nth;
        if let Some(reason) = reason {
            equivalents += &format!("| {place} | `{change}` | {reason} |\n");
        } else if outcome.is_survivor() {
            survivors += &format!("| {place} | `{change}` | {outcome} |\n");
        }
    }
    let mut text = format!(
        "\n{}; for each at most {} s of tests, as they take without a mistake, {} at a time; {}; {:.0} \
         minutes in all.\n\n\
         | area | made | does not compile | noticed (by a hang) | equivalent | not noticed | \
         noticed of those that count |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
        options.which(),
        options.budget.as_secs(),
        options.jobs,
        options.which_tests(),
        took.as_secs_f64() / 60.0,
    );
    for (area, sum) in &areas {
        text += &sum.row(area);
    }
    text += &all.row("all");
    if !survivors.is_empty() {
        text +=
            &format!("\nNot noticed:\n\n| where | change | |\n| --- | --- | --- |\n{survivors}");
    }
    if !equivalents.is_empty() {
        text += &format!(
            "\nEquivalent:\n\n| where | change | why |\n| --- | --- | --- |\n{equivalents}"
        );
    }
    let spent: Duration = results.values().map(|result| result.took).sum();
    let mean = spent.as_secs_f64() / results.len().max(1) as f64;
    text += &format!("\nA mistake took {mean:.1} s of tests on average.\n");
    println!("{text}");
    let partial = options.changed.is_some() || !options.files.is_empty();
    if !partial {
        let command = "cargo xtask mutants";
        Record { name: "mutants", title: "Mutants", command, text: &text }.keep()?;
    }
    if all.share() < NOTICED_MIN {
        let share = all.share() * 100.0;
        return Err(Failed(format!(
            "only {share:.1} % of the mistakes were noticed; 95 % are wanted"
        )));
    }
    Ok(())
}
