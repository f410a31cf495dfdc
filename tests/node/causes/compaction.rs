//! How compactions may end, and what they explain.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hayloft::base::types::VolumeId;
use hayloft::node::board::{CompactionEnd, CompactionOutcome};
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::fault::{NO_SPACE, WRITE_WITHOUT_SPACE};

use super::{Causes, ChangeKind, FIGURES_DELAY_NS, RequestInfo};
use crate::node::seen::Counts;

/// Space of a file that is not for needles (bytes), and a margin for what is written meanwhile.
const SPACE_BESIDE: u64 = 3 << 20;

/// A compaction that was ordered.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub volume: VolumeId,
    pub is_move: bool,
    /// Wanted size (bytes), if it is another one.
    pub size: Option<u64>,
    /// Memory for the index (bytes).
    pub index_memory_max: u64,
    /// Time of the order (ns).
    pub from: u64,
}

/// Figures of a generation that is no longer the current one.
#[derive(Clone, Copy, Debug)]
pub struct Former {
    pub volume: VolumeId,
    pub generation: u64,
    pub size: u64,
    pub used: u64,
    /// Time at which they were no longer shown (ns).
    pub until: u64,
}

/// The compactions in one life of a node.
#[derive(Default)]
pub struct Compactions {
    /// Orders; `None` for a refused one.
    orders: RefCell<Vec<Option<Order>>>,
    /// Number of compactions of each volume that have ended.
    ended: RefCell<BTreeMap<VolumeId, u64>>,
    /// Exchanges of the generation: volume and time (ns).
    exchanges: RefCell<Vec<(VolumeId, u64)>>,
    shown: RefCell<BTreeMap<VolumeId, Former>>,
    former: RefCell<Vec<Former>>,
    /// Volumes of which it is not known which generation counts.
    undecided: RefCell<BTreeSet<VolumeId>>,
    counts: RefCell<Counts>,
}

impl Compactions {
    fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    /// Number of events so far, by name.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Records an order. Returns its number.
    pub fn begin(&self, order: Order) -> usize {
        let mut orders = self.orders.borrow_mut();
        orders.push(Some(order));
        orders.len() - 1
    }

    /// Records that an order was refused.
    pub fn refuse(&self, number: usize) {
        self.orders.borrow_mut()[number] = None;
    }

    /// The order of the compaction that ended now is one of the last two: another one may be on its way.
    fn last_orders(&self, volume: VolumeId) -> Vec<Order> {
        let orders = self.orders.borrow();
        let of = orders.iter().flatten().filter(|order| order.volume == volume);
        of.rev().take(2).copied().collect()
    }

    /// Whether the generation of the volume was exchanged in this interval.
    pub fn was_exchanged(&self, volume: VolumeId, from: u64, until: u64) -> bool {
        let exchanges = self.exchanges.borrow();
        exchanges.iter().any(|(of, at)| *of == volume && (from..=until).contains(at))
    }

    /// Counts an operation during which the generation was exchanged.
    pub fn note_answer(&self, volume: VolumeId, from: u64, until: u64, what: &'static str) {
        if self.was_exchanged(volume, from, until) {
            self.count(what);
        }
    }

    pub fn is_undecided(&self, volume: VolumeId) -> bool {
        self.undecided.borrow().contains(&volume)
    }

    /// Figures of former generations that a refusal of this request may rest on.
    pub fn former(&self, volume: VolumeId, asked: &RequestInfo) -> Vec<Former> {
        let former = self.former.borrow();
        let of = |former: &&Former| {
            former.volume == volume && former.until + FIGURES_DELAY_NS >= asked.called
        };
        former.iter().filter(of).copied().collect()
    }

    /// Whether no compaction of the volume that was ordered may still be under way, and it is known which
    /// file counts.
    pub fn is_settled(&self, volume: VolumeId) -> bool {
        let orders = self.orders.borrow();
        let ordered = orders.iter().flatten().filter(|order| order.volume == volume).count() as u64;
        let ended = self.ended.borrow().get(&volume).copied().unwrap_or(0);
        ordered == ended && !self.is_undecided(volume)
    }

    /// Whether a compaction of the volume was begun.
    pub fn is_ordered(&self, volume: VolumeId) -> bool {
        self.orders.borrow().iter().flatten().any(|order| order.volume == volume)
    }

    /// Smallest size of a generation of the volume, as far as it was ordered (bytes).
    pub fn smallest(&self, volume: VolumeId) -> Option<u64> {
        let orders = self.orders.borrow();
        let of = orders.iter().flatten().filter(|order| order.volume == volume);
        of.filter_map(|order| order.size).min()
    }
}

impl Causes {
    /// Observes exchanges and ends of compactions. Asserts that each end has a cause.
    pub fn observe_compactions(&self) {
        let (now, known) = (self.world.now(), &self.compactions);
        for volume in self.monitor.take_exchanged() {
            known.exchanges.borrow_mut().push((volume, now));
        }
        for metrics in self.metrics.volumes() {
            let (board, volume) = (&metrics.board, metrics.board.info.id);
            let shown = Former {
                volume,
                generation: board.generation.get(),
                size: board.size_bytes.get(),
                used: board.used_bytes.get(),
                until: now,
            };
            let before = known.shown.borrow_mut().insert(volume, shown);
            let is_other = |before: &Former| before.generation != shown.generation;
            known.former.borrow_mut().extend(before.filter(is_other));
            let ended = board.compaction.ended();
            let before = known.ended.borrow_mut().insert(volume, ended).unwrap_or(0);
            if ended > before {
                let end = board.compaction.last_end().expect("the record of the end");
                self.explain_end(volume, &end);
            }
        }
    }

