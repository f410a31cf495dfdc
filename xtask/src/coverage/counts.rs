//! Execution counts per source location, from the JSON export of `llvm-cov`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::process::Failed;

/// Kind of a region that is code, and not a gap, an expansion or a skipped part.
const CODE: u64 = 0;

/// A range of a source file. Lines and columns begin at 1; the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line and column of the first byte.
    pub start: (u64, u64),
    /// Line and column after the last byte.
    pub end: (u64, u64),
}

/// Counts of one source file, summed over all instances of its functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Executions of each region.
    pub regions: BTreeMap<Place, u64>,
    /// How often each condition was true, and how often false.
    pub branches: BTreeMap<Place, [u64; 2]>,
}

/// Counts by source file, relative to the root of the project.
pub type Counts = BTreeMap<PathBuf, FileCounts>;

/// Only what is needed of the format: see `llvm/tools/llvm-cov/CoverageExporterJson.cpp` of LLVM.
#[derive(Deserialize)]
struct Export {
    data: Vec<Unit>,
}

#[derive(Deserialize)]
struct Unit {
    functions: Vec<Function>,
}

/// An instance of a function. Regions are: start line and column, end line and column, count, index of the
/// file, index of the expanded file, kind. Branches have a second count after the first.
#[derive(Deserialize)]
struct Function {
    filenames: Vec<PathBuf>,
    regions: Vec<[u64; 8]>,
    #[serde(default)]
    branches: Vec<[u64; 9]>,
}

/// Reads an export, and sums the counts of all instances of each function. Files outside `root` are left out.
///
/// # Errors
/// If it is not such an export.
pub fn read(json: &str, root: &Path) -> Result<Counts, Failed> {
    let export: Export = serde_json::from_str(json)
        .map_err(|error| Failed(format!("the export of llvm-cov is not understood: {error}")))?;
    let mut counts = Counts::new();
    for function in export.data.iter().flat_map(|unit| &unit.functions) {
        let file = |index: u64| {
            let name = function.filenames.get(usize::try_from(index).ok()?)?;
            name.strip_prefix(root).ok()
        };
        for [l1, c1, l2, c2, count, index, _, kind] in &function.regions {
            let Some(file) = file(*index).filter(|_| *kind == CODE) else { continue };
            let place = Place { start: (*l1, *c1), end: (*l2, *c2) };
            let regions = &mut counts.entry(file.to_owned()).or_default().regions;
            let sum = regions.entry(place).or_default();
            *sum = sum.saturating_add(*count);
        }
        for [l1, c1, l2, c2, is_true, is_false, index, ..] in &function.branches {
            let Some(file) = file(*index) else { continue };
            let place = Place { start: (*l1, *c1), end: (*l2, *c2) };
            let branches = &mut counts.entry(file.to_owned()).or_default().branches;
            let sums = branches.entry(place).or_default();
            *sums = [sums[0].saturating_add(*is_true), sums[1].saturating_add(*is_false)];
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_instances_are_summed_and_foreign_files_left_out() {
        let json = r#"{"data":[{"functions":[
            {"filenames":["/p/src/a.rs"],"regions":[[1,2,3,4,0,0,0,0],[5,1,5,9,7,0,0,3]],
             "branches":[[1,4,1,5,0,2,0,0,4]]},
            {"filenames":["/p/src/a.rs"],"regions":[[1,2,3,4,6,0,0,0]],"branches":[[1,4,1,5,1,0,0,0,4]]},
            {"filenames":["/q/b.rs"],"regions":[[1,1,1,2,5,0,0,0]]}]}],"version":"3.0.1"}"#;
        let counts = read(json, Path::new("/p")).unwrap();
        assert_eq!(counts.len(), 1);
        let file = &counts[Path::new("src/a.rs")];
        let region = Place { start: (1, 2), end: (3, 4) };
        assert_eq!(file.regions, BTreeMap::from([(region, 6)]));
        let branch = Place { start: (1, 4), end: (1, 5) };
        assert_eq!(file.branches, BTreeMap::from([(branch, [1, 2])]));
        assert!(read("{}", Path::new("/p")).is_err());
    }
}
