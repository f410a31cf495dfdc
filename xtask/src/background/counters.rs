//! Bytes read and written, as counted by the kernel, and the space of a file system.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Failed;
use crate::record::cannot;

/// Unit of a block device's counters (bytes).
const SECTOR: u64 = 512;

/// Bytes read and written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Moved {
    /// Difference to the counters `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { read: self.read - before.read, written: self.written - before.written }
    }

    /// Counters of a block device.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_device(name: &str) -> Result<Self, Failed> {
        let path = PathBuf::from(format!("/sys/block/{name}/stat"));
        let text = std::fs::read_to_string(&path).map_err(cannot("read", &path))?;
        let field = |n: usize| text.split_whitespace().nth(n)?.parse::<u64>().ok();
        let (read, written) = (field(2), field(6));
        let (Some(read), Some(written)) = (read, written) else {
            return Err(Failed(format!("{} has no counters", path.display())));
        };
        Ok(Self { read: read * SECTOR, written: written * SECTOR })
    }

    /// Counters of a process: what it caused to be read from and written to devices.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_process(pid: u32) -> Result<Self, Failed> {
        let path = PathBuf::from(format!("/proc/{pid}/io"));
        let text = std::fs::read_to_string(&path).map_err(cannot("read", &path))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        match (field("read_bytes:"), field("write_bytes:")) {
            (Some(read), Some(written)) => Ok(Self { read, written }),
            _ => Err(Failed(format!("{} has no counters", path.display()))),
        }
    }
}

/// Used and free bytes of the file system that holds `dir`.
///
/// # Errors
/// When df fails.
pub fn space(dir: &Path) -> Result<(u64, u64), Failed> {
    let done = Command::new("df").args(["-B1", "--output=used,avail"]).arg(dir).output();
    let done = done.map_err(|error| Failed(format!("cannot run df: {error}")))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(used), Some(free)) => Ok((used, free)),
        _ => Err(Failed(format!("df did not print the space of {}: {text}", dir.display()))),
    }
}
