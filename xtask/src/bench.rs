//! `cargo xtask bench`: builds what is measured and what measures, makes an XFS, and hands over to
//! `bench/runner`.

use std::process::Command;

use crate::suite::{cargo, is_root, require, target};
use crate::xfs::Xfs;
use crate::{Failed, run};

/// Programs that are measured or measure, and the Debian packages they come in.
const TOOLS: [(&str, &str); 7] = [
    ("nginx", "nginx-light"),
    ("fio", "fio"),
    ("strace", "strace"),
    ("taskset", "util-linux"),
    ("pip3", "python3-pip"),
    ("mkfs.xfs", "xfsprogs"),
    ("losetup", "mount"),
];
/// Flags with which nothing is measured.
const WITHOUT_DATA: [&str; 5] = ["--readme", "--list", "--help", "-h", "--version"];
/// The file system (bytes): for the data of three servers with 4 GiB each and what is written besides, and
/// for a quarter of that.
const LEN: u64 = 28 << 30;
const QUICK_LEN: u64 = 10 << 30;

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
        require(&TOOLS)?;
        for package in ["hayloft", "hayloft-baseline", "hayloft-loadgen"] {
            packages.extend(["--package", package]);
        }
    }
    run(cargo(&["build", "--release", "--locked", "--bins"]).args(packages))?;
    let mut runner = Command::new(target().join("release/hayloft-bench"));
    runner.args(flags);
    if !measures || has("--dir") {
        return run(&mut runner);
    }
    if !is_root() {
        let why = "an XFS of its own needs root; give a directory on XFS or ext4 with --dir";
        return Err(Failed(why.to_owned()));
    }
    let len = if has("--quick") { QUICK_LEN } else { LEN };
    let xfs = Xfs::mount_written(&target().join("bench"), len)?;
    run(runner.arg("--dir").arg(xfs.path().join("data")))
}
