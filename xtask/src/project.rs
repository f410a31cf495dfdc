//! The project: where it is, and how cargo is called there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the project").to_owned()
}

/// Whether this process may mount and install.
#[must_use]
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Cargo, in the root of the project.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    command
}

/// Where cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A line that a test printed, without the "." that the test runner may have put in front of it.
#[must_use]
pub fn printed(line: &str) -> String {
    line.trim_start_matches('.').to_owned()
}
