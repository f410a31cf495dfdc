//! Changes of the state of a volume, and its end.

use std::rc::Rc;

use super::slot::Slot;
use crate::volume::Volume;
use crate::volume::error::StateError;
use crate::volume::format::ClusterSettings;

impl Slot {
    /// Makes the volume read-only or writable, as [`Volume::set_read_only`] does for a generation.
    ///
    /// # Errors
    /// See [`StateError`].
    ///
    /// [`Volume::set_read_only`]: crate::volume::Volume::set_read_only
    pub async fn set_read_only(&self, read_only: bool) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        self.volume().set_read_only(read_only).await
    }

    /// Changes what the cluster may change about the volume, as [`Volume::set_cluster_properties`] does for a
    /// generation.
    ///
    /// # Errors
    /// As there.
    ///
    /// [`Volume::set_cluster_properties`]: crate::volume::Volume::set_cluster_properties
    pub async fn set_cluster_properties(
        &self,
        settings: ClusterSettings,
    ) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        self.volume().set_cluster_properties(settings).await
    }

    /// Records that everything in a generation was verified by a scrub that began at `began` (nanoseconds
    /// since 1970), unless another one has taken its place.
    ///
    /// # Errors
    /// As [`Self::set_read_only`], except [`StateError::Sealed`].
    pub(in crate::volume) async fn record_verified(
        &self,
        volume: &Rc<Volume>,
        began: u64,
    ) -> Result<(), StateError> {
        let _change = self.changes.lock(()).await;
        if !self.is_current(volume) {
            return Ok(());
        }
        volume.record_verified(began).await
    }

    /// Closes the volume: see [`Volume::close`](crate::volume::Volume::close).
    pub async fn close(&self) {
        self.compaction_task().stop().await;
        self.scrub.task.stop().await;
        self.probing.task.stop().await;
        self.undelete.stop().await;
        self.streams.stop().await;
        self.pull.stop().await;
        let _change = self.changes.lock(()).await;
        self.volume().close().await;
    }

    /// Asks the background work of the volume to stop. [`Self::close`] waits for it.
    pub fn begin_to_close(&self) {
        self.compaction_task().begin_to_stop();
        self.scrub.task.begin_to_stop();
        self.probing.task.begin_to_stop();
        self.undelete.begin_to_stop();
        self.streams.begin_to_stop();
        self.pull.begin_to_stop();
        self.volume().begin_to_close();
    }

    /// Stops the background work of the volume, until [`Self::resume_background`].
    pub async fn stop_background(&self) {
        self.compaction_task().stop().await;
        self.scrub.task.stop().await;
        self.probing.task.stop().await;
        self.undelete.stop().await;
        self.streams.stop().await;
        self.pull.stop().await;
        self.volume().stop_checkpoints().await;
    }

    /// Resumes the background work after an attempt to remove the file failed. The checkpoint may have been
    /// removed by that attempt.
    pub fn resume_background(self: &Rc<Self>) {
        self.volume().resume_checkpoints();
        self.streams.resume();
        self.pull.resume();
        self.undelete.resume();
        self.restart_scrubs();
        self.restart_probes();
    }

    /// Ends the append side of a volume whose file was removed: see
    /// [`Volume::retire`](crate::volume::Volume::retire).
    pub async fn retire(self: &Rc<Self>) {
        self.volume().retire().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base::stream_position::StreamPosition;
    use crate::runtime::KeyLocks;
    use crate::volume::tests::rig::{COOKIE, Rig, SECOND, id};
    use crate::volume::{NotPulled, NotStreamed, PieceLimits, ProbePlan, ScrubPlan, UndeleteOrder};

    #[test]
    fn background_work_begins_only_until_it_is_stopped_and_after_it_is_resumed() {
        let (mut rig, slot) = Rig::with_volume();
        rig.put(&slot, 1);
        rig.put(&slot, 2);
        rig.delete(&slot, 1);
        let turns = Rc::new(KeyLocks::new(&rig.handle()));
        slot.start_scrubs(&ScrubPlan { interval_ns: 0, turns, on_end: Rc::new(|| ()) });
        let (on_read, on_end) = (Rc::new(|_| ()), Rc::new(|| ()));
        slot.start_probes(&ProbePlan { interval_ns: 0, on_read, on_end });
        for (round, is_stopped) in (1..).zip([false, true, false]) {
            let stopped = Rc::clone(&slot);
            let (streamed, pulled) = rig.run(async move {
                match is_stopped {
                    true => stopped.stop_background().await,
                    false => stopped.resume_background(),
                }
                let (start, limits) = (StreamPosition::START, PieceLimits::default());
                let streamed = stopped.read_records(start, true, limits).await;
                let streamed = streamed.map(|piece| piece.records.len());
                (streamed, stopped.begin_pull(true).await.map(drop))
            });
            assert_eq!(streamed, if is_stopped { Err(NotStreamed::Closing) } else { Ok(2) });
            let refused = if is_stopped { NotPulled::Closing } else { NotPulled::NotReplica };
            assert_eq!(pulled, Err(refused));
            let order = UndeleteOrder { photos: vec![(id(9), COOKIE)], within_ns: 0 };
            assert_eq!(slot.begin_undelete(order).is_none(), is_stopped);
            if round < 3 {
                slot.request_scrub();
                slot.request_burst(1);
            }
            rig.sleep(SECOND);
            // What was asked for while they were stopped is done afterwards.
            let done = (slot.scrub_progress().passes, slot.volume().stats().probes.get());
            assert_eq!(done, [(1, 1), (1, 1), (2, 2)][round - 1]);
        }
    }

    #[test]
    fn close_waits_for_the_piece_of_a_stream_that_is_being_read() {
        let (mut rig, slot) = Rig::with_volume();
        let handle = rig.handle();
        rig.run(async move {
            let piece = slot.streams.take().await.unwrap();
            let (closed, is_closed) = (Rc::clone(&slot), Rc::new(Cell::new(false)));
            let seen = Rc::clone(&is_closed);
            handle.spawn(async move {
                closed.close().await;
                seen.set(true);
            });
            handle.sleep_until(handle.now() + 10 * SECOND).await;
            assert!(!is_closed.get(), "a piece is being read");
            drop(piece);
            handle.sleep_until(handle.now() + 10 * SECOND).await;
            assert!(is_closed.get());
        });
    }
}
