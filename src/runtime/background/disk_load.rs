//! How long requests wait for a disk, with background work on it and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::quantile::Percentile99;

/// Time without a request, or without a step of background work, after which a disk counts as free of them
/// (nanoseconds).
pub(super) const IDLE_NS: u64 = 1_000_000_000;
/// Waits with background work, in percent of those without it, above which background work slows down, and
/// up to which it speeds up.
const SLOWER_PERCENT: u64 = 120;
const USUAL_PERCENT: u64 = 110;

/// What a request waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A read for a GET or HEAD.
    Read,
    /// The durable write of a commit.
    Commit,
}

/// Kinds of [`Waited`].
const KINDS: usize = 2;

/// How long requests wait for a disk, compared with what is usual on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// About as long as without background work, or nobody knows.
    Usual,
    /// A little longer.
    Longer,
    /// Too long.
    MuchLonger,
}

/// The load of one disk, which the shards share: requests note how long they waited, and background work how
/// long ago it took a step. So background work of one shard yields to the requests of all.
///
/// A request writes to memory of its own shard only. What it reads beyond that is written by steps of
/// background work, which are rare compared with requests.
#[derive(Clone, Debug)]
pub struct DiskLoad(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    worked_at: WorkedAt,
    shards: Vec<ShardPart>,
}

/// Time of the last step of background work of any shard (nanoseconds); 0 before the first.
///
/// Aligned to two cache lines, since the adjacent-line prefetcher works on pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkedAt(AtomicU64);

/// The requests of one shard, which is the only writer; aligned as [`WorkedAt`] is.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ShardPart([Requests; KINDS]);

/// The requests of one kind.
#[derive(Debug, Default)]
struct Requests {
    /// Waits while no background work was done on the disk.
    undisturbed: Percentile99,
    /// Waits while it was.
    disturbed: Percentile99,
    /// End of the last wait (nanoseconds); 0 before the first.
    last_at: AtomicU64,
}

impl DiskLoad {
    /// Creates the load of a disk that this number of shards use.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let shards = (0..shards).map(|_| ShardPart::default()).collect();
        Self(Arc::new(Parts { worked_at: WorkedAt::default(), shards }))
    }

    /// Records that a request of a shard has waited until `now`, for `ns` (nanoseconds).
    #[inline]
    pub(super) fn waited(&self, shard: usize, what: Waited, now: u64, ns: u64) {
        let requests = &self.0.shards[shard].0[what as usize];
        match self.is_free_of_work(now) {
            true => requests.undisturbed.add(ns),
            false => requests.disturbed.add(ns),
        }
        requests.last_at.store(now, Ordering::Relaxed);
    }

    /// Records a step of background work of any shard that ends now.
    pub(super) fn worked(&self, now: u64) {
        self.0.worked_at.0.store(now, Ordering::Relaxed);
    }

    /// Whether no shard has done background work on the disk lately.
    pub(super) fn is_free_of_work(&self, now: u64) -> bool {
        !is_recent(&self.0.worked_at.0, now)
    }

    /// Whether no shard has served a request from the disk lately.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.recent(now).next().is_none()
    }

    /// How long requests wait at present: of all kinds of requests of all shards, the worst.
    pub(super) fn waits(&self, now: u64) -> Waits {
        let percents = self.recent(now).filter_map(|requests| {
            let undisturbed = Some(requests.undisturbed.get()).filter(|ns| *ns > 0)?;
            Some(requests.disturbed.get().saturating_mul(100) / undisturbed)
        });
        match percents.max() {
            Some(percent) if percent > SLOWER_PERCENT => Waits::MuchLonger,
            Some(percent) if percent > USUAL_PERCENT => Waits::Longer,
            _ => Waits::Usual,
        }
    }

    /// Returns the 99th percentile of the time that reads wait at present (nanoseconds): of all shards, the
    /// worst. `None` if no shard has read lately.
    #[must_use]
    pub fn read_p99_ns(&self, now: u64) -> Option<u64> {
        let reads = self.0.shards.iter().map(|part| &part.0[Waited::Read as usize]);
        let recent = reads.filter(|requests| is_recent(&requests.last_at, now));
        let estimates = recent.map(|requests| match self.is_free_of_work(now) {
            true => requests.undisturbed.get(),
            false => requests.disturbed.get(),
        });
        estimates.max().filter(|ns| *ns > 0)
    }

    /// Requests of the kinds and shards that have had one lately. What is known of others may be long past.
    fn recent(&self, now: u64) -> impl Iterator<Item = &Requests> {
        let all = self.0.shards.iter().flat_map(|part| &part.0);
        all.filter(move |requests| is_recent(&requests.last_at, now))
    }
}

