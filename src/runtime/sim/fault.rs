//! Faults of a disk other than power cuts.
//!
//! A fault hits one operation, or all from some operation on. It is counted under its name only if it has an
//! effect: a test whose counter stays 0 has tested nothing. Writes and syncs of a file after one of them
//! failed are counted too.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;

use super::State;
use super::disk::SECTOR;
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
    fn name(self) -> &'static str {
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
/// Name of the counter of flipped bits.
pub const BIT_ROT: &str = "bit rot";
/// Name of the counter of writes and syncs of a file after one that failed or was short, by the same process.
pub const WRITE_AFTER_FAILURE: &str = "write after failure";

/// Faults of a world, and their counters.
#[derive(Default)]
pub(super) struct Faults {
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

    fn of(&self, number: u64) -> Option<Fault> {
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

    pub(super) fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

impl State {
    /// Counts the beginning of an operation, and returns its additional delay (nanoseconds).
    pub(super) fn before(&mut self, number: u64, op: &Op) -> u64 {
        if let Op::Write { file, .. } | Op::Sync { file } = op
            && self.is_open(*file)
            && self.faults.failed.contains(&self.inode(*file))
        {
            self.faults.count(WRITE_AFTER_FAILURE);
        }
        match self.faults.of(number) {
            Some(fault @ Fault::Stall(ns)) => {
                self.faults.count(fault.name());
                ns
            }
            _ => 0,
        }
    }

    fn met(&mut self, fault: Fault) {
        self.faults.count(fault.name());
    }

    fn failed(&mut self, inode: usize, fault: Fault) {
        self.met(fault);
        self.faults.failed.insert(inode);
    }

    /// The negated errno of an operation that neither reads nor writes, if it fails.
    pub(super) fn fails(&mut self, fault: Option<Fault>) -> Option<i64> {
        let Some(fault @ Fault::Errno(errno)) = fault else { return None };
        self.met(fault);
        Some(-i64::from(errno))
    }

    /// Offset of a misdirected operation, limited to the file if the operation fits into it.
    fn misdirected(&self, inode: usize, at: usize, len: usize, by: i32) -> usize {
        let by = isize::try_from(by).expect("32 bits fit") * SECTOR.cast_signed();
        at.saturating_add_signed(by).min(self.disk.len(inode).saturating_sub(len))
    }

    /// Performs a read and returns the result of the operation.
    pub(super) fn read(
        &mut self,
        inode: usize,
        mut at: usize,
        mut out: &mut [u8],
        fault: Option<Fault>,
    ) -> i64 {
        match fault {
            Some(Fault::Errno(_)) => return self.fails(fault).expect("an errno fault fails"),
            Some(fault @ Fault::Short(most)) if (most as usize) < out.len() => {
                self.met(fault);
                out = &mut out[..most as usize];
            }
            Some(fault @ Fault::Misdirected(by)) => {
                self.met(fault);
                at = self.misdirected(inode, at, out.len(), by);
            }
            _ => {}
        }
        if self.disk.is_bad(inode, at, out.len()) {
            self.faults.count(BAD_SECTOR);
            return -i64::from(libc::EIO);
        }
        i64::try_from(self.disk.read(inode, at, out)).expect("small files")
    }

    /// Performs a write and returns the result of the operation.
    pub(super) fn write(
        &mut self,
        inode: usize,
        at: usize,
        mut bytes: &[u8],
        durable: bool,
        fault: Option<Fault>,
    ) -> i64 {
        let failed = -i64::from(libc::EIO);
        if self.disk.is_bad(inode, at, bytes.len()) {
            self.faults.count(BAD_SECTOR);
            self.faults.failed.insert(inode);
            return failed;
        }
        let done = |bytes: &[u8]| i64::try_from(bytes.len()).expect("small files");
        match fault {
            Some(fault @ Fault::Errno(errno)) => {
                self.failed(inode, fault);
                return -i64::from(errno);
            }
            Some(fault @ Fault::Dropped) => {
                self.failed(inode, fault);
                self.disk.write_discarded(inode, at, bytes);
                return failed;
            }
            Some(fault @ Fault::Kept) => {
                self.failed(inode, fault);
                self.disk.write(inode, at, bytes, false);
                return failed;
            }
            Some(fault @ Fault::Lost) => {
                self.met(fault);
                return done(bytes);
            }
            Some(fault @ Fault::Short(most)) if (most as usize) < bytes.len() => {
                self.failed(inode, fault);
                bytes = &bytes[..most as usize];
            }
            Some(fault @ Fault::Misdirected(by)) => {
                self.met(fault);
                let at = self.misdirected(inode, at, bytes.len(), by);
                self.disk.write(inode, at, bytes, durable);
                return done(bytes);
            }
            _ => {}
        }
        self.disk.write(inode, at, bytes, durable);
        done(bytes)
    }

    /// Performs a sync of a file and returns the result of the operation.
    pub(super) fn sync(&mut self, inode: usize, fault: Option<Fault>) -> i64 {
        match fault {
            Some(fault @ Fault::Errno(errno)) => {
                self.failed(inode, fault);
                return -i64::from(errno);
            }
            Some(fault @ (Fault::Dropped | Fault::Kept)) => {
                self.failed(inode, fault);
                if fault == Fault::Dropped {
                    self.disk.discard_unflushed(inode);
                }
                return -i64::from(libc::EIO);
            }
            _ => {}
        }
        self.disk.sync(inode);
        0
    }
}
