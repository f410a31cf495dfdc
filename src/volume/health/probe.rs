//! The task that reads random needles of a volume: one now and then, so that a disk that nobody reads from is
//! known to be ill, too; and many at once after an error.

use std::rc::Rc;

use super::plan::ProbePlan;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, NoWorkBuffer, Pace, WorkBuffer};
use crate::volume::Slot;
use crate::volume::log::scan::WINDOW;

/// Longest time of a burst (nanoseconds).
const BURST_NS: u64 = 20_000_000_000;
/// Pause before the task tries again to get its buffer (nanoseconds).
const BUFFER_PAUSE_NS: u64 = 50_000_000;

impl Slot {
    /// Starts the task that reads random needles, unless it runs.
    pub fn start_probes(self: &Rc<Self>, plan: &ProbePlan) {
        self.probing.plan.replace(Some(plan.clone()));
        self.probing.task.start(Rc::clone(self).probe_when_due(plan.clone()));
    }

    /// Starts the task again after [`Self::stop_background`], if it was started before.
    pub(in crate::volume) fn restart_probes(self: &Rc<Self>) {
        let plan = self.probing.plan.borrow().clone();
        if let Some(plan) = plan {
            self.start_probes(&plan);
        }
    }

    /// Asks for a burst: the neighbourhood of the last error is read, and this number of random needles, as
    /// far as that takes no longer than 20 s.
    pub fn request_burst(&self, needles: u32) {
        self.probing.burst.set(needles.max(self.probing.burst.get()));
        self.probing.task.wake();
        let last = self.volume().file.errors().borrow_mut().take_last();
        if let Some(offset) = last {
            self.scrub.examine_around(offset);
        }
    }

    /// Reads this number of random needles now, before the volume serves.
    pub async fn probe_before_serving(&self, needles: u32) {
        let run = BackgroundRun::new(&self.handle, None, Pace::UNLIMITED);
        self.read_random_needles(&run, needles, &|_| ()).await;
    }

    async fn probe_when_due(self: Rc<Self>, plan: ProbePlan) {
        let (task, handle) = (&self.probing.task, &self.handle);
        let next = || plan.wait_ns(handle.random()).map(|ns| handle.now() + ns);
        let mut next_at = next();
        while !task.is_stopping() {
            let burst = self.probing.burst.take();
            let is_due = next_at.is_some_and(|at| handle.now() >= at);
            if burst == 0 && !is_due {
                task.wait_for_work(next_at).await;
                continue;
            }
            if is_due {
                next_at = next();
            }
            let run = BackgroundRun::new(handle, Some(task), Pace::UNLIMITED);
            let needles = if chosen(Sabotage::NoBurst) { 1 } else { burst.max(1) };
            self.read_random_needles(&run, needles, &*plan.on_read).await;
            (plan.on_end)();
        }
    }

    async fn read_random_needles(
        &self,
        run: &BackgroundRun<'_>,
        needles: u32,
        on_read: &dyn Fn(Option<u64>),
    ) {
        let until = self.handle.now() + BURST_NS;
        let Some(mut buf) = self.probe_buffer(run, until).await else { return };
        for _ in 0..needles {
            let now = self.handle.now();
            if now >= until || self.probing.task.is_stopping() {
                return;
            }
            on_read(Some(now));
            self.volume().read_random_needle(&mut buf).await;
            on_read(None);
            self.handle.yield_now().await;
        }
    }

    /// Waits for a buffer until a time (nanoseconds); requests have priority.
    async fn probe_buffer(&self, run: &BackgroundRun<'_>, until: u64) -> Option<WorkBuffer> {
        let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
        loop {
            match run.buffer(None, len, 0).await {
                Ok(buf) => return Some(buf),
                Err(NoWorkBuffer::NoneFree) if self.handle.now() < until => {
                    run.wait(BUFFER_PAUSE_NS).await.ok()?;
                }
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tests::rig::{Rig, SECOND};

    #[test]
    fn as_many_needles_are_read_as_were_asked_for() {
        let (mut rig, slot) = Rig::with_volume();
        (0..5).for_each(|n| rig.put(&slot, n));
        let probes = |slot: &Slot| slot.volume().stats().probes.get();
        let probed = Rc::clone(&slot);
        rig.run(async move { probed.probe_before_serving(3).await });
        assert_eq!(probes(&slot), 3);
        let (on_read, on_end) = (Rc::new(|_| ()), Rc::new(|| ()));
        slot.start_probes(&ProbePlan { interval_ns: 0, on_read, on_end });
        for (needles, total) in [(1, 4), (7, 11)] {
            slot.request_burst(needles);
            rig.sleep(SECOND);
            assert_eq!(probes(&slot), total);
        }
    }
}
