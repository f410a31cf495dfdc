//! What explains that a simulated node refuses something, and in which state its volumes are. What
//! nothing explains is a fault of the node.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::node::board::VolumeState as Shown;
use hayloft::node::metrics::{Metrics, VolumeMetrics};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::history::Answer;

use super::SECOND;

/// Who sent something large may have gone long before the node notices (nanoseconds): its room in the
/// volume stays claimed until then.
const NOTICED_AFTER: u64 = 30 * SECOND;
/// Figures of volumes are known about so late (nanoseconds).
const PUBLISHED_AFTER: u64 = 20_000_000;

/// Why a HEAD may be refused.
const REASONS: [(u16, &str); 6] = [
    (503, "the volume is being recovered"),
    (503, "the volume could not be opened"),
    (503, "the daemon is shutting down"),
    (503, "no buffer is free; try again"),
    (503, "volume not available: a data directory is missing"),
    (500, "the photo is damaged on disk"),
];

/// An operator hears so late that something is done, at most (nanoseconds).
const REPORTED_AFTER: u64 = 5_000_000;

/// What an operator does to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    ReadOnly,
    Writable,
    Create,
    Delete,
    /// Its file is taken to be lost.
    Forsake,
    /// Its disk is pulled out.
    Unplug,
}

impl What {
    /// What a start may find when it was done.
    fn result(self) -> Option<Sworn> {
        match self {
            Self::ReadOnly => Some(READ_ONLY),
            Self::Writable | Self::Create => Some(WRITABLE),
            Self::Delete => Some(NOTHING),
            Self::Forsake | Self::Unplug => None,
        }
    }
}

/// Something that an operator does.
#[derive(Clone, Copy, Debug)]
struct Change {
    volume: u32,
    what: What,
    from: u64,
    /// When it was done, if it is.
    until: u64,
    /// What a start might have found before.
    before: Sworn,
    is_done: bool,
}

/// What a start may find of a volume: no file, or what in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sworn {
    nothing: bool,
    read_only: bool,
    writable: bool,
}

const NOTHING: Sworn = Sworn { nothing: true, read_only: false, writable: false };
const READ_ONLY: Sworn = Sworn { nothing: false, read_only: true, writable: false };
const WRITABLE: Sworn = Sworn { nothing: false, read_only: false, writable: true };

impl Sworn {
    fn or(self, other: Self) -> Self {
        Self {
            nothing: self.nothing || other.nothing,
            read_only: self.read_only || other.read_only,
            writable: self.writable || other.writable,
        }
    }
}

/// What outlives a node: what may stand on its disks.
#[derive(Default)]
pub struct Books(RefCell<BTreeMap<u32, Sworn>>);

impl Books {
    fn of(&self, volume: u32) -> Sworn {
        self.0.borrow().get(&volume).copied().unwrap_or(WRITABLE)
    }

    fn set(&self, volume: u32, sworn: Sworn) {
        self.0.borrow_mut().insert(volume, sworn);
    }

    /// A start finds a volume's file, or does not: that must have a cause.
    pub fn found(&self, volume: u32, is_there: bool) {
        let sworn = self.of(volume);
        let explained = if is_there { sworn.read_only || sworn.writable } else { sworn.nothing };
        assert!(explained, "nothing explains that volume {volume} is there: {is_there}; {sworn:?}");
        let Sworn { read_only, writable, .. } = sworn;
        let found = Sworn { nothing: false, read_only, writable };
        self.set(volume, if is_there { found } else { NOTHING });
    }
}

/// A body on its way.
struct Upload {
    volume: Option<u32>,
    /// What it takes of the log at most (bytes).
    cost: u64,
    /// What it takes of the buffers at most (bytes).
    memory: u64,
    from: u64,
    until: u64,
}

impl Upload {
    /// Whether the node may have held something for it at some time between these.
    fn is_held(&self, from: u64, until: u64) -> bool {
        self.from <= until && self.until.saturating_add(NOTICED_AFTER) >= from
    }
}

