//! Sources, line by line and word by word.

use super::lexer::tokens;
use super::rules::{COLUMNS_MAX, FOREIGN_WORDS, UNSAFE};
use super::{Complaint, Project, complaint};

/// (a) `unsafe` stands where it is expected, and nowhere else.
pub fn unsafety(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.rust() {
        let found = tokens(text).into_iter().find(|token| token.text == "unsafe");
        match (found, UNSAFE.contains(&file)) {
            (Some(token), false) => complaints.push(complaint(file, token.line, "unsafe code")),
            (None, true) => complaints.push(complaint(file, 1, "no unsafe code left: strike it")),
            _ => {}
        }
    }
    complaints
}

/// (b) Sources are ASCII, and no line is too wide.
pub fn lines(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let documents = project.with("docs/", ".md");
    for (file, line, text) in project.rust().chain(documents).flat_map(|(file, text)| {
        (1..).zip(text.lines()).map(move |(line, text)| (file, line, text))
    }) {
        if let Some(found) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            complaints.push(complaint(file, line, format!("{found:?} is not printable ASCII")));
        }
        let columns = text.chars().count();
        if columns > COLUMNS_MAX && file.ends_with(".rs") {
            complaints.push(complaint(file, line, format!("{columns} columns")));
        }
    }
    complaints
}

/// (f) Words that are not the project's own do not occur.
pub fn words(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.with("", "") {
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.to_lowercase();
            if let Some(word) = FOREIGN_WORDS.iter().find(|word| text.contains(**word)) {
                complaints.push(complaint(file, line, format!("{word:?}")));
            }
        }
    }
    complaints
}
