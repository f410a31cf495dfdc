//! The task that takes photos back.

use std::collections::VecDeque;
use std::rc::Rc;

use super::deleted::verify_deleted;
use super::ended_early::EndedEarly;
use super::not_undeleted::NotUndeleted;
use super::order::UndeleteOrder;
use super::search::{read_section, search_back};
use super::sought::{Newest, Sought};
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
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
    /// Begins to take photos back. Returns `None` if that is being done for others, or the volume is being
    /// closed. Progress and results are [`Self::undelete_progress`].
    ///
    /// # Panics
    /// If the order names a photo twice, or none.
    pub fn begin_undelete(self: &Rc<Self>, order: UndeleteOrder) -> Option<UndeleteProgress> {
        let begun = UndeleteProgress::of(self.handle.random(), &order);
        if self.undelete.is_stopped() {
            return None;
        }
        let slot = Rc::clone(self);
        let is_begun = self.undelete.task.start(async move {
            slot.undelete(order).await;
            slot.undelete.task.finish();
        });
        if !is_begun {
            return None;
        }
        self.undelete.begin(begun.clone());
        Some(begun)
    }

    /// Returns how far the last order to take photos back is; `None` if there was none.
    #[must_use]
    pub fn undelete_progress(&self) -> Option<UndeleteProgress> {
        self.undelete.progress()
    }

    fn end_undelete(&self, id: NeedleId, result: Result<(), NotUndeleted>) {
        let volume = self.id().0;
        match result {
            Ok(()) => tracing::info!(volume, "needle {id} was taken back"),
            Err(why) => tracing::info!(volume, "needle {id} was not taken back: {why}"),
        }
        self.undelete.end(id, result);
    }

    async fn undelete(&self, order: UndeleteOrder) {
        let within_ns = order.within_ns;
        let mut left = VecDeque::from(order.photos);
        while !left.is_empty() {
            match self.undelete_in(&self.volume(), &mut left, within_ns).await {
                Ok(()) | Err(EndedEarly::Exchanged) => {}
                Err(EndedEarly::Not(why)) => {
                    left.drain(..).for_each(|(id, _)| self.end_undelete(id, Err(why)));
                }
            }
        }
    }

    /// Takes the photos that are left back, as long as `volume` is the current generation. An error ends all
    /// that are still left then.
    async fn undelete_in(
        &self,
        volume: &Rc<Volume>,
        left: &mut VecDeque<(NeedleId, Cookie)>,
        within_ns: u64,
    ) -> Result<(), EndedEarly> {
        volume.admit()?;
        self.end_impossible(volume, left).await;
        let is_exchanged = || !self.is_current(volume);
        let mut steps = self.undelete_steps(volume, &is_exchanged);
        let oldest = self.handle.wall().saturating_sub(within_ns);
        let mut searched = self.search(volume, &mut steps, left, oldest).await?;
        while let Some(&photo) = left.front() {
            let result = self.undelete_one(volume, &mut steps, &mut searched, photo, oldest).await;
            let result = match result {
                Err(EndedEarly::Exchanged) => return Err(EndedEarly::Exchanged),
                Err(EndedEarly::Not(why)) => Err(why),
                Ok(()) => Ok(()),
            };
            self.end_undelete(photo.0, result);
            left.pop_front();
        }
        Ok(())
    }

    /// Ends those that cannot be taken back whatever is found: the search may take long.
    async fn end_impossible(&self, volume: &Volume, left: &mut VecDeque<(NeedleId, Cookie)>) {
        for photo in std::mem::take(left) {
            match volume.decide_undelete(photo.0).await {
                Ok(_) => left.push_back(photo),
                Err(why) => self.end_undelete(photo.0, Err(why)),
            }
        }
    }

    /// Searches the log for all that are left, with progress.
    async fn search(
        &self,
        volume: &Rc<Volume>,
        steps: &mut Steps<'_>,
        left: &VecDeque<(NeedleId, Cookie)>,
        oldest: u64,
    ) -> Result<Searched, EndedEarly> {
        let mut sought = Sought::new(left.iter().copied());
        let read_to = volume.log.end();
        let total = read_to.tail - LOG_START;
        let on_progress = |left: u64| self.undelete.set_searched(total - left, total);
        on_progress(total);
        if !left.is_empty() {
            let mut examiner = self.examiner(volume, steps, read_to.tail).await?;
            search_back(&mut examiner, steps, &mut sought, oldest, &on_progress).await?;
        }
        Ok(Searched { sought, read_to })
    }

    /// Takes a photo back, of which it was searched what had been deleted before the search began.
    async fn undelete_one(
        &self,
        volume: &Rc<Volume>,
        steps: &mut Steps<'_>,
        searched: &mut Searched,
        photo: (NeedleId, Cookie),
        oldest: u64,
    ) -> Result<(), EndedEarly> {
        let id = photo.0;
        let mut newest = searched.sought.newest(id).ok_or(NotUndeleted::NotFound)?;
        let mut examiner = self.examiner(volume, steps, searched.read_to.tail).await?;
        loop {
            for _ in 0..ROUNDS_MAX {
                if volume.log.tail() - searched.read_to.tail <= LOCKED_MAX {
                    break;
                }
                newest = searched.read_on(&mut examiner, steps, id).await?.unwrap_or(newest);
            }
            let deleted = match newest {
                Newest::Object => None,
                newest => {
                    let at = verify_deleted(&mut examiner, steps, photo, newest, oldest);
                    Some(at.await?)
                }
            };
            let held = self.undelete.task.unless_stopped(self.lock_id(id)).await?;
            // From here on nobody stores or deletes under this id. What was, is before the end of the log.
            if let Some(newer) = searched.read_on(&mut examiner, steps, id).await? {
                newest = newer;
                continue;
            }
            let Some(at) = deleted else {
                // It is in use, or has expired.
                volume.decide_undelete(id).await?;
                return Err(NotUndeleted::NotFound.into());
            };
            // Its buffer may be needed to read the needle.
            drop(examiner);
            let joined = self.join_undelete(volume, id, at).await?;
            joined.settled().await?;
            drop(held);
            return Ok(());
        }
    }

    /// An examiner of the log up to `to`, with a buffer of its own.
    async fn examiner<'a>(
        &self,
        volume: &'a Rc<Volume>,
        steps: &mut Steps<'_>,
        to: u64,
    ) -> Result<Examiner<'a>, EndedEarly> {
        let reader = self.undelete_reader(volume, steps).await?;
        steps.begin_reader();
        Ok(Examiner::new(volume, reader, to))
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

/// What the log up to some end has.
struct Searched {
    sought: Sought,
    read_to: LogEnd,
}

impl Searched {
    /// Reads what was written since. Returns the newest needle with the name `id` in it, if there is one.
    async fn read_on(
        &mut self,
        examiner: &mut Examiner<'_>,
        steps: &mut Steps<'_>,
        id: NeedleId,
    ) -> Result<Option<Newest>, EndedEarly> {
        let end = examiner.volume.log.end();
        let LogEnd { tail, sequence, .. } = std::mem::replace(&mut self.read_to, end);
        if chosen(Sabotage::UndeleteWithoutCatchUp) {
            return Ok(None);
        }
        examiner.to = end.tail;
        let section =
            read_section(examiner, steps, &self.sought, (tail, sequence), end.tail).await?;
        self.sought.add_newer(&section.newest);
        Ok(section.newest.get(&id).copied())
    }
}
