//! Sources, line by line and word by word.

use super::lexer::{Token, behind_bracket, is, tokens};
use super::modules::product;
use super::rules::{COLUMNS_MAX, DEBRIS, FOREIGN_WORDS, PRINTING, UNSAFE};
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

/// (b) No debris, and nothing printed by macros that panic when the output fails.
pub fn macros(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut check = |file: &str, tokens: &[Token], banned: &[&str]| {
        for n in 0..tokens.len() {
            if banned.contains(&tokens[n].text.as_str()) && is(tokens, n + 1, &["!"]) {
                complaints.push(complaint(file, tokens[n].line, format!("{}!", tokens[n].text)));
            }
        }
    };
    for (file, text) in project.rust() {
        check(file, &tokens(text), DEBRIS);
    }
    for (file, tokens) in product(project) {
        check(file, &tokens, PRINTING);
    }
    complaints
}

/// (b) Lints are expected, with a reason, not allowed: an expectation that is not met is noticed.
pub fn allowances(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.rust() {
        let tokens = tokens(text);
        for n in 0..tokens.len() {
            let open = match tokens[n].text.as_str() {
                "#" if is(&tokens, n + 1, &["["]) => n + 1,
                "#" if is(&tokens, n + 1, &["!", "["]) => n + 2,
                _ => continue,
            };
            let attribute = &tokens[open..behind_bracket(&tokens, open)];
            let allows = (0..attribute.len()).any(|at| is(attribute, at, &["allow", "("]));
            if allows {
                complaints.push(complaint(file, tokens[n].line, "allow: use expect"));
            }
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
