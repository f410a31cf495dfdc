//! Replays every input kept by fuzzing and every input that once exposed a bug: `fuzz/corpus/`, described in
//! docs/TESTING.md. The targets are those of `cargo xtask fuzz`.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use hayloft_fuzz::TARGETS;

/// Limits of a corpus: number of files, total size (bytes).
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

/// Names of the inputs on which `target` panics.
fn panicking(target: fn(&[u8]), inputs: &[PathBuf]) -> Vec<String> {
    let panics = |input: &&PathBuf| {
        let data = std::fs::read(input).unwrap();
        catch_unwind(|| target(&data)).is_err()
    };
    inputs.iter().filter(panics).map(|input| input.display().to_string()).collect()
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let inputs = inputs(name);
    assert!(inputs.len() > 10, "the corpus of {name} is missing: {} inputs", inputs.len());
    let panicking = panicking(*target, &inputs);
    assert!(panicking.is_empty(), "{name} panics on\n{}", panicking.join("\n"));
}

#[test]
fn batch_corpus_replays_without_panic() {
    replay("batch");
}

#[test]
fn config_corpus_replays_without_panic() {
    replay("config");
}

#[test]
fn connection_corpus_replays_without_panic() {
    replay("connection");
}

#[test]
fn engine_corpus_replays_without_panic() {
    replay("engine");
}

#[test]
fn exchange_corpus_replays_without_panic() {
    replay("exchange");
}

#[test]
fn format_corpus_replays_without_panic() {
    replay("format");
}

#[test]
fn recovery_corpus_replays_without_panic() {
    replay("recovery");
}

#[test]
fn request_head_corpus_replays_without_panic() {
    replay("request_head");
}

#[test]
fn chunked_corpus_replays_without_panic() {
    replay("chunked");
}

#[test]
fn fid_target_corpus_replays_without_panic() {
    replay("fid_target");
}

#[test]
fn form_corpus_replays_without_panic() {
    replay("form");
}

#[test]
fn gzip_corpus_replays_without_panic() {
    replay("gzip");
}

#[test]
fn token_corpus_replays_without_panic() {
    replay("token");
}

#[test]
fn panicking_inputs_are_named() {
    let inputs = inputs("config");
    let planted = |data: &[u8]| assert!(!data.starts_with(b"listen"), "planted");
    let found = panicking(planted, &inputs);
    let begins = |input: &&PathBuf| std::fs::read(input).unwrap().starts_with(b"listen");
    assert_eq!(found.len(), inputs.iter().filter(begins).count());
    assert!(!found.is_empty());
}

#[test]
fn every_target_has_a_corpus_a_binary_and_a_test() {
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
fn corpora_stay_within_their_size_limits() {
    for (name, _) in TARGETS {
        let inputs = inputs(name);
        let bytes: u64 = inputs.iter().map(|input| input.metadata().unwrap().len()).sum();
        let files = inputs.len();
        assert!(files <= FILES_MAX && bytes <= BYTES_MAX, "{name}: {files} files, {bytes} bytes");
    }
}
