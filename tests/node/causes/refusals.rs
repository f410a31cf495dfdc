//! Causes of refusals, and of requests without an answer.

use hayloft::base::types::VolumeId;
use hayloft::node::board::VolumeState as Shown;
use hayloft::runtime::sim::history::Answer;

use super::{Causes, ChangeKind, FIGURES_DELAY_NS};
use crate::node::seen::Name;

/// Possible reasons for a refused HEAD, whose response has no text.
const REASONS: [(u16, &str); 6] = [
    (503, "the volume is being recovered"),
    (503, "the volume could not be opened"),
    (503, "the daemon is shutting down"),
    (503, "no buffer is free; try again"),
    (503, "volume not available: a data directory is missing"),
    (500, "the photo is damaged on disk"),
];

/// Properties of a request that determine the possible causes of its refusal.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo {
    /// `None` if the node picks the volume.
    pub volume: Option<VolumeId>,
    /// The object that it names.
    pub name: Option<Name>,
    /// Whether the header of the object is enough to answer it.
    pub needs_header_only: bool,
    /// Time at which what it stores expires (ns).
    pub expires: Option<u64>,
    /// Whether this is a DELETE, which may use the reserve of a full volume.
    pub is_delete: bool,
    pub called: u64,
    /// Upper bound of the buffers that the node needs (bytes).
    pub memory: u64,
    /// Whether the volume was being recovered when the request was sent.
    pub was_recovering: bool,
}

impl Causes {
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
        // If a write of the exchange of generations failed, to either file, the state on disk is not known.
        let is_compacted = self.monitor.current(volume).is_some_and(|file| file.generation > 0)
            || self.compactions.is_ordered(volume);
        let is_unknown =
            self.compactions.is_undecided(volume) || (is_compacted && self.failed_write(volume));
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
                let has_cause = |volume| self.failed(volume, false) || self.is_blind(volume);
                now >= self.drain_deadline.get() || holds(&has_cause)
            }
            "the volume takes no writes: reads of its disk failed too often" => {
                holds(&|volume| self.is_suspect(volume))
            }
            "X-Hayloft-Expires is in the past: nobody could read the photo" => {
                asked.expires.is_some_and(|time| time <= now)
            }
            "the write failed; whether the change took effect is not known" => {
                holds(&|volume| self.failed(volume, true) || self.is_fenced(volume, now))
            }
            _ => false,
        }
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
             write states {:?}, changes {:?}, faults {:?}, damage {:?}",
            self.world.now(),
            self.metrics.board.volumes().iter().map(|it| it.write_state.get()).collect::<Vec<_>>(),
            self.changes.borrow(),
            self.faults(),
            self.damages,
        );
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
            failed
                || self.metrics.board.draining()
                || self.is_short_of_buffers(asked)
                || self.may_end_early(asked),
            "no cause for a request without an answer: {asked:?} at {}",
            self.world.now()
        );
    }
}
