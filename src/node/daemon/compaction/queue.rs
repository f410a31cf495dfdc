//! Compactions that wait or run: at most one at a time uses a data directory, as source or as target.

use std::collections::VecDeque;

use super::job::Job;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;

/// A compaction that runs, or is being begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningJob {
    /// The compaction.
    pub job: Job,
    /// Number of compactions of the volume that had ended before it began, by the board.
    pub ended_before: u64,
    /// Whether the shard has confirmed its begin.
    pub is_begun: bool,
}

/// Compactions that wait or run. A volume has at most one.
#[derive(Debug, Default)]
pub struct CompactionQueue {
    /// First come, first served.
    waiting: VecDeque<Job>,
    running: Vec<RunningJob>,
}

impl CompactionQueue {
    /// The compaction of a volume that waits.
    pub fn waiting(&self, volume: VolumeId) -> Option<&Job> {
        self.waiting.iter().find(|job| job.volume == volume)
    }

    /// The compaction of a volume that runs.
    pub fn running(&self, volume: VolumeId) -> Option<&RunningJob> {
        self.running.iter().find(|running| running.job.volume == volume)
    }

    /// Whether a volume has a compaction here.
    pub fn has(&self, volume: VolumeId) -> bool {
        self.waiting(volume).is_some() || self.running(volume).is_some()
    }

    /// All compactions that run.
    pub fn all_running(&self) -> Vec<RunningJob> {
        self.running.clone()
    }

    /// All compactions that wait, in their order.
    pub fn all_waiting(&self) -> Vec<Job> {
        self.waiting.iter().copied().collect()
    }

    /// The volume whose compaction must end before `job` may begin: one that runs, or that waits in front of
    /// it, in the same data directory. A compaction that waits keeps its directories from those behind it,
    /// so that they do not delay it for ever.
    pub fn blocker(&self, job: &Job) -> Option<VolumeId> {
        if chosen(Sabotage::CompactTwiceInADirectory) {
            return None;
        }
        let running = self.running.iter().map(|running| &running.job);
        let in_front = self.waiting.iter().take_while(|other| other.volume != job.volume);
        let mut others = running.chain(in_front);
        others.find(|other| other.conflicts_with(job)).map(|other| other.volume)
    }

    /// Adds a compaction behind all that wait.
    ///
    /// # Panics
    /// If the volume has one already.
    pub fn add(&mut self, job: Job) {
        assert!(!self.has(job.volume), "volume {} is compacted twice", job.volume);
        self.waiting.push_back(job);
    }

    /// Moves a compaction that waits, and that nothing blocks, to those that run.
    ///
    /// # Panics
    /// If it does not wait, or something blocks it.
    pub fn start(&mut self, volume: VolumeId, ended_before: u64) -> Job {
        let job = *self.waiting(volume).expect("a compaction that waits");
        assert_eq!(self.blocker(&job), None, "one compaction at a time uses a data directory");
        self.waiting.retain(|job| job.volume != volume);
        self.running.push(RunningJob { job, ended_before, is_begun: false });
        job
    }

    /// Records that the shard has begun a compaction.
    pub fn begun(&mut self, volume: VolumeId) {
        let mut all = self.running.iter_mut();
        if let Some(running) = all.find(|running| running.job.volume == volume) {
            running.is_begun = true;
        }
    }

