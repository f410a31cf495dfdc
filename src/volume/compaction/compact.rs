//! A compaction from beginning to end.

use std::rc::Rc;

use super::commit_writer::CommitWriter;
use super::compacted::Compacted;
use super::copier::{Copier, Mode};
use super::log_reader::LogReader;
use super::not_compacted::NotCompacted;
use super::order::CompactionOrder;
use super::pass::Pass;
use super::read_back::read_back;
use super::swap::{OnSwap, Swap, expect_compactable};
use super::target::{close_target, create_target, discard_target};
use crate::base::limits::{COMMIT_LEN_TARGET, LOG_START, TOMBSTONE_RESERVE, TRAILER};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::runtime::background::{BackgroundRun, NoWorkBuffer, Pace, WorkBuffer};
use crate::runtime::op::DirId;
use crate::volume::generation::remove::remove_others;
use crate::volume::log::LogEnd;
use crate::volume::log::scan::WINDOW;
use crate::volume::slot::compaction_progress::{CompactionPhase, CompactionProgress};
use crate::volume::{Expected, GenerationFile, Slot, Volume};

/// Passes over what was written meanwhile, after which the compaction is given up.
const ROUNDS_MAX: u32 = 8;
/// Length of what was written meanwhile that is short enough to be carried over while writers wait (bytes).
const REST_MAX: u64 = 256 << 10;
/// Times that the exchange is tried while writes hang.
const EXCHANGES_MAX: u32 = 5;
/// Pause before the exchange, or the removal of the old file, is tried again (nanoseconds).
const PAUSE_NS: u64 = 1_000_000_000;
/// Times that the removal of the old file is tried.
const REMOVALS_MAX: u32 = 10;
/// Size of a pool from which a compaction takes a second buffer for writes (bytes).
const POOL_FOR_TWO: usize = 32 << 20;
/// Longest time that the compaction waits for a buffer at a time (nanoseconds).
const BUFFER_WAIT_NS: u64 = 1_000_000_000;
/// Delay of each write to the volume when writes arrive faster than they are copied (nanoseconds). It doubles
/// with each further round.
const SLOWED_NS: u64 = 2_000_000;

impl Slot {
    /// Copies what lives in the volume to its next generation, which then takes the place of the current one.
    /// Reads and writes go on meanwhile. To be run by the task of [`Self::compaction_task`], one at a time.
    ///
    /// # Errors
    /// See [`NotCompacted`].
    pub async fn compact(
        self: &Rc<Self>,
        order: &CompactionOrder,
        on_swap: OnSwap<'_>,
    ) -> Result<Compacted, NotCompacted> {
        let old = self.volume();
        let phase = CompactionPhase::Copying;
        self.set_compaction_progress(CompactionProgress { phase, ..Default::default() });
        let done = self.compact_generation(&old, order, on_swap).await;
        self.set_compaction_progress(CompactionProgress::default());
        done
    }

    async fn compact_generation(
        self: &Rc<Self>,
        old: &Rc<Volume>,
        order: &CompactionOrder,
        on_swap: OnSwap<'_>,
    ) -> Result<Compacted, NotCompacted> {
        expect_compactable(old)?;
        expect_room(old, order)?;
        let store = order.store.unwrap_or(old.superblock.store);
        let target = generation_file(old.id(), old.generation() + 1, order.target, store);
        let new = match create_target(old, order).await {
            Ok(new) => new,
            Err(NotCompacted::InTheWay) => return Err(NotCompacted::InTheWay),
            Err(error) => {
                self.discard(target).await;
                return Err(error);
            }
        };
        let built = match Work::begin(self, old, &new, order).await {
            Ok(work) => work.build(on_swap).await,
            Err(error) => Err(error),
        };
        self.slow_writes(0);
        match built {
            Ok(work) => Ok(work.finish().await),
            // A restart decides which of the two counts.
            Err(error @ NotCompacted::Undecided(_)) => {
                self.add_other_file(target);
                Err(error)
            }
            Err(error) => {
                close_target(new).await;
                self.discard(target).await;
                Err(error)
            }
        }
    }

