//! The table in the project's README: the goals, as they were measured last.

use std::path::{Path, PathBuf};

use crate::bench;
use crate::block::Record;
use crate::error::{Error, file};
use crate::goals;
use crate::table::{self, PUBLISHED_PAIRS, all};

const BEGIN: &str = "<!-- cargo xtask bench --readme: begin -->\n";
const END: &str = "<!-- cargo xtask bench --readme: end -->\n";

/// The newest directory with records, below the directory of all results.
fn newest(results: &Path) -> Result<Option<PathBuf>, Error> {
    let days = std::fs::read_dir(results).map_err(file("read", results))?.flatten();
    let found = days.map(|day| day.path().join("compare")).filter(|dir| dir.is_dir());
    Ok(found.max())
}

fn section(records: &[Record], dir: &str) -> String {
    let Some(newest) = records.iter().max_by_key(|record| &record.machine.date) else {
        return String::new();
    };
    let machine = &newest.machine;
    let fewest = records.iter().map(Record::pairs).min().unwrap_or(0);
    let mut text = format!(
        "\nMeasured on {} cores ({}), Linux {}, {}, commit {}: `{}`,\nat least {fewest} pairs of blocks \
         ([all figures]({dir}/table.md), [how](bench/README.md)).\n",
        machine.cores,
        machine.processor,
        all(records, |record| &record.machine.kernel),
        all(records, |record| &record.machine.date),
        all(records, |record| &record.machine.commit),
        newest.command
    );
    if fewest < PUBLISHED_PAIRS {
        text += "**Some have too few to be quoted.**\n";
    }
    text + "\n" + &goals::table(&goals::judge(records)) + "\n"
}

/// The text with what stands between the markers replaced; nothing when they are not there.
fn replaced(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{section}{END}{after}"))
}

/// Writes the table of the newest records into the README, and all their figures beside them.
///
/// # Errors
/// When there are none, or the README has no place for it.
pub fn update(root: &Path) -> Result<(), Error> {
    let missing = |what: &str, remedy: &str| Error::Missing {
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    };
    let results = root.join("bench/results");
    let none = || missing("a measurement", "`cargo xtask bench` makes one");
    let dir = newest(&results)?.ok_or_else(none)?;
    let records = bench::read(&dir)?;
    if records.is_empty() {
        return Err(none());
    }
    table::write(&dir, &records)?;
    let path = root.join("README.md");
    let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
    let shown = dir.strip_prefix(root).unwrap_or(&dir).display().to_string();
    let remedy = format!("put the lines\n{BEGIN}{END}where it belongs");
    let text = replaced(&text, &section(&records, &shown))
        .ok_or_else(|| missing("the place of the table in README.md", &remedy))?;
    std::fs::write(&path, text).map_err(file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let text = format!("# A\n{BEGIN}old\n{END}after\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("# A\n{BEGIN}new\n{END}after\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert_eq!(replaced("# A\n", "new\n"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new\n"), None);
    }

    #[test]
    fn the_newest_records_go_to_the_readme() {
        let root = tempfile::tempdir().unwrap();
        let results = root.path().join("bench/results");
        std::fs::create_dir_all(&results).unwrap();
        let readme = root.path().join("README.md");
        std::fs::write(&readme, format!("x\n{BEGIN}{END}y\n")).unwrap();
        let error = update(root.path()).unwrap_err().to_string();
        assert!(error.contains("`cargo xtask bench` makes one"), "{error}");
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
        assert!(text.contains("| 2.500 (2.500 to 2.500) |") && text.ends_with("y\n"), "{text}");
        let table = "bench/results/2026-01-02-6.18-2-cores/compare/table.md";
        assert!(text.contains(table) && root.path().join(table).is_file(), "{text}");
        std::fs::write(&readme, "nothing\n").unwrap();
        assert!(update(root.path()).unwrap_err().to_string().contains(BEGIN.trim()));
    }
}
