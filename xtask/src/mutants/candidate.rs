//! A possible mistake, and all those of a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::site::Site;
use super::sites::find;
use crate::areas::{AREAS, sources};
use crate::process::Failed;
use crate::project::root;
use crate::record::cannot;

/// A possible mistake.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Area of its file.
    pub area: &'static str,
    /// The file, relative to the root of the project.
    pub file: PathBuf,
    /// Index of its site in the file.
    pub site: usize,
    /// Index of the mistake at its site.
    pub mutant: usize,
    /// Line of the site, from 1.
    pub line: usize,
    /// The enclosing function.
    pub function: String,
    /// The change: old and new code.
    pub change: String,
    /// Number, from 1, among the mistakes of the file with the same function and change.
    pub nth: usize,
}

impl Candidate {
    /// Key that does not depend on the line: file, function, change and number, separated by tabs.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.file.display(), self.function, self.change, self.nth)
    }
}

/// Returns all possible mistakes, by area and file.
///
/// # Errors
/// If a file cannot be read.
pub fn all_candidates() -> Result<Vec<Candidate>, Failed> {
    let mut all = Vec::new();
    for (area, paths) in AREAS {
        for path in *paths {
            for file in sources(Path::new(path))? {
                all.extend(candidates(area, &file)?);
            }
        }
    }
    Ok(all)
}

/// Returns all possible mistakes of a file.
///
/// # Errors
/// If it cannot be read.
pub fn candidates(area: &'static str, file: &Path) -> Result<Vec<Candidate>, Failed> {
    let mut all = Vec::new();
    let mut alike = BTreeMap::new();
    for (n, site) in sites(file)?.iter().enumerate() {
        for (mutant, what) in site.mutants.iter().enumerate() {
            let nth = alike.entry((site.function.clone(), what.change.clone())).or_insert(0);
            *nth += 1;
            all.push(Candidate {
                nth: *nth,
                area,
                file: file.to_owned(),
                site: n,
                mutant,
                line: site.line,
                function: site.function.clone(),
                change: what.change.clone(),
            });
        }
    }
    Ok(all)
}

/// Returns the sites of a file.
///
/// # Errors
/// If it cannot be read or is not valid Rust.
pub fn sites(file: &Path) -> Result<Vec<Site>, Failed> {
    find(&read(file)?).map_err(|error| Failed(format!("{}: {error}", file.display())))
}

/// Reads a file of the project.
///
/// # Errors
/// If it cannot be read.
pub fn read(file: &Path) -> Result<String, Failed> {
    let path = root().join(file);
    fs::read_to_string(&path).map_err(cannot("read", &path))
}
