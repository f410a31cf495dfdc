//! The task that takes a photo back.

use std::rc::Rc;

use super::deleted::verify_deleted;
use super::ended_early::EndedEarly;
use super::not_undeleted::NotUndeleted;
use super::order::UndeleteOrder;
use super::search::{read_section, search_back};
use super::sought::{Newest, Sought};
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, NoWorkBuffer, Pace};
use crate::volume::log::LogEnd;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::WINDOW;
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::steps::Steps;
use crate::volume::slot::UndeleteProgress;
use crate::volume::{Slot, Volume};

/// Bytes of the log that may be left to read when the id is locked.
const LOCKED_MAX: u64 = 1 << 20;
/// Attempts to get there. If writes arrive faster than they are read, the rest is longer.
const ROUNDS_MAX: usize = 8;
/// Pause before the task tries again to get its buffer (nanoseconds).
const BUFFER_PAUSE_NS: u64 = 50_000_000;

impl Slot {
    /// Begins to take a photo back. Returns `None` if that is being done for another one, or the volume is
    /// being closed. Progress and result are [`Self::undelete_progress`].
    pub fn begin_undelete(self: &Rc<Self>, order: UndeleteOrder) -> Option<UndeleteProgress> {
        if self.undelete.is_stopped() {
            return None;
        }
        let slot = Rc::clone(self);
        let is_begun = self.undelete.task.start(async move {
            let result = slot.undelete(&order).await;
            slot.end_undelete(&order, result);
        });
        if !is_begun {
            return None;
        }
        let operation = self.handle.random();
        let begun = UndeleteProgress { operation, id: order.id, done: 0, total: 0, result: None };
        self.undelete.progress.set(Some(begun));
        Some(begun)
    }

    /// Returns how far the last order to take a photo back is; `None` if there was none.
    #[must_use]
    pub fn undelete_progress(&self) -> Option<UndeleteProgress> {
        self.undelete.progress.get()
    }

    fn end_undelete(&self, order: &UndeleteOrder, result: Result<(), NotUndeleted>) {
        let (volume, id) = (self.id().0, order.id);
        match result {
            Ok(()) => tracing::info!(volume, "needle {id} was taken back"),
            Err(why) => tracing::info!(volume, "needle {id} was not taken back: {why}"),
        }
        self.undelete.update(|progress| UndeleteProgress { result: Some(result), ..progress });
        self.undelete.task.finish();
    }

    async fn undelete(&self, order: &UndeleteOrder) -> Result<(), NotUndeleted> {
        loop {
            match self.undelete_in(&self.volume(), order).await {
                Ok(()) => return Ok(()),
                Err(EndedEarly::Not(why)) => return Err(why),
                Err(EndedEarly::Exchanged) => {}
            }
        }
    }

    /// Takes a photo back as long as `volume` is the current generation.
    async fn undelete_in(
        &self,
        volume: &Rc<Volume>,
        order: &UndeleteOrder,
    ) -> Result<(), EndedEarly> {
        volume.admit()?;
        // Before the walk, too: it may take long.
        volume.decide_undelete(order.id).await?;
        let is_exchanged = || !self.is_current(volume);
        let mut steps = self.undelete_steps(volume, &is_exchanged);
        let reader = self.undelete_reader(volume, &steps).await?;
        let sought = Sought { id: order.id, cookie: order.cookie };
        let oldest = self.handle.wall().saturating_sub(order.within_ns);
        let mut read_to = volume.log.end();
        let total = read_to.tail - LOG_START;
        steps.run.begin(total);
        let on_progress = |left: u64| {
            let done = total - left;
            self.undelete.update(|progress| UndeleteProgress { done, total, ..progress });
        };
        on_progress(total);
        let mut examiner = Examiner::new(volume, reader, read_to.tail);
        let found = search_back(&mut examiner, &mut steps, &sought, oldest, &on_progress).await?;
        let mut newest = found.ok_or(NotUndeleted::NotFound)?;
        loop {
            for _ in 0..ROUNDS_MAX {
                if volume.log.tail() - read_to.tail <= LOCKED_MAX {
                    break;
                }
                let newer = read_on(&mut examiner, &mut steps, &sought, &mut read_to).await?;
                newest = newer.unwrap_or(newest);
            }
            let deleted = match &newest {
                Newest::Object => None,
                newest => {
                    let at = verify_deleted(&mut examiner, &mut steps, &sought, newest, oldest);
                    Some(at.await?)
                }
            };
            let held = self.undelete.task.unless_stopped(self.lock_id(order.id)).await?;
            // From here on nobody stores or deletes under this id. What was, is before the end of the log.
            if let Some(newer) = read_on(&mut examiner, &mut steps, &sought, &mut read_to).await? {
                newest = newer;
                continue;
            }
            let Some(at) = deleted else {
                // It is in use, or has expired.
                volume.decide_undelete(order.id).await?;
                return Err(NotUndeleted::NotFound.into());
            };
            // Its buffer may be needed to read the needle.
            drop(examiner);
            let joined = self.join_undelete(volume, order.id, at).await?;
            joined.settled().await?;
            drop(held);
            return Ok(());
        }
    }

    /// Pauses of background work do not concern it: an operator waits, and an id may be locked.
    fn undelete_steps<'a>(&'a self, volume: &Volume, is_needed: &'a dyn Fn() -> bool) -> Steps<'a> {
        let pace = Pace::UNLIMITED.sharing(&volume.pace);
        let run = BackgroundRun::new(&self.handle, Some(&self.undelete.task), pace);
        Steps { run, is_needed, handle: &self.handle, read: 0, step_from: 0 }
    }

    /// Waits for a buffer; requests have priority.
    async fn undelete_reader(
        &self,
        volume: &Volume,
        steps: &Steps<'_>,
    ) -> Result<LogReader, EndedEarly> {
        let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
        loop {
            match steps.run.buffer(None, len, 0).await {
                Ok(buf) => return Ok(LogReader::new(volume, buf, true)),
                Err(NoWorkBuffer::Stopped) => return Err(NotUndeleted::Stopped.into()),
                Err(NoWorkBuffer::NoneFree) => steps.run.wait(BUFFER_PAUSE_NS).await?,
            }
        }
    }
}

/// Reads what was written since the log ended at `read_to`, which it sets to the end now. Returns the newest
/// needle with the name, if there is one.
async fn read_on(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    sought: &Sought,
    read_to: &mut LogEnd,
) -> Result<Option<Newest>, EndedEarly> {
    let end = examiner.volume.log.end();
    let LogEnd { tail, sequence, .. } = std::mem::replace(read_to, end);
    if chosen(Sabotage::UndeleteWithoutCatchUp) {
        return Ok(None);
    }
    examiner.to = end.tail;
    let section = read_section(examiner, steps, sought, (tail, sequence), end.tail).await?;
    Ok(section.newest)
}
