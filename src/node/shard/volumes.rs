//! The volumes of one shard: opens, changes and deletes them, performs tasks on them, and publishes their
//! metrics.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::manage::OrderError;
use super::task::{Conditions, Outcome, ReadKind, Task};
use crate::base::sabotage::{Sabotage, chosen};
use crate::node::board::VolumeState;
use crate::node::metrics::VolumeMetrics;
use crate::runtime::buffer::Buf;
use crate::runtime::op::{DirId, Op};
use crate::runtime::{Handle, join};
use crate::volume::{
    self, Check, CheckpointQueue, Existing, Expected, GetError, NotRemoved, OpenContext, OpenError,
    Progress, Refusal, Volume,
};

/// Pause between two attempts to open a volume while no buffer is free (nanoseconds).
const RETRY_NS: u64 = 100_000_000;
/// Interval between recovery progress messages (nanoseconds).
const PROGRESS_INTERVAL_NS: u64 = 5_000_000_000;
/// Time from the beginning of a recovery to its first progress message (nanoseconds).
const PROGRESS_DELAY_NS: u64 = 1_000_000_000;

/// A volume file that a shard is to open.
pub struct Assignment {
    /// Data directory.
    pub dir: PathBuf,
    /// Identity that the file must have, and settings of its index and checkpoints.
    pub expected: Expected,
    /// Metrics of the volume.
    pub metrics: Arc<VolumeMetrics>,
}

#[derive(Clone)]
enum State {
    Recovering,
    Open(Rc<Volume>),
    /// The file is being removed.
    Deleting(Rc<Volume>),
    Failed(String),
}

struct Entry {
    state: State,
    dir: DirId,
    generation: u64,
    /// Whether the volume is fenced because its file is no longer at its path.
    is_lost: bool,
    /// Number of commits when the metrics were published last.
    published_commits: Cell<u64>,
    /// Whether it is logged that the volume is full, or that an upload did not fit.
    is_full_logged: Cell<bool>,
    metrics: Arc<VolumeMetrics>,
}

/// The volumes of one shard.
#[derive(Default)]
pub struct Volumes {
    entries: RefCell<BTreeMap<u32, Entry>>,
    /// Open data directories.
    dirs: RefCell<BTreeMap<PathBuf, DirId>>,
    /// Queue of the volumes that want to write a checkpoint.
    turns: OnceCell<Rc<CheckpointQueue>>,
    /// Counters of deleted volumes, since the shard's totals must not decrease.
    gone: volume::Stats,
}

/// Stands for a directory that could not be opened; operations on it fail.
const NO_DIR: DirId = DirId(u32::MAX);

impl Volumes {
    /// Opens all volumes, four at a time. Each serves as soon as it is open.
    pub async fn open_all(&self, handle: &Handle, assignments: Vec<Assignment>) {
        for assignment in &assignments {
            self.announce(assignment);
        }
        let open = async |assignment: Assignment| self.open(handle, &assignment).await;
        four_at_a_time(assignments, open).await;
    }

    /// Opens a volume that was just created.
    ///
    /// # Errors
    /// [`OrderError::NotOpened`].
    pub async fn open_one(
        &self,
        handle: &Handle,
        assignment: Assignment,
    ) -> Result<(), OrderError> {
        self.announce(&assignment);
        self.open(handle, &assignment).await;
        match self.state(assignment.expected.volume.0)? {
            State::Failed(error) => Err(OrderError::NotOpened(error)),
            _ => Ok(()),
        }
    }

    fn announce(&self, assignment: &Assignment) {
        let entry = Entry {
            state: State::Recovering,
            dir: NO_DIR,
            generation: assignment.expected.generation,
            is_lost: false,
            published_commits: Cell::new(0),
            is_full_logged: Cell::new(false),
            metrics: Arc::clone(&assignment.metrics),
        };
        self.entries.borrow_mut().insert(assignment.expected.volume.0, entry);
    }