    /// Removes the file of a generation that was not finished.
    async fn discard(&self, target: GenerationFile) {
        if !discard_target(&self.handle, target).await {
            self.add_other_file(target);
        }
    }
}

/// The file of a generation of a volume.
fn generation_file(
    volume: VolumeId,
    generation: u64,
    dir: DirId,
    store: [u8; 16],
) -> GenerationFile {
    let expected = Expected {
        volume,
        generation,
        store,
        hash_bits: None,
        segments_max: None,
        checkpoints: None,
    };
    GenerationFile { dir, expected }
}

/// Checks that what lives fits into the new file, and that there is memory for a second index.
fn expect_room(old: &Volume, order: &CompactionOrder) -> Result<(), NotCompacted> {
    let figures = old.figures();
    let room = order.size.saturating_sub(LOG_START + TRAILER + 2 * TOMBSTONE_RESERVE);
    if figures.live > room && !chosen(Sabotage::IgnoreRoom) {
        return Err(NotCompacted::TooSmall { needed: figures.live, room });
    }
    let (needed, available) = (figures.index, order.index_memory_max);
    if needed > available && !chosen(Sabotage::IgnoreIndexMemory) {
        return Err(NotCompacted::IndexMemory { needed, available });
    }
    Ok(())
}

/// A compaction under way.
struct Work<'a> {
    slot: &'a Rc<Slot>,
    old: Rc<Volume>,
    new: Rc<Volume>,
    order: &'a CompactionOrder,
    /// Pace of copying, which reads from the disk of the old generation and writes to that of the new one.
    pace: Pace,
    run: BackgroundRun<'a>,
    copier: Copier,
    phase: CompactionPhase,
    /// End of the old log up to which everything was carried over (bytes).
    carried_to: u64,
    /// End of the new log up to which it was read back.
    verified_to: LogEnd,
    /// Needles that did not match their checksums when they were read back.
    damaged_read_back: u64,
    result: Compacted,
}

impl<'a> Work<'a> {
    /// Takes the buffers, and begins.
    async fn begin(
        slot: &'a Rc<Slot>,
        old: &Rc<Volume>,
        new: &Rc<Volume>,
        order: &'a CompactionOrder,
    ) -> Result<Self, NotCompacted> {
        let handle = &old.handle;
        let pace = order.pace.clone().sharing(&old.pace).sharing(&new.pace);
        let mut run = BackgroundRun::new(&slot.handle, Some(slot.compaction_task()), pace.clone());
        let window = work_buffer(&run).await?;
        let buf = work_buffer(&run).await?;
        let spare = match handle.pool().capacity() >= POOL_FOR_TWO {
            true => Some(work_buffer(&run).await?),
            false => None,
        };
        run.begin(old.log.tail() - LOG_START);
        let reader = LogReader::new(old, window, order.accept_losses);
        let writer = CommitWriter::new(new, buf, spare);
        let copier = Copier::new(old, new, order, reader, writer);
        Ok(Self {
            slot,
            old: Rc::clone(old),
            new: Rc::clone(new),
            order,
            pace,
            run,
            copier,
            phase: CompactionPhase::Copying,
            carried_to: LOG_START,
            verified_to: new.log.end(),
            damaged_read_back: 0,
            result: Compacted::default(),
        })
    }

    /// Copies, catches up, reads back, and exchanges the generation.
    async fn build(mut self, on_swap: OnSwap<'_>) -> Result<Self, NotCompacted> {
        self.carry(self.old.log.tail()).await?;
        self.carry_damage().await?;
        self.copier.mode = Mode::CatchUp;
        self.enter_phase(CompactionPhase::CatchingUp);
        self.catch_up(REST_MAX).await?;
        self.copier.writer.sync().await?;
        self.read_back().await?;
        self.enter_phase(CompactionPhase::Swapping);
        self.write_checkpoint().await;
        for _ in 1..EXCHANGES_MAX {
            match self.exchange(on_swap).await {
                Err(NotCompacted::WritersHang) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(self),
            }
            let handle = &self.old.handle;
            let pause = handle.sleep_until(handle.now() + PAUSE_NS);
            self.slot.compaction_task().unless_stopped(pause).await?;
        }
        self.exchange(on_swap).await?;
        Ok(self)
    }

