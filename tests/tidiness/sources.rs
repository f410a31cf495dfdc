//! Checks of lines and words of the sources.

use super::lexer::tokens;
use super::rules::{COLUMNS_MAX, FOREIGN_WORDS, UNSAFE};
use super::{Project, Violation, violation};

/// Where the deliberate mistakes are defined.
const MISTAKES: &str = "src/base/sabotage.rs";

/// (a) `unsafe` occurs in the listed files only.
pub fn unsafety(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, text) in project.rust() {
        let found = tokens(text).all.iter().find(|token| token.text == "unsafe").copied();
        match (found, UNSAFE.contains(&file)) {
            (Some(token), false) => violations.push(violation(file, token.line, "unsafe code")),
            (None, true) => {
                violations.push(violation(file, 1, "no unsafe code: remove the file from the list"))
            }
            _ => {}
        }
    }
    violations
}

/// (b) Sources are printable ASCII, with a maximum line width.
pub fn lines(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    let documents = project.with("docs/", ".md");
    for (file, line, text) in project.rust().chain(documents).flat_map(|(file, text)| {
        (1..).zip(text.lines()).map(move |(line, text)| (file, line, text))
    }) {
        if let Some(found) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            violations.push(violation(file, line, format!("{found:?} is not printable ASCII")));
        }
        let columns = text.chars().count();
        if columns > COLUMNS_MAX && file.ends_with(".rs") {
            violations.push(violation(file, line, format!("{columns} columns")));
        }
    }
    violations
}

/// (g) A function has at most one deliberate mistake.
pub fn mistakes(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sources = project.with("src/", ".rs").filter(|(file, _)| *file != MISTAKES);
    for (file, text) in sources {
        let mut first = None;
        let tokens = &tokens(text).all;
        for window in tokens.windows(5) {
            let [name, paren, .., mistake] = window else { unreachable!("windows of five") };
            match (name.text, paren.text) {
                ("fn", _) => first = None,
                ("chosen", "(") => {
                    let known = first.get_or_insert(mistake.text);
                    if *known != mistake.text {
                        let what = format!("{} beside {known} in one function", mistake.text);
                        violations.push(violation(file, name.line, what));
                    }
                }
                _ => {}
            }
        }
    }
    violations
}

/// (f) Files contain no foreign words.
pub fn words(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, text) in project.with("", "") {
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.to_lowercase();
            if let Some(word) = FOREIGN_WORDS.iter().find(|word| text.contains(**word)) {
                violations.push(violation(file, line, format!("{word:?}")));
            }
        }
    }
    violations
}
