//! A compaction under way: copying, catching up, reading back, and the exchange.

use std::rc::Rc;

use super::commit_writer::CommitWriter;
use super::compacted::Compacted;
use super::copier::{Copier, Mode};
use super::not_compacted::NotCompacted;
use super::order::CompactionOrder;
use super::pass::Pass;
use super::read_back::read_back;
use super::swap::{OnSwap, Swap};
use crate::base::limits::{COMMIT_LEN_TARGET, LOG_START};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::background::{BackgroundRun, NoWorkBuffer, Pace, WorkBuffer};
use crate::volume::log::LogEnd;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::WINDOW;
use crate::volume::slot::compaction_progress::{CompactionPhase, CompactionProgress};
use crate::volume::{Slot, Volume};

/// Passes over what was written meanwhile, after which the compaction is given up.
const ROUNDS_MAX: u32 = 8;
/// Length of what was written meanwhile that is short enough to be carried over while writers wait (bytes).
const REST_MAX: u64 = 256 << 10;
/// Times that the exchange is tried while writes hang.
const EXCHANGES_MAX: u32 = 5;
/// Pause before the exchange is tried again (nanoseconds).
const PAUSE_NS: u64 = 1_000_000_000;
/// Size of a pool from which a compaction takes a second buffer for writes (bytes).
const POOL_FOR_TWO: usize = 32 << 20;
/// Pause before the compaction tries again to get its buffers (nanoseconds).
const BUFFER_PAUSE_NS: u64 = 50_000_000;
/// Delay of each write to the volume when writes arrive faster than they are copied (nanoseconds). It doubles
/// with each further round.
const SLOWED_NS: u64 = 2_000_000;

/// A compaction up to the exchange.
pub struct Work<'a> {
    /// The slot.
    pub slot: &'a Rc<Slot>,
    /// The old generation.
    pub old: Rc<Volume>,
    /// The new generation.
    pub new: Rc<Volume>,
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
    pub async fn begin(
        slot: &'a Rc<Slot>,
        old: Rc<Volume>,
        new: &Rc<Volume>,
        order: &'a CompactionOrder,
    ) -> Result<Self, NotCompacted> {
        let handle = &old.handle;
        let pace = order.pace.clone().sharing(&old.pace).sharing(&new.pace);
        let mut run = BackgroundRun::new(&slot.handle, Some(slot.compaction_task()), pace.clone());
        let count = if handle.pool().capacity() >= POOL_FOR_TWO { 3 } else { 2 };
        let mut bufs = work_buffers(&run, count).await?.into_iter();
        let [window, buf] = [(); 2].map(|()| bufs.next().expect("there are two at least"));
        let spare = bufs.next();
        run.begin(old.log.tail() - LOG_START);
        let reader = LogReader::new(&old, window, order.accept_losses);
        let writer = CommitWriter::new(new, buf, spare);
        let copier = Copier::new(&old, new, order, reader, writer);
        Ok(Self {
            slot,
            old,
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
    pub async fn build(mut self, on_swap: OnSwap<'_>) -> Result<Self, NotCompacted> {
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
        let progress = self.slot.compaction_progress();
        let mut gate = progress.gate;
        let swap = Swap {
            slot: self.slot,
            old: &self.old,
            new: &self.new,
            dir: self.order.target,
            from: self.carried_to,
            copier: &mut self.copier,
            gate: &mut gate,
        };
        let exchanged = swap.exchange(on_swap).await;
        self.slot.set_compaction_progress(CompactionProgress { gate, ..progress });
        exchanged
    }

    /// Carries over what lives up to `to`.
    async fn carry(&mut self, to: u64) -> Result<(), NotCompacted> {
        self.copier.reader.clear();
        let from = self.carried_to;
        let (slot, phase, read) = (self.slot, self.phase, self.result.read);
        let gate = slot.compaction_progress().gate;
        let on_step = |copier: &Copier, done: u64| {
            slot.set_compaction_progress(CompactionProgress {
                phase,
                done,
                total: to,
                read: read + copier.reader.bytes_read,
                written: copier.writer.bytes_written,
                gate,
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
                self.lift_pace();
                if !chosen(Sabotage::NeverSlowWriters) {
                    self.slot.slow_writes(slowed);
                }
                slowed = (2 * slowed).max(SLOWED_NS);
            }
            last = left;
            self.result.rounds += 1;
            self.carry(to).await?;
        }
        if self.is_rest_short() { Ok(()) } else { Err(NotCompacted::TooManyWrites) }
    }

    fn lift_pace(&mut self) {
        if !chosen(Sabotage::KeepPace) {
            self.run.set_pace(self.pace.clone().lifted());
        }
    }

    /// Whether what is left after all rounds may be carried over while writers wait.
    fn is_rest_short(&self) -> bool {
        let left = self.old.log.tail() - self.carried_to;
        left <= COMMIT_LEN_TARGET || chosen(Sabotage::NeverGiveUp)
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

    /// Reads back what was written since, after the exchange. Writes to the new generation itself are not
    /// part of it.
    pub async fn read_rest_back(&mut self) -> Result<(), NotCompacted> {
        self.run = BackgroundRun::new(self.slot.handle(), None, Pace::UNLIMITED);
        if !self.order.verify {
            return Ok(());
        }
        self.verify_to(self.copier.writer.end(), Pace::UNLIMITED).await
    }

    /// Figures of the compaction so far.
    pub fn result(&self) -> Compacted {
        Compacted {
            read: self.result.read + self.copier.reader.bytes_read,
            written: self.copier.writer.bytes_written,
            used_before: self.old.figures().used,
            used_after: self.new.figures().used,
            carried: self.copier.carried,
            gate: self.slot.compaction_progress().gate,
            ..self.result
        }
    }

    /// Writes the checkpoint of the new generation, so that a start soon after reads little. Without it a
    /// start reads the log.
    async fn write_checkpoint(&mut self) {
        // The outcome was logged.
        let _ = self.new.write_first_checkpoint().await;
    }

    pub fn enter_phase(&mut self, phase: CompactionPhase) {
        self.phase = phase;
        let progress = self.slot.compaction_progress();
        self.slot.set_compaction_progress(CompactionProgress { phase, ..progress });
    }
}

/// Waits until there are `count` buffers that hold the longest needle each, and takes all of them at once:
/// two compactions that each hold some and wait for more would wait for ever. Requests have priority.
async fn work_buffers(
    run: &BackgroundRun<'_>,
    count: usize,
) -> Result<Vec<WorkBuffer>, NotCompacted> {
    let len = usize::try_from(WINDOW).expect("about 1.5 MiB");
    loop {
        let mut bufs = Vec::with_capacity(count);
        while bufs.len() < count {
            match run.buffer(None, len, 0).await {
                Ok(buf) => bufs.push(buf),
                Err(NoWorkBuffer::NoneFree) if chosen(Sabotage::BuffersOneByOne) => {
                    run.wait(BUFFER_PAUSE_NS).await?;
                }
                Err(NoWorkBuffer::NoneFree) => break,
                Err(NoWorkBuffer::Stopped) => return Err(NotCompacted::Stopped),
            }
        }
        if bufs.len() == count {
            return Ok(bufs);
        }
        drop(bufs);
        run.wait(BUFFER_PAUSE_NS).await?;
    }
}
