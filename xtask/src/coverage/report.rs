//! The table of the areas, and the list of the code that no test reaches.

use std::collections::BTreeMap;
use std::path::Path;

use super::counts::FileCounts;
use super::options::Options;
use super::reasons::{Reasons, outdated, reasons};
use super::site::{Event, Site, sites};
use super::source::Source;
use crate::process::Failed;
use crate::record::Record;

/// Areas in which code that no test reaches needs a reason.
const JUDGED: [&str; 4] = ["volume", "ring", "shard", "daemon"];
const NOTES: &str = "
Counters of LLVM in the test binaries, the daemons and the commands that they start. Tests, assertions,
panics and deliberate mistakes (`src/base/sabotage.rs`) are left out. A region is code without a decision; a
result is one of the two of a condition. A process that is killed loses what it counted.

| area | regions | run | results | seen | errors behind `?` | seen | not reached | of these with a reason |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// What was measured of an area.
pub struct Area {
    /// Its name.
    pub name: &'static str,
    /// Its sites.
    pub sites: Vec<Site>,
    /// Regions, and those that ran.
    pub regions: [usize; 2],
}

impl Area {
    /// Adds a file.
    pub fn add(&mut self, file: &Path, source: &Source, counts: &FileCounts) {
        for (place, count) in &counts.regions {
            let range = source.offset(place.start)..source.offset(place.end);
            if !source.is_left_out(&range) {
                self.regions[0] += 1;
                self.regions[1] += usize::from(*count > 0);
            }
        }
        self.sites.extend(sites(file, source, counts));
    }

    fn gaps(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.is_gap)
    }

    fn row(&self, reasons: &Reasons) -> String {
        let of = |events: &[Event]| {
            let all = self.sites.iter().filter(|site| events.contains(&site.event));
            let (mut count, mut seen) = (0, 0);
            for site in all {
                count += 1;
                seen += usize::from(site.is_seen);
            }
            format!("{count} | {}", share(seen, count))
        };
        let [regions, run] = self.regions;
        let gaps = self.gaps().count();
        let with = self.gaps().filter(|gap| reasons.contains_key(gap.key().as_str())).count();
        let (results, errors) = (of(&[Event::True, Event::False]), of(&[Event::Fails]));
        let (name, run) = (self.name, share(run, regions));
        format!("| {name} | {regions} | {run} | {results} | {errors} | {gaps} | {with} |\n")
    }
}

#[expect(clippy::cast_precision_loss, reason = "few of each")]
fn share(part: usize, of: usize) -> String {
    format!("{part} ({:.1} %)", part as f64 * 100.0 / of.max(1) as f64)
}

/// Prints the table and the list, and records them if they are of all tests.
///
/// # Errors
/// If code is reached by no test and has no reason, or a reason is of code that is gone.
pub fn report(areas: &[Area], options: &Options) -> Result<(), Failed> {
    let reasons = reasons();
    let mut text = NOTES.to_owned();
    text.extend(areas.iter().map(|area| area.row(&reasons)));
    let mut open = 0;
    for (title, is_explained) in [("Not reached", false), ("Not reached, with the reason", true)] {
        let mut lines = String::new();
        for area in areas {
            let gaps = area.gaps().map(|gap| (gap, reasons.get(gap.key().as_str())));
            for (gap, reason) in gaps.filter(|(_, reason)| reason.is_some() == is_explained) {
                open += usize::from(reason.is_none() && JUDGED.contains(&area.name));
                lines += &line(gap, reason.copied());
            }
        }
        if !lines.is_empty() {
            text += &format!("\n{title}:\n\n{lines}");
        }
    }
    println!("{text}");
    if options.is_complete() {
        let command = "cargo xtask coverage";
        Record { name: "coverage", title: "Coverage", command, text: &text }.keep()?;
    }
    judge(areas, &reasons, open, options)
}

fn line(gap: &Site, reason: Option<&str>) -> String {
    let nth = if gap.nth > 1 { format!(" ({})", gap.nth) } else { String::new() };
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let (file, what) = (gap.file.display(), gap.what.replace('`', "'"));
    format!("- `{file}:{}` `{}` `{what}`{nth}{reason}\n", gap.line, gap.function)
}

fn judge(areas: &[Area], reasons: &Reasons, open: usize, options: &Options) -> Result<(), Failed> {
    let all: Vec<Site> = areas.iter().flat_map(|area| area.sites.iter().cloned()).collect();
    let of_area: BTreeMap<_, _> = reasons
        .iter()
        .filter(|(key, _)| all.iter().any(|site| key.starts_with(&*site.file.to_string_lossy())))
        .map(|(key, reason)| (*key, *reason))
        .collect();
    let (unknown, reached) = outdated(&of_area, &all);
    for key in &reached {
        eprintln!("a test reaches this; remove its reason: {key}");
    }
    for key in &unknown {
        eprintln!("this code is gone; remove its reason: {key}");
    }
    if !options.is_complete() {
        return Ok(());
    }
    match (open, unknown.len()) {
        (0, 0) => Ok(()),
        (0, gone) => Err(Failed(format!("{gone} reasons in reasons.tsv are of code that is gone"))),
        (open, _) => Err(Failed(format!(
            "{open} places in {} are reached by no test: add one, or the reason to \
             xtask/src/coverage/reasons.tsv",
            JUDGED.join(", ")
        ))),
    }
}
