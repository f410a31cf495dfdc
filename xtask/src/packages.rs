//! Checks for required programs, and installs their Debian packages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};
use crate::project::is_root;

/// Search path for programs: `PATH`, and the directories of system programs such as nginx.
#[must_use]
pub fn search_path() -> OsString {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = std::env::split_paths(&paths).chain(system);
    std::env::join_paths(all).expect("the components come from split_paths")
}

fn is_installed(tool: &str) -> bool {
    std::env::split_paths(&search_path()).any(|dir| dir.join(tool).is_file())
}

/// Installs the packages of missing programs as root; otherwise fails and names them.
///
/// # Errors
/// When a program is missing and cannot be installed.
pub fn require(tools: &[(&str, &str)]) -> Result<(), Failed> {
    let missing = || tools.iter().filter(|(tool, _)| !is_installed(tool));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_installed("apt-get") {
        let list = packages.join(" ");
        return Err(Failed(format!("missing Debian packages: {list}; install them")));
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(&packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    // Debian starts a service on installation, so nginx would serve port 80, while the tests only need the
    // program. Without an init (in a container) nothing is started, and with SysV init nothing in this
    // runlevel. systemd ignores the variable, so print how to stop the service.
    install.env("RUNLEVEL", "1");
    run(&mut install)?;
    if packages.contains(&"nginx-light") && Path::new("/run/systemd/system").exists() {
        eprintln!(
            "nginx was installed and may be running; stop it with `systemctl disable --now nginx`"
        );
    }
    match missing().next() {
        None => Ok(()),
        Some((tool, package)) => {
            Err(Failed(format!("the package {package} does not contain {tool}")))
        }
    }
}
