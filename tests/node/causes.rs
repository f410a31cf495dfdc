//! Causes of refusals and of volume states of a simulated node. A refusal or state without a known cause is a
//! bug of the node.

mod compaction;
mod damage;
mod disk_states;
mod files;
mod refusals;
mod states;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::VolumeId;
use hayloft::node::board::VolumeState as Shown;
use hayloft::node::metrics::{Metrics, VolumeMetrics};
use hayloft::runtime::sim::World;

use super::damage::Damages;
use super::files::VolumeFile;
use super::monitor::Monitor;
use super::{Known, SECOND};
use compaction::Compactions;
use disk_states::{NOTHING, OnDisk, READ_ONLY, WRITABLE};

pub use compaction::Order;
pub use disk_states::DiskStates;
pub use refusals::RequestInfo;

/// Longest time until the node notices that the client of an upload has disconnected (ns). The reservation is
/// held until then.
const ABORT_NOTICED_WITHIN_NS: u64 = 30 * SECOND;
/// Longest delay until figures of volumes are published (ns).
const FIGURES_DELAY_NS: u64 = 20_000_000;

/// Longest delay until the operator receives the report of a completed change (ns).
const REPORT_DELAY_NS: u64 = 5_000_000;

/// Kind of a change to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    ReadOnly,
    Writable,
    Create,
    Delete,
    /// Its file is treated as lost.
    Fence,
    /// Its disk is removed.
    Unplug,
    /// Its compaction is cancelled.
    Cancel,
    /// Too many reads of it have failed.
    Suspect,
    /// That is over, says the operator.
    Clear,
}

impl ChangeKind {
    /// State that a start finds after the change, if the change affects the disk.
    fn result(self) -> Option<OnDisk> {
        match self {
            Self::ReadOnly => Some(READ_ONLY),
            Self::Writable | Self::Create => Some(WRITABLE),
            Self::Delete => Some(NOTHING),
            Self::Fence | Self::Unplug | Self::Cancel | Self::Suspect | Self::Clear => None,
        }
    }
}

/// A change by the operator.
#[derive(Clone, Copy, Debug)]
struct Change {
    volume: VolumeId,
    what: ChangeKind,
    from: u64,
    /// End of the change (ns); `u64::MAX` while it is in progress.
    until: u64,
    /// Possible states on disk before the change.
    before: OnDisk,
    is_done: bool,
}

/// An upload in progress.
struct Upload {
    volume: Option<VolumeId>,
    /// Upper bound of its space in the log (bytes).
    cost: u64,
    /// Upper bound of its buffers (bytes).
    memory: u64,
    from: u64,
    until: u64,
}

impl Upload {
    /// Whether the node may have held resources for it at some time in this interval.
    fn is_held(&self, from: u64, until: u64) -> bool {
        self.from <= until && self.until.saturating_add(ABORT_NOTICED_WITHIN_NS) >= from
    }
}

/// Disks that are missing in one life of a node.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// Volumes whose files are all missing.
    pub volumes: BTreeSet<VolumeId>,
    /// Whether the second data directory is missing.
    pub second: bool,
}

impl Missing {
    pub fn is_something(&self) -> bool {
        self.second || !self.volumes.is_empty()
    }
}

/// The possible causes in one life of a node.
pub struct Causes {
    world: World,
    metrics: Arc<Metrics>,
    disk_states: Rc<DiskStates>,
    monitor: Arc<Monitor>,
    pub damages: Rc<Damages>,
    /// Volumes of which parts of the log may not have been read when they were opened.
    blind: BTreeSet<VolumeId>,
    pub compactions: Compactions,
    /// What is missing.
    missing: Missing,
    /// Volumes that this node may have.
    all: Vec<VolumeId>,
    /// Volumes that this node has.
    present: RefCell<BTreeSet<VolumeId>>,
    /// Volumes that may have been read-only at the start.
    read_only: BTreeSet<VolumeId>,
    changes: RefCell<Vec<Change>>,
    uploads: RefCell<Vec<Upload>>,
    /// Read-only volumes, and since when (ns).
    read_only_since: RefCell<BTreeMap<VolumeId, u64>>,
    /// Time of the first write to a volume after it was read-only (ns).
    first_write: RefCell<BTreeMap<VolumeId, u64>>,
    /// Per shard: time and used buffers (bytes), decreasing; only values that no later one exceeds.
    peaks: RefCell<BTreeMap<usize, Vec<(u64, u64)>>>,
    /// Figures of deleted volumes.
    retired: RefCell<Vec<Arc<VolumeMetrics>>>,
    /// Buffers of each shard (bytes).
    buffers: u64,
    /// Time at which a drain aborts requests in flight (ns).
    drain_deadline: Cell<u64>,
    /// Volumes that were being opened when the drain began: nobody waits for what they do then.
    opening_at_drain: RefCell<Vec<VolumeId>>,
}

