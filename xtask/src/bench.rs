//! `cargo xtask bench`: builds what is measured and what measures, makes an XFS, and hands over to
//! `bench/runner`.

use std::process::{Command, Stdio};

use crate::suite::{cargo, is_root, require, search_path, target};
use crate::xfs::Xfs;
use crate::{Failed, run};

/// What a file system of its own takes, and the Debian packages.
const XFS_TOOLS: [(&str, &str); 2] = [("mkfs.xfs", "xfsprogs"), ("losetup", "mount")];
/// Flags with which nothing is measured.
const WITHOUT_DATA: [&str; 5] = ["--readme", "--list", "--help", "-h", "--version"];
/// The file system (bytes): for the data of three servers with 4 GiB each and what is written besides, and
/// for a quarter of that.
const LEN: u64 = 28 << 30;
const QUICK_LEN: u64 = 10 << 30;

/// Programs and their packages, one of each in a line.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.split_once(' ')).collect()
}

/// What a command prints that must succeed.
fn printed_by(command: &mut Command) -> Result<String, Failed> {
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.map_err(|error| Failed(format!("cannot run {command:?}: {error}")))?;
    if !done.status.success() {
        return Err(Failed(format!("{command:?} failed ({})", done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Measures, with the flags of `hayloft-bench`.
///
/// # Errors
/// What failed.
pub fn bench(flags: &[&str]) -> Result<(), Failed> {
    let has = |name: &str| {
        let with_value = format!("{name}=");
        flags.iter().any(|flag| *flag == name || flag.starts_with(&with_value))
    };
    let measures = !WITHOUT_DATA.iter().any(|name| has(name));
    let mut packages = vec!["--package", "hayloft-bench"];
    if measures {
        for package in ["hayloft", "hayloft-baseline", "hayloft-loadgen"] {
            packages.extend(["--package", package]);
        }
    }
    run(cargo(&["build", "--release", "--locked", "--bins"]).args(packages))?;
    let program = target().join("release/hayloft-bench");
    let mut runner = Command::new(&program);
    // It starts what was found here, so it must look in the same places.
    runner.args(flags).env("PATH", search_path());
    if !measures {
        return run(&mut runner);
    }
    // The workloads that are wanted decide what is needed, and those the runner knows.
    let needed = printed_by(Command::new(&program).arg("--needs").args(flags))?;
    require(&pairs(&needed))?;
    if has("--dir") {
        return run(&mut runner);
    }
    require(&XFS_TOOLS)?;
    if !is_root() {
        let why = "an XFS of its own needs root; give a directory on XFS or ext4 with --dir";
        return Err(Failed(why.to_owned()));
    }
    let len = if has("--quick") { QUICK_LEN } else { LEN };
    let xfs = Xfs::mount_written(&target().join("bench"), len)?;
    run(runner.arg("--dir").arg(xfs.path().join("data")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_prints_is_what_is_required() {
        assert_eq!(
            pairs("nginx nginx-light\nfio fio\n"),
            [("nginx", "nginx-light"), ("fio", "fio")]
        );
        assert!(printed_by(Command::new("echo").arg("a b")).is_ok_and(|text| text == "a b\n"));
        assert!(printed_by(&mut Command::new("false")).is_err());
    }
}
