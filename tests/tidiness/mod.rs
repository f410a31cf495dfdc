//! Style checks: each is a function from the files of the project to violations.

pub mod canaries;
pub mod circles;
pub mod documents;
pub mod lexer;
pub mod modules;
pub mod rules;
pub mod sources;

use std::collections::BTreeMap;
use std::path::Path;

use rules::{EXCEPTIONS, Exception};

/// A check.
pub type Check = fn(&Project) -> Vec<Violation>;

/// A violation of a rule, and its location.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub file: String,
    pub line: usize,
    pub what: String,
}

pub fn violation(file: &str, line: usize, what: impl Into<String>) -> Violation {
    Violation { file: file.to_owned(), line, what: what.into() }
}

/// Files of the project: path from its root, with `/`, and text (empty if not UTF-8).
#[derive(Clone)]
pub struct Project(pub BTreeMap<String, String>);

pub const IGNORED: &[&str] =
    &["target", ".git", "hayloft-data", "fuzz/target", "fuzz/artifacts", "fuzz/coverage"];

impl Project {
    pub fn load() -> Self {
        let mut project = Self(BTreeMap::new());
        project.load_dir(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        assert!(project.0.contains_key("src/lib.rs"), "src/lib.rs is missing");
        project
    }

    fn load_dir(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if IGNORED.contains(&path.as_str()) {
                continue;
            }
            // A temporary file of an editor may have been deleted meanwhile.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.load_dir(&entry.path(), &format!("{path}/"));
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                self.0.insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
    }

    /// Files whose paths have this prefix and suffix.
    pub fn with(&self, begin: &str, end: &str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(begin) && path.ends_with(end))
    }

    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let dirs = ["src/", "tests/", "tools/", "bench/", "xtask/", "fuzz/"];
        dirs.into_iter().flat_map(|dir| self.with(dir, ".rs"))
    }

    /// Whether the file or directory exists.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let dir = format!("{path}/");
        self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&dir))
    }
}

/// Panics with all violations that no exception covers.
pub fn assert_holds(name: &str, check: fn(&Project) -> Vec<Violation>) {
    let project = Project::load();
    let violations = check(&project);
    let applies = |exception: &Exception, violation: &Violation| {
        let text = project.0.get(&violation.file).map_or("", String::as_str);
        let line = text.lines().nth(violation.line.saturating_sub(1)).unwrap_or_default();
        exception.file == violation.file && line.contains(exception.has)
    };
    let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|e| e.check == name).collect();
    let mut report: Vec<String> = violations
        .iter()
        .filter(|violation| !exceptions.iter().any(|exception| applies(exception, violation)))
        .map(|violation| format!("{}:{}: {}", violation.file, violation.line, violation.what))
        .collect();
    for exception in exceptions {
        if !violations.iter().any(|violation| applies(exception, violation)) {
            let (file, has) = (exception.file, exception.has);
            report.push(format!("{file}: the exception for {has:?} is unused: remove it"));
        }
    }
    assert!(report.is_empty(), "{name}:\n{}", report.join("\n"));
}