/// A request, for who wants to know why it was answered so.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Nothing when the node picks one.
    pub volume: Option<u32>,
    /// Whether nothing is to be stored.
    pub is_delete: bool,
    pub called: u64,
    /// What the node needs of its buffers (bytes), at most.
    pub memory: u64,
    /// Whether the volume was being recovered then.
    pub was_recovering: bool,
}

/// The causes that one life of a node knows.
pub struct Causes {
    world: World,
    metrics: Arc<Metrics>,
    books: Rc<Books>,
    /// Volumes that this node may have.
    all: RangeInclusive<u32>,
    /// Those that it has.
    present: RefCell<BTreeSet<u32>>,
    /// Volumes whose disk is not there.
    absent: BTreeSet<u32>,
    /// Volumes that may have been read-only at the start.
    read_only: BTreeSet<u32>,
    changes: RefCell<Vec<Change>>,
    uploads: RefCell<Vec<Upload>>,
    /// Volumes that take no writes until they are told to, since when.
    shut: RefCell<BTreeMap<u32, u64>>,
    /// When such a volume was first seen to have taken one.
    opened: RefCell<BTreeMap<u32, u64>>,
    /// When how much of each shard's buffers was lent (bytes); only what no later time exceeds.
    peaks: RefCell<BTreeMap<usize, Vec<(u64, u64)>>>,
    /// Figures of volumes that were deleted.
    retired: RefCell<Vec<Arc<VolumeMetrics>>>,
    /// Buffers of each shard (bytes).
    buffers: u64,
    /// When requests under way are given up.
    given_up_at: Cell<u64>,
}

/// What a body takes of the log at most, its parts and manifest with it (bytes).
pub fn cost_of(len: usize) -> u64 {
    let len = len as u64;
    len + len / 8 + (16 << 10)
}

impl Causes {
    pub fn new(
        world: World,
        metrics: Arc<Metrics>,
        books: Rc<Books>,
        present: &[u32],
        absent: &[u32],
        (volumes, buffers): (u32, u64),
    ) -> Self {
        let may_be = |volume: &u32| books.of(*volume).read_only;
        let read_only = present.iter().copied().filter(may_be).collect();
        Self {
            world,
            metrics,
            books,
            all: 1..=volumes,
            present: RefCell::new(present.iter().copied().collect()),
            absent: absent.iter().copied().collect(),
            changes: RefCell::default(),
            uploads: RefCell::default(),
            shut: RefCell::default(),
            opened: RefCell::default(),
            peaks: RefCell::default(),
            retired: RefCell::default(),
            read_only,
            buffers,
            given_up_at: Cell::new(u64::MAX),
        }
    }

    /// Volumes that the node has.
    pub fn present(&self) -> Vec<u32> {
        self.present.borrow().iter().copied().collect()
    }

    /// Whether the volume is being recovered now.
    pub fn is_recovering(&self, volume: Option<u32>) -> bool {
        let all = self.metrics.board.volumes();
        let mut asked = all.iter().filter(|found| volume.is_none_or(|id| id == found.info.id));
        asked.any(|found| found.state.get() == Shown::Recovering)
    }

    /// So much of a shard's buffers is lent now (bytes).
    pub fn note_lent(&self, shard: usize, bytes: u64) {
        let mut all = self.peaks.borrow_mut();
        let peaks = all.entry(shard).or_default();
        while peaks.last().is_some_and(|(_, last)| *last <= bytes) {
            peaks.pop();
        }
        peaks.push((self.world.now(), bytes));
    }

    /// Whether so much was lent since the request came that it found no buffer.
    fn is_short_of_buffers(&self, asked: &Asked) -> bool {
        let lent = |peaks: &Vec<(u64, u64)>| {
            let since = peaks.partition_point(|(at, _)| *at < asked.called).saturating_sub(1);
            peaks.get(since).map_or(0, |(_, bytes)| *bytes)
        };
        let lent = self.peaks.borrow().values().map(lent).max().unwrap_or(0);
        // Bodies are promised more than they have yet.
        let now = self.world.now();
        let uploads = self.uploads.borrow();
        let promised = uploads.iter().filter(|upload| upload.is_held(asked.called, now));
        let promised: u64 = promised.map(|upload| upload.memory).sum();
        lent.max(promised) + asked.memory > self.buffers / 8 * 5
    }

