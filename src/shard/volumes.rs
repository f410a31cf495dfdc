//! The volumes of one shard: opening them, doing what is asked of them, and their figures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::task::{Conditions, Outcome, Task, Want};
use crate::buffer::Buf;
use crate::metrics::{VolumeMetrics, VolumeState};
use crate::op::{DirId, Op};
use crate::runtime::Handle;
use crate::volume::{self, Check, Existing, Expected, GetError, OpenError, Volume};

/// Pause before opening a volume is tried again for want of buffers (nanoseconds).
const RETRY_NS: u64 = 100_000_000;

/// A volume file that a shard is to open.
pub struct Assignment {
    /// Data directory.
    pub dir: PathBuf,
    /// What the file must be.
    pub expected: Expected,
    /// Where its figures go.
    pub metrics: Arc<VolumeMetrics>,
}

enum State {
    Recovering,
    Open(Rc<Volume>),
    Failed,
}

struct Entry {
    state: State,
    metrics: Arc<VolumeMetrics>,
}

/// The volumes of one shard.
#[derive(Default)]
pub struct Volumes {
    entries: RefCell<BTreeMap<u32, Entry>>,
}

impl Volumes {
    /// Opens one volume after the other; each serves as soon as it is open.
    pub async fn open_all(&self, handle: &Handle, assignments: Vec<Assignment>) {
        self.announce(&assignments);
        let mut dirs: BTreeMap<PathBuf, DirId> = BTreeMap::new();
        for assignment in assignments {
            let dir = match dirs.get(&assignment.dir) {
                Some(dir) => *dir,
                None => {
                    let path = assignment.dir.clone();
                    let opened = handle.submit(Op::OpenDir { path }).await.result;
                    // A directory that cannot be opened shows as files that cannot.
                    let dir = DirId(u32::try_from(opened).unwrap_or(u32::MAX));
                    dirs.insert(assignment.dir.clone(), dir);
                    dir
                }
            };
            self.open(handle, dir, &assignment).await;
        }
    }

    fn announce(&self, assignments: &[Assignment]) {
        let mut entries = self.entries.borrow_mut();
        for assignment in assignments {
            let metrics = Arc::clone(&assignment.metrics);
            let entry = Entry { state: State::Recovering, metrics };
            entries.insert(assignment.expected.volume.0, entry);
        }
    }

    async fn open(&self, handle: &Handle, dir: DirId, assignment: &Assignment) {
        let id = assignment.expected.volume.0;
        let began = handle.now();
        let opened = loop {
            match volume::open(handle, dir, &assignment.expected).await {
                // Clients of other volumes have them all for the moment.
                Err(OpenError::NoBuffer) => handle.sleep_until(handle.now() + RETRY_NS).await,
                opened => break opened,
            }
        };
        let ms = (handle.now() - began) / 1_000_000;
        let state = match opened {
            Ok(volume) => {
                for place in volume.damage() {
                    let (at, whose) = (place.at, place.id.map(|id| id.to_string()));
                    tracing::error!(
                        volume = id,
                        "damage at byte {}, {} bytes, needle {}: what stands around it is served",
                        at.offset,
                        at.len,
                        whose.as_deref().unwrap_or("unknown")
                    );
                }
                let figures = volume.figures();
                tracing::info!(
                    volume = id,
                    "open after {ms} ms: {} needles, {} bytes used of {}, {} extents",
                    figures.needles,
                    figures.used,
                    figures.size,
                    figures.extents
                );
                State::Open(volume)
            }
            Err(error) => {
                let dir = assignment.dir.display();
                tracing::error!(volume = id, "cannot open the volume in {dir}: {error}");
                State::Failed
            }
        };
        self.entries.borrow_mut().get_mut(&id).expect("assigned").state = state;
        self.publish();
    }

