//! Tests of data directories on a real file system, with other processes for the lock and permissions.

mod files;
mod lock;
mod opener;
mod opening;

use std::path::Path;

use tempfile::TempDir;

use super::DataDir;
use super::listing::names_in;

fn base() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn listing(path: &Path) -> Vec<String> {
    names_in(path).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn error_of(path: &Path, create: bool) -> String {
    DataDir::open(path, create).expect_err("opening must fail").to_string()
}