    /// The node drains from now on, for so long at most.
    pub fn note_draining(&self, drain_ns: u64) {
        self.given_up_at.set(self.world.now() + drain_ns);
    }

    /// A body is on its way: its number.
    pub fn begin_upload(&self, volume: Option<u32>, cost: u64, memory: u64) -> usize {
        let mut uploads = self.uploads.borrow_mut();
        let (from, until) = (self.world.now(), u64::MAX);
        uploads.push(Upload { volume, cost, memory, from, until });
        uploads.len() - 1
    }

    /// It was answered, or given up.
    pub fn end_upload(&self, number: usize) {
        self.uploads.borrow_mut()[number].until = self.world.now();
    }

    /// An operator begins with something: its number.
    pub fn begin(&self, volume: u32, what: What) -> usize {
        let before = self.books.of(volume);
        self.books.set(volume, what.result().map_or(before, |result| result.or(before)));
        let mut changes = self.changes.borrow_mut();
        let now = self.world.now();
        let (until, is_done) = (u64::MAX, false);
        changes.push(Change { volume, what, from: now, until, before, is_done });
        changes.len() - 1
    }

    /// Nobody will know what came of it before the next start.
    pub fn end_unknown(&self, number: usize) {
        self.changes.borrow_mut()[number].until = self.world.now();
    }

    /// It was refused: on the disks it changed nothing.
    pub fn end_refused(&self, number: usize) {
        self.end_unknown(number);
        let Change { volume, what, before, .. } = self.changes.borrow()[number];
        let unsure = what.result().map_or(before, |result| result.or(before));
        // Else a write has told more since.
        if self.books.of(volume) == unsure {
            self.books.set(volume, before);
        }
    }

    /// It is done.
    pub fn end_done(&self, number: usize) {
        self.end_unknown(number);
        self.changes.borrow_mut()[number].is_done = true;
        let Change { volume, what, until, .. } = self.changes.borrow()[number];
        if let Some(result) = what.result() {
            self.books.set(volume, result);
        }
        let (mut shut, mut present) = (self.shut.borrow_mut(), self.present.borrow_mut());
        match what {
            What::ReadOnly => drop(shut.insert(volume, until)),
            What::Writable => {
                shut.remove(&volume);
                if let Some(opened) = self.opened.borrow_mut().remove(&volume) {
                    let early = until > opened + REPORTED_AFTER;
                    assert!(
                        !early,
                        "volume {volume} took a write at {opened}, and was opened at {until}"
                    );
                }
            }
            What::Create => drop(present.insert(volume)),
            What::Delete => {
                shut.remove(&volume);
                present.remove(&volume);
            }
            What::Forsake | What::Unplug => {}
        }
    }

    /// Something was stored in a volume or deleted from it, and the client knows: a start must find it
    /// writable, unless it was closed later.
    pub fn note_write(&self, volume: u32, called: u64) {
        let changes = self.changes.borrow();
        let of = |change: &&Change| {
            change.volume == volume && matches!(change.what, What::ReadOnly | What::Writable)
        };
        let last = changes.iter().rfind(of);
        let shut = self.shut.borrow().get(&volume).copied();
        let is_opening = last.is_some_and(|change| change.what == What::Writable);
        if let Some(shut) = shut.filter(|shut| called > *shut) {
            assert!(is_opening, "volume {volume} took a write, and was read-only since {shut}");
            self.books.set(volume, WRITABLE);
            self.opened.borrow_mut().entry(volume).or_insert(self.world.now());
        }
    }

    /// Whether something was done to a volume between these times.
    fn changed(&self, volume: Option<u32>, from: u64, until: u64, what: &[What]) -> bool {
        self.changes.borrow().iter().any(|change| {
            volume.is_none_or(|volume| volume == change.volume)
                && what.contains(&change.what)
                && change.from <= until
                && change.until >= from
        })
    }

