//! The task that scrubs a volume.

use std::rc::Rc;

use super::flaw::Finding;
use super::needle::Examiner;
use super::neighbourhood::examine_range;
use super::pass::{Observer, pass};
use super::plan::ScrubPlan;
use super::scrubbed::Scrubbed;
use super::steps::{Interrupted, Steps};
use crate::base::limits::{BLOCK, LOG_START};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, NoWorkBuffer, Pace};
use crate::volume::health::Severity;
use crate::volume::index::Location;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::WINDOW;
use crate::volume::slot::FoundDamage;
use crate::volume::slot::scrub_state::ScrubProgress;
use crate::volume::{CompactionPhase, Slot, StateError, Volume};

/// Damaged places of a volume that are logged one by one at most; all of them are listed and counted.
const LOGGED_MAX: u64 = 100;
/// Bytes before and after an error that are read at once.
const NEIGHBOURHOOD: u64 = 8 << 20;
/// Pause after the neighbourhood of an error was read (nanoseconds): a disk on which everything fails must
/// not be read for that alone.
const NEIGHBOURHOOD_PAUSE_NS: u64 = 10_000_000_000;
/// Longest time until the task looks again whether a pass is due (nanoseconds): the wall clock may change.
const LOOK_NS: u64 = 60_000_000_000;
/// Time until the task looks again whether a compaction has ended (nanoseconds).
const COMPACTION_LOOK_NS: u64 = 6_000_000_000;
/// Pause before the task tries again to get its buffer (nanoseconds).
const BUFFER_PAUSE_NS: u64 = 50_000_000;

impl Slot {
    /// Starts the task that scrubs the volume, unless it runs.
    pub fn start_scrubs(self: &Rc<Self>, plan: &ScrubPlan) {
        self.scrub.plan.replace(Some(plan.clone()));
        self.scrub.task.start(Rc::clone(self).scrub_when_due(plan.clone()));
    }

    /// Starts the task again after [`Self::stop_background`], if it was started before.
    pub(in crate::volume) fn restart_scrubs(self: &Rc<Self>) {
        let plan = self.scrub.plan.borrow().clone();
        if let Some(plan) = plan {
            self.start_scrubs(&plan);
        }
    }

    /// Asks for a pass as soon as possible. One that is under way is completed first.
    pub fn request_scrub(&self) {
        self.scrub.is_requested.set(true);
        self.scrub.task.wake();
    }

    /// Returns whether a pass was asked for that has not begun.
    #[must_use]
    pub fn is_scrub_requested(&self) -> bool {
        self.scrub.is_requested.get()
    }

    /// Returns how far the scrubs are.
    #[must_use]
    pub fn scrub_progress(&self) -> ScrubProgress {
        self.scrub.progress.get()
    }

    /// Returns the places that scrubs have found damaged in the present file, in its order: 10,000 at most.
    #[must_use]
    pub fn found_damage(&self) -> Vec<FoundDamage> {
        self.scrub.damage.borrow().all()
    }

    /// Returns the number of places that scrubs have found damaged in the present file.
    #[must_use]
    pub fn found_damage_count(&self) -> u64 {
        self.scrub.damage.borrow().count()
    }

    async fn scrub_when_due(self: Rc<Self>, plan: ScrubPlan) {
        let (task, handle) = (&self.scrub.task, &self.handle);
        let mut neighbourhood_at = 0;
        while !task.is_stopping() {
            let wait = match self.next_work(&plan, neighbourhood_at) {
                Next::Wait(ns) => ns,
                Next::Neighbourhood(offset) => {
                    // The errors that end it have been handled: it is tried again when something is read.
                    let _ = self.examine_neighbourhood(offset).await;
                    (plan.on_end)();
                    neighbourhood_at = handle.now() + NEIGHBOURHOOD_PAUSE_NS;
                    continue;
                }
                Next::Pass => {
                    let dir = self.volume().dir();
                    let Ok(_turn) = task.unless_stopped(plan.turns.lock(dir)).await else { return };
                    let scrubbed = self.scrub_volume().await;
                    (plan.on_end)();
                    match scrubbed {
                        Ok(()) => continue,
                        Err(Interrupted::Stopped) => return,
                        Err(Interrupted::Compacting) => Some(COMPACTION_LOOK_NS),
                    }
                }
            };
            task.wait_for_work(wait.map(|ns| handle.now() + ns)).await;
        }
    }

