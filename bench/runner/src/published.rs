//! Published figures: all goals in `bench/README.md`, some in the README of the project, from the newest
//! records.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::bench;
use crate::block::Record;
use crate::error::{Error, file};
use crate::goals::{self, GoalResult};
use crate::table::{self, PUBLISHED_PAIRS, all};

const BEGIN: &str = "<!-- cargo xtask bench --readme: begin -->\n";
const END: &str = "<!-- cargo xtask bench --readme: end -->\n";

/// Goals for the project's README: figure, text in front of the value, text after it.
const HIGHLIGHTS: &[(&str, &str, &str)] = &[
    (
        "8 KiB GET, 32 connections: rate / nginx",
        "Reads: ",
        " times as many GETs of 8 KiB per second as nginx over plain files",
    ),
    ("8 KiB GET, 32 connections: rate / SeaweedFS", "", " times as many as SeaweedFS"),
    ("8 KiB GET: server CPU / nginx", "CPU: ", " of the processor time of nginx for each GET"),
    ("8 KiB GET: server CPU / SeaweedFS", "", " of that of SeaweedFS"),
    ("device reads per GET, found", "Device reads: ", " for each GET"),
    (
        "durable 8 KiB PUT: rate / SeaweedFS without fsync",
        "Durable writes: ",
        " times as many PUTs of 8 KiB per second as SeaweedFS without fsync",
    ),
];

/// Newest directory with records below the directory of all results.
fn newest(results: &Path) -> Result<Option<PathBuf>, Error> {
    let days = std::fs::read_dir(results).map_err(file("read", results))?.flatten();
    let found = days.map(|day| day.path().join("compare")).filter(|dir| dir.is_dir());
    Ok(found.max())
}

/// Machine, date and command of the records.
fn origin(records: &[Record]) -> String {
    let Some(newest) = records.iter().max_by_key(|record| &record.machine.date) else {
        return String::new();
    };
    let machine = &newest.machine;
    let fewest = records.iter().map(Record::pairs).min().unwrap_or(0);
    let mut text = format!(
        "Measured on {} cores ({}), Linux {}, {}, commit {}: `{}`,\nat least {fewest} pairs of blocks.\n",
        machine.cores,
        machine.processor,
        all(records, |record| &record.machine.kernel),
        all(records, |record| &record.machine.date),
        all(records, |record| &record.machine.commit),
        newest.command
    );
    if fewest < PUBLISHED_PAIRS {
        text += "**Some have too few pairs for publication.**\n";
    }
    text
}

/// All goals, for `bench/README.md`. `dir` is the directory of the records, relative to it.
fn full(records: &[Record], verdicts: &[GoalResult], dir: &str) -> String {
    let all_figures = format!("[All figures]({dir}/table.md).\n");
    format!("\n{}{all_figures}\n{}\n", origin(records), goals::table(verdicts))
}

/// Selected figures, for the README of the project.
fn short(verdicts: &[GoalResult]) -> String {
    let mut text = String::new();
    for (figure, before, after) in HIGHLIGHTS {
        let measured = verdicts.iter().find(|verdict| verdict.figure == *figure);
        let Some(measured) = measured.and_then(|verdict| verdict.measured) else { continue };
        let lead = if before.is_empty() { "  and " } else { "- " };
        if before.is_empty() && text.is_empty() {
            continue;
        }
        writeln!(text, "{lead}{before}{}{after}", rounded(measured.median))
            .expect("writing to a string cannot fail");
    }
    let missed = verdicts.iter().filter(|verdict| verdict.is_met == Some(false)).count();
    format!(
        "\n{text}\n{missed} of {} internal goals are not met; [all of them](bench/README.md#goals), with \
         intervals and how they are measured.\n\n",
        verdicts.len()
    )
}