    /// Faults that operations met, each kind once.
    fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = BTreeMap::new();
        for met in self.world.met() {
            *faults.entry(format!("{met:?}")).or_default() += 1;
        }
        faults
    }

    /// Whether an operation on the files of a volume failed in this life. Directories have no name.
    fn failed(&self, volume: u32, writes_only: bool) -> bool {
        let (prefix, file) = (format!("{volume}."), format!("{volume}.0.vol"));
        self.world.met().iter().any(|met| {
            let named = if writes_only { met.name == file } else { met.name.starts_with(&prefix) };
            named || (!writes_only && met.name.is_empty())
        })
    }

    fn forsaken(&self, volume: u32, now: u64) -> bool {
        self.changed(Some(volume), 0, now, &[What::Forsake, What::Unplug])
            // Its name was removed, but not for good.
            || self.changed(Some(volume), 0, now, &[What::Delete])
    }

    fn is_near_full(&self, volume: u32, asked: &Asked, now: u64) -> bool {
        // Or it was so near to it when it was deleted.
        let retired = self.retired.borrow();
        let retired = retired.iter().filter(|retired| retired.board.info.id == volume).cloned();
        let mut figures = self.metrics.volume(volume).into_iter().chain(retired);
        let uploads = self.uploads.borrow();
        let claimed = uploads.iter().filter(|upload| {
            upload.volume.is_none_or(|of| of == volume) && upload.is_held(asked.called, now)
        });
        let claimed = claimed.map(|upload| upload.cost).sum::<u64>() + (8 << 10);
        figures.any(|of| {
            let size = of.board.size_bytes.get();
            let reserve = if asked.is_delete { 0 } else { size / 16 };
            of.board.used_bytes.get() + claimed > size - reserve
        })
    }

    /// A volume was deleted, of which these were the figures.
    pub fn retire(&self, figures: Option<Arc<VolumeMetrics>>) {
        self.retired.borrow_mut().extend(figures);
    }

    /// Whether the node did not have a volume at some time since a request came.
    fn is_away(&self, volume: u32, asked: &Asked, now: u64) -> bool {
        let moved = self.changed(Some(volume), asked.called, now, &[What::Create, What::Delete]);
        moved || !self.present.borrow().contains(&volume)
    }

    fn takes_no_writes(&self, volume: u32, asked: &Asked, now: u64) -> bool {
        let changes = [What::ReadOnly, What::Writable, What::Create, What::Delete];
        let since = asked.called.saturating_sub(PUBLISHED_AFTER);
        let shown = self.metrics.board.volume(volume).map(|found| found.state.get());
        shown != Some(Shown::Writable) || self.changed(Some(volume), since, now, &changes)
    }

    fn is_shut(&self, volume: u32, asked: &Asked, now: u64) -> bool {
        let changes = self.changes.borrow();
        let of = |what: What| {
            changes.iter().filter(move |change| change.volume == volume && change.what == what)
        };
        // One that failed may have closed it all the same, until a start.
        let closed = of(What::ReadOnly).filter(|change| change.from <= now);
        let closed = closed.map(|change| change.from).max();
        let closed = closed.or_else(|| self.read_only.contains(&volume).then_some(0));
        let opened = of(What::Writable).chain(of(What::Create));
        let opened = opened.filter(|change| change.is_done && change.until < asked.called);
        closed > opened.map(|change| change.from).max()
    }

    /// Whether a refusal has a cause, which its sentence names.
    fn explains_refusal(&self, asked: &Asked, reason: &str) -> bool {
        let (now, called) = (self.world.now(), asked.called);
        // One that the node picked may be any.
        let holds = |cause: &dyn Fn(u32) -> bool| match asked.volume {
            Some(volume) => cause(volume),
            None => self.all.clone().any(cause),
        };
        let present = || self.present().into_iter();
        match reason {
            "the volume is being recovered" => asked.was_recovering,
            "the volume could not be opened" => holds(&|volume| self.failed(volume, false)),
            "the daemon is shutting down" => {
                let deleted = self.changed(asked.volume, called, now, &[What::Delete]);
                self.metrics.board.draining() || deleted
            }
            "no buffer is free; try again" => self.is_short_of_buffers(asked),
            "volume not available: a data directory is missing" => {
                !self.absent.is_empty() && holds(&|volume| self.is_away(volume, asked, now))
            }
            "no such volume" => holds(&|volume| self.is_away(volume, asked, now)),
            "the volume is read-only" => holds(&|volume| self.is_shut(volume, asked, now)),
            "the volume takes no writes until the daemon is restarted: one failed, or its file was lost" => {
                holds(&|volume| self.failed(volume, true) || self.forsaken(volume, now))
            }
            "the volume is full" => holds(&|volume| self.is_near_full(volume, asked, now)),
            "every volume is full" => present().all(|volume| {
                self.is_near_full(volume, asked, now) || self.takes_no_writes(volume, asked, now)
            }),
            "no volume takes writes now" => {
                asked.was_recovering || present().all(|of| self.takes_no_writes(of, asked, now))
            }
            "the photo is damaged on disk" => {
                now >= self.given_up_at.get() || holds(&|volume| self.failed(volume, false))
            }
            "the write failed; whether the change took effect is not known" => {
                holds(&|volume| self.failed(volume, true) || self.forsaken(volume, now))
            }
            _ => false,
        }
    }

    /// Whether volumes can be created: not while a disk is missing, which may hold one of that number.
    pub fn may_create(&self) -> bool {
        self.absent.is_empty()
    }

    /// The same for a request whose answer has no body, and so no sentence.
    pub fn explain_head(&self, asked: &Asked, status: u16) -> Answer {
        let of = REASONS.iter().filter(|(of, _)| *of == status);
        let is_explained = of.clone().any(|(_, reason)| self.explains_refusal(asked, reason));
        assert!(
            is_explained,
            "nothing explains {status} to HEAD: {asked:?} at {}",
            self.world.now()
        );
        Answer::Refused
    }

    /// A request was refused: that must have a cause.
    pub fn explain(&self, asked: &Asked, status: u16, reason: &str) {
        assert!(
            self.explains_refusal(asked, reason),
            "nothing explains that a request was answered with {status}, {reason:?}: {asked:?} at {}, \
             changes {:?}, faults {:?}",
            self.world.now(),
            self.changes.borrow(),
            self.faults(),
        );
    }

    /// What is under way, and the states of volumes.
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

    /// A connection ended before the answer had come, and its client had not broken it.
    pub fn explain_silence(&self, asked: &Asked) {
        let failed = asked.volume.is_some_and(|volume| self.failed(volume, false));
        assert!(
            failed || self.metrics.board.draining() || self.is_short_of_buffers(asked),
            "nothing explains that a request was not answered: {asked:?} at {}",
            self.world.now()
        );
    }

    /// Every volume must be in a state that has a cause.
    pub fn explain_states(&self) {
        let now = self.world.now();
        for volume in self.present() {
            let metrics = self.metrics.volume(volume).expect("a volume of this node");
            let state = metrics.board.state.get();
            let sworn = self.books.of(volume);
            let explained = match state {
                Shown::Recovering => false,
                Shown::Writable => sworn.writable,
                Shown::ReadOnly => {
                    sworn.read_only || self.changed(Some(volume), 0, now, &[What::ReadOnly])
                }
                Shown::Poisoned => self.failed(volume, true),
                Shown::Lost => self.forsaken(volume, now),
                Shown::Failed => self.failed(volume, false),
            };
            assert!(
                explained,
                "nothing explains that volume {volume} is {state:?}: {sworn:?}, changes {:?}, faults {:?}",
                self.changes.borrow(),
                self.faults()
            );
        }
    }

    /// Volumes that are open: their files are.
    pub fn open_volumes(&self) -> Vec<u32> {
        let open = |volume: &u32| {
            self.metrics.board.volume(*volume).is_some_and(|found| found.state.get().serves())
        };
        self.present().into_iter().filter(open).collect()
    }
}
