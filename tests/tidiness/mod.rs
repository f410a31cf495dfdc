//! The checks of tidiness: each is a function from the project's files to complaints.

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
pub type Check = fn(&Project) -> Vec<Complaint>;

/// Something wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    pub file: String,
    pub line: usize,
    pub what: String,
}

pub fn complaint(file: &str, line: usize, what: impl Into<String>) -> Complaint {
    Complaint { file: file.to_owned(), line, what: what.into() }
}

/// The files of the project: path from its root, with `/`, and text (nothing if it is not UTF-8).
#[derive(Clone)]
pub struct Project(pub BTreeMap<String, String>);

pub const NOT_OURS: &[&str] =
    &["target", ".git", "hayloft-data", "fuzz/target", "fuzz/artifacts", "fuzz/coverage"];

impl Project {
    pub fn load() -> Self {
        let mut project = Self(BTreeMap::new());
        project.load_dir(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        assert!(project.0.contains_key("src/lib.rs"), "this is not the project");
        project
    }

    fn load_dir(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if NOT_OURS.contains(&path.as_str()) {
                continue;
            }
            // An editor's temporary file may be gone already.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.load_dir(&entry.path(), &format!("{path}/"));
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                self.0.insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
    }

    /// Files whose names begin and end so.
    pub fn with(&self, begin: &str, end: &str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(begin) && path.ends_with(end))
    }

    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let dirs = ["src/", "tests/", "tools/", "bench/", "xtask/", "fuzz/"];
        dirs.into_iter().flat_map(|dir| self.with(dir, ".rs"))
    }

    /// Whether there is such a file or directory.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let dir = format!("{path}/");
        self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&dir))
    }
}

/// Fails with all complaints of a check that no exception covers.
pub fn hold(name: &str, check: fn(&Project) -> Vec<Complaint>) {
    let project = Project::load();
    let complaints = check(&project);
    let covers = |exception: &Exception, complaint: &Complaint| {
        let text = project.0.get(&complaint.file).map_or("", String::as_str);
        let line = text.lines().nth(complaint.line.saturating_sub(1)).unwrap_or_default();
        exception.file == complaint.file && line.contains(exception.has)
    };
    let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|e| e.check == name).collect();
    let mut report: Vec<String> = complaints
        .iter()
        .filter(|complaint| !exceptions.iter().any(|exception| covers(exception, complaint)))
        .map(|complaint| format!("{}:{}: {}", complaint.file, complaint.line, complaint.what))
        .collect();
    for exception in exceptions {
        if !complaints.iter().any(|complaint| covers(exception, complaint)) {
            let (file, has) = (exception.file, exception.has);
            report.push(format!("{file}: the exception for {has:?} is not needed: remove it"));
        }
    }
    assert!(report.is_empty(), "{name}:\n{}", report.join("\n"));
}