    async fn dir(&self, handle: &Handle, path: &Path) -> DirId {
        let known = self.dirs.borrow().get(path).copied();
        if let Some(dir) = known {
            return dir;
        }
        let opened = handle.submit(Op::OpenDir { path: path.to_owned() }).await.result;
        let Ok(number) = u32::try_from(opened) else { return NO_DIR };
        self.dirs.borrow_mut().insert(path.to_owned(), DirId(number));
        DirId(number)
    }

    async fn open(&self, handle: &Handle, assignment: &Assignment) {
        let id = assignment.expected.volume.0;
        let dir = self.dir(handle, &assignment.dir).await;
        let began = handle.now();
        let turns = self.turns.get_or_init(|| Rc::new(CheckpointQueue::new(handle)));
        let (metrics, log_at) = (&assignment.metrics, Cell::new(began + PROGRESS_DELAY_NS));
        let progress = |Progress { done, total }: Progress| {
            metrics.recovered_bytes.set(done);
            metrics.to_recover_bytes.set(total);
            if handle.now() >= log_at.get() {
                log_at.set(handle.now() + PROGRESS_INTERVAL_NS);
                tracing::info!(volume = id, "reading the log: {done} of about {total} bytes");
            }
        };
        let opened = loop {
            let context = OpenContext { progress: &progress, checkpoint_queue: Some(turns) };
            match volume::open_with(handle, dir, &assignment.expected, context).await {
                // Requests to other volumes hold all buffers at the moment.
                Err(OpenError::NoBuffer) => handle.sleep_until(handle.now() + RETRY_NS).await,
                opened => break opened,
            }
        };
        let ms = (handle.now() - began) / 1_000_000;
        let state = match &opened {
            Ok(volume) => {
                metrics.open_ms.set(ms);
                State::Open(Rc::clone(volume))
            }
            Err(error) => State::Failed(error.to_string()),
        };
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(&id).expect("announce added the entry");
        (entry.state, entry.dir) = (state, dir);
        drop(entries);
        self.publish();
        match opened {
            Ok(volume) => log_opened(&volume, ms),
            Err(error) => {
                let path = assignment.dir.display();
                tracing::error!(volume = id, "cannot open the volume in {path}: {error}");
            }
        }
    }

    fn state(&self, id: u32) -> Result<State, OrderError> {
        let entries = self.entries.borrow();
        entries.get(&id).map(|entry| entry.state.clone()).ok_or(OrderError::NoVolume)
    }

    fn set_state(&self, id: u32, state: State) {
        self.entries
            .borrow_mut()
            .get_mut(&id)
            .expect("one order at a time changes a volume")
            .state = state;
    }

    /// Returns an open volume that is to be changed.
    fn to_change(&self, id: u32) -> Result<Rc<Volume>, OrderError> {
        match self.state(id)? {
            State::Open(volume) => Ok(volume),
            State::Recovering => Err(OrderError::Recovering),
            State::Failed(error) => Err(OrderError::NotOpened(error)),
            State::Deleting(_) => Err(OrderError::NoVolume),
        }
    }

