//! Style checks as ordinary tests: dependencies between modules, forbidden constructs in the sources, and
//! links and names in the documents.
//!
//! `canaries` feeds each check bad examples, since a check that cannot fail proves nothing.

mod tidiness;

use tidiness::canaries::{BAD, GOOD};
use tidiness::circles::{circles_of_files, facades};
use tidiness::documents::{links, names};
use tidiness::modules::{codec, dead_files, forbidden_names, imports};
use tidiness::rules::COLUMNS_MAX;
use tidiness::sources::{lines, mistakes, unsafety, words};
use tidiness::{Check, Project, assert_holds};

#[test]
fn imports_point_downwards() {
    assert_holds("imports", imports);
}

#[test]
fn files_have_no_circular_dependencies() {
    assert_holds("circles_of_files", circles_of_files);
}

#[test]
fn facades_define_nothing() {
    assert_holds("facades", facades);
}

#[test]
fn files_use_no_forbidden_names() {
    assert_holds("forbidden_names", forbidden_names);
}

#[test]
fn unsafe_code_is_confined_to_listed_files() {
    assert_holds("unsafety", unsafety);
}

#[test]
fn sources_are_ascii_and_within_the_line_width() {
    assert_holds("lines", lines);
}

#[test]
fn every_source_file_is_compiled() {
    assert_holds("dead_files", dead_files);
}

#[test]
fn links_in_documents_resolve() {
    assert_holds("links", links);
}

#[test]
fn names_in_documents_exist() {
    assert_holds("names", names);
}

#[test]
fn files_contain_no_foreign_words() {
    assert_holds("words", words);
}

#[test]
fn functions_have_at_most_one_deliberate_mistake() {
    assert_holds("mistakes", mistakes);
}

#[test]
fn integers_are_encoded_in_one_place() {
    assert_holds("codec", codec);
}

fn violations_in(project: &Project, check: Check, file: &str, text: &str) -> usize {
    let mut project = project.clone();
    project.0.insert(file.to_owned(), text.to_owned());
    // The module that a bad example declares must exist.
    project.0.insert("src/novelty.rs".to_owned(), String::new());
    let violations = check(&project);
    let file = if text == "mod novelty;" { "src/novelty.rs" } else { file };
    violations.iter().filter(|violation| violation.file == file).count()
}

#[test]
fn canaries() {
    let project = Project::load();
    for (check, file, text) in BAD {
        assert!(violations_in(&project, *check, file, text) > 0, "not detected in {file}:\n{text}");
    }
    for (check, file, text) in GOOD {
        let count = violations_in(&project, *check, file, text);
        assert_eq!(count, 0, "wrongly reported in {file}:\n{text}");
    }
    let wide = format!("// {}", "x".repeat(COLUMNS_MAX));
    assert_eq!(violations_in(&project, lines, "src/runtime/op.rs", &wide), 1);
    let mut without_map = project.clone();
    without_map.0.remove("docs/ARCHITECTURE.md");
    assert!(links(&without_map).iter().any(|violation| violation.file == "docs/ARCHITECTURE.md"));
}