/// Whether a time is less than [`IDLE_NS`] ago, or in the future: the event loops of two shards read the
/// clock at different times.
fn is_recent(at: &AtomicU64, now: u64) -> bool {
    let at = at.load(Ordering::Relaxed);
    at > 0 && now.saturating_sub(at) < IDLE_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A request of a shard waits for `ns` at a time without background work, and for `disturbed` with it.
    /// Returns the load and the time.
    fn load_with(shard: usize, what: Waited, ns: u64, disturbed: u64) -> (DiskLoad, u64) {
        let (load, mut now) = (DiskLoad::new(2), 5 * IDLE_NS);
        for _ in 0..500 {
            load.waited(shard, what, now, ns);
            now += MS;
        }
        for _ in 0..500 {
            load.worked(now);
            load.waited(shard, what, now, disturbed);
            now += MS;
        }
        (load, now)
    }

    #[test]
    fn waits_are_compared_with_those_without_background_work() {
        for what in [Waited::Read, Waited::Commit] {
            for shard in [0, 1] {
                let waits = |disturbed| {
                    let (load, now) = load_with(shard, what, MS, disturbed);
                    load.waits(now)
                };
                assert_eq!(waits(MS), Waits::Usual);
                assert_eq!(waits(MS * 110 / 100), Waits::Usual);
                assert_eq!(waits(MS * 3 / 2), Waits::MuchLonger);
            }
        }
    }

    #[test]
    fn shortest_waits_are_compared_too() {
        let (load, now) = load_with(0, Waited::Read, 1, MS);
        assert_eq!(load.waits(now), Waits::MuchLonger);
    }

    #[test]
    fn time_is_recent_for_less_than_the_idle_time() {
        let recent = |at: u64, now| is_recent(&AtomicU64::new(at), now);
        assert!(recent(5, 4 + IDLE_NS) && !recent(5, 5 + IDLE_NS));
        assert!(recent(5, 4), "the clock of another shard is ahead");
        assert!(!recent(0, 1), "never");
    }

    #[test]
    fn reads_are_not_compared_with_commits() {
        let (load, now) = load_with(0, Waited::Read, MS, MS);
        for _ in 0..500 {
            load.worked(now);
            load.waited(0, Waited::Commit, now, 50 * MS);
        }
        assert_eq!(load.waits(now), Waits::Usual, "what is usual for commits is not known");
    }

    #[test]
    fn what_is_long_past_does_not_count() {
        let (load, now) = load_with(1, Waited::Read, MS, 9 * MS);
        assert!(!load.is_idle(now));
        assert_eq!(load.waits(now), Waits::MuchLonger);
        let later = now + 2 * IDLE_NS;
        assert!(load.is_idle(later));
        load.waited(0, Waited::Read, later, MS);
        assert!(!load.is_idle(later));
        assert_eq!(load.waits(later), Waits::Usual, "the other shard has no requests now");
    }

    #[test]
    fn percentile_of_reads_is_that_of_the_slowest_shard_at_present() {
        let (load, now) = load_with(1, Waited::Read, MS, 9 * MS);
        load.waited(0, Waited::Read, now, MS);
        load.waited(0, Waited::Commit, now, 70 * MS);
        let near = |wanted: u64, found: u64| found.abs_diff(wanted) < wanted / 10;
        assert!(load.read_p99_ns(now).is_some_and(|ns| near(9 * MS, ns)), "disturbed by work");
        let later = now + 2 * IDLE_NS;
        assert_eq!(load.read_p99_ns(later), None);
        load.waited(1, Waited::Read, later, MS);
        assert!(load.read_p99_ns(later).is_some_and(|ns| near(MS, ns)), "undisturbed");
    }

    #[test]
    fn fresh_disk_is_idle() {
        let load = DiskLoad::new(3);
        for now in [0, 1, IDLE_NS - 1, IDLE_NS, u64::MAX] {
            assert!(load.is_idle(now));
            assert_eq!(load.waits(now), Waits::Usual);
        }
    }

    #[test]
    fn parts_of_two_shards_share_no_cache_line() {
        assert!(align_of::<ShardPart>() >= 128 && align_of::<WorkedAt>() >= 128);
        assert_eq!(size_of::<ShardPart>(), 128, "one request touches one line of it");
    }
}
