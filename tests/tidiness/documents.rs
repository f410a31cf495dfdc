//! Documents: links resolve, and named files and items exist.

use std::collections::BTreeSet;

use super::lexer::{behind_attributes, is, tokens};
use super::{Project, Violation, violation};

/// Lines of a document outside fenced code, with their numbers.
pub fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect()
}

/// Splits a line into its code spans and the rest.
pub fn spans(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2).copied().collect();
    (inside, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``"))
}

/// Anchors of the headings of a document.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|&c| c.is_alphanumeric() || " -_".contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let unique = (0..).map(|n| if n == 0 { slug.clone() } else { format!("{slug}-{n}") });
        let unique = unique.into_iter().find(|slug| !anchors.contains(slug));
        anchors.extend(unique);
    }
    anchors
}

/// Resolves the relative path `target` in `file`.
pub fn relative(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// (d) Links in documents resolve.
pub fn links(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !project.0.contains_key("docs/ARCHITECTURE.md") {
        violations.push(violation("docs/ARCHITECTURE.md", 0, "the code map is missing"));
    }
    for (file, text) in project.with("", ".md") {
        for (line, text) in prose(text) {
            let (_, text) = spans(text);
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let defined = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            for target in inline.chain(defined.map(|(_, target)| target)) {
                let target = target.split_whitespace().next().unwrap_or_default();
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { file.to_owned() } else { relative(file, path) };
                let known = |text: &String| anchors(text).contains(anchor);
                if !project.has(&path) {
                    violations.push(violation(file, line, format!("{path} does not exist")));
                } else if !anchor.is_empty() && !project.0.get(&path).is_some_and(known) {
                    violations.push(violation(file, line, format!("{path} has no #{anchor}")));
                }
            }
        }
    }
    violations
}

/// Names of the items of a source file, and of its tests.
pub fn definitions(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = &tokens(text).all;
    let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    let (mut items, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..tokens.len() {
        if keywords.contains(&tokens[n].text)
            && let Some(name) = tokens.get(n + 1)
        {
            items.insert(name.text.to_owned());
        }
        if is(tokens, n, &["#", "[", "test", "]"]) {
            let at = behind_attributes(tokens, n);
            if is(tokens, at, &["fn"]) {
                tests.insert(tokens[at + 1].text.to_owned());
            }
        }
    }
    (items, tests)
}

/// Under this heading of a document, `path.rs::name` must be a test.
pub const INVARIANTS: &str = "## Invariants";

/// (e) Files, functions and tests that documents name in backticks exist.
pub fn names(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    // These describe older versions, so names may no longer exist.
    let history = ["CHANGELOG.md", "bench/results/", "docs/decisions/"];
    let documents = project.with("", ".md");
    for (file, text) in
        documents.filter(|(file, _)| !history.iter().any(|past| file.starts_with(past)))
    {
        let mut in_invariants = false;
        for (line, text) in prose(text) {
            if text.starts_with("## ") {
                in_invariants = text == INVARIANTS;
            }
            let (inside, _) = spans(text);
            // "`tests/x.rs`: `name`" names a test too.
            let pairs = inside.iter().zip(inside.iter().skip(1));
            let paired = pairs.filter(|(path, name)| text.contains(&format!("`{path}`: `{name}`")));
            let paired = paired.map(|(path, name)| format!("{path}::{name}"));
            let singles = inside.iter().map(|&span| span.to_owned());
            for span in singles.chain(paired) {
                if let Some(what) = unknown(project, &span, in_invariants) {
                    violations.push(violation(file, line, what));
                }
            }
        }
    }
    violations
}

/// The error in a code span, if it is a path or item of the project that does not exist.
pub fn unknown(project: &Project, span: &str, must_be_test: bool) -> Option<String> {
    let roots = ["src/", "tests/", "docs/", "bench/", "xtask/", ".ci/", "tools/", "fuzz/"];
    let is_pattern = span.contains([' ', '*', '{', '<', '$']);
    if !roots.iter().any(|dir| span.starts_with(dir)) || is_pattern {
        return None;
    }
    let (path, name) = span.split_once("::").unwrap_or((span, ""));
    if !project.has(path) {
        return Some(format!("{path} does not exist"));
    }
    if name.is_empty() {
        return None;
    }
    let (items, tests) = definitions(project.0.get(path)?);
    // `Type::function`: both must exist.
    let missing = name.split("::").find(|&part| !items.contains(part));
    if let Some(missing) = missing {
        return Some(format!("{path} has no {missing}"));
    }
    let is_test = tests.contains(name);
    let wanted = must_be_test || path.starts_with("tests/");
    (wanted && !is_test).then(|| format!("{path}::{name} is not a test"))
}
