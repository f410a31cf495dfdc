//! Records of the parts: a JSON file each, and a table of all.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::outcome::{Outcome, Verdict, line};
use super::part::Part;
use crate::process::Failed;
use crate::project::target;
use crate::record::{Record, cannot, commit, results_dir};

/// Result of a part, as recorded.
#[derive(Serialize, Deserialize)]
pub struct Result {
    /// Name of the part.
    pub part: String,
    /// Command line.
    pub command: String,
    /// Commit of the sources.
    pub commit: String,
    /// Duration (seconds).
    pub seconds: f64,
    /// Why it failed.
    pub error: Option<String>,
    /// What it measured.
    pub outcome: Outcome,
}

impl Result {
    /// Result of a part that took `seconds`.
    #[must_use]
    pub fn new(
        (part, options): (Part, &Options),
        seconds: f64,
        done: std::result::Result<Outcome, Failed>,
    ) -> Self {
        let (outcome, error) = match done {
            Ok(outcome) => (outcome, None),
            Err(Failed(why)) => (Outcome::default(), Some(why)),
        };
        let mut command = format!("cargo xtask {}", options.measurement.name());
        if options.quick {
            command += " --quick";
        }
        if part == Part::Index {
            let _ = write!(command, " --needles {}", options.needles);
        }
        let part = part.name().to_owned();
        Self { part, command, commit: commit(), seconds, error, outcome }
    }

    /// Lines about what is not as wanted.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let missed = self.outcome.figures.iter().filter(|it| it.verdict == Verdict::Missed);
        let missed = missed.map(|figure| format!("{}:{}", self.part, line(figure)));
        missed.chain(self.error.iter().map(|why| format!("{}: {why}", self.part))).collect()
    }

    fn markdown(&self) -> String {
        let Self { part, command, commit, seconds, error, outcome } = self;
        let mut text = format!("\n## {part}\n\n`{command}`, {commit}, {seconds:.0} s.\n");
        if !outcome.method.is_empty() {
            let _ = writeln!(text, "\n{}", outcome.method);
        }
        if let Some(why) = error {
            let _ = writeln!(text, "\n**Failed**: {why}");
        }
        if !outcome.figures.is_empty() {
            let _ = write!(text, "\n{}", outcome.table());
        }
        text
    }
}

/// Records a part, and writes the table of all that are recorded.
///
/// # Errors
/// When a file cannot be written.
pub fn record(result: &Result, options: &Options) -> std::result::Result<(), Failed> {
    let (measurement, name) = (options.measurement, options.measurement.name());
    let dir = match options.quick {
        true => target().join(format!("{name}-trial")),
        false => results_dir(),
    };
    let parts = dir.join(name);
    fs::create_dir_all(&parts).map_err(cannot("create", &parts))?;
    let path = parts.join(format!("{}.json", result.part));
    let json = serde_json::to_string_pretty(result).expect("a result always serializes") + "\n";
    fs::write(&path, json).map_err(cannot("write", &path))?;
    let all = Part::of(measurement).iter().filter_map(|part| read(&parts, *part));
    let how = format!(
        "\nThe release build on an XFS on a loop device with direct I/O, the load generator and the daemon \
         on loopback.\nMedians are shown with their 95 % interval. All rounds are in `{name}/`, a JSON \
         file for each part.\n"
    );
    let text = how + &all.map(|result| result.markdown()).collect::<String>();
    let command = format!("cargo xtask {name}");
    Record { name, title: measurement.title(), command: &command, text: &text }.keep_in(&dir)
}

fn read(parts: &Path, part: Part) -> Option<Result> {
    let text = fs::read_to_string(parts.join(format!("{}.json", part.name()))).ok()?;
    serde_json::from_str(&text).ok()
}