    fn opened(&self) -> Vec<Rc<Volume>> {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            State::Open(volume) => Some(Rc::clone(volume)),
            State::Recovering | State::Failed => None,
        });
        open.collect()
    }

    /// Closes all: what was admitted is committed.
    pub async fn close_all(&self) {
        for volume in self.opened() {
            volume.close().await;
        }
        self.publish();
    }

    /// A volume of this shard, if it is open.
    ///
    /// # Errors
    /// What is the matter with it.
    pub fn local(&self, id: u32) -> Result<Rc<Volume>, Outcome> {
        match self.entries.borrow().get(&id).map(|entry| &entry.state) {
            Some(State::Open(volume)) => Ok(Rc::clone(volume)),
            Some(State::Recovering) => Err(Outcome::Recovering),
            Some(State::Failed) => Err(Outcome::Failed),
            None => Err(Outcome::NoVolume),
        }
    }

    /// The writable volume of this shard that has the most room, if a body of `len` bytes fits.
    pub fn roomiest(&self, len: u64) -> Option<u32> {
        let open = self.opened();
        let fitting = open.iter().filter(|volume| volume.writable() && volume.has_room_for(len));
        let roomiest = fitting.max_by_key(|volume| {
            let figures = volume.figures();
            figures.size - figures.used
        });
        roomiest.map(|volume| volume.id().0)
    }

    /// Does what is asked of a volume of this shard. `alloc` gives buffers for reads.
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
            Task::Read { id, cookie, want, mut buf } => {
                let foreign = buf.is_some();
                let mut buffer = |len: usize| {
                    if foreign { buf.take().filter(|buf| buf.len() >= len) } else { alloc(len) }
                };
                let read = match want {
                    Want::Whole => volume.get(id, cookie, &mut buffer).await,
                    Want::Head => volume.head(id, cookie, &mut buffer).await,
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
                match volume.put(id, cookie, draft, check).await {
                    Ok(stored) => Outcome::Stored(stored, volume.writable()),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Task::Post { draft } => match volume.put_new(draft).await {
                Ok((id, cookie, stored)) => Outcome::Created(id, cookie, stored, volume.writable()),
                Err(refusal) => Outcome::Refused(refusal),
            },
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
                match volume.delete(id, cookie, check).await {
                    Ok(()) => Outcome::Deleted,
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
        }
    }

    /// Writes the figures to where the admin thread reads them.
    pub fn publish(&self) {
        for entry in self.entries.borrow().values() {
            let metrics = &entry.metrics;
            let State::Open(volume) = &entry.state else {
                if matches!(entry.state, State::Failed) {
                    metrics.state.set(VolumeState::Failed);
                }
                continue;
            };
            let figures = volume.figures();
            metrics.size_bytes.set(figures.size);
            metrics.used_bytes.set(figures.used);
            metrics.live_bytes.set(figures.live);
            metrics.dead_bytes.set(figures.dead);
            metrics.needles.set(figures.needles);
            metrics.extents.set(figures.extents);
            metrics.index_bytes.set(figures.index);
            metrics.tail_bytes.set(figures.used - crate::limits::TRAILER);
            let damaged = figures.damaged + volume.stats().damaged_reads.get();
            metrics.damaged_records.add(damaged - metrics.damaged_records.get());
            metrics.state.set(if volume.poisoned() {
                VolumeState::Poisoned
            } else if volume.writable() {
                VolumeState::Writable
            } else {
                VolumeState::ReadOnly
            });
        }
    }

    /// Adds up one counter over all volumes.
    #[must_use]
    pub fn sum(&self, counter: impl Fn(&volume::Stats) -> u64) -> u64 {
        let entries = self.entries.borrow();
        let open = entries.values().filter_map(|entry| match &entry.state {
            State::Open(volume) => Some(counter(volume.stats())),
            State::Recovering | State::Failed => None,
        });
        open.sum()
    }
}

fn hold(conditions: &Option<Conditions>, existing: Option<&Existing>) -> bool {
    conditions.as_ref().is_none_or(|conditions| conditions.hold(existing))
}
