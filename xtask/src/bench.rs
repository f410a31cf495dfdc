//! `cargo xtask bench`: builds the programs to measure and the tools, makes an XFS, and runs `bench/runner`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::packages::{require, search_path};
use crate::process::{Failed, run};
use crate::project::{cargo, is_root, target};
use crate::xfs::Xfs;

/// Programs for making a file system, and their Debian packages.
const XFS_TOOLS: [(&str, &str); 2] = [("mkfs.xfs", "xfsprogs"), ("losetup", "mount")];
/// Flags that need no data directory.
const WITHOUT_DATA: [&str; 5] = ["--readme", "--list", "--help", "-h", "--version"];
/// Divisor for the proportional part of the file system's own metadata.
const OWN_SHARE: u64 = 20;
/// Constant part of the file system's own metadata (bytes).
const OWN_LEN: u64 = 1 << 30;

fn number(text: &str) -> Result<u64, Failed> {
    let last = text.lines().last().unwrap_or_default().trim();
    last.parse().map_err(|_| Failed(format!("{last:?} is not a number of bytes")))
}

/// Length of an image with `room` bytes free, as a multiple of the block size of dd.
fn image_len(room: u64) -> u64 {
    (room + room / OWN_SHARE + OWN_LEN).next_multiple_of(4 << 20)
}

/// Checks the free space before the image is written.
fn check_room(dir: &Path, len: u64) -> Result<(), Failed> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failed(format!("cannot create {dir:?}: {error}")))?;
    // The image of an interrupted run is overwritten.
    let there = std::fs::metadata(dir.join("xfs.img")).map_or(0, |image| image.len());
    let free = printed_by(Command::new("df").args(["-B1", "--output=avail"]).arg(dir))?;
    let free = number(&free)? + there;
    if free >= len {
        return Ok(());
    }
    let gib = |bytes: u64| bytes.div_ceil(1 << 30);
    Err(Failed(format!(
        "the file system to measure on takes {} GiB, and {} has less than {} GiB free; give another \
             directory with --dir, or reduce --only, --pairs, --seconds or --data-size",
        gib(len),
        dir.display(),
        gib(free + 1)
    )))
}

/// Parses lines of a program and its package.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.split_once(' ')).collect()
}

/// Standard output of a command, which must succeed.
fn printed_by(command: &mut Command) -> Result<String, Failed> {
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.map_err(|error| Failed(format!("cannot run {command:?}: {error}")))?;
    if !done.status.success() {
        return Err(Failed(format!("{command:?} failed ({})", done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs the benchmarks, with the flags of `hayloft-bench`.
///
/// # Errors
/// When a prerequisite is missing or a command fails.
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
    // It runs programs found here, so it must use the same search path.
    runner.args(flags).env("PATH", search_path());
    if !measures {
        return run(&mut runner);
    }
    // The needed programs depend on the selected workloads, which the runner knows.
    let needed = printed_by(Command::new(&program).arg("--needs").args(flags))?;
    require(&pairs(&needed))?;
    if has("--dir") {
        return run(&mut runner);
    }
    require(&XFS_TOOLS)?;
    if !is_root() {
        let why = "making an XFS needs root; give a directory on XFS or ext4 with --dir";
        return Err(Failed(why.to_owned()));
    }
    let room = printed_by(Command::new(&program).arg("--room").args(flags))?;
    let dir = target().join("bench");
    let len = image_len(number(&room)?);
    check_room(&dir, len)?;
    let xfs = Xfs::mount_written(&dir, len)?;
    run(runner.arg("--dir").arg(xfs.path().join("data")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_checked_before_the_image_is_written() {
        assert_eq!(image_len(20 << 30), 22 << 30);
        let dir = std::env::temp_dir();
        assert!(check_room(&dir, 1).is_ok());
        let error = check_room(&dir, 1 << 60).unwrap_err().0;
        assert!(error.contains("takes 1073741824 GiB") && error.contains("--pairs"), "{error}");
        assert!(number("avail\n 77\n").is_ok_and(|bytes| bytes == 77) && number("x").is_err());
    }

    #[test]
    fn programs_and_output_of_the_runner_are_parsed() {
        assert_eq!(
            pairs("nginx nginx-light\nfio fio\n"),
            [("nginx", "nginx-light"), ("fio", "fio")]
        );
        assert!(printed_by(Command::new("echo").arg("a b")).is_ok_and(|text| text == "a b\n"));
        assert!(printed_by(&mut Command::new("false")).is_err());
    }
}
