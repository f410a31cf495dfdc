//! What a disk does besides losing power.
//!
//! A fault hits one operation, or every one from some operation on. It is counted, under a name of its
//! own, only where it makes a difference: a test whose counter stays 0 did not test. What the store does
//! after a failure is counted too: writes and syncs of a file after one of them failed.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;

use super::State;
use super::disk::SECTOR;
use crate::op::Op;

/// What goes wrong with an operation. One that has nothing to do with a fault is carried out as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Anything: it fails with this errno; a write leaves nothing behind.
    Errno(i32),
    /// A read or write transfers only so many bytes.
    Short(u32),
    /// A write or sync fails with `EIO`, and what it should have made durable is given up. It is still
    /// seen, and the next sync succeeds, but a power cut undoes it: the trap of Rebello et al., ATC
    /// 2020.
    Dropped,
    /// A write or sync fails with `EIO`, but what it should have made durable is written, and may
    /// survive a power cut.
    Kept,
    /// A write is reported done, and is nowhere.
    Lost,
    /// A read or write is done so many sectors further on, or before, in the same file.
    Misdirected(i32),
    /// Anything: it takes so much longer (nanoseconds).
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

/// A fault that an operation met, whether it made a difference or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The file that the operation was about; empty without one.
    pub name: String,
    /// Whether it was to change the file's content or bring it to stable media.
    pub is_write: bool,
    /// What went wrong.
    pub fault: Fault,
}

/// Counts operations that met a bad sector.
pub const BAD_SECTOR: &str = "bad sector";
/// Counts bits that rotted.
pub const BIT_ROT: &str = "bit rot";
/// Counts writes and syncs of files after one that failed or fell short, by the same process.
pub const WRITE_AFTER_FAILURE: &str = "write after failure";

/// The faults of a world, and what came of them.
#[derive(Default)]
pub(super) struct Faults {
    /// By the number of the operation they hit.
    once: BTreeMap<u64, Fault>,
    /// From this operation on.
    sticky: Option<(u64, Fault)>,
    counts: BTreeMap<&'static str, u64>,
    /// Files of which a write or sync failed or fell short.
    failed: BTreeSet<usize>,
    met: Vec<Met>,
    /// Beginnings of the names of files whose disk is gone.
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

    /// The fault that an operation on this file meets.
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
    /// An operation begins: how much longer it takes (nanoseconds).
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

    /// The errno of an operation that neither reads nor writes, if it fails.
    pub(super) fn fails(&mut self, fault: Option<Fault>) -> Option<i64> {
        let Some(fault @ Fault::Errno(errno)) = fault else { return None };
        self.met(fault);
        Some(-i64::from(errno))
    }

    /// Where a misdirected operation ends up: inside the file, if it fits.
    fn misdirected(&self, inode: usize, at: usize, len: usize, by: i32) -> usize {
        let by = isize::try_from(by).expect("32 bits fit") * SECTOR.cast_signed();
        at.saturating_add_signed(by).min(self.disk.len(inode).saturating_sub(len))
    }

    /// Reads: the result of the operation.
    pub(super) fn read(
        &mut self,
        inode: usize,
        mut at: usize,
        mut out: &mut [u8],
        fault: Option<Fault>,
    ) -> i64 {
        match fault {
            Some(Fault::Errno(_)) => return self.fails(fault).expect("it does"),
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

    /// Writes: the result of the operation.
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
                self.disk.write_doomed(inode, at, bytes);
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

    /// Syncs a file: the result of the operation.
    pub(super) fn sync(&mut self, inode: usize, fault: Option<Fault>) -> i64 {
        match fault {
            Some(fault @ Fault::Errno(errno)) => {
                self.failed(inode, fault);
                return -i64::from(errno);
            }
            Some(fault @ (Fault::Dropped | Fault::Kept)) => {
                self.failed(inode, fault);
                if fault == Fault::Dropped {
                    self.disk.doom(inode);
                }
                return -i64::from(libc::EIO);
            }
            _ => {}
        }
        self.disk.sync(inode);
        0
    }
}
