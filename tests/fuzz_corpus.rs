//! Every input that fuzzing kept, and every one that once broke something, given to its target again:
//! `fuzz/corpus/`, in docs/TESTING.md. The targets are those that `cargo xtask fuzz` runs.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use hayloft_fuzz::TARGETS;

/// A corpus is small enough to be kept: this many files, this many bytes.
const FILES_MAX: usize = 220;
const BYTES_MAX: u64 = 300 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = corpus().join(target);
    let files =
        std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// What breaks in `target`: the names of inputs at which it panics.
fn broken(target: fn(&[u8]), inputs: &[PathBuf]) -> Vec<String> {
    let breaks = |input: &&PathBuf| {
        let data = std::fs::read(input).unwrap();
        catch_unwind(|| target(&data)).is_err()
    };
    inputs.iter().filter(breaks).map(|input| input.display().to_string()).collect()
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let inputs = inputs(name);
    assert!(inputs.len() > 10, "the corpus of {name} is gone: {} inputs", inputs.len());
    let broken = broken(*target, &inputs);
    assert!(broken.is_empty(), "{name} breaks at\n{}", broken.join("\n"));
}

#[test]
fn batch() {
    replay("batch");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn connection() {
    replay("connection");
}

#[test]
fn engine() {
    replay("engine");
}

#[test]
fn format() {
    replay("format");
}

#[test]
fn recovery() {
    replay("recovery");
}

#[test]
fn request_head() {
    replay("request_head");
}

#[test]
fn a_target_that_breaks_is_named() {
    let inputs = inputs("config");
    let planted = |data: &[u8]| assert!(!data.starts_with(b"listen"), "planted");
    let found = broken(planted, &inputs);
    let begins = |input: &&PathBuf| std::fs::read(input).unwrap().starts_with(b"listen");
    assert_eq!(found.len(), inputs.iter().filter(begins).count());
    assert!(!found.is_empty());
}

#[test]
fn every_target_has_a_corpus_a_binary_and_a_test_here() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let in_dir = |dir: PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(in_dir(corpus()), names);
    assert_eq!(in_dir(corpus().parent().unwrap().join("fuzz_targets")), names);
    let here = include_str!("fuzz_corpus.rs");
    for name in &names {
        assert!(here.contains(&format!("replay(\"{name}\")")), "{name} is not replayed");
    }
}

#[test]
fn corpora_are_small() {
    for (name, _) in TARGETS {
        let inputs = inputs(name);
        let bytes: u64 = inputs.iter().map(|input| input.metadata().unwrap().len()).sum();
        let files = inputs.len();
        assert!(files <= FILES_MAX && bytes <= BYTES_MAX, "{name}: {files} files, {bytes} bytes");
    }
}
