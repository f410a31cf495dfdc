//! The lines that differ from another commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Failed, announce};
use crate::project::root;

/// The lines that differ from `base`, by file.
///
/// # Errors
/// When git fails.
pub fn changed_lines(base: &str) -> Result<BTreeMap<PathBuf, Vec<Range<usize>>>, Failed> {
    let mut git = Command::new("git");
    git.args(["diff", "--unified=0", "--no-color", base, "--", "src"]).current_dir(root());
    announce(&git);
    let output = git.output().map_err(|error| Failed(format!("git cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(lines_of_diff(&String::from_utf8_lossy(&output.stdout)))
}

/// The new lines of each file in a diff without context.
fn lines_of_diff(diff: &str) -> BTreeMap<PathBuf, Vec<Range<usize>>> {
    let mut lines: BTreeMap<PathBuf, Vec<Range<usize>>> = BTreeMap::new();
    let mut file = PathBuf::new();
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            file = PathBuf::from(name);
        } else if let Some(range) = line.strip_prefix("@@ ").and_then(new_lines) {
            lines.entry(file.clone()).or_default().push(range);
        }
    }
    lines
}

/// Out of `-1,2 +3,4 @@`.
fn new_lines(hunk: &str) -> Option<Range<usize>> {
    let new = hunk.split(' ').find_map(|word| word.strip_prefix('+'))?;
    let (start, count) = new.split_once(',').unwrap_or((new, "1"));
    let start: usize = start.parse().ok()?;
    Some(start..start + count.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn changed_lines_are_parsed_from_a_diff() {
        let diff = "--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,2 +3,2 @@ fn x\n+a\n+b\n@@ -9 +10 @@\n+c\n\
                    @@ -20,3 +20,0 @@\n";
        let lines = lines_of_diff(diff);
        assert_eq!(lines[Path::new("src/a.rs")], [3..5, 10..11, 20..20]);
    }
}
