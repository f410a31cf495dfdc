//! The pace of background work.

use std::rc::Rc;

use super::rate::time_of;
use super::shared_pace::SharedPace;

/// How fast the steps of a run may follow each other.
#[derive(Clone)]
pub struct Pace {
    /// Bytes per second since the run began; 0 for no limit.
    rate: u64,
    /// Paces that it shares: those of the disks that it uses.
    shared: [Option<Rc<SharedPace>>; 2],
    /// Whether it waits while a pace that it shares is paused.
    may_pause: bool,
    /// Whether it is not kept.
    is_lifted: bool,
}

impl Pace {
    /// Without pauses.
    pub const UNLIMITED: Self = Self::at_most(0);

    /// Returns the pace of at most `rate` bytes per second since the run began; 0 for no limit. A run that
    /// fell behind catches up.
    #[must_use]
    pub const fn at_most(rate: u64) -> Self {
        Self { rate, shared: [None, None], may_pause: false, is_lifted: false }
    }

    /// Shares the pace of a disk with its other background work, too. At most two different ones.
    ///
    /// # Panics
    /// If it is a third one.
    #[must_use]
    pub fn sharing(mut self, pace: &Rc<SharedPace>) -> Self {
        let is_new = !self.shared.iter().flatten().any(|known| Rc::ptr_eq(known, pace));
        if is_new {
            let free = self.shared.iter_mut().find(|place| place.is_none());
            *free.expect("a run uses at most two disks") = Some(Rc::clone(pace));
        }
        self
    }

    /// Waits while a pace that it shares is paused.
    #[must_use]
    pub fn with_pauses(self) -> Self {
        Self { may_pause: true, ..self }
    }

    /// Lifts the pace: its work goes on without any pause, but still counts as background work.
    #[must_use]
    pub fn lifted(self) -> Self {
        Self { may_pause: false, is_lifted: true, ..self }
    }

    /// Time before which the next step must not begin, for a run that began at `began` and has done `done`
    /// bytes, `bytes` of them in a step that took `took_ns` and ends now (nanoseconds).
    pub(super) fn next_at(&self, began: u64, done: u64, (bytes, took_ns): (u64, u64)) -> u64 {
        let shared = self.shared.iter().flatten();
        if self.is_lifted {
            shared.for_each(|pace| pace.worked());
            return began;
        }
        let due = if self.rate == 0 { 0 } else { time_of(done, self.rate) };
        let steps = shared.map(|pace| pace.step_ended(bytes, took_ns));
        steps.fold(began.saturating_add(due), u64::max)
    }

    /// Waits while work at this pace is paused.
    pub(super) async fn resumed(&self) {
        if !self.may_pause {
            return;
        }
        // Both must be running at the same time.
        while self.shared.iter().flatten().any(|pace| pace.is_paused()) {
            for pace in self.shared.iter().flatten() {
                pace.resumed().await;
            }
        }
    }
}