    async fn exchange(&mut self, on_swap: OnSwap<'_>) -> Result<(), NotCompacted> {
        self.catch_up(REST_MAX).await?;
        self.copier.writer.sync().await?;
        let swap = Swap {
            slot: self.slot,
            old: &self.old,
            new: &self.new,
            dir: self.order.target,
            from: self.carried_to,
            copier: &mut self.copier,
        };
        self.result.gate_closed_ns = swap.exchange(on_swap).await?;
        Ok(())
    }

    /// Carries over what lives up to `to`.
    async fn carry(&mut self, to: u64) -> Result<(), NotCompacted> {
        self.copier.reader.clear();
        let from = self.carried_to;
        let (slot, phase, read) = (self.slot, self.phase, self.result.read);
        let on_step = |copier: &Copier, done: u64| {
            slot.set_compaction_progress(CompactionProgress {
                phase,
                done,
                total: to,
                read: read + copier.reader.bytes_read,
                written: copier.writer.bytes_written,
            });
        };
        let (old, copier, run) = (&*self.old, &mut self.copier, &mut self.run);
        Pass { old, copier, run, to, on_step: &on_step }.carry_all(from).await?;
        self.carried_to = to;
        Ok(())
    }

    /// Carries over the knowledge of damage in which no object is known.
    async fn carry_damage(&mut self) -> Result<(), NotCompacted> {
        for range in self.old.damage_without_owner() {
            self.copier.carry_damaged_range(range).await?;
        }
        Ok(())
    }

    /// Carries over what was written meanwhile, until less than `rest` bytes are left. If that does not halve
    /// with each round, first the pace is lifted, then the writes to the volume are slowed.
    async fn catch_up(&mut self, rest: u64) -> Result<(), NotCompacted> {
        let (mut last, mut slowed) = (u64::MAX, 0);
        for _ in 0..ROUNDS_MAX {
            let to = self.old.log.tail();
            let left = to - self.carried_to;
            self.carry_uploads().await?;
            if left <= rest {
                return Ok(());
            }
            if left >= last / 2 {
                self.run.set_pace(self.pace.clone().lifted());
                if !chosen(Sabotage::NeverSlowWriters) {
                    self.slot.slow_writes(slowed);
                }
                slowed = (2 * slowed).max(SLOWED_NS);
            }
            last = left;
            self.result.rounds += 1;
            self.carry(to).await?;
        }
        let left = self.old.log.tail() - self.carried_to;
        let is_short = left <= COMMIT_LEN_TARGET || chosen(Sabotage::NeverGiveUp);
        if is_short { Ok(()) } else { Err(NotCompacted::TooManyWrites) }
    }

