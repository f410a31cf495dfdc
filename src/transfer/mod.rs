//! Photos between files and a daemon: one at a time ([`put`], [`get`]), or a whole tree or tar
//! ([`import`]). What is stored is compared with what was read: the entity tag is the XXH3-64 of the bytes.
//!
//! This module prints nothing: it tells what came of it, and the command line finds the words.

pub mod file;
pub mod get;
pub mod import;
pub mod name;
pub mod put;
