//! Power cuts, file system shutdowns and device faults under the release build on XFS, and a record of the
//! violations.

use std::fs;
use std::process::Command;

use crate::packages::require;
use crate::process::{Failed, announce, run};
use crate::project::{cargo, target};
use crate::record::{Record, cannot};

/// Required programs and packages, besides a kernel with loop devices, FUSE and XFS.
pub const TOOLS: [(&str, &str); 3] =
    [("mkfs.xfs", "xfsprogs"), ("xfs_io", "xfsprogs"), ("losetup", "mount")];
/// Exit code of the tool when its trials could not run.
const WRONG_USAGE: i32 = 2;
const TRIALS: &str = "The trials are described in \
                      [DURABILITY.md](../../../docs/DURABILITY.md#on-a-real-file-system).\n\n";

/// Runs the trials, with the flags of the tool. Violations are recorded, too.
///
/// # Errors
/// When a trial failed or found a violation.
pub fn powercut(flags: &[&str]) -> Result<(), Failed> {
    require(&TOOLS)?;
    run(&mut cargo(&["build", "--release", "--locked", "--bin", "hayloft"]))?;
    run(&mut cargo(&["build", "--locked", "--package", "powercut"]))?;
    let table = target().join(format!("powercut-{}.md", std::process::id()));
    let mut tool = Command::new(target().join("debug/powercut"));
    tool.arg("--daemon").arg(target().join("release/hayloft"));
    tool.arg("--dir").arg(target().join("powercut")).arg("--record").arg(&table).args(flags);
    let line = announce(&tool);
    let status = tool.status().map_err(|error| Failed(format!("{line}: {error}")))?;
    let found = fs::read_to_string(&table).unwrap_or_default();
    if status.code() != Some(WRONG_USAGE) && !found.is_empty() {
        fs::remove_file(&table).map_err(cannot("remove", &table))?;
        let command =
            ["cargo xtask powercut"].iter().chain(flags).copied().collect::<Vec<_>>().join(" ");
        let text = format!("{TRIALS}{found}");
        print!("{text}");
        let (name, title) = match flags.contains(&"--compact") {
            true => ("powercut-compact", "Power cuts during compactions"),
            false => ("powercut", "Power cuts"),
        };
        Record { name, title, command: &command, text: &text }.keep()?;
    }
    if status.success() { Ok(()) } else { Err(Failed(format!("`{line}` failed: {status}"))) }
}
