//! Faults of a disk other than power cuts.
//!
//! A fault hits one operation, or all from some operation on. It is counted under its name only if it has an
//! effect: a test whose counter stays 0 has tested nothing. Writes and syncs of a file after one of them
//! failed are counted too.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;

use crate::runtime::op::Op;

/// A fault of an operation. An operation to which the fault does not apply is carried out as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Any operation fails with this errno; a failed write has no effect.
    Errno(i32),
    /// A read or write transfers at most this many bytes.
    Short(u32),
    /// A write or sync fails with `EIO`, and the data that it should have made durable is discarded. The data
    /// can still be read, and the next sync succeeds, but a power cut undoes it (Rebello et al., USENIX ATC
    /// 2020).
    Dropped,
    /// A write or sync fails with `EIO`, but the data that it should have made durable is in the cache and
    /// may survive a power cut.
    Kept,
    /// A write is reported as successful and has no effect.
    Lost,
    /// A read or write happens this many sectors further on (negative: before) in the same file.
    Misdirected(i32),
    /// Any operation takes this much longer (nanoseconds).
    Stall(u64),
}

impl Fault {
    /// Name of its counter.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Errno(_) => "error",
            Self::Short(_) => "short",
            Self::Dropped => "failed, data dropped",
            Self::Kept => "failed, data kept",
            Self::Lost => "lost write",
            Self::Misdirected(_) => "misdirected",
            Self::Stall(_) => "stall",
        }
    }
}

/// A fault that hit an operation, whether it had an effect or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// Name of the operation's file; empty without one.
    pub name: String,
    /// Whether the operation is a write or a sync.
    pub is_write: bool,
    /// The fault.
    pub fault: Fault,
}

/// Name of the counter of operations on bad sectors.
pub const BAD_SECTOR: &str = "bad sector";
/// Name of the counter of reads of sectors that are unreadable until they are written.
pub const UNREADABLE_SECTOR: &str = "unreadable sector";
/// Name of the counter of flipped bits.
pub const BIT_ROT: &str = "bit rot";
/// Name of the counter of reservations for which there were too few free blocks.
pub const NO_SPACE: &str = "no space";
/// Name of the counter of writes for which there were too few free blocks.
pub const WRITE_WITHOUT_SPACE: &str = "write without space";
/// Name of the counter of writes and syncs of a file after one that failed or was short, by the same process.
pub const WRITE_AFTER_FAILURE: &str = "write after failure";

/// Faults of a world, and their counters.
#[derive(Default)]
pub struct Faults {
    /// Faults of single operations, by the number of the operation.
    once: BTreeMap<u64, Fault>,
    /// A fault of all operations from this number on.
    sticky: Option<(u64, Fault)>,
    counts: BTreeMap<&'static str, u64>,
    /// Inodes of the files of which a write or sync failed or was short.
    failed: BTreeSet<usize>,
    met: Vec<Met>,
    /// Prefixes of the names of files whose disk was unplugged.
    gone: Vec<String>,
}

impl Faults {
    pub(super) fn add(&mut self, number: u64, fault: Fault, sticky: bool) {
        if sticky {
            self.sticky = Some((number, fault));
        } else {
            self.once.insert(number, fault);
        }
    }

    /// Returns the fault of an operation.
    pub(super) fn of(&self, number: u64) -> Option<Fault> {
        let sticky = self.sticky.filter(|(from, _)| number >= *from).map(|(_, fault)| fault);
        self.once.get(&number).copied().or(sticky)
    }

    /// Removes and returns the fault of an operation on the file `name`, and records it.
    pub(super) fn take(&mut self, number: u64, op: &Op, name: String) -> Option<Fault> {
        let is_gone = self.gone.iter().any(|prefix| name.starts_with(prefix));
        let gone = is_gone.then_some(Fault::Errno(libc::EIO));
        let fault = gone.or_else(|| self.of(number));
        self.once.remove(&number);
        if let Some(fault) = fault {
            let is_write = matches!(op, Op::Write { .. } | Op::Sync { .. });
            self.met.push(Met { name, is_write, fault });
        }
        fault
    }

    pub(super) fn met(&self) -> Vec<Met> {
        self.met.clone()
    }

    pub(super) fn unplug(&mut self, prefix: &str) {
        self.gone.push(prefix.to_owned());
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Records that a write or sync of a file failed or was short.
    pub(super) fn add_failed(&mut self, inode: usize) {
        self.failed.insert(inode);
    }

    /// Whether a write or sync of a file failed or was short.
    pub(super) fn has_failed(&self, inode: usize) -> bool {
        self.failed.contains(&inode)
    }

    pub(super) fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}