/// Upper bound of the log space of a body, including parts and manifest (bytes).
pub fn cost_of(len: usize) -> u64 {
    let len = len as u64;
    len + len / 8 + (16 << 10)
}

impl Causes {
    pub fn new(
        world: World,
        metrics: Arc<Metrics>,
        Known { disk_states, damages }: &Known,
        monitor: Arc<Monitor>,
        present: &[VolumeId],
        missing: Missing,
        (volumes, buffers): (u32, u64),
    ) -> Self {
        let may_be = |volume: &VolumeId| disk_states.of(*volume).read_only;
        let read_only = present.iter().copied().filter(may_be).collect();
        let unreadable = world.unreadable();
        let files = unreadable.iter().filter_map(|(name, _)| VolumeFile::beside(name));
        let blind = files.map(|file| file.volume).collect();
        Self {
            world,
            metrics,
            disk_states: Rc::clone(disk_states),
            monitor,
            damages: Rc::clone(damages),
            blind,
            compactions: Compactions::default(),
            missing,
            all: (1..=volumes).map(VolumeId).collect(),
            present: RefCell::new(present.iter().copied().collect()),
            changes: RefCell::default(),
            uploads: RefCell::default(),
            read_only_since: RefCell::default(),
            first_write: RefCell::default(),
            peaks: RefCell::default(),
            retired: RefCell::default(),
            read_only,
            buffers,
            drain_deadline: Cell::new(u64::MAX),
            opening_at_drain: RefCell::default(),
        }
    }

    /// Volumes that the node has.
    pub fn present(&self) -> Vec<VolumeId> {
        self.present.borrow().iter().copied().collect()
    }

    /// Whether the volume is being recovered now.
    pub fn is_recovering(&self, volume: Option<VolumeId>) -> bool {
        let all = self.metrics.board.volumes();
        let mut asked = all.iter().filter(|found| volume.is_none_or(|id| id == found.info.id));
        asked.any(|found| found.state.get() == Shown::Recovering)
    }

    /// Records the used buffers of a shard (bytes).
    pub fn note_buffers_used(&self, shard: usize, bytes: u64) {
        let mut all = self.peaks.borrow_mut();
        let peaks = all.entry(shard).or_default();
        while peaks.last().is_some_and(|(_, last)| *last <= bytes) {
            peaks.pop();
        }
        peaks.push((self.world.now(), bytes));
    }

    /// Records the start of a drain, which takes at most `drain_ns`.
    pub fn note_draining(&self, drain_ns: u64) {
        self.drain_deadline.set(self.world.now() + drain_ns);
        let opening = self.present().into_iter().filter(|volume| self.is_recovering(Some(*volume)));
        self.opening_at_drain.replace(opening.collect());
    }

    /// Records the start of an upload. Returns its number.
    pub fn begin_upload(&self, volume: Option<VolumeId>, cost: u64, memory: u64) -> usize {
        let mut uploads = self.uploads.borrow_mut();
        let (from, until) = (self.world.now(), u64::MAX);
        uploads.push(Upload { volume, cost, memory, from, until });
        uploads.len() - 1
    }

    /// Records the end of an upload, answered or aborted.
    pub fn end_upload(&self, number: usize) {
        self.uploads.borrow_mut()[number].until = self.world.now();
    }

    /// Records the start of a change. Returns its number.
    pub fn begin(&self, volume: VolumeId, what: ChangeKind) -> usize {
        let before = self.disk_states.of(volume);
        self.disk_states.set(volume, what.result().map_or(before, |result| result.or(before)));
        let mut changes = self.changes.borrow_mut();
        let now = self.world.now();
        let (until, is_done) = (u64::MAX, false);
        changes.push(Change { volume, what, from: now, until, before, is_done });
        changes.len() - 1
    }

    /// Records the end of a change whose effect is unknown until the next start.
    pub fn end_unknown(&self, number: usize) {
        self.changes.borrow_mut()[number].until = self.world.now();
    }

    /// Records the end of a refused change, which had no effect on disk.
    pub fn end_refused(&self, number: usize) {
        self.end_unknown(number);
        let Change { volume, what, before, .. } = self.changes.borrow()[number];
        let unsure = what.result().map_or(before, |result| result.or(before));
        // Otherwise a write has provided newer information.
        if self.disk_states.of(volume) == unsure {
            self.disk_states.set(volume, before);
        }
    }

    /// Records that nothing was done: the change explains nothing.
    pub fn end_void(&self, number: usize) {
        self.end_refused(number);
        // Overlaps no interval.
        self.changes.borrow_mut()[number].from = u64::MAX;
    }

