//! One mistake that can be made, and all those of a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::site::Site;
use super::sites::find;
use crate::process::Failed;
use crate::project::root;
use crate::record::cannot;

/// One mistake.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Part of the code it belongs to.
    pub area: &'static str,
    /// The file, from the root of the project.
    pub file: PathBuf,
    /// Which of the file's sites.
    pub site: usize,
    /// Which of the site's mistakes.
    pub mutant: usize,
    /// Line of the site, from 1.
    pub line: usize,
    /// The function around it.
    pub function: String,
    /// What is replaced by what.
    pub change: String,
    /// Which of those that are alike in all that [`Candidate::key`] has besides.
    pub nth: usize,
}

impl Candidate {
    /// Names it whatever its line is: file, function, change and which of those, between tabs.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.file.display(), self.function, self.change, self.nth)
    }
}

/// All mistakes of a file.
///
/// # Errors
/// When it cannot be read.
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

/// The places in a file where mistakes can be made.
///
/// # Errors
/// When it cannot be read or is no Rust.
pub fn sites(file: &Path) -> Result<Vec<Site>, Failed> {
    find(&read(file)?).map_err(|error| Failed(format!("{}: {error}", file.display())))
}

/// The text of a file of the project.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path) -> Result<String, Failed> {
    let path = root().join(file);
    fs::read_to_string(&path).map_err(cannot("read", &path))
}
