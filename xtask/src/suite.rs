//! The suite, step by step.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::busy::Busy;
use crate::stages::Stages;
use crate::xfs::Xfs;
use crate::{Failed, run};

/// Programs that the tests need, and the Debian packages they come in.
const TOOLS: [(&str, &str); 11] = [
    ("curl", "curl"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("prlimit", "util-linux"),
    ("losetup", "mount"),
    ("nginx", "nginx-light"),
    ("promtool", "prometheus"),
    ("strace", "strace"),
    ("systemd-analyze", "systemd"),
    ("systemd-socket-activate", "systemd"),
    ("systemd-sysusers", "systemd"),
];
/// What measuring needs besides.
const BENCH_TOOLS: [(&str, &str); 2] = [("wrk", "wrk"), ("strace", "strace")];

/// What cutting the power needs besides a kernel with loop devices, FUSE and XFS.
const POWERCUT_TOOLS: [(&str, &str); 3] =
    [("mkfs.xfs", "xfsprogs"), ("xfs_io", "xfsprogs"), ("losetup", "mount")];

/// Tests that are run again on XFS.
const ON_XFS: [&str; 4] = ["parity", "daemon", "kill", "damage"];

/// Tests that mount file systems of their own, and are ignored otherwise.
const WITH_MOUNTS: &str = "file_systems";

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the project").to_owned()
}

/// Whether this process may mount and install.
#[must_use]
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Cargo, in the root of the project.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root());
    command
}

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

/// How to run the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteOptions {
    /// Whether to mount an XFS and test on it, too.
    pub with_xfs: bool,
    /// Whether to keep every core busy meanwhile.
    pub busy: bool,
}

impl SuiteOptions {
    /// Reads flags; nothing if one is unknown.
    #[must_use]
    pub fn parse(flags: &[&str]) -> Option<Self> {
        let mut options = Self { with_xfs: true, busy: false };
        for flag in flags {
            match *flag {
                "--without-xfs" => options.with_xfs = false,
                "--busy" => options.busy = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs the whole suite. Every stage runs, whatever failed before it; the summary names what did.
///
/// # Errors
/// When a prerequisite is missing, or a stage failed.
pub fn run_all(options: &SuiteOptions) -> Result<(), Failed> {
    let SuiteOptions { with_xfs, busy } = *options;
    if with_xfs && !is_root() {
        let why = "the tests on XFS and other file systems mount loop devices, which needs root; \
                   `cargo xtask test --without-xfs` leaves them out";
        return Err(Failed(why.to_owned()));
    }
    require(&TOOLS)?;
    if with_xfs {
        require(&POWERCUT_TOOLS)?;
    }
    let _busy = busy.then(Busy::on_every_core);
    let mut stages = Stages::new();
    stages.run("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])));
    let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    stages.run("lints", || run(&mut cargo(&lints)));
    stages.run("documentation", || {
        let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
        run(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    stages.run("build of the tests", || run(cargo(&TEST).arg("--no-run")));
    stages.test("tests", cargo(&TEST).arg("--no-fail-fast"));
    stages.run("mistakes on purpose", || crate::sabotage::run_all(false));
    if with_xfs {
        let mut tests = cargo(&TEST);
        tests.args(["--test", WITH_MOUNTS, "--no-fail-fast", "--", "--ignored"]);
        stages.test("tests that mount file systems", &mut tests);
        on_xfs(&mut stages);
    }
    stages.finish()
}

/// Every test of the workspace.
const TEST: [&str; 3] = ["test", "--workspace", "--locked"];

fn on_xfs(stages: &mut Stages) {
    let mut mounted = None;
    stages.run("making an XFS", || {
        mounted = Some(Xfs::mount(&root().join("target"), 12 << 30)?);
        Ok(())
    });
    if let Some(xfs) = mounted {
        let mut tests = cargo(&TEST);
        for test in ON_XFS {
            tests.args(["--test", test]);
        }
        let tests = tests.arg("--no-fail-fast").env("HAYLOFT_TEST_DIR", xfs.path());
        stages.test("tests on XFS", tests);
    }
    // Both are those that were just tested: a build of one package alone would compile its libraries
    // once more, with other features.
    let built = target().join("debug");
    let mut short = Command::new(built.join("powercut"));
    short.arg("--daemon").arg(built.join("hayloft"));
    short.arg("--dir").arg(root().join("target/powercut")).arg("--short");
    stages.run("power cuts", || run(&mut short));
}

/// Where cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cuts the power.
///
/// # Errors
/// What failed, or that something was lost.
pub fn powercut(flags: &[&str]) -> Result<(), Failed> {
    require(&POWERCUT_TOOLS)?;
    run(&mut cargo(&["build", "--release", "--locked", "--bin", "hayloft"]))?;
    run(&mut cargo(&["build", "--locked", "--package", "powercut"]))?;
    let mut script = Command::new("bash");
    script.arg("bench/powercut.sh").arg(target().join("release/hayloft"));
    run(script.arg(target().join("debug/powercut")).args(flags).current_dir(root()))
}

/// Measures the read path.
///
/// # Errors
/// What failed.
pub fn read_path() -> Result<(), Failed> {
    require(&BENCH_TOOLS)?;
    require(&TOOLS[..1])?;
    run(&mut cargo(&["build", "--release", "--locked"]))?;
    run(Command::new("bash").arg("bench/read_path.sh").current_dir(root()))
}

/// Measures what hostile clients cost the others.
///
/// # Errors
/// What failed.
pub fn hostile() -> Result<(), Failed> {
    run(&mut cargo(&["test", "--release", "--locked", "--no-run", "--test", "hostile"]))?;
    run(Command::new("bash").arg("bench/hostile.sh").current_dir(root()))
}

/// A line that a test printed, without the "." that the test runner may have put in front of it.
#[must_use]
pub fn printed(line: &str) -> String {
    line.trim_start_matches('.').to_owned()
}
