//! The parts of the code that mutation testing and coverage report on, and their source files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Failed;
use crate::project::root;
use crate::record::cannot;

/// Name of each area, and its files and directories.
pub const AREAS: &[(&str, &[&str])] = &[
    ("volume", &["src/volume"]),
    ("http", &["src/http"]),
    ("ring", &["src/ring.rs", "src/ring"]),
    ("shard", &["src/node/shard"]),
    ("daemon", &["src/node/daemon"]),
    (
        "runtime",
        &[
            "src/runtime/background",
            "src/runtime/buffer",
            "src/runtime/buffer.rs",
            "src/runtime/devices.rs",
            "src/runtime/executor.rs",
            "src/runtime/gate.rs",
            "src/runtime/handle.rs",
            "src/runtime/mailbox.rs",
            "src/runtime/split_mix.rs",
            "src/runtime/sync.rs",
            "src/runtime/timer.rs",
        ],
    ),
];

/// Returns the source files at `path`, relative to the root of the project, without those of tests.
///
/// # Errors
/// If a directory cannot be read.
pub fn sources(path: &Path) -> Result<Vec<PathBuf>, Failed> {
    let full = root().join(path);
    if full.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !full.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&full).map_err(cannot("read", &full))? {
        names.push(path.join(entry.map_err(cannot("read", &full))?.file_name()));
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_rust = name.extension().is_some_and(|extension| extension == "rs");
        let is_of_tests = stem == "tests" || is_only_for_tests(&full, stem);
        if is_of_tests || (!is_rust && !root().join(&name).is_dir()) {
            continue;
        }
        files.extend(sources(&name)?);
    }
    Ok(files)
}

/// Whether the module with its files in `dir` declares its child `stem` for tests only.
fn is_only_for_tests(dir: &Path, stem: &str) -> bool {
    let parents = [dir.join("mod.rs"), dir.with_extension("rs")];
    let declared = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok());
    let declaration = format!("#[cfg(test)]\nmod {stem};");
    declared.into_iter().any(|text| text.contains(&declaration))
}