    /// Removes the compaction of a volume, if it has one.
    pub fn remove(&mut self, volume: VolumeId) {
        self.waiting.retain(|job| job.volume != volume);
        self.running.retain(|running| running.job.volume != volume);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::control::CompactionOrigin;

    fn job(volume: u32, source: usize, target: usize) -> Job {
        Job {
            volume: VolumeId(volume),
            origin: CompactionOrigin::Operator,
            source,
            target,
            size: None,
            accept_losses: false,
        }
    }

    /// Starts all that may start, and returns them.
    fn start_all(queue: &mut CompactionQueue) -> Vec<u32> {
        let mut started = Vec::new();
        for job in queue.all_waiting() {
            if queue.blocker(&job).is_none() {
                started.push(queue.start(job.volume, 0).volume.0);
            }
        }
        started
    }

    #[test]
    fn one_compaction_at_a_time_uses_a_data_directory() {
        let mut queue = CompactionQueue::default();
        for job in [job(1, 0, 0), job(2, 0, 0), job(3, 1, 1), job(4, 2, 1), job(5, 2, 2)] {
            queue.add(job);
        }
        assert_eq!(start_all(&mut queue), [1, 3]);
        // 4 waits for 3, and keeps directory 2 from 5.
        let blockers =
            queue.all_waiting().iter().map(|job| queue.blocker(job).unwrap().0).collect::<Vec<_>>();
        assert_eq!(blockers, [1, 3, 4]);
        queue.remove(VolumeId(3));
        assert_eq!(start_all(&mut queue), [4]);
        queue.remove(VolumeId(1));
        assert_eq!(start_all(&mut queue), [2]);
        queue.remove(VolumeId(4));
        assert_eq!(start_all(&mut queue), [5]);
        assert!(queue.all_waiting().is_empty() && queue.all_running().len() == 2);
    }

    #[test]
    fn begun_compaction_is_running_until_it_is_removed() {
        let mut queue = CompactionQueue::default();
        queue.add(job(1, 0, 0));
        assert!(queue.has(VolumeId(1)) && queue.running(VolumeId(1)).is_none());
        queue.start(VolumeId(1), 7);
        let running = queue.running(VolumeId(1)).unwrap();
        assert!(!running.is_begun && running.ended_before == 7);
        queue.begun(VolumeId(1));
        queue.begun(VolumeId(2));
        assert!(queue.running(VolumeId(1)).unwrap().is_begun);
        queue.remove(VolumeId(1));
        assert!(!queue.has(VolumeId(1)));
    }

    #[test]
    #[should_panic(expected = "compacted twice")]
    fn second_compaction_of_a_volume_panics() {
        let mut queue = CompactionQueue::default();
        queue.add(job(1, 0, 0));
        queue.add(job(1, 1, 1));
    }

    proptest! {
        /// In any order of events no data directory is used twice, and everything runs in the end.
        #[test]
        fn directories_are_used_once_and_nothing_starves(
            dirs in prop::collection::vec((0_usize..4, 0_usize..4), 1..20),
            ends in prop::collection::vec(0_usize..8, 0..60),
        ) {
            let mut queue = CompactionQueue::default();
            let mut started = Vec::new();
            let mut wanted = dirs.iter().enumerate();
            for end in ends.into_iter().chain(std::iter::repeat_n(0, dirs.len() + 1)) {
                if let Some((n, (source, target))) = wanted.next() {
                    queue.add(job(u32::try_from(n).unwrap(), *source, *target));
                }
                started.extend(start_all(&mut queue));
                let running = queue.all_running();
                for (n, one) in running.iter().enumerate() {
                    for other in &running[..n] {
                        prop_assert!(!one.job.conflicts_with(&other.job));
                    }
                }
                // Whatever waits has a reason that runs, or waits in front of it.
                for job in queue.all_waiting() {
                    prop_assert!(queue.blocker(&job).is_some());
                }
                if let Some(ended) = running.get(end % running.len().max(1)) {
                    queue.remove(ended.job.volume);
                }
            }
            for (n, (source, target)) in wanted {
                queue.add(job(u32::try_from(n).unwrap(), *source, *target));
            }
            while !queue.all_waiting().is_empty() || !queue.all_running().is_empty() {
                started.extend(start_all(&mut queue));
                let first = queue.all_running()[0].job.volume;
                queue.remove(first);
            }
            started.sort_unstable();
            prop_assert_eq!(started, (0..u32::try_from(dirs.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