    fn next_work(&self, plan: &ScrubPlan, neighbourhood_at: u64) -> Next {
        if self.is_being_compacted() {
            return Next::Wait(Some(COMPACTION_LOOK_NS));
        }
        let now = self.handle.now();
        let mut suspects = self.scrub.suspects.borrow_mut();
        if now >= neighbourhood_at
            && let Some(offset) = suspects.pop_front()
        {
            return Next::Neighbourhood(offset);
        }
        if self.scrub.is_requested.get() {
            return Next::Pass;
        }
        let (volume, wall) = (self.volume(), self.handle.wall());
        let [verified, created] = volume.verified_times();
        let known = [self.scrub.progress.get().last_began_ns, verified, created];
        let due_at = plan.due_at(volume.superblock.store, volume.id(), &known, wall);
        let until_due = due_at.map(|due_at| due_at.saturating_sub(wall));
        if until_due == Some(0) {
            return Next::Pass;
        }
        let until_neighbourhood = (!suspects.is_empty()).then(|| neighbourhood_at - now);
        let first = until_due.into_iter().chain(until_neighbourhood).min();
        Next::Wait(first.map(|ns| ns.min(LOOK_NS)))
    }

    fn is_being_compacted(&self) -> bool {
        self.compaction_progress().phase != CompactionPhase::None
            && !chosen(Sabotage::ScrubWhileCompacting)
    }

    /// Makes one pass.
    async fn scrub_volume(self: &Rc<Self>) -> Result<(), Interrupted> {
        let volume = self.volume();
        let is_needed = || self.is_being_compacted() || !self.is_current(&volume);
        let mut steps = self.steps(&volume, &is_needed);
        let reader = self.reader(&volume, &steps).await?;
        self.scrub.is_requested.set(false);
        let (to, noted) = (volume.log.tail(), volume.contents.borrow().offset_sums().clone());
        let (began, began_at) = (self.handle.wall(), self.handle.now());
        steps.run.begin(to - LOG_START);
        self.scrub.damage.borrow_mut().begin_pass();
        let on_finding = |finding: &Finding| self.note(&volume, finding);
        let on_progress = |at: u64| {
            let (is_running, done, total) = (true, at - LOG_START, to - LOG_START);
            let progress = self.scrub.progress.get();
            self.scrub.progress.set(ScrubProgress { is_running, done, total, ..progress });
        };
        on_progress(LOG_START);
        let observer = Observer { on_finding: &on_finding, on_progress: &on_progress };
        let mut examiner = Examiner::new(&volume, reader, to);
        let result = pass(&mut examiner, &mut steps, &noted, &observer).await;
        let progress = self.scrub.progress.get();
        self.scrub.progress.set(ScrubProgress { is_running: false, ..progress });
        match result {
            Ok(scrubbed) => {
                let seconds = (self.handle.now() - began_at) / 1_000_000_000;
                self.end_pass(&volume, began, scrubbed, seconds).await;
                Ok(())
            }
            Err(why) => {
                // It is to be made from the start.
                self.scrub.is_requested.set(true);
                Err(why)
            }
        }
    }

    async fn end_pass(
        self: &Rc<Self>,
        volume: &Rc<Volume>,
        began: u64,
        scrubbed: Scrubbed,
        seconds: u64,
    ) {
        self.scrub.damage.borrow_mut().end_pass();
        let scrubbed = Scrubbed { findings: self.found_damage_count(), ..scrubbed };
        let progress = self.scrub.progress.get();
        let passes = progress.passes + 1;
        self.scrub.progress.set(ScrubProgress {
            passes,
            last_began_ns: began,
            last: scrubbed,
            ..progress
        });
        let Scrubbed { bytes_read, needles, parts, healed, findings, .. } = scrubbed;
        tracing::info!(
            volume = volume.id().0,
            "scrubbed in {seconds} s: {needles} needles and {parts} parts verified, {bytes_read} bytes read, \
             {findings} places damaged, {healed} errors that went away"
        );
        if findings == 0 || chosen(Sabotage::RecordDamagedScrub) {
            self.record_pass(volume, began).await;
        }
        self.distrust_wrong_index(volume).await;
    }