    fn explain_end(&self, volume: VolumeId, end: &CompactionEnd) {
        let orders = self.compactions.last_orders(volume);
        let what = orders.iter().find_map(|order| self.cause_of_end(order, end));
        let what = what.unwrap_or_else(|| {
            panic!("no cause for the end {end:?} of {orders:?}: {}", self.pending())
        });
        self.compactions.count(what);
        if what == "compactions undecided" {
            self.compactions.undecided.borrow_mut().insert(volume);
        }
        if end.outcome == CompactionOutcome::Done {
            let is_moved = orders.iter().any(|order| order.is_move);
            let is_resized = orders.iter().any(|order| order.size.is_some());
            for (is, what) in [(is_moved, "volumes moved"), (is_resized, "volumes resized")] {
                if is {
                    self.compactions.count(what);
                }
            }
        }
    }

    /// Returns the name of the cause of an end.
    fn cause_of_end(&self, order: &Order, end: &CompactionEnd) -> Option<&'static str> {
        let volume = order.volume;
        match end.outcome {
            CompactionOutcome::Done => Some("compactions finished"),
            CompactionOutcome::Cancelled => {
                let stopped = [ChangeKind::Cancel, ChangeKind::Delete];
                let is_stopped = self.changed(Some(volume), order.from, self.world.now(), &stopped);
                let has_cause = is_stopped || self.metrics.board.draining();
                has_cause.then_some("compactions cancelled")
            }
            CompactionOutcome::Failed => self.cause_of_failure(order, &end.reason),
        }
    }

    /// Returns the name of the cause of a failure.
    fn cause_of_failure(&self, order: &Order, reason: &str) -> Option<&'static str> {
        let (volume, now) = (order.volume, self.world.now());
        let is_damaged = self.damages.is_of_volume(volume);
        let failed = self.failed(volume, false);
        let is_ended = self.metrics.board.draining()
            || self.changed(Some(volume), order.from, now, &[ChangeKind::Delete]);
        let takes_no_writes = failed
            || is_ended
            || self.is_fenced(volume, now)
            || self.is_blind(volume)
            || self.compactions.is_undecided(volume);
        let had_no_space = self.had_no_space();
        let causes = [
            ("the volume is ", takes_no_writes, "compactions refused"),
            (
                "parts of the log could not be read",
                failed || self.is_blind(volume),
                "compactions refused",
            ),
            ("bytes are needed for what lives", self.is_too_small(order), "compactions refused"),
            ("a second index needs", order.index_memory_max < u64::MAX, "compactions refused"),
            ("a file with the name", failed, "compactions refused"),
            ("it is not known which", failed, "compactions undecided"),
            ("No space left", had_no_space, "compactions failed: no space"),
            ("cannot be read", is_damaged && !failed, "compactions failed: damage"),
            ("cannot be read", failed, "compactions failed: read error"),
            ("cannot ", failed, "compactions failed: other errors"),
            ("did not end in time", self.has_stalled(), "compactions failed: writes hang"),
            ("does not fit into the new", order.size.is_some(), "compactions refused"),
            (
                "uploads in progress do not fit",
                self.has_large_upload(volume),
                "compactions refused",
            ),
        ];
        let of = |(text, ..): &(&str, _, _)| reason.contains(text);
        let mut causes = causes.into_iter().filter(of);
        causes.find_map(|(_, has_cause, what)| has_cause.then_some(what))
    }

    /// Whether something failed that leaves the files of a volume as they should not be.
    pub fn had_failure(&self, volume: VolumeId) -> bool {
        self.is_unopened(volume) || self.compactions.is_undecided(volume) || self.is_blind(volume)
    }

    /// Whether volumes may be moved.
    pub fn may_move(&self) -> bool {
        !self.missing.second
    }

    /// Records that a volume is to be moved to another data directory.
    pub fn note_move(&self, volume: VolumeId) {
        self.disk_states.note_move(volume);
    }

    /// Whether the disk was full at some time in this life.
    pub fn had_no_space(&self) -> bool {
        let is_full = |fault| fault == Fault::Errno(nix::libc::ENOSPC);
        self.world.count(NO_SPACE) + self.world.count(WRITE_WITHOUT_SPACE) > 0
            || self.world.met().iter().any(|met| is_full(met.fault))
    }

    /// Whether what lives in a volume may not fit into a new file, with space for tombstones twice.
    fn is_too_small(&self, order: &Order) -> bool {
        let Some(metrics) = self.metrics.volume(order.volume) else { return true };
        let (live, size) = (metrics.board.live_bytes.get(), metrics.board.size_bytes.get());
        live + SPACE_BESIDE > order.size.unwrap_or(size)
    }

    fn has_stalled(&self) -> bool {
        self.world.met().iter().any(|met| matches!(met.fault, Fault::Stall(_)))
    }

    fn has_large_upload(&self, volume: VolumeId) -> bool {
        let (now, uploads) = (self.world.now(), self.uploads.borrow());
        let is_large = |cost: u64| cost > 1 << 20;
        uploads.iter().any(|upload| {
            let is_of = upload.volume.is_none_or(|of| of == volume);
            is_of && is_large(upload.cost) && upload.is_held(now, now)
        })
    }
}
