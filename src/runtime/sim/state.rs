//! The state of the simulated world, and what is asked of it everywhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::path::PathBuf;
use std::rc::Rc;

use super::disk::{Disk, Image, Wreck};
use super::fault::Faults;
use super::flight::{Flight, PARKED, gather, waits_for};
use super::net::Net;
use crate::runtime::op::{DirId, FileId, Op};
use crate::runtime::split_mix;

/// Called at every event.
pub type Hook = Rc<dyn Fn(&Snapshot<'_>)>;

/// The state of the world. What operations do is in [`super::files`], [`super::sockets`] and
/// [`super::schedule`].
pub struct State {
    pub disk: Disk,
    /// Paths of the directories that were opened; the position is the [`DirId`].
    pub dirs: Vec<PathBuf>,
    /// Inode of each open file, and whether it is open for writing.
    pub open: BTreeMap<u32, (usize, bool)>,
    pub next_file: u32,
    pub flights: Vec<Flight>,
    pub seed: u64,
    pub now: u64,
    /// Difference between the wall clock and `now` (nanoseconds).
    pub wall_offset: u64,
    pub begun: u64,
    pub submitted: u64,
    pub net: Net,
    /// Members that were woken by another one.
    pub woken: BTreeSet<usize>,
    pub hash: u64,
    pub faults: Faults,
    pub hook: Option<Hook>,
}

impl State {
    /// Creates the state of a world with this disk, at its first moment.
    pub fn new(seed: u64, disk: Disk) -> Self {
        Self {
            disk,
            dirs: Vec::new(),
            open: BTreeMap::new(),
            next_file: 0,
            flights: Vec::new(),
            seed,
            now: 1_000_000_000,
            wall_offset: 1_700_000_000_000_000_000,
            begun: 0,
            submitted: 0,
            net: Net::default(),
            woken: BTreeSet::new(),
            hash: 0,
            faults: Faults::default(),
            hook: None,
        }
    }

    /// Draws a number below `below`.
    pub fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    /// Schedules new attempts of the operations that wait for a connection or listener.
    pub fn retry_waiters(&mut self, sock: i32) {
        self.retry(|op| waits_for(op) == Some(sock));
    }

    /// Schedules new attempts of the operations that wait, if `is_concerned`.
    pub fn retry(&mut self, is_concerned: impl Fn(&Op) -> bool) {
        for n in 0..self.flights.len() {
            if self.flights[n].due == PARKED && is_concerned(&self.flights[n].op) {
                // One packet in 64 is lost and sent again.
                let lost = self.draw(64) == 0;
                let delay = 5_000 + self.draw(50_000) + if lost { 200_000_000 } else { 0 };
                self.flights[n].due = self.now + delay;
            }
        }
    }

    pub fn inode(&self, file: FileId) -> usize {
        self.open[&file.0].0
    }

    pub fn is_open(&self, file: FileId) -> bool {
        self.open.contains_key(&file.0)
    }

    pub fn may_write(&self, file: FileId) -> bool {
        self.open.get(&file.0).is_some_and(|(_, write)| *write)
    }

    /// Number of free blocks of the disk.
    pub fn free_blocks(&self) -> usize {
        let open: BTreeSet<usize> = self.open.values().map(|(inode, _)| *inode).collect();
        self.disk.free_blocks(|inode| open.contains(&inode))
    }

    /// Name of the file of an operation; empty without one.
    pub fn name_of(&self, op: &Op) -> String {
        match op {
            Op::Create { dir, name } | Op::Open { dir, name, .. } | Op::Unlink { dir, name } => {
                name_in(*dir, name)
            }
            Op::Rename { dir, from, .. } => name_in(*dir, from),
            Op::Read { file, .. }
            | Op::Write { file, .. }
            | Op::Sync { file }
            | Op::FileLen { file }
            | Op::Extents { file }
            | Op::IsNameOf { file, .. }
            | Op::Allocate { file, .. }
            | Op::SetLen { file, .. } => match self.open.get(&file.0) {
                Some((inode, _)) => self.disk.name_of(*inode),
                None => String::new(),
            },
            _ => String::new(),
        }
    }
}

/// Name of a file on the disk: that in its directory, with the number of the directory in front unless it is
/// 0.
pub fn name_in(dir: DirId, name: &CStr) -> String {
    let name = name.to_str().expect("plain names");
    if dir.0 == 0 { name.to_owned() } else { format!("{}/{name}", dir.0) }
}

/// The state of the world between two events.
pub struct Snapshot<'a> {
    state: &'a State,
}

impl<'a> Snapshot<'a> {
    /// Returns the state of the world now.
    pub(super) fn of(state: &'a State) -> Self {
        Self { state }
    }

    /// Returns the crash states of a power cut at this moment.
    #[must_use]
    pub fn wreck(&self) -> Wreck {
        let state = self.state;
        let mut writing = Vec::new();
        for flight in &state.flights {
            if let Op::Write { file, bufs, pieces, offset, .. } = &flight.op
                && state.may_write(*file)
            {
                let inode = state.inode(*file);
                let at = usize::try_from(*offset).expect("small files");
                writing.push((inode, at, gather(bufs, pieces)));
            }
        }
        state.disk.wreck(&writing)
    }

    /// Reads in flight: the name of the file, and the offset (bytes).
    #[must_use]
    pub fn reads(&self) -> Vec<(String, u64)> {
        self.in_flight(|op| match op {
            Op::Read { offset, .. } => Some(*offset),
            _ => None,
        })
    }

    /// Writes in flight: the name of the file, and the offset (bytes).
    #[must_use]
    pub fn writes(&self) -> Vec<(String, u64)> {
        self.in_flight(|op| match op {
            Op::Write { offset, .. } => Some(*offset),
            _ => None,
        })
    }

    fn in_flight(&self, offset_of: impl Fn(&Op) -> Option<u64>) -> Vec<(String, u64)> {
        let flights = self.state.flights.iter();
        let found = flights
            .filter_map(|flight| Some((self.state.name_of(&flight.op), offset_of(&flight.op)?)));
        found.collect()
    }

    /// Returns the contents of the disk after a kill of the process at this moment.
    #[must_use]
    pub fn image(&self) -> Image {
        self.state.disk.image()
    }
}

/// Calls the hook of the world, if it has one.
pub fn call_hook(state: &RefCell<State>) {
    let hook = state.borrow().hook.clone();
    if let Some(hook) = hook {
        hook(&Snapshot::of(&state.borrow()));
    }
}