/// Formats a value with two decimals below 0.9, three up to 1.1, and one above.
fn rounded(value: f64) -> String {
    if (0.9..1.1).contains(&value) {
        format!("{value:.3}")
    } else if value < 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// The text with the section between the markers replaced; `None` without markers.
fn replaced(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{section}{END}{after}"))
}

fn missing(what: &str, remedy: &str) -> Error {
    Error::Missing { what: what.to_owned(), remedy: remedy.to_owned() }
}

/// Replaces the generated section of a document.
fn publish(root: &Path, document: &str, section: &str) -> Result<(), Error> {
    let path = root.join(document);
    let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
    let remedy = format!("add these lines to it:\n{BEGIN}{END}");
    let text = replaced(&text, section).ok_or_else(|| {
        missing(&format!("the markers of the generated section in {document}"), &remedy)
    })?;
    std::fs::write(&path, text).map_err(file("write", &path))
}

/// Writes the figures of the newest records to both documents, and the full table beside the records.
///
/// # Errors
/// When there are no records, or a document has no markers.
pub fn update(root: &Path) -> Result<(), Error> {
    let results = root.join("bench/results");
    let none = || missing("a measurement", "run `cargo xtask bench`");
    let dir = newest(&results)?.ok_or_else(none)?;
    let records = bench::read(&dir)?;
    if records.is_empty() {
        return Err(none());
    }
    table::write(&dir, &records)?;
    let verdicts = goals::judge(&records);
    let from_bench = dir.strip_prefix(root.join("bench")).unwrap_or(&dir).display().to_string();
    publish(root, "bench/README.md", &full(&records, &verdicts, &from_bench))?;
    publish(root, "README.md", &short(&verdicts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    #[test]
    fn only_the_section_between_the_markers_changes() {
        let text = format!("# A\n{BEGIN}old\n{END}after\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("# A\n{BEGIN}new\n{END}after\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert_eq!(replaced("# A\n", "new\n"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new\n"), None);
    }

    #[test]
    fn highlights_are_existing_goals() {
        let known: Vec<&str> = goals::judge(&[]).iter().map(|verdict| verdict.figure).collect();
        for (figure, ..) in HIGHLIGHTS {
            assert!(known.contains(figure), "{figure}");
        }
    }

    #[test]
    fn the_newest_records_are_published() {
        let root = tempfile::tempdir().unwrap();
        let results = root.path().join("bench/results");
        std::fs::create_dir_all(&results).unwrap();
        let (readme, bench) = (root.path().join("README.md"), root.path().join("bench/README.md"));
        for document in [&readme, &bench] {
            std::fs::write(document, format!("x\n{BEGIN}{END}y\n")).unwrap();
        }
        let error = update(root.path()).unwrap_err().to_string();
        assert!(error.contains("run `cargo xtask bench`"), "{error}");
        for (day, rate) in [("2026-01-01-6.18-2-cores", 100.0), ("2026-01-02-6.18-2-cores", 250.0)]
        {
            let dir = results.join(day).join("compare");
            std::fs::create_dir_all(&dir).unwrap();
            let blocks = vec![block("hayloft", 0, rate), block("nginx", 0, 100.0)];
            let text = serde_json::to_string(&record("get-8k-32", blocks)).unwrap();
            std::fs::write(dir.join("get-8k-32.json"), text).unwrap();
        }
        update(root.path()).unwrap();
        let text = std::fs::read_to_string(&readme).unwrap();
        assert!(text.contains("- Reads: 2.5 times as many") && text.ends_with("y\n"), "{text}");
        assert!(
            text.contains("internal goals are not met") && !text.contains("SeaweedFS"),
            "{text}"
        );
        let text = std::fs::read_to_string(&bench).unwrap();
        assert!(text.contains("| 2.500 (2.500 to 2.500) |") && text.ends_with("y\n"), "{text}");
        let table = "results/2026-01-02-6.18-2-cores/compare/table.md";
        assert!(text.contains(table), "{text}");
        assert!(root.path().join("bench").join(table).is_file());
        std::fs::write(&readme, "nothing\n").unwrap();
        assert!(update(root.path()).unwrap_err().to_string().contains(BEGIN.trim()));
    }
}
