//! One run of the command.

use std::fs;

use super::counts;
use super::options::Options;
use super::report::{Area, report};
use super::source::Source;
use super::tools;
use crate::areas::{AREAS, sources};
use crate::process::Failed;
use crate::project::{is_root, root};
use crate::record::cannot;
use crate::stages::Stages;
use crate::suite::WITH_MOUNTS;
use crate::test_binaries::{self, TestBinary};

/// Measures and reports.
///
/// # Errors
/// If a program is missing, a test fails, or code is reached by no test and has no reason.
pub fn coverage(options: &Options) -> Result<(), Failed> {
    tools::require()?;
    let variables = tools::environment()?;
    let mut stages = Stages::new();
    if !options.list {
        let binaries = build(options, &variables)?;
        if !options.add {
            tools::remove_profiles()?;
        }
        stages.test_binaries("tests", &binaries);
    }
    let counts = counts::read(&tools::export(&variables)?, &root())?;
    let none = counts::FileCounts::default();
    let mut areas = Vec::new();
    for (name, paths) in AREAS {
        if !options.areas.is_empty() && !options.areas.iter().any(|area| area == name) {
            continue;
        }
        let mut area = Area { name, sites: Vec::new(), regions: [0, 0] };
        for path in *paths {
            for file in sources(path.as_ref())? {
                let full = root().join(&file);
                let text = fs::read_to_string(&full).map_err(cannot("read", &full))?;
                let source = Source::parse(text)
                    .map_err(|error| Failed(format!("{}: {error}", file.display())))?;
                let counts = counts.get(&file).unwrap_or(&none);
                area.add(&file, &source, counts);
            }
        }
        areas.push(area);
    }
    let reported = report(&areas, options);
    // Tests that failed reached less than they should have.
    stages.finish()?;
    reported
}

fn build(options: &Options, variables: &tools::Variables) -> Result<Vec<TestBinary>, Failed> {
    let mut which = vec!["--package", "hayloft"];
    for name in &options.tests {
        which.extend(if name == "lib" { vec!["--lib"] } else { vec!["--test", name] });
    }
    let mut binaries = test_binaries::build_these(&which, variables)?;
    // Their tests are ignored unless asked for, because they need root.
    let mounts = format!("tests/{WITH_MOUNTS}.rs");
    if is_root()
        && let Some(at) = binaries.iter().position(|binary| binary.name == mounts)
    {
        binaries[at] = binaries[at].with_args(&["--include-ignored"]);
    }
    Ok(binaries)
}
