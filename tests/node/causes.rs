//! Causes of refusals and of volume states of a simulated node. A refusal or state without a known cause is a
//! bug of the node.

mod compaction;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::VolumeId;
use hayloft::node::board::VolumeState as Shown;
use hayloft::node::metrics::{Metrics, VolumeMetrics};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::history::Answer;

use super::SECOND;
use super::files::{self, VolumeFile};
use super::monitor::Monitor;
use compaction::Compactions;

pub use compaction::Order;

/// Longest time until the node notices that the client of an upload has disconnected (ns). The reservation is
/// held until then.
const ABORT_NOTICED_WITHIN_NS: u64 = 30 * SECOND;
/// Longest delay until figures of volumes are published (ns).
const FIGURES_DELAY_NS: u64 = 20_000_000;

/// Possible reasons for a refused HEAD, whose response has no text.
const REASONS: [(u16, &str); 6] = [
    (503, "the volume is being recovered"),
    (503, "the volume could not be opened"),
    (503, "the daemon is shutting down"),
    (503, "no buffer is free; try again"),
    (503, "volume not available: a data directory is missing"),
    (500, "the photo is damaged on disk"),
];

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
}

impl ChangeKind {
    /// State that a start finds after the change, if the change affects the disk.
    fn result(self) -> Option<OnDisk> {
        match self {
            Self::ReadOnly => Some(READ_ONLY),
            Self::Writable | Self::Create => Some(WRITABLE),
            Self::Delete => Some(NOTHING),
            Self::Fence | Self::Unplug | Self::Cancel => None,
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

/// Possible states on disk of a volume: no file, or the state in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    nothing: bool,
    read_only: bool,
    writable: bool,
}

const NOTHING: OnDisk = OnDisk { nothing: true, read_only: false, writable: false };
const READ_ONLY: OnDisk = OnDisk { nothing: false, read_only: true, writable: false };
const WRITABLE: OnDisk = OnDisk { nothing: false, read_only: false, writable: true };

impl OnDisk {
    fn or(self, other: Self) -> Self {
        Self {
            nothing: self.nothing || other.nothing,
            read_only: self.read_only || other.read_only,
            writable: self.writable || other.writable,
        }
    }
}

/// Possible states on disk of all volumes; kept across restarts.
#[derive(Default)]
pub struct DiskStates(RefCell<BTreeMap<VolumeId, OnDisk>>, RefCell<BTreeSet<VolumeId>>);

impl DiskStates {
    fn of(&self, volume: VolumeId) -> OnDisk {
        self.0.borrow().get(&volume).copied().unwrap_or(WRITABLE)
    }

    fn set(&self, volume: VolumeId, on_disk: OnDisk) {
        self.0.borrow_mut().insert(volume, on_disk);
    }

    /// Records that a volume was to be moved to another data directory.
    pub fn note_move(&self, volume: VolumeId) {
        self.1.borrow_mut().insert(volume);
    }

    /// Whether the current file of a volume may be in either data directory.
    fn may_be_elsewhere(&self, volume: VolumeId) -> bool {
        self.1.borrow().contains(&volume)
    }

    /// Asserts that a start may find, or not find, the file of a volume, and records the result.
    pub fn found(&self, volume: VolumeId, is_there: bool) {
        let on_disk = self.of(volume);
        let has_cause =
            if is_there { on_disk.read_only || on_disk.writable } else { on_disk.nothing };
        assert!(has_cause, "no cause for volume {volume} being present: {is_there}; {on_disk:?}");
        let OnDisk { read_only, writable, .. } = on_disk;
        let found = OnDisk { nothing: false, read_only, writable };
        self.set(volume, if is_there { found } else { NOTHING });
    }
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

/// Properties of a request that determine the possible causes of its refusal.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo {
    /// `None` if the node picks the volume.
    pub volume: Option<VolumeId>,
    /// Whether this is a DELETE, which may use the reserve of a full volume.
    pub is_delete: bool,
    pub called: u64,
    /// Upper bound of the buffers that the node needs (bytes).
    pub memory: u64,
    /// Whether the volume was being recovered when the request was sent.
    pub was_recovering: bool,
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
        disk_states: Rc<DiskStates>,
        monitor: Arc<Monitor>,
        present: &[VolumeId],
        missing: Missing,
        (volumes, buffers): (u32, u64),
    ) -> Self {
        let may_be = |volume: &VolumeId| disk_states.of(*volume).read_only;
        let read_only = present.iter().copied().filter(may_be).collect();
        Self {
            world,
            metrics,
            disk_states,
            monitor,
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

    /// Whether enough buffers were in use since the request was sent that none may have been free.
    fn is_short_of_buffers(&self, asked: &RequestInfo) -> bool {
        let used = |peaks: &Vec<(u64, u64)>| {
            let since = peaks.partition_point(|(at, _)| *at < asked.called).saturating_sub(1);
            peaks.get(since).map_or(0, |(_, bytes)| *bytes)
        };
        let used = self.peaks.borrow().values().map(used).max().unwrap_or(0);
        // Uploads reserve more than they use so far.
        let now = self.world.now();
        let uploads = self.uploads.borrow();
        let promised = uploads.iter().filter(|upload| upload.is_held(asked.called, now));
        let promised: u64 = promised.map(|upload| upload.memory).sum();
        used.max(promised) + asked.memory > self.buffers / 8 * 5
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
            ChangeKind::Fence | ChangeKind::Unplug | ChangeKind::Cancel => {}
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

    fn is_fenced(&self, volume: VolumeId, now: u64) -> bool {
        self.changed(Some(volume), 0, now, &[ChangeKind::Fence, ChangeKind::Unplug])
            // Its name was removed, but the removal may not be durable.
            || self.changed(Some(volume), 0, now, &[ChangeKind::Delete])
            || self.monitor.has_refused(volume)
    }

    /// Whether a write to the volume may have failed, or what a start would find is not known.
    fn is_poisoned(&self, volume: VolumeId) -> bool {
        self.failed(volume, true) || self.compactions.is_undecided(volume)
    }

    /// Whether the volume may not be opened.
    fn is_unopened(&self, volume: VolumeId) -> bool {
        let is_elsewhere = self.missing.second && self.disk_states.may_be_elsewhere(volume);
        is_elsewhere || self.failed(volume, false)
    }

    /// Whether the blocks of the file could not be reserved.
    fn has_no_blocks(&self, volume: VolumeId) -> bool {
        let is_partial = self.monitor.current(volume).is_some_and(|file| file.generation > 0);
        is_partial
            && (self.had_no_space() || self.failed(volume, true) || self.metrics.board.draining())
    }

    fn is_near_full(&self, volume: VolumeId, asked: &RequestInfo, now: u64) -> bool {
        // Or it was nearly full when it was deleted.
        let retired = self.retired.borrow();
        let retired = retired.iter().filter(|retired| retired.board.info.id == volume).cloned();
        let figures = self.metrics.volume(volume).into_iter().chain(retired);
        let figures = figures.map(|of| (of.board.size_bytes.get(), of.board.used_bytes.get()));
        let former = self.compactions.former(volume, asked);
        let mut figures =
            figures.chain(former.iter().map(|of| (of.size, of.used))).collect::<Vec<_>>();
        // The figures of a generation are shown a little later than it is the current one.
        let since = asked.called.saturating_sub(FIGURES_DELAY_NS);
        if self.compactions.was_exchanged(volume, since, now)
            && let Some(size) = self.compactions.smallest(volume)
        {
            let used = figures.iter().map(|(_, used)| *used).max();
            figures.extend(used.map(|used| (size, used)));
        }
        let uploads = self.uploads.borrow();
        let claimed = uploads.iter().filter(|upload| {
            upload.volume.is_none_or(|of| of == volume) && upload.is_held(asked.called, now)
        });
        let claimed = claimed.map(|upload| upload.cost).sum::<u64>() + (8 << 10);
        let is_near = |(size, used): &(u64, u64)| {
            let reserve = if asked.is_delete { 0 } else { size / 16 };
            used + claimed > size - reserve
        };
        figures.iter().any(is_near) || self.has_no_blocks(volume)
    }

    /// Records the last figures of a deleted volume.
    pub fn retire(&self, figures: Option<Arc<VolumeMetrics>>) {
        self.retired.borrow_mut().extend(figures);
    }

    /// Whether the node did not have the volume at some time since the request was sent.
    fn is_away(&self, volume: VolumeId, asked: &RequestInfo, now: u64) -> bool {
        let moved = self.changed(
            Some(volume),
            asked.called,
            now,
            &[ChangeKind::Create, ChangeKind::Delete],
        );
        moved || !self.present.borrow().contains(&volume)
    }

    fn takes_no_writes(&self, volume: VolumeId, asked: &RequestInfo, now: u64) -> bool {
        let changes =
            [ChangeKind::ReadOnly, ChangeKind::Writable, ChangeKind::Create, ChangeKind::Delete];
        let since = asked.called.saturating_sub(FIGURES_DELAY_NS);
        let shown = self.metrics.board.volume(volume).map(|found| found.state.get());
        shown != Some(Shown::Writable) || self.changed(Some(volume), since, now, &changes)
    }

    fn is_read_only(&self, volume: VolumeId, asked: &RequestInfo, now: u64) -> bool {
        let changes = self.changes.borrow();
        let of = |what: ChangeKind| {
            changes.iter().filter(move |change| change.volume == volume && change.what == what)
        };
        // A failed change may have made it read-only until the next start.
        let closed = of(ChangeKind::ReadOnly).filter(|change| change.from <= now);
        let closed = closed.map(|change| change.from).max();
        let closed = closed.or_else(|| self.read_only.contains(&volume).then_some(0));
        let reopened = of(ChangeKind::Writable).chain(of(ChangeKind::Create));
        let reopened = reopened.filter(|change| change.is_done && change.until < asked.called);
        // If a write of the exchange of generations failed, the state on disk is not known.
        let is_compacted = self.monitor.current(volume).is_some_and(|file| file.generation > 0)
            || self.compactions.is_ordered(volume);
        let is_unknown =
            self.compactions.is_undecided(volume) || (is_compacted && self.failed(volume, true));
        closed > reopened.map(|change| change.from).max() || is_unknown
    }

    /// Whether a refusal with this message has a cause.
    fn explains_refusal(&self, asked: &RequestInfo, reason: &str) -> bool {
        let (now, called) = (self.world.now(), asked.called);
        // If the node picked the volume, it may be any.
        let holds = |cause: &dyn Fn(VolumeId) -> bool| match asked.volume {
            Some(volume) => cause(volume),
            None => self.all.iter().copied().any(cause),
        };
        let present = || self.present().into_iter();
        match reason {
            "the volume is being recovered" => asked.was_recovering,
            "the volume could not be opened" => holds(&|volume| self.is_unopened(volume)),
            "the daemon is shutting down" => {
                let deleted = self.changed(asked.volume, called, now, &[ChangeKind::Delete]);
                self.metrics.board.draining() || deleted
            }
            "no buffer is free; try again" => self.is_short_of_buffers(asked),
            "volume not available: a data directory is missing" => {
                self.missing.is_something() && holds(&|volume| self.is_away(volume, asked, now))
            }
            "no such volume" => holds(&|volume| self.is_away(volume, asked, now)),
            "the volume is read-only" => holds(&|volume| self.is_read_only(volume, asked, now)),
            "the volume takes no writes until the daemon is restarted: one failed, or its file was lost" => {
                holds(&|volume| self.is_poisoned(volume) || self.is_fenced(volume, now))
            }
            "the volume is full" => holds(&|volume| self.is_near_full(volume, asked, now)),
            "every volume is full" => present().all(|volume| {
                self.is_near_full(volume, asked, now) || self.takes_no_writes(volume, asked, now)
            }),
            "no volume takes writes now" => {
                asked.was_recovering || present().all(|of| self.takes_no_writes(of, asked, now))
            }
            "the photo is damaged on disk" => {
                now >= self.drain_deadline.get() || holds(&|volume| self.failed(volume, false))
            }
            "the write failed; whether the change took effect is not known" => {
                holds(&|volume| self.failed(volume, true) || self.is_fenced(volume, now))
            }
            _ => false,
        }
    }

    /// Whether volumes can be created: not while a disk is missing, which may contain a volume of that id.
    pub fn may_create(&self) -> bool {
        !self.missing.is_something()
    }

    /// Whether volumes can be deleted: not while a file of them may be missing, which would be back later.
    pub fn may_delete(&self) -> bool {
        !self.missing.is_something()
    }

    /// Asserts that a refused HEAD, whose response has no message, has a cause.
    pub fn explain_head(&self, asked: &RequestInfo, status: u16) -> Answer {
        let of = REASONS.iter().filter(|(of, _)| *of == status);
        let has_cause = of.clone().any(|(_, reason)| self.explains_refusal(asked, reason));
        assert!(has_cause, "no cause for {status} to HEAD: {asked:?} at {}", self.world.now());
        Answer::Refused
    }

    /// Asserts that a refusal has a cause.
    pub fn explain(&self, asked: &RequestInfo, status: u16, reason: &str) {
        assert!(
            self.explains_refusal(asked, reason),
            "no cause for the answer {status}, {reason:?}: {asked:?} at {}, \
             changes {:?}, faults {:?}",
            self.world.now(),
            self.changes.borrow(),
            self.faults(),
        );
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

    /// Asserts that a connection closed by the node before its answer has a cause.
    pub fn explain_silence(&self, asked: &RequestInfo) {
        let now = self.world.now();
        let failed = asked.volume.is_some_and(|volume| {
            // A download ends if its photo was replaced or deleted and the generation was exchanged.
            let was_exchanged = self.compactions.was_exchanged(volume, asked.called, now);
            was_exchanged || self.failed(volume, false)
        });
        assert!(
            failed || self.metrics.board.draining() || self.is_short_of_buffers(asked),
            "no cause for a request without an answer: {asked:?} at {}",
            self.world.now()
        );
    }

    /// Asserts that the state of every volume has a cause.
    pub fn explain_states(&self) {
        let now = self.world.now();
        for volume in self.present() {
            let metrics = self.metrics.volume(volume).expect("a volume of this node");
            let state = metrics.board.state.get();
            let on_disk = self.disk_states.of(volume);
            let has_cause = match state {
                Shown::Recovering => false,
                Shown::Writable => on_disk.writable,
                Shown::ReadOnly => {
                    on_disk.read_only || self.changed(Some(volume), 0, now, &[ChangeKind::ReadOnly])
                }
                Shown::Poisoned => self.is_poisoned(volume),
                // The name of the file is compared with it when it is opened.
                Shown::Lost => self.is_fenced(volume, now) || self.failed(volume, true),
                Shown::Failed => self.is_unopened(volume),
            };
            assert!(
                has_cause,
                "no cause for volume {volume} being {state:?}: {on_disk:?}, changes {:?}, faults {:?}",
                self.changes.borrow(),
                self.faults()
            );
        }
    }

    /// Volumes whose files are open.
    pub fn open_volumes(&self) -> Vec<VolumeId> {
        let open = |volume: &VolumeId| {
            self.metrics.board.volume(*volume).is_some_and(|found| found.state.get().serves())
        };
        self.present().into_iter().filter(open).collect()
    }

    /// Names of the files of the volumes that are open.
    pub fn open_files(&self) -> BTreeSet<String> {
        let current = |volume| self.monitor.current(volume).expect("an open file is monitored");
        self.open_volumes().into_iter().map(|volume| current(volume).name()).collect()
    }

    /// Whether the deletion of the volume was interrupted by a stop.
    fn is_being_deleted(&self, volume: VolumeId) -> bool {
        let is_begun = |change: &Change| {
            let is_deletion = change.volume == volume && change.what == ChangeKind::Delete;
            is_deletion && change.until == u64::MAX
        };
        self.changes.borrow().iter().any(is_begun)
    }

    /// Asserts that each volume has one file and at most the checkpoint of that file, unless something
    /// failed in this life.
    pub fn explain_files(&self) {
        let names = self.world.names();
        for volume in self.present() {
            let current = self.monitor.current(volume);
            let is_beside =
                |name: &&String| VolumeFile::beside(name).is_some_and(|file| file.volume == volume);
            let others: Vec<_> = names.iter().filter(is_beside).collect();
            let allowed = current.map(|file| {
                let name = file.name();
                [name.replace(".vol", ".ckpt"), name]
            });
            let is_allowed = |name: &&&String| allowed.iter().flatten().any(|it| it == **name);
            let is_single = others.iter().all(|name| is_allowed(&name))
                && files::of_volume(&names, volume).len() == 1;
            let has_cause = self.is_unopened(volume)
                || self.compactions.is_undecided(volume)
                || self.is_recovering(Some(volume))
                || self.opening_at_drain.borrow().contains(&volume)
                || self.is_being_deleted(volume);
            assert!(
                is_single || has_cause,
                "no cause for the files {others:?}; the current one is {current:?}: {}",
                self.pending()
            );
        }
    }
}