    /// Makes a volume read-only, or writable.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn set_read_only(&self, id: u32, read_only: bool) -> Result<(), OrderError> {
        let volume = self.to_change(id)?;
        let result = volume.set_read_only(read_only).await.map_err(OrderError::State);
        self.publish();
        result
    }

    /// Fences a volume whose file is no longer at its path: nothing more is written to it.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn fence(&self, id: u32) -> Result<(), OrderError> {
        self.to_change(id)?.fence();
        self.entries.borrow_mut().get_mut(&id).expect("to_change found the entry").is_lost = true;
        self.publish();
        Ok(())
    }

    /// Removes a volume and its file. Until the removal of the name is durable, tasks on the volume are
    /// refused; reads under way may finish.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn delete(&self, handle: &Handle, id: u32) -> Result<(), OrderError> {
        if self.entries.borrow().get(&id).is_some_and(|entry| entry.is_lost) {
            return Err(OrderError::Lost);
        }
        let before = self.state(id)?;
        match &before {
            State::Open(volume) => self.set_state(id, State::Deleting(Rc::clone(volume))),
            State::Failed(_) => {}
            State::Recovering => return Err(OrderError::Recovering),
            State::Deleting(_) => return Err(OrderError::NoVolume),
        }
        let (dir, generation) = {
            let entries = self.entries.borrow();
            let entry = &entries[&id];
            (entry.dir, entry.generation)
        };
        if let State::Open(volume) = &before
            && !chosen(Sabotage::CheckpointAfterRemoval)
        {
            // A checkpoint that ends later would leave its file behind.
            volume.stop_checkpoints().await;
        }
        if let Err(error) = volume::remove(handle, dir, id, generation).await {
            self.keep(id, before, error);
            return Err(OrderError::NotRemoved(error));
        }
        if let State::Open(volume) = before {
            volume.retire().await;
            self.gone.add(volume.stats());
        }
        self.entries.borrow_mut().remove(&id);
        Ok(())
    }

    /// Restores a volume whose file could not be removed. If the file has lost its name, it fences
    /// the volume.
    fn keep(&self, id: u32, state: State, error: NotRemoved) {
        let is_lost = matches!(error, NotRemoved::Nameless(_));
        if let State::Open(volume) = &state {
            match is_lost {
                true => volume.fence(),
                false => volume.resume_checkpoints(),
            }
        }
        self.set_state(id, state);
        self.entries.borrow_mut().get_mut(&id).expect("set_state found the entry").is_lost =
            is_lost;
        self.publish();
    }

    fn opened(&self) -> Vec<Rc<Volume>> {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            State::Open(volume) => Some(Rc::clone(volume)),
            State::Recovering | State::Deleting(_) | State::Failed(_) => None,
        });
        open.collect()
    }

    /// Closes all open volumes: admitted writes are committed, and the indexes are saved in checkpoints.
    pub async fn close_all(&self) {
        // Begin to close all before waiting for any: otherwise checkpoints under way would delay the others.
        let opened = self.opened();
        opened.iter().for_each(|volume| volume.begin_to_close());
        let close = async |volume: Rc<Volume>| volume.close().await;
        four_at_a_time(opened, close).await;
        self.publish();
    }

    /// Returns a volume of this shard, if it is open.
    ///
    /// # Errors
    /// The outcome that says why the volume is not available.
    pub fn local(&self, id: u32) -> Result<Rc<Volume>, Outcome> {
        match self.entries.borrow().get(&id).map(|entry| &entry.state) {
            Some(State::Open(volume)) => Ok(Rc::clone(volume)),
            Some(State::Recovering) => Err(Outcome::Recovering),
            Some(State::Deleting(_)) => Err(Outcome::Refused(Refusal::Closing)),
            Some(State::Failed(_)) => Err(Outcome::Failed),
            None => Err(Outcome::NoVolume),
        }
    }

    /// Returns the writable volume of this shard with the most free space, among those into which a body of
    /// `len` bytes fits.
    pub fn roomiest(&self, len: u64) -> Option<u32> {
        let open = self.opened();
        let fitting = open.iter().filter(|volume| volume.writable() && volume.has_space_for(len));
        let roomiest = fitting.max_by_key(|volume| {
            let figures = volume.figures();
            figures.size - figures.used
        });
        roomiest.map(|volume| volume.id().0)
    }

    /// Performs a task on a volume of this shard. `alloc` allocates the buffers of local reads.
    pub async fn perform(
        &self,
        id: u32,
        task: Task,
        mut alloc: impl FnMut(usize) -> Option<Buf>,
    ) -> Outcome {
        let volume = match self.local(id) {
            Ok(volume) => volume,
            Err(outcome) => return outcome,
        };
        match task {
            Task::Read { id, cookie, kind, mut buf } => {
                let foreign = buf.is_some();
                let mut buffer = |len: usize| {
                    if foreign { buf.take().filter(|buf| buf.len() >= len) } else { alloc(len) }
                };
                let read = match kind {
                    ReadKind::Whole => volume.get(id, cookie, &mut buffer).await,
                    ReadKind::Head => volume.head(id, cookie, &mut buffer).await,
                };
                match read {
                    Ok(needle) => Outcome::Read(needle, volume.writable()),
                    Err(GetError::NeedBuffer(_)) if !foreign => Outcome::NoBuffer,
                    Err(error) => Outcome::NotRead(error),
                }
            }
            Task::Put { id, cookie, draft, conditions } => {
                let holds = |existing: Option<&_>| hold(&conditions, existing);
                let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
                let stored = volume.put(id, cookie, draft, check).await;
                match self.written(&volume, stored) {
                    Ok(stored) => Outcome::Stored(stored, volume.writable()),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Task::Post { draft } => {
                let stored = volume.put_new(draft).await;
                match self.written(&volume, stored) {
                    Ok((id, cookie, stored)) => {
                        Outcome::Created(id, cookie, stored, volume.writable())
                    }
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Task::Check { id, cookie, conditions } => {
                let holds = |existing: Option<&_>| hold(&conditions, existing);
                let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
                match volume.may_put(id, cookie, check).await {
                    Ok(()) => Outcome::Possible(conditions),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Task::Delete { id, cookie, conditions } => {
                let holds = |existing: Option<&_>| hold(&conditions, existing);
                let check: Check<'_> = conditions.as_ref().map(|_| &holds as _);
                let deleted = volume.delete(id, cookie, check).await;
                match self.written(&volume, deleted) {
                    Ok(()) => Outcome::Deleted,
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
        }
    }

    /// Publishes the metrics of a volume after a write and before the write is answered, so that a client
    /// whose write is acknowledged sees it in the metrics. Does nothing if another write of the same commit
    /// has published them already. Returns `result`.
    pub fn written<T>(&self, volume: &Volume, result: Result<T, Refusal>) -> Result<T, Refusal> {
        let entries = self.entries.borrow();
        let Some(entry) = entries.get(&volume.id().0) else { return result };
        if volume.stats().commits.get() != entry.published_commits.get() {
            entry.publish();
        }
        if matches!(result, Err(Refusal::Full)) {
            entry.log_full(volume, "an upload did not fit");
        }
        result
    }

    /// Logs an upload that does not fit and returns its refusal.
    pub fn refused_for_room(&self, volume: &Volume) -> Refusal {
        let refused: Result<(), Refusal> = self.written(volume, Err(Refusal::Full));
        refused.expect_err("written returns the result unchanged")
    }

    /// Publishes the metrics of all volumes.
    pub fn publish(&self) {
        self.entries.borrow().values().for_each(Entry::publish);
    }

    /// Asserts that no volume has a reservation for an upload of a large body.
    ///
    /// # Panics
    /// When there is one.
    pub fn expect_no_uploads(&self) {
        self.each_open(Volume::expect_no_uploads);
    }

    /// Compares the counts of the open volumes with a recount. To be called only while no task uses them.
    ///
    /// # Panics
    /// When a count is wrong.
    pub fn expect_rest(&self) {
        self.each_open(Volume::expect_rest);
    }

    fn each_open(&self, check: impl Fn(&Volume)) {
        for entry in self.entries.borrow().values() {
            if let State::Open(volume) = &entry.state {
                check(volume);
            }
        }
    }

    /// Size of the buffers that volumes keep while they are open, and of those for checkpoints (bytes).
    pub fn buffer_bytes(&self) -> usize {
        let volumes = self.opened().iter().map(|volume| volume.buffer_bytes()).sum::<usize>();
        volumes + self.turns.get().map_or(0, |turns| turns.buffer_bytes())
    }

    /// Returns the sum of one counter over all volumes, including deleted ones.
    #[must_use]
    pub fn sum(&self, counter: impl Fn(&volume::Stats) -> u64) -> u64 {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            State::Open(volume) | State::Deleting(volume) => Some(counter(volume.stats())),
            State::Recovering | State::Failed(_) => None,
        });
        open.sum::<u64>() + counter(&self.gone)
    }
}

impl Entry {
    /// Publishes the metrics of the volume.
    fn publish(&self) {
        let (metrics, board) = (&self.metrics, &self.metrics.board);
        let volume = match &self.state {
            State::Open(volume) => volume,
            State::Failed(_) => {
                board.state.set(VolumeState::Failed);
                return;
            }
            State::Recovering | State::Deleting(_) => return,
        };
        self.published_commits.set(volume.stats().commits.get());
        let figures = volume.figures();
        board.size_bytes.set(figures.size);
        board.used_bytes.set(figures.used);
        metrics.live_bytes.set(figures.live);
        metrics.dead_bytes.set(figures.dead);
        metrics.needles.set(figures.needles);
        metrics.extents.set(figures.extents);
        metrics.index_bytes.set(figures.index);
        metrics.index_slots.set(figures.index_slots);
        metrics.index_overflow.set(figures.index_overflow);
        metrics.index_steps.raise_to(figures.index_steps);
        metrics.index_step_max.set(figures.index_step_max);
        metrics.tail_bytes.set(figures.used - crate::base::limits::TRAILER);
        let checkpoint = figures.checkpoint;
        metrics.open_read_bytes.set(checkpoint.opened_read);
        metrics.checkpoint_tail_bytes.set(checkpoint.tail);
        metrics.checkpoint_age_bytes.set(checkpoint.age);
        metrics.checkpoint_ms.set(checkpoint.last_ns / 1_000_000);
        for (counter, total) in [
            (&metrics.checkpoints, checkpoint.written),
            (&metrics.checkpoint_failures, checkpoint.failed),
            (&metrics.checkpoint_discards, checkpoint.discarded),
        ] {
            counter.raise_to(total);
        }
        let damaged = figures.damaged + volume.stats().damaged_reads.get();
        metrics.damaged_records.raise_to(damaged);
        board.state.set(if self.is_lost {
            VolumeState::Lost
        } else if volume.poisoned() {
            VolumeState::Poisoned
        } else if volume.writable() {
            VolumeState::Writable
        } else {
            VolumeState::ReadOnly
        });
        let is_full = volume.is_full();
        board.full.set(u64::from(is_full));
        if is_full && volume.writable() {
            self.log_full(volume, "the volume is full");
        }
    }

    /// Logs once that a volume is full or that an upload did not fit.
    fn log_full(&self, volume: &Volume, what: &str) {
        if !self.is_full_logged.replace(true) {
            let figures = volume.figures();
            tracing::warn!(
                volume = volume.id().0,
                "{what}: {} of {} bytes are used; uploads that do not fit are answered with 507. Make \
                 another volume (hayloft volume create)",
                figures.used,
                figures.size
            );
        }
    }
}

/// Runs `work` for each item, four at a time.
async fn four_at_a_time<T>(items: Vec<T>, work: impl AsyncFn(T)) {
    let items = RefCell::new(items.into_iter());
    let worker = async || {
        loop {
            let next = items.borrow_mut().next();
            let Some(item) = next else { return };
            work(item).await;
        }
    };
    join(join(worker(), worker()), join(worker(), worker())).await;
}

fn log_opened(volume: &Volume, ms: u64) {
    let id = volume.id().0;
    for place in volume.damage() {
        let (at, whose) = (place.at, place.id.map(|id| id.to_string()));
        tracing::error!(
            volume = id,
            "damage at byte {}, {} bytes, needle {}: the data around it is served",
            at.offset,
            at.len,
            whose.as_deref().unwrap_or("unknown")
        );
    }
    let figures = volume.figures();
    let (from, read) = (figures.checkpoint.opened_from, figures.checkpoint.opened_read);
    // Recovery also reads up to the length of the longest commit behind the log: a commit found there proves
    // damage rather than a torn tail.
    let log = volume.open_report().end.tail - from;
    tracing::info!(
        volume = id,
        "open after {ms} ms, {log} bytes of log and {} bytes behind it looked through: {} needles, {} bytes \
         used of {}, {} extents",
        read.saturating_sub(log),
        figures.needles,
        figures.used,
        figures.size,
        figures.extents
    );
}

fn hold(conditions: &Option<Conditions>, existing: Option<&Existing>) -> bool {
    conditions.as_ref().is_none_or(|conditions| conditions.hold(existing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{Cookie, NeedleId, VolumeId};
    use crate::node::board::{VolumeBoard, VolumeInfo};
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::sim::disk::Image;
    use crate::runtime::sim::{Fault, World};
    use crate::runtime::{Runtime, split_mix};
    use crate::volume::{Checkpointing, Draft, Preallocation, Superblock};

    const SUPERBLOCK: Superblock = Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(1),
        incarnation: 7,
        parent: 0,
        generation: 0,
        state: volume::SuperblockState::Live,
        size: 1 << 20,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: [1; 16],
        created_ns: 0,
        revision: 1,
    };

    fn assignment() -> Assignment {
        let info = VolumeInfo { id: 1, shard: 0, disk: 0, durable: true };
        let expected = Expected {
            volume: VolumeId(1),
            generation: 0,
            store: SUPERBLOCK.store,
            hash_bits: None,
            segments_max: None,
            checkpoints: None,
        };
        let board = Arc::new(VolumeBoard::new(info, VolumeState::Recovering));
        let metrics = Arc::new(VolumeMetrics::new(board));
        Assignment { dir: "data".into(), expected, metrics }
    }

    fn put(pool: &Pool) -> Task {
        let draft = Draft::new(pool, None, 4).unwrap();
        Task::Put { id: NeedleId::new(1, 0), cookie: Cookie(1), draft, conditions: None }
    }

    /// Deletes a volume with a fault on disk operation `n` of the deletion. Returns the error, whether a PUT
    /// succeeds afterwards, the result of a second deletion, and whether the file still has its name.
    fn deleted(n: u64) -> (OrderError, bool, Result<(), OrderError>, bool) {
        let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
        let world = World::new(n, &Image::default());
        let (mut driver, mut state) = (world.driver(), n);
        let mut runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        let handle = runtime.handle().clone();
        let of = world.clone();
        let result = runtime.block_on(&mut driver, async move {
            let volumes = Volumes::default();
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            let how = Preallocation::Reserve;
            volume::create(&handle, DirId(0), &SUPERBLOCK, how, |_| ()).await.unwrap();
            volumes.open_one(&handle, assignment()).await.unwrap();
            of.fail(n, Fault::Errno(5));
            let error = volumes.delete(&handle, 1).await.unwrap_err();
            let stored = volumes.perform(1, put(&pool), |len| pool.alloc(len)).await;
            let is_stored = matches!(stored, Outcome::Stored(..));
            (error, is_stored, volumes.delete(&handle, 1).await)
        });
        (
            result.0,
            result.1,
            result.2,
            world.look(|seen| seen.image().files.contains_key("1.0.vol")),
        )
    }

    #[test]
    fn a_volume_that_could_not_be_deleted_acknowledges_nothing_that_may_be_lost() {
        let (error, is_stored, again, is_there) = deleted(2);
        assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Kept(_))), "{error}");
        assert!(is_stored, "its file is still at its path");
        assert!(again.is_ok() && !is_there);
        let (error, is_stored, again, is_there) = deleted(3);
        assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Nameless(_))), "{error}");
        assert!(!is_stored && !is_there, "its file has no name");
        assert_eq!(again, Err(OrderError::Lost));
    }

    /// Deletes a volume while a checkpoint of it is being written. Returns the names that are left.
    fn left_of_a_checkpoint(seed: u64) -> Vec<String> {
        with_volume(seed, move |handle, world, volumes| async move {
            let pool = handle.pool().clone();
            let stored = volumes.perform(1, put(&pool), |len| pool.alloc(len)).await;
            assert!(matches!(stored, Outcome::Stored(..)));
            let begun = handle.now() + seed * 40_000;
            handle.sleep_until(begun).await;
            volumes.delete(&handle, 1).await.unwrap();
            handle.sleep_until(begun + 60_000_000_000).await;
            names(&world)
        })
    }

    #[test]
    fn no_checkpoint_comes_back_after_its_volume_was_deleted() {
        for seed in 0..200 {
            let left = left_of_a_checkpoint(seed);
            assert!(left.is_empty(), "seed {seed}: {left:?}");
        }
    }

    /// Runs `test` in a simulated world with volume 1 open, which writes a checkpoint after each commit.
    fn with_volume<T: 'static, F: Future<Output = T> + 'static>(
        seed: u64,
        test: impl FnOnce(Handle, World, Rc<Volumes>) -> F + 'static,
    ) -> T {
        let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
        let world = World::new(seed, &Image::default());
        let (mut driver, mut state) = (world.driver(), seed);
        let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut state));
        let (handle, of) = (runtime.handle().clone(), world.clone());
        runtime.block_on(&mut driver, async move {
            let volumes = Rc::new(Volumes::default());
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            let how = Preallocation::Reserve;
            volume::create(&handle, DirId(0), &SUPERBLOCK, how, |_| ()).await.unwrap();
            let mut assignment = assignment();
            assignment.expected.checkpoints = Some(Checkpointing { interval: 1, rate: 0 });
            volumes.open_one(&handle, assignment).await.unwrap();
            test(handle, of, volumes).await
        })
    }

    fn names(world: &World) -> Vec<String> {
        world.look(|seen| seen.image().files.keys().cloned().collect())
    }

    #[test]
    fn a_volume_that_could_not_be_deleted_goes_on_with_its_checkpoints() {
        let kept = (0..12).filter(|&n| {
            with_volume(n, move |handle, world, volumes| async move {
                world.fail(n, Fault::Errno(5));
                let deleted = volumes.delete(&handle, 1).await;
                let Err(OrderError::NotRemoved(NotRemoved::Kept(_))) = deleted else {
                    return false;
                };
                let pool = handle.pool().clone();
                let stored = volumes.perform(1, put(&pool), |len| pool.alloc(len)).await;
                assert!(matches!(stored, Outcome::Stored(..)), "operation {n}");
                handle.sleep_until(handle.now() + 400_000_000_000).await;
                assert_eq!(names(&world), ["1.0.ckpt", "1.0.vol"], "operation {n}");
                true
            })
        });
        assert!(kept.count() > 0, "no operation whose failure keeps the volume");
    }

    #[test]
    fn nothing_is_acknowledged_while_a_volume_is_being_deleted() {
        let refused = (0..40).map(|seed| {
            with_volume(seed, |handle, _, volumes| async move {
                let is_deleted = Rc::new(Cell::new(false));
                let (deleting, own, done) =
                    (Rc::clone(&volumes), handle.clone(), Rc::clone(&is_deleted));
                handle.spawn(async move {
                    deleting.delete(&own, 1).await.unwrap();
                    done.set(true);
                });
                handle.yield_now().await;
                let mut refused = 0;
                while !is_deleted.get() {
                    let pool = handle.pool().clone();
                    let stored = volumes.perform(1, put(&pool), |len| pool.alloc(len)).await;
                    assert!(
                        !matches!(stored, Outcome::Stored(..)),
                        "stored in a file that is being deleted"
                    );
                    refused += usize::from(matches!(stored, Outcome::Refused(Refusal::Closing)));
                    handle.sleep_until(handle.now() + 10_000).await;
                }
                refused
            })
        });
        assert!(refused.sum::<usize>() >= 40, "too few writes were refused during the deletions");
    }

    #[test]
    fn a_volume_is_opened_when_there_are_buffers() {
        with_volume(1, |handle, _, volumes| async move {
            volumes.close_all().await;
            let all = handle.pool().alloc(handle.pool().capacity() - handle.pool().used()).unwrap();
            let opened = Rc::new(Cell::new(false));
            let (own, done) = (handle.clone(), Rc::clone(&opened));
            let again = Rc::new(Volumes::default());
            let its = Rc::clone(&again);
            handle.spawn(async move {
                its.open_one(&own, assignment()).await.unwrap();
                done.set(true);
            });
            handle.sleep_until(handle.now() + 3_000_000_000).await;
            assert!(!opened.get() && matches!(again.local(1), Err(Outcome::Recovering)));
            drop(all);
            handle.sleep_until(handle.now() + 3_000_000_000).await;
            assert!(opened.get() && again.local(1).is_ok());
        });
    }
}
