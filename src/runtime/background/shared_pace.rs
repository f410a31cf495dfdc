//! The pace that all background work of a shard on one disk shares: it yields to the requests on that disk,
//! and it can be paused.

use std::cell::Cell;

use super::disk_load::{DiskLoad, Waited, Waits};
use super::rate::time_of;
use crate::runtime::Handle;

/// Pause between two steps, in percent of the time that the last step took: the least, the greatest, and the
/// first.
const PAUSE_PERCENT: (u64, u64, u64) = (25, 6400, 400);
/// Interval at which the pause is adapted (nanoseconds).
const ADAPT_NS: u64 = 50_000_000;

/// Delay of a step that those after it make up for (nanoseconds): timers fire one tick late.
const LATE_NS: u64 = 5_000_000;

/// Interval at which paused work looks whether it is resumed (nanoseconds).
const LOOK_NS: u64 = 100_000_000;

/// Bytes per second that the background work of a shard on a disk makes at least, and at most, and the length
/// of its transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceLimits {
    /// However busy the disk is; 0 for no such limit.
    pub min: u64,
    /// However idle the disk is; 0 for no such limit.
    pub max: u64,
    /// Longest transfer while the disk serves requests (bytes; 0 for no such limit): one that comes meanwhile
    /// waits for little more than usual.
    pub transfer_max: u64,
}

/// The pace of a shard on a disk. Requests note how long they waited for the disk. Background work compares
/// these times, also those of other shards, with the times without background work, and lengthens its pauses
/// while they are longer.
pub struct SharedPace {
    handle: Handle,
    limits: PaceLimits,
    load: DiskLoad,
    /// The part of the load that the requests of this shard note their times in.
    shard: usize,
    /// Time before which no work may begin its next step (nanoseconds). All work shares it, so that the
    /// limits hold for all of it together.
    next_at: Cell<u64>,
    pause_percent: Cell<u64>,
    adapted_at: Cell<u64>,
    is_paused: Cell<bool>,
}

impl SharedPace {
    /// Creates the pace of a shard, given as its number, on the disk with this load.
    #[must_use]
    pub fn new(handle: &Handle, limits: PaceLimits, load: DiskLoad, shard: usize) -> Self {
        Self {
            handle: handle.clone(),
            limits,
            load,
            shard,
            next_at: Cell::new(0),
            pause_percent: Cell::new(PAUSE_PERCENT.2),
            adapted_at: Cell::new(0),
            is_paused: Cell::new(false),
        }
    }

    /// Creates the pace of the only shard on a disk, without limits.
    #[must_use]
    pub fn alone(handle: &Handle) -> Self {
        Self::new(handle, PaceLimits::default(), DiskLoad::new(1), 0)
    }

    /// Records that a request has waited for the disk from `began` until now.
    #[inline]
    pub fn waited(&self, what: Waited, began: u64) {
        let now = self.handle.now();
        self.load.waited(self.shard, what, now, now - began);
    }

    /// Longest transfer that background work may begin now (bytes).
    #[must_use]
    pub fn transfer_max(&self) -> u64 {
        match self.limits.transfer_max {
            0 => u64::MAX,
            _ if self.load.is_idle(self.handle.now()) => u64::MAX,
            len => len,
        }
    }

    /// Pauses or resumes the background work that follows this pace and may be paused.
    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.set(is_paused);
    }

    /// Whether the background work is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    /// Waits while the background work is paused.
    pub(super) async fn resumed(&self) {
        while self.is_paused.get() {
            self.handle.sleep_until(self.handle.now() + LOOK_NS).await;
        }
    }

    /// Records a step that ends now, of work that does not keep the pace.
    pub(super) fn worked(&self) {
        self.load.worked(self.handle.now());
    }

    /// Records a step that did `bytes` and took `took_ns`. Returns the time before which the next step of the
    /// same work must not begin (nanoseconds).
    pub(super) fn step_ended(&self, bytes: u64, took_ns: u64) -> u64 {
        let now = self.handle.now();
        self.load.worked(now);
        let yielding = match self.load.is_idle(now) {
            true => 0,
            false => took_ns.saturating_mul(100 + self.adapted_pause(now)) / 100,
        };
        let PaceLimits { min, max, .. } = self.limits;
        let longest = if min == 0 { u64::MAX } else { time_of(bytes, min) };
        let shortest = if max == 0 { 0 } else { time_of(bytes, max) };
        let share = yielding.min(longest).max(shortest);
        // Several steps may have begun at the same time; and one may have begun late, since timers are.
        let began = now.saturating_sub(took_ns + LATE_NS).max(self.next_at.get());
        self.next_at.set(began.saturating_add(share));
        self.next_at.get()
    }

    /// Pause after a step (percent of its time), adapted to how long requests wait now.
    fn adapted_pause(&self, now: u64) -> u64 {
        let percent = self.pause_percent.get();
        if now - self.adapted_at.get() < ADAPT_NS {
            return percent;
        }
        self.adapted_at.set(now);
        let adapted = match self.load.waits(now) {
            Waits::MuchLonger => percent + percent / 4,
            Waits::Longer => percent,
            Waits::Usual => percent - percent / 8,
        };
        self.pause_percent.set(adapted.clamp(PAUSE_PERCENT.0, PAUSE_PERCENT.1));
        self.pause_percent.get()
    }
}

#[cfg(test)]
mod tests;