    /// Carries over the parts of uploads in progress as far as they are durable, so that writers do not wait
    /// for it later.
    async fn carry_uploads(&mut self) -> Result<(), NotCompacted> {
        for (_, parts, _) in self.slot.uploads.open() {
            for part in parts {
                if let Some(Ok(offset)) = part.place.known() {
                    self.copier.carry_upload_part(offset, part.len).await?;
                    self.run.end_step(u64::from(part.len)).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads back what was written and not read back so far.
    async fn read_back(&mut self) -> Result<(), NotCompacted> {
        if !self.order.verify {
            return Ok(());
        }
        self.enter_phase(CompactionPhase::Verifying);
        let pace = self.order.pace.clone().sharing(&self.new.pace);
        self.verify_to(self.new.log.end(), pace).await
    }

    /// Reads back what was written up to `to`, from the disk of the new generation.
    async fn verify_to(&mut self, to: LogEnd, pace: Pace) -> Result<(), NotCompacted> {
        let (from, reader) = (self.verified_to, &mut self.copier.reader);
        // One buffer for both files: in the smallest pool there is no third one.
        self.result.read += reader.turn_to(&self.new, false);
        self.run.set_pace(pace);
        let read = read_back(&self.new, reader, &mut self.run, (from, to)).await;
        self.run.set_pace(self.pace.clone());
        self.result.read_back += reader.turn_to(&self.old, self.order.accept_losses);
        self.damaged_read_back += read?;
        self.verified_to = to;
        if self.damaged_read_back != self.copier.carried.damaged {
            return Err(NotCompacted::ReadBack(from.tail));
        }
        Ok(())
    }

    /// Writes the checkpoint of the new generation, so that a start soon after reads little. Without it a
    /// start reads the log.
    async fn write_checkpoint(&mut self) {
        // The outcome was logged.
        let _ = self.new.write_first_checkpoint().await;
    }

    fn enter_phase(&mut self, phase: CompactionPhase) {
        self.phase = phase;
        let progress = self.slot.compaction_progress();
        self.slot.set_compaction_progress(CompactionProgress { phase, ..progress });
    }

    /// Reads the last commits back, and removes the old file. The new one counts already, so that this is not
    /// cancelled: what is left to read back is short. If the old file stays, the slot knows of it.
    async fn finish(mut self) -> Compacted {
        self.enter_phase(CompactionPhase::Removing);
        let old = &self.old;
        let store = old.superblock.store;
        let superseded = generation_file(old.id(), old.generation(), old.dir(), store);
        self.slot.add_other_file(superseded);
        self.run = BackgroundRun::new(self.slot.handle(), None, Pace::UNLIMITED);
        self.old.checkpoints.stop().await;
        self.old.steps.stop().await;
        // Writes that came since are not part of it.
        let to = self.copier.writer.end();
        let verified = match self.order.verify {
            true => self.verify_to(to, Pace::UNLIMITED).await,
            false => Ok(()),
        };
        let figures = self.old.figures();
        let carried = self.copier.carried;
        let result = Compacted {
            read: self.result.read + self.copier.reader.bytes_read,
            written: self.copier.writer.bytes_written,
            used_before: figures.used,
            used_after: self.new.figures().used,
            carried,
            ..self.result
        };
        let Self { slot, old, copier, .. } = self;
        drop(copier);
        old.free_index().await;
        let removed = match verified {
            Ok(()) => remove_old(slot, superseded).await,
            failed => failed,
        };
        match removed {
            Ok(()) => slot.forget_other_file(superseded.generation()),
            Err(why) => tracing::error!(
                volume = slot.id().0,
                "the volume was compacted, but the file of generation {} is kept: {why}; the next start \
                 removes it, and until then the volume is not compacted again",
                superseded.generation()
            ),
        }
        result
    }
}

/// Removes the file of the old generation. Until that is durable, no other compaction of the volume may
/// begin. A cancellation ends only the pauses between attempts.
async fn remove_old(slot: &Slot, old: GenerationFile) -> Result<(), NotCompacted> {
    let handle = slot.handle();
    let mut tries = 0;
    loop {
        // An earlier attempt may have removed the name, and failed to make that durable.
        let Err(error) = remove_others(handle, &mut vec![old]).await else { return Ok(()) };
        tries += 1;
        let pause = handle.sleep_until(handle.now() + PAUSE_NS);
        let is_last = tries == REMOVALS_MAX;
        if is_last || slot.compaction_task().unless_stopped(pause).await.is_err() {
            return Err(NotCompacted::Io("remove the old file", error));
        }
    }
}

/// Waits for a buffer that holds the longest needle. Requests have priority.
async fn work_buffer(run: &BackgroundRun<'_>) -> Result<WorkBuffer, NotCompacted> {
    let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
    loop {
        match run.buffer(None, len, BUFFER_WAIT_NS).await {
            Err(NoWorkBuffer::NoneFree) => {}
            Err(NoWorkBuffer::Stopped) => return Err(NotCompacted::Stopped),
            Ok(buf) => return Ok(buf),
        }
    }
}
