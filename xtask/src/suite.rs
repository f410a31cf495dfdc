//! Stages of the test suite.

use std::process::Command;

use crate::busy::BusyLoops;
use crate::dependencies;
use crate::packages::require;
use crate::powercut;
use crate::process::{Failed, run};
use crate::project::{cargo, is_root, root, target};
use crate::stages::Stages;
use crate::test_binaries;
use crate::weed;
use crate::xfs::Xfs;

/// Programs required by the tests, and their Debian packages.
const TOOLS: [(&str, &str); 12] = [
    ("curl", "curl"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("prlimit", "util-linux"),
    ("losetup", "mount"),
    ("nginx", "nginx-light"),
    ("pip3", "python3-pip"),
    ("promtool", "prometheus"),
    ("strace", "strace"),
    ("systemd-analyze", "systemd"),
    ("systemd-socket-activate", "systemd"),
    ("systemd-sysusers", "systemd"),
];
/// Test binaries that also run on XFS.
const ON_XFS: [&str; 4] = ["parity", "daemon", "kill", "damage"];

/// Test binary that mounts its own file systems; its tests are ignored by default.
pub const WITH_MOUNTS: &str = "file_systems";

/// Options of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteOptions {
    /// Whether to run the tests that need an XFS or other mounts, too.
    pub with_xfs: bool,
    /// Whether to keep every core busy while the tests run.
    pub busy: bool,
}

impl SuiteOptions {
    /// Parses flags; `None` if one is unknown.
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

/// Runs the whole suite. Every stage runs even if earlier ones fail; the summary names the failures.
///
/// # Errors
/// When a prerequisite is missing, or a stage failed.
pub fn run_all(options: &SuiteOptions) -> Result<(), Failed> {
    let SuiteOptions { with_xfs, busy } = *options;
    if with_xfs && !is_root() {
        let why = "the tests on XFS and other file systems mount loop devices, which needs root; \
                   skip them with `cargo xtask test --without-xfs`";
        return Err(Failed(why.to_owned()));
    }
    require(&TOOLS)?;
    if with_xfs {
        require(&powercut::TOOLS)?;
    }
    weed::install()?;
    let mut stages = Stages::new();
    stages.run("dependencies", dependencies::check);
    stages.run("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])));
    let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    stages.run("lints", || run(&mut cargo(&lints)));
    stages.run("documentation", || {
        let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
        run(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    let mut binaries = Vec::new();
    stages.run("build of the tests", || {
        binaries = test_binaries::build()?;
        Ok(())
    });
    let _busy = busy.then(BusyLoops::on_every_core);
    stages.test_binaries("tests", &binaries);
    stages.test("tests in the documentation", cargo(&TEST).args(["--doc", "--no-fail-fast"]));
    stages.run("mistakes on purpose", || crate::sabotage::run_all(false));
    if with_xfs {
        let mut tests = cargo(&TEST);
        tests.args(["--test", WITH_MOUNTS, "--no-fail-fast", "--", "--ignored"]);
        stages.test("tests that mount file systems", &mut tests);
        on_xfs(&mut stages);
    }
    stages.finish()
}

/// Runs what a developer runs between two edits: no build of the integration tests, no daemon.
///
/// # Errors
/// When a stage failed.
pub fn run_quick() -> Result<(), Failed> {
    let mut stages = Stages::new();
    stages.run("dependencies", dependencies::check);
    stages.run("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])));
    let lints = ["clippy", "--lib", "--bins", "--locked", "--", "-D", "warnings"];
    stages.run("lints", || run(&mut cargo(&lints)));
    let tests = ["test", "-p", "hayloft", "--lib", "--test", "tidy", "--locked", "--no-fail-fast"];
    stages.test("unit tests and tidiness", &mut cargo(&tests));
    stages.finish()
}

/// Arguments of cargo for all tests of the workspace.
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
    // The binaries were built for the tests: building one package alone would compile its libraries again
    // with other features.
    let built = target().join("debug");
    let short = || {
        let mut short = Command::new(built.join("powercut"));
        short.arg("--daemon").arg(built.join("hayloft"));
        short.arg("--dir").arg(root().join("target/powercut")).arg("--short");
        short
    };
    stages.run("power cuts", || run(&mut short()));
    stages.run("power cuts during compactions", || run(short().arg("--compact")));
}