    /// Records a pass that found nothing: a start soon after need not make it again. If it cannot be
    /// recorded, it will.
    async fn record_pass(&self, volume: &Rc<Volume>, began: u64) {
        let recorded = self.record_verified(volume, began).await;
        let volume = volume.id().0;
        match recorded {
            Ok(()) => {}
            Err(StateError::Failed(error)) => tracing::error!(
                volume,
                "a write failed: {error}; the volume is poisoned and takes no writes until the daemon is \
                 restarted; reads continue; check the kernel log and the disk"
            ),
            Err(error) => tracing::debug!(volume, "the scrub was not recorded: {error}"),
        }
    }

    async fn distrust_wrong_index(&self, volume: &Volume) {
        let is_wrong = self.found_damage().iter().any(|found| found.finding.flaw.is_of_index());
        if is_wrong && !chosen(Sabotage::TrustCheckpoint) {
            volume.distrust_checkpoint().await;
        }
    }

    /// Verifies what is near to a needle that a request could not read.
    async fn examine_neighbourhood(self: &Rc<Self>, offset: u64) -> Result<(), Interrupted> {
        let volume = self.volume();
        let is_needed = || self.is_being_compacted() || !self.is_current(&volume);
        let mut steps = self.steps(&volume, &is_needed);
        let reader = self.reader(&volume, &steps).await?;
        let to = volume.log.tail();
        let from = (offset.saturating_sub(NEIGHBOURHOOD) / BLOCK * BLOCK).max(LOG_START);
        let end = to.min(offset + NEIGHBOURHOOD);
        steps.run.begin(end.saturating_sub(from));
        let on_finding = |finding: &Finding| self.note(&volume, finding);
        let mut examiner = Examiner::new(&volume, reader, to);
        if chosen(Sabotage::SkipNeighbourhood) {
            return Ok(());
        }
        let found = examine_range(&mut examiner, &mut steps, (from, end), &on_finding).await?;
        let progress = self.scrub.progress.get();
        let neighbourhoods = progress.neighbourhoods + 1;
        self.scrub.progress.set(ScrubProgress { neighbourhoods, ..progress });
        tracing::info!(
            volume = volume.id().0,
            "a read at byte {offset} failed: bytes {from} to {end} were verified, {found} \
             places damaged"
        );
        Ok(())
    }

    fn steps<'a>(&'a self, volume: &Volume, is_needed: &'a dyn Fn() -> bool) -> Steps<'a> {
        let pace = Pace::UNLIMITED.with_pauses().sharing(&volume.pace);
        let run = BackgroundRun::new(&self.handle, Some(&self.scrub.task), pace);
        Steps { run, is_needed, handle: &self.handle, read: 0, step_from: 0 }
    }

    /// Waits for a buffer; requests have priority.
    async fn reader(&self, volume: &Volume, steps: &Steps<'_>) -> Result<LogReader, Interrupted> {
        let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
        loop {
            match steps.run.buffer(None, len, 0).await {
                Ok(buf) => return Ok(LogReader::new(volume, buf, true)),
                Err(NoWorkBuffer::Stopped) => return Err(Interrupted::Stopped),
                Err(NoWorkBuffer::NoneFree) => steps.run.wait(BUFFER_PAUSE_NS).await?,
            }
        }
    }

    fn note(&self, volume: &Volume, finding: &Finding) {
        let is_new = self.scrub.damage.borrow_mut().add(finding, self.handle.wall());
        if !finding.flaw.is_of_index() {
            let Location { offset, len } = finding.at;
            volume.file.note_wrong_bytes(offset..offset + len, Severity::Hard);
        }
        if !is_new || self.found_damage_count() > LOGGED_MAX {
            return;
        }
        let Finding { at, id, flaw, is_io } = finding;
        let whose = id.map_or_else(|| "an unknown needle".to_owned(), |id| format!("needle {id}"));
        let how = if *is_io { " (the device cannot read it)" } else { "" };
        tracing::error!(
            volume = volume.id().0,
            "damage at byte {}, {} bytes, {whose}: {flaw}{how}; hayloft volume damage lists all",
            at.offset,
            at.len
        );
    }
}

/// What the task does next.
enum Next {
    /// Nothing until it is woken, or for this time (nanoseconds) if there is one.
    Wait(Option<u64>),
    /// The neighbourhood of the needle at this offset (bytes).
    Neighbourhood(u64),
    /// A pass.
    Pass,
}
