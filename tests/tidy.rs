//! Tidiness as ordinary tests: which module may know which, what must not stand in the sources, and
//! that what the documents name is there.
//!
//! `canaries` feeds each check something bad, since a check that cannot fail proves nothing.

mod tidiness;

use tidiness::canaries::{BAD, GOOD};
use tidiness::circles::{circles_of_files, facades};
use tidiness::documents::{links, names};
use tidiness::modules::{codec, dead_files, imports, strangers};
use tidiness::rules::COLUMNS_MAX;
use tidiness::sources::{lines, unsafety, words};
use tidiness::{Check, Project, hold};

#[test]
fn imports_point_downwards() {
    hold("imports", imports);
}

#[test]
fn no_files_need_each_other() {
    hold("circles_of_files", circles_of_files);
}

#[test]
fn facades_define_nothing() {
    hold("facades", facades);
}

#[test]
fn nobody_knows_what_it_must_not() {
    hold("strangers", strangers);
}

#[test]
fn unsafe_code_stands_where_it_is_expected() {
    hold("unsafety", unsafety);
}

#[test]
fn sources_are_ascii_and_not_too_wide() {
    hold("lines", lines);
}

#[test]
fn every_source_file_is_compiled() {
    hold("dead_files", dead_files);
}

#[test]
fn links_in_documents_lead_somewhere() {
    hold("links", links);
}

#[test]
fn what_documents_name_exists() {
    hold("names", names);
}

#[test]
fn the_words_are_our_own() {
    hold("words", words);
}

#[test]
fn integers_are_encoded_in_one_place() {
    hold("codec", codec);
}

fn complaints_about(project: &Project, check: Check, file: &str, text: &str) -> usize {
    let mut project = project.clone();
    project.0.insert(file.to_owned(), text.to_owned());
    // A new module of the crate must be there to be looked at.
    project.0.insert("src/novelty.rs".to_owned(), String::new());
    let complaints = check(&project);
    let file = if text == "mod novelty;" { "src/novelty.rs" } else { file };
    complaints.iter().filter(|complaint| complaint.file == file).count()
}

#[test]
fn canaries() {
    let project = Project::load();
    for (check, file, text) in BAD {
        assert!(complaints_about(&project, *check, file, text) > 0, "passes in {file}:\n{text}");
    }
    for (check, file, text) in GOOD {
        let count = complaints_about(&project, *check, file, text);
        assert_eq!(count, 0, "does not pass in {file}:\n{text}");
    }
    let wide = format!("// {}", "x".repeat(COLUMNS_MAX));
    assert_eq!(complaints_about(&project, lines, "src/runtime/op.rs", &wide), 1);
    let mut without_map = project.clone();
    without_map.0.remove("docs/ARCHITECTURE.md");
    assert!(links(&without_map).iter().any(|complaint| complaint.file == "docs/ARCHITECTURE.md"));
}
