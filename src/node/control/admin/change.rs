//! Changes to volumes that the admin API requests from the daemon's main thread, and their results.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::oneshot;

use crate::base::size::ByteSize;

/// The body of `POST /volumes`: a volume to create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVolume {
    /// Volume id; absent: one above the highest id in use.
    pub id: Option<u32>,
    /// Size of the file; absent: `volume_size` of the configuration.
    pub size: Option<ByteSize>,
    /// Position of the data directory; absent: the one with the most free space.
    pub disk: Option<u32>,
}

/// A change to volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create a volume. Answered once the creation is accepted; its progress is in [`Creations`].
    Create(NewVolume),
    /// Delete a volume, or the record of a creation that failed.
    Delete(u32),
    /// Make a volume read-only or writable.
    SetReadOnly {
        /// Volume id.
        id: u32,
        /// True for read-only, false for writable.
        read_only: bool,
    },
}

/// Why nothing was changed. The sentences are for operators and say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no volume with this id.
    NoSuchVolume(u32),
    /// The request is invalid.
    Invalid(String),
    /// The request conflicts with the present state.
    Conflict(String),
    /// There is not enough free space on the disk, or no file descriptor left for one more volume.
    NoSpace(String),
    /// Too many changes are under way.
    Busy,
    /// The change failed.
    Failed(String),
}

/// Result of a change: the id of the volume.
pub type Answer = Result<u32, Refused>;

/// A request for a change, sent to the main thread. Dropping it unanswered means that the daemon stops.
#[derive(Debug)]
pub struct Request {
    /// The requested change.
    pub change: Change,
    reply: oneshot::Sender<Answer>,
}

impl Request {
    /// Creates a request, and the receiver of its answer.
    pub(super) fn new(change: Change) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        (Self { change, reply }, answer)
    }

    /// Sends the answer.
    pub fn answer(self, answer: Answer) {
        if let Err(unsent) = self.reply.send(answer) {
            tracing::debug!("the client of a change has gone: {unsent:?} is not sent");
        }
    }
}

/// A volume that is being created, or whose creation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Position of its data directory.
    pub disk: u32,
    /// Size of the file (bytes).
    pub size: u64,
    /// Prepared part of the file (bytes).
    pub done: u64,
    /// Why the creation failed; `None` while it is under way.
    pub failed: Option<Refused>,
}

/// The volumes that are being created, or whose creation failed. The main thread writes; any thread may read.
#[derive(Debug, Default)]
pub struct Creations(Mutex<BTreeMap<u32, Creation>>);

impl Creations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Creation>> {
        // No code under this lock leaves the map inconsistent when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the creation of a volume.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Creation> {
        self.lock().get(&id).cloned()
    }

    /// All creations, by ascending volume id.
    #[must_use]
    pub fn all(&self) -> Vec<(u32, Creation)> {
        self.lock().iter().map(|(id, creation)| (*id, creation.clone())).collect()
    }

    /// Records the start of a creation of `size` bytes; replaces one that failed.
    pub fn begin(&self, id: u32, disk: u32, size: u64) {
        self.lock().insert(id, Creation { disk, size, done: 0, failed: None });
    }

    /// Records the prepared part of the file (bytes).
    pub fn progress(&self, id: u32, done: u64) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.done = done;
        }
    }

    /// Records the failure of a creation.
    pub fn fail(&self, id: u32, why: Refused) {
        if let Some(creation) = self.lock().get_mut(&id) {
            creation.failed = Some(why);
        }
    }

    /// Removes a creation: it has succeeded, or its failure was deleted.
    pub fn end(&self, id: u32) {
        self.lock().remove(&id);
    }
}
