//! Transfers photos between files and a daemon: one at a time ([`put`], [`get`]), or a whole directory or tar
//! ([`import`]). The stored bytes are compared with those read: the entity tag is the XXH3-64 of the bytes.
//! Deletes photos ([`delete`]), and lists them ([`listing`]).
//!
//! This module prints nothing: it returns results, which the command line prints.

pub mod delete;
pub mod file;
pub mod get;
pub mod import;
pub mod listing;
pub mod name;
pub mod photo_group;
pub mod put;
