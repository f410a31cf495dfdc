//! `hayloft import`, `put` and `get` against the real daemon: every photo is stored exactly once, also after
//! interruptions.

mod daemon_harness;
mod import_cases;
