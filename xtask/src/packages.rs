//! Programs that must be there, and the Debian packages they come in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};
use crate::project::is_root;

/// Where programs are looked for: also where a user's `PATH` does not name them, and nginx is.
#[must_use]
pub fn search_path() -> OsString {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = std::env::split_paths(&paths).chain(system);
    std::env::join_paths(all).expect("they were split")
}

fn is_installed(tool: &str) -> bool {
    std::env::split_paths(&search_path()).any(|dir| dir.join(tool).is_file())
}

/// Installs what is missing, or says what is.
///
/// # Errors
/// When it cannot be installed.
pub fn require(tools: &[(&str, &str)]) -> Result<(), Failed> {
    let missing = || tools.iter().filter(|(tool, _)| !is_installed(tool));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_installed("apt-get") {
        let list = packages.join(" ");
        return Err(Failed(format!("these Debian packages are needed: {list}; install them")));
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(&packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    // Debian starts a service when it is installed, and nginx would then serve everybody on port 80,
    // while the tests need the program alone. Without an init (in a container) nothing is started, and
    // none in this runlevel. systemd does not look at it: there, say how to undo it.
    install.env("RUNLEVEL", "1");
    run(&mut install)?;
    if packages.contains(&"nginx-light") && Path::new("/run/systemd/system").exists() {
        eprintln!("nginx was installed and may run now; `systemctl disable --now nginx` stops it");
    }
    match missing().next() {
        None => Ok(()),
        Some((tool, package)) => Err(Failed(format!("{package} was installed without {tool}"))),
    }
}
