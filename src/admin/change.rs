//! What the admin API asks the daemon's main thread to change, and what it is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::oneshot;

use crate::size::ByteSize;

/// A volume to be made, as `POST /volumes` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVolume {
    /// Its number; absent: the next one that is free.
    pub id: Option<u32>,
    /// Size of its file; absent: `volume_size` of the configuration.
    pub size: Option<ByteSize>,
    /// Position of its data directory; absent: the one with the most free space.
    pub disk: Option<u32>,
}

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a volume. Answered once it is clear that it can begin; the rest shows in [`Creations`].
    Create(NewVolume),
    /// Delete a volume, or forget a creation that failed.
    Delete(u32),
    /// Make a volume read-only, or writable.
    SetReadOnly {
        /// Which.
        id: u32,
        /// Which of the two.
        read_only: bool,
    },
}

/// Why nothing was changed, each with a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such volume.
    NoSuchVolume(u32),
    /// What is asked for cannot be.
    Invalid(String),
    /// It does not go with the present state.
    Conflict(String),
    /// There is no room on the disk, or no descriptor left for one more volume.
    NoSpace(String),
    /// Too much is being changed already.
    Busy,
    /// It went wrong.
    Failed(String),
}

/// What the main thread answers: the volume it is about.
pub type Answer = Result<u32, Refused>;

/// A change on its way to the main thread. Dropping it says that the daemon stops.
#[derive(Debug)]
pub struct Request {
    /// What is to change.
    pub change: Change,
    reply: oneshot::Sender<Answer>,
}

impl Request {
    /// A request, and where its answer will come.
    pub(super) fn new(change: Change) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        (Self { change, reply }, answer)
    }

    /// Answers it.
    pub fn answer(self, answer: Answer) {
        if let Err(unheard) = self.reply.send(answer) {
            tracing::debug!("nobody waits for the answer any more: {unheard:?}");
        }
    }
}

/// A volume that is being made, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Position of its data directory.
    pub disk: u32,
    /// Size of its file (bytes).
    pub size: u64,
    /// How much of it is prepared (bytes).
    pub done: u64,
    /// Why it could not be made.
    pub failed: Option<Refused>,
}

/// The volumes that are being made, or could not be. The main thread writes; anybody may read.
#[derive(Debug, Default)]
pub struct Creations(Mutex<BTreeMap<u32, Creation>>);

impl Creations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Creation>> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Creation> {
        self.lock().get(&id).cloned()
    }

    /// All of them, by rising id.
    #[must_use]
    pub fn all(&self) -> Vec<(u32, Creation)> {
        self.lock().iter().map(|(id, creation)| (*id, creation.clone())).collect()
    }

    /// Begins one, or tries it again.
    pub fn begin(&self, id: u32, disk: u32, size: u64) {
        self.lock().insert(id, Creation { disk, size, done: 0, failed: None });
    }

    /// So much of it is prepared (bytes).
    pub fn progress(&self, id: u32, done: u64) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.done = done;
        }
    }

    /// It could not be made.
    pub fn fail(&self, id: u32, why: Refused) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.failed = Some(why);
        }
    }

    /// It is made, or forgotten.
    pub fn end(&self, id: u32) {
        self.lock().remove(&id);
    }
}
