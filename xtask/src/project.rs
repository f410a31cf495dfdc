//! Location of the project and its target directory, and calls of cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root directory of the project.
#[must_use]
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a directory of the project").to_owned()
}

/// Whether the process has root privileges.
#[must_use]
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// A cargo command in the root directory of the project.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    command
}

/// Target directory of cargo.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Removes the "." that the test runner may have printed in front of a line of a test.
#[must_use]
pub fn printed(line: &str) -> String {
    line.trim_start_matches('.').to_owned()
}
