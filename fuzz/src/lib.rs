//! What is fuzzed. A target is a function from any bytes to nothing, which panics when a promise is
//! broken. The binaries in `fuzz_targets/` hand them to libFuzzer; `tests/fuzz_corpus.rs` replays with
//! them, on stable Rust, every input that is kept in `corpus/`.
//!
//! A target depends on its input alone: no clock, no random source, no files.

pub mod batch;
pub mod chunked;
pub mod config;
pub mod connection;
pub mod engine;
pub mod exchange;
pub mod fid_target;
pub mod form;
pub mod format;
pub mod gzip;
pub mod images;
pub mod input;
pub mod model;
pub mod recovery;
pub mod request_head;
pub mod token;
mod wire;

#[expect(missing_docs, reason = "shared with tests, which are not documented")]
#[path = "../../tests/common/mod.rs"]
pub mod common;
#[expect(missing_docs, reason = "shared with tests, which are not documented")]
#[path = "../../tests/http_oracle/mod.rs"]
pub mod http_oracle;

/// A target: a function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the name of their binary and of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("batch", batch::run),
    ("chunked", chunked::run),
    ("config", config::run),
    ("connection", connection::run),
    ("engine", engine::run),
    ("exchange", exchange::run),
    ("fid_target", fid_target::run),
    ("form", form::run),
    ("format", format::run),
    ("gzip", gzip::run),
    ("recovery", recovery::run),
    ("request_head", request_head::run),
    ("token", token::run),
];