    /// Records the end of a completed change.
    pub fn end_done(&self, number: usize) {
        self.end_unknown(number);
        self.changes.borrow_mut()[number].is_done = true;
        let Change { volume, what, until, .. } = self.changes.borrow()[number];
        if let Some(result) = what.result() {
            self.disk_states.set(volume, result);
        }
        let (mut read_only_since, mut present) =
            (self.read_only_since.borrow_mut(), self.present.borrow_mut());
        match what {
            ChangeKind::ReadOnly => drop(read_only_since.insert(volume, until)),
            ChangeKind::Writable => {
                read_only_since.remove(&volume);
                if let Some(first_write) = self.first_write.borrow_mut().remove(&volume) {
                    let early = until > first_write + REPORT_DELAY_NS;
                    assert!(
                        !early,
                        "volume {volume} acknowledged a write at {first_write}, writable only at {until}"
                    );
                }
            }
            ChangeKind::Create => drop(present.insert(volume)),
            ChangeKind::Delete => {
                read_only_since.remove(&volume);
                present.remove(&volume);
            }
            ChangeKind::Fence
            | ChangeKind::Unplug
            | ChangeKind::Cancel
            | ChangeKind::Suspect
            | ChangeKind::Clear => {}
        }
    }

    /// Records an acknowledged write: a start must find the volume writable, unless it was made read-only
    /// later.
    pub fn note_write(&self, volume: VolumeId, called: u64) {
        let changes = self.changes.borrow();
        let of = |change: &&Change| {
            change.volume == volume
                && matches!(change.what, ChangeKind::ReadOnly | ChangeKind::Writable)
        };
        let last = changes.iter().rfind(of);
        let read_only_since = self.read_only_since.borrow().get(&volume).copied();
        let is_opening = last.is_some_and(|change| change.what == ChangeKind::Writable);
        if let Some(read_only_since) =
            read_only_since.filter(|read_only_since| called > *read_only_since)
        {
            assert!(
                is_opening,
                "volume {volume} acknowledged a write, but was read-only since {read_only_since}"
            );
            self.disk_states.set(volume, WRITABLE);
            self.first_write.borrow_mut().entry(volume).or_insert(self.world.now());
        }
    }

    /// Whether one of these changes of a volume overlaps the interval.
    fn changed(
        &self,
        volume: Option<VolumeId>,
        from: u64,
        until: u64,
        what: &[ChangeKind],
    ) -> bool {
        self.changes.borrow().iter().any(|change| {
            volume.is_none_or(|volume| volume == change.volume)
                && what.contains(&change.what)
                && change.from <= until
                && change.until >= from
        })
    }

    /// Injected faults by kind, with their number.
    fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = BTreeMap::new();
        for met in self.world.met() {
            *faults.entry(format!("{met:?}")).or_default() += 1;
        }
        faults
    }

    /// Whether an operation on the files of a volume failed in this life, or on its current file.
    /// Directories have no name.
    fn failed(&self, volume: VolumeId, writes_only: bool) -> bool {
        let current = self.monitor.current(volume).map(VolumeFile::name);
        self.world.met().iter().any(|met| {
            let is_beside = || VolumeFile::beside(&met.name).is_some_and(|it| it.volume == volume);
            match writes_only {
                true => current.as_ref() == Some(&met.name),
                false => met.name.is_empty() || is_beside(),
            }
        })
    }

    /// Whether a write to any file of a volume failed in this life.
    fn failed_write(&self, volume: VolumeId) -> bool {
        let is_beside = |name: &str| VolumeFile::beside(name).is_some_and(|it| it.volume == volume);
        self.world.met().iter().any(|met| met.is_write && is_beside(&met.name))
    }

    /// Records the last figures of a deleted volume.
    pub fn retire(&self, figures: Option<Arc<VolumeMetrics>>) {
        self.retired.borrow_mut().extend(figures);
    }

    /// Whether volumes can be created: not while a disk is missing, which may contain a volume of that id.
    pub fn may_create(&self) -> bool {
        !self.missing.is_something()
    }

    /// Whether volumes can be deleted: not while a file of them may be missing, which would be back later.
    pub fn may_delete(&self) -> bool {
        !self.missing.is_something()
    }

    /// Describes requests in flight and the states of volumes, for assertion messages.
    pub fn pending(&self) -> String {
        let uploads = self.uploads.borrow();
        let waiting: Vec<_> = uploads
            .iter()
            .filter(|upload| upload.until == u64::MAX)
            .map(|upload| (upload.volume, upload.cost, upload.from))
            .collect();
        let states: Vec<_> =
            self.metrics.board.volumes().iter().map(|v| (v.info.id, v.state.get())).collect();
        format!(
            "requests (volume, cost, since) {waiting:?}, volumes {states:?}, changes {:?}, \
             faults {:?}, now {}",
            self.changes.borrow(),
            self.faults(),
            self.world.now()
        )
    }
}
