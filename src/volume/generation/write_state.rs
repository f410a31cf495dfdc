//! The answer to "may this volume be written?".

use crate::volume::error::{IoError, Refusal};
use crate::volume::format::SuperblockState;

/// Whether an open volume may be written, and why not. It is the only answer: nothing else in the engine
/// decides whether a PUT, a DELETE, a tail hint or a checkpoint goes on.
///
/// | state | PUT | DELETE | commits | hints | checkpoints |
/// | --- | --- | --- | --- | --- | --- |
/// | [`Writable`](Self::Writable) | yes | yes | yes | yes | yes |
/// | [`Full`](Self::Full) | if it fits | yes | yes | yes | yes |
/// | [`ReadOnly`](Self::ReadOnly), except for the next rows | no | no | yes | yes | yes |
/// | `ReadOnly` because it is a [`Replica`](ReadOnlyReason::Replica) | copies | copies | yes | yes | yes |
/// | `ReadOnly` because of its [`Cluster`](ReadOnlyReason::Cluster) | no | if allowed | yes | yes | yes |
/// | `ReadOnly` because of [`Inspection`](ReadOnlyReason::Inspection) | no | no | no | no | no |
/// | [`Fenced`](Self::Fenced), except for the next row | no | no | no | no | no |
/// | `Fenced` because it is [`Suspect`](FenceReason::Suspect) | no | no | yes | yes | yes |
/// | [`Poisoned`](Self::Poisoned) | no | no | no | no | no |
/// | [`StateUnknown`](Self::StateUnknown) | no | no | no | no | no |
/// | [`Closing`](Self::Closing) | no | no | yes | yes | yes |
/// | [`Closed`](Self::Closed) | no | no | no | no | yes |
/// | [`Building`](Self::Building) | no | no | no | no | yes |
/// | [`Superseded`](Self::Superseded) | no | no | no | no | no |
///
/// *PUT* and *DELETE*: whether a needle or a tombstone may join a commit. *Commits*: whether what has
/// joined is still written. *Hints*, *checkpoints*: whether they are still written. Reads go on in every
/// state until the file is closed.
///
/// A state changes by the transitions below only. Each panics if it is not legal in the present state.
/// Fenced, poisoned and unknown states last until the process ends: transitions that an operator or the
/// end of the process asks for leave them as they are. A suspect volume is one that an operator can clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteState {
    /// Takes all writes.
    Writable,
    /// Has no space for a body of 1 MiB, or no memory for the index. Shorter bodies may still fit. If the
    /// blocks of the file are reserved in steps, only reserved blocks are space once a step has failed.
    /// Derived when it is asked for ([`Volume::write_state`](crate::volume::Volume::write_state)), never
    /// held.
    Full,
    /// Takes no writes by intention.
    ReadOnly(ReadOnlyReason),
    /// A restart might not find what is written, so no write is admitted any more.
    Fenced(FenceReason),
    /// A write failed with this error. Nothing is written after it.
    Poisoned(IoError),
    /// Changing the state in the superblock failed with this error: the copies on disk hold the old or the
    /// new state. Nothing is written any more, and a restart shows which state it has.
    StateUnknown(IoError),
    /// Is being closed: what has joined a commit is written, then a hint of a clean close.
    Closing,
    /// The log is closed. Only a last checkpoint may follow.
    Closed,
    /// Is being built by a compaction: only that writes to it.
    Building,
    /// Another generation of the volume has taken its place. Nothing is written any more.
    Superseded,
}

/// Reason why a volume is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnlyReason {
    /// The operator made it read-only.
    Operator,
    /// The operator is making it read-only: commits that were admitted before are being written.
    Changing,
    /// It is sealed, which is permanent.
    Sealed,
    /// It was opened to be inspected: its file is not changed.
    Inspection,
    /// It is a copy of another volume, and takes writes of that one only. Derived when it is asked for
    /// ([`Volume::write_state`](crate::volume::Volume::write_state)), never held.
    Replica,
    /// Its cluster has closed it to writes, perhaps except for deletes. Derived when it is asked for
    /// ([`Volume::write_state`](crate::volume::Volume::write_state)), never held.
    Cluster,
}

/// Reason why a volume is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceReason {
    /// Its file is no longer at its path. What was admitted is not acknowledged any more.
    FileLost,
    /// Too many reads of it, or of its disk, failed. What was admitted before is still written. An operator
    /// can clear it.
    Suspect,
}

impl WriteState {
    /// Returns the state of a volume that was opened for writing, from the state in its superblock.
    ///
    /// # Panics
    /// If the volume is *building*: such a file is not opened.
    #[must_use]
    pub(in crate::volume) fn opened(set: SuperblockState) -> Self {
        match set {
            SuperblockState::Live => Self::Writable,
            SuperblockState::ReadOnly => Self::ReadOnly(ReadOnlyReason::Operator),
            SuperblockState::Sealed => Self::ReadOnly(ReadOnlyReason::Sealed),
            SuperblockState::Building => panic!("a volume that is being built is not opened"),
        }
    }

    /// Returns whether a PUT may join a commit, if its needle fits.
    #[must_use]
    pub fn takes_puts(self) -> bool {
        match self {
            Self::Writable | Self::Full => true,
            Self::ReadOnly(_)
            | Self::Fenced(_)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed
            | Self::Building
            | Self::Superseded => false,
        }
    }

    /// Returns whether a DELETE may join a commit.
    #[must_use]
    pub fn takes_deletes(self) -> bool {
        match self {
            Self::Writable | Self::Full => true,
            Self::ReadOnly(_)
            | Self::Fenced(_)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed
            | Self::Building
            | Self::Superseded => false,
        }
    }

    /// Returns whether what has joined a commit is still written.
    #[must_use]
    pub fn takes_commits(self) -> bool {
        match self {
            Self::Writable | Self::Full | Self::Closing => true,
            Self::ReadOnly(reason) => reason.may_write_file(),
            Self::Fenced(reason) => reason.may_write_file(),
            Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closed
            | Self::Building
            | Self::Superseded => false,
        }
    }

    /// Returns whether tail hints are still written.
    #[must_use]
    pub fn takes_hints(self) -> bool {
        match self {
            Self::Writable | Self::Full | Self::Closing => true,
            Self::ReadOnly(reason) => reason.may_write_file(),
            Self::Fenced(reason) => reason.may_write_file(),
            Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closed
            | Self::Building
            | Self::Superseded => false,
        }
    }

    /// Returns whether checkpoints are still written.
    #[must_use]
    pub fn takes_checkpoints(self) -> bool {
        match self {
            Self::Writable | Self::Full | Self::Closing | Self::Closed | Self::Building => true,
            Self::ReadOnly(reason) => reason.may_write_file(),
            Self::Fenced(reason) => reason.may_write_file(),
            Self::Poisoned(_) | Self::StateUnknown(_) | Self::Superseded => false,
        }
    }

    /// Returns the error that ended the append side for the life of the process, if one did.
    #[must_use]
    pub fn error(self) -> Option<IoError> {
        match self {
            Self::Poisoned(error) | Self::StateUnknown(error) => Some(error),
            Self::Fenced(reason) => reason.error(),
            Self::Writable
            | Self::Full
            | Self::ReadOnly(_)
            | Self::Closing
            | Self::Closed
            | Self::Building
            | Self::Superseded => None,
        }
    }

    /// Checks whether a PUT or DELETE that arrives may go on, where `set` is the state that the operator
    /// set last. While the volume is being closed it may: the answer may need no write. A volume that is
    /// set read-only says so, whatever else is wrong with it.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`], [`Refusal::Poisoned`], [`Refusal::Suspect`].
    pub(in crate::volume) fn admit(self, set: SuperblockState) -> Result<(), Refusal> {
        let is_set_writable = set == SuperblockState::Live;
        match self {
            Self::Writable | Self::Full => Ok(()),
            Self::Closing | Self::Closed | Self::Superseded if is_set_writable => Ok(()),
            Self::Fenced(FenceReason::Suspect) if is_set_writable => Err(Refusal::Suspect),
            Self::Poisoned(_) | Self::Fenced(_) if is_set_writable => Err(Refusal::Poisoned),
            Self::Closing
            | Self::Closed
            | Self::Poisoned(_)
            | Self::Fenced(_)
            | Self::ReadOnly(_)
            | Self::StateUnknown(_)
            | Self::Building
            | Self::Superseded => Err(Refusal::ReadOnly),
        }
    }

    /// Returns the reason why a needle may not join a commit, where `set` is the state that the operator
    /// set last. A volume that takes writes refuses a needle for lack of space only.
    pub(in crate::volume) fn refusal(self, set: SuperblockState) -> Refusal {
        match self {
            Self::Writable | Self::Full => Refusal::Full,
            Self::Fenced(FenceReason::Suspect) if set == SuperblockState::Live => Refusal::Suspect,
            Self::Fenced(FenceReason::Suspect) => Refusal::ReadOnly,
            Self::Poisoned(_) | Self::Fenced(_) | Self::StateUnknown(_) => Refusal::Poisoned,
            Self::ReadOnly(_) | Self::Building => Refusal::ReadOnly,
            Self::Closing | Self::Closed | Self::Superseded if set != SuperblockState::Live => {
                Refusal::ReadOnly
            }
            Self::Closing | Self::Closed | Self::Superseded => Refusal::Closing,
        }
    }

    /// Returns the state as it is shown: a writable volume without space is full.
    #[must_use]
    pub(in crate::volume) fn shown(self, is_full: impl FnOnce() -> bool) -> Self {
        if self == Self::Writable && is_full() { Self::Full } else { self }
    }

    /// Begins to make the volume read-only: no write is admitted any more.
    ///
    /// # Panics
    /// If the volume is read-only or its state is unknown.
    #[must_use]
    pub(in crate::volume) fn begin_read_only(self) -> Self {
        match self {
            Self::Writable => Self::ReadOnly(ReadOnlyReason::Changing),
            Self::Fenced(_) | Self::Poisoned(_) | Self::Closing | Self::Closed => self,
            Self::Full
            | Self::ReadOnly(_)
            | Self::StateUnknown(_)
            | Self::Building
            | Self::Superseded => self.has_no("begin_read_only"),
        }
    }

    /// Ends making the volume read-only: the new state is durable.
    ///
    /// # Panics
    /// If [`Self::begin_read_only`] did not precede.
    #[must_use]
    pub(in crate::volume) fn finish_read_only(self) -> Self {
        match self {
            Self::ReadOnly(ReadOnlyReason::Changing) => Self::ReadOnly(ReadOnlyReason::Operator),
            Self::Fenced(_) | Self::Poisoned(_) | Self::Closing | Self::Closed => self,
            Self::Writable
            | Self::Full
            | Self::ReadOnly(_)
            | Self::StateUnknown(_)
            | Self::Building
            | Self::Superseded => self.has_no("finish_read_only"),
        }
    }

    /// Gives up making the volume read-only: the state in the superblock is unchanged, or unknown.
    ///
    /// # Panics
    /// If [`Self::begin_read_only`] did not precede.
    #[must_use]
    pub(in crate::volume) fn abandon_read_only(self) -> Self {
        match self {
            Self::ReadOnly(ReadOnlyReason::Changing) => Self::Writable,
            Self::Fenced(_)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed => self,
            Self::Writable | Self::Full | Self::ReadOnly(_) | Self::Building | Self::Superseded => {
                self.has_no("abandon_read_only")
            }
        }
    }

    /// Makes the volume writable: that state is durable.
    ///
    /// # Panics
    /// If the operator did not make it read-only before.
    #[must_use]
    pub(in crate::volume) fn make_writable(self) -> Self {
        match self {
            Self::ReadOnly(ReadOnlyReason::Operator) => Self::Writable,
            Self::Fenced(_) | Self::Poisoned(_) | Self::Closing | Self::Closed => self,
            Self::Writable
            | Self::Full
            | Self::ReadOnly(_)
            | Self::StateUnknown(_)
            | Self::Building
            | Self::Superseded => self.has_no("make_writable"),
        }
    }

    /// Ends the append side after a write failed. The first error counts.
    ///
    /// # Panics
    /// If the volume was opened to be inspected: nothing is written to it that could fail.
    #[must_use]
    pub(in crate::volume) fn poison(self, error: IoError) -> Self {
        match self {
            Self::Fenced(FenceReason::FileLost)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Building
            | Self::Superseded => self,
            Self::Writable | Self::Fenced(FenceReason::Suspect) | Self::Closing | Self::Closed => {
                Self::Poisoned(error)
            }
            Self::ReadOnly(reason) if reason.may_write_file() => Self::Poisoned(error),
            Self::Full | Self::ReadOnly(_) => self.has_no("poison"),
        }
    }

    /// Fences the volume: its file is gone, which outweighs a failed write.
    ///
    /// # Panics
    /// If the volume was opened to be inspected: it acknowledges nothing.
    #[must_use]
    pub(in crate::volume) fn fence(self) -> Self {
        match self {
            Self::Fenced(FenceReason::FileLost) | Self::Building | Self::Superseded => self,
            Self::Writable
            | Self::Fenced(FenceReason::Suspect)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed => Self::Fenced(FenceReason::FileLost),
            Self::ReadOnly(why) if why.may_write_file() => Self::Fenced(FenceReason::FileLost),
            Self::Full | Self::ReadOnly(_) => self.has_no("fence"),
        }
    }

    /// Makes the volume suspect. A state in which nothing is written anyway, or soon, stays.
    ///
    /// # Panics
    /// If the state is [`Full`](Self::Full), which is never held.
    #[must_use]
    pub(in crate::volume) fn suspect(self) -> Self {
        match self {
            Self::Writable => Self::Fenced(FenceReason::Suspect),
            Self::ReadOnly(why) if why.may_write_file() => Self::Fenced(FenceReason::Suspect),
            Self::ReadOnly(_)
            | Self::Fenced(_)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed
            | Self::Building
            | Self::Superseded => self,
            Self::Full => self.has_no("suspect"),
        }
    }

    /// Ends the suspicion, where `set` is the state in the superblock. Any other state stays.
    #[must_use]
    pub(in crate::volume) fn clear(self, set: SuperblockState) -> Self {
        if self == Self::Fenced(FenceReason::Suspect) { Self::opened(set) } else { self }
    }

    /// Ends the append side after changing the state in the superblock failed.
    ///
    /// # Panics
    /// If no change was under way: the volume is sealed, or was opened to be inspected.
    #[must_use]
    pub(in crate::volume) fn lose_state(self, error: IoError) -> Self {
        match self {
            Self::StateUnknown(_) | Self::Fenced(FenceReason::FileLost) => self,
            Self::Writable
            | Self::Fenced(FenceReason::Suspect)
            | Self::ReadOnly(ReadOnlyReason::Operator | ReadOnlyReason::Changing)
            | Self::Poisoned(_)
            | Self::Closing
            | Self::Closed => Self::StateUnknown(error),
            Self::Full | Self::ReadOnly(_) | Self::Building | Self::Superseded => {
                self.has_no("lose_state")
            }
        }
    }

    /// Begins to close the log. May be repeated.
    ///
    /// # Panics
    /// If the volume was opened to be inspected: nobody writes to its log.
    #[must_use]
    pub(in crate::volume) fn begin_to_close(self) -> Self {
        match self {
            Self::Writable | Self::Fenced(FenceReason::Suspect) => Self::Closing,
            Self::ReadOnly(reason) if reason.may_write_file() => Self::Closing,
            Self::Fenced(FenceReason::FileLost)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed
            | Self::Superseded => self,
            Self::Full | Self::ReadOnly(_) | Self::Building => self.has_no("begin_to_close"),
        }
    }

    /// Ends closing the log: nothing is written to it any more.
    ///
    /// # Panics
    /// If [`Self::begin_to_close`] did not precede.
    #[must_use]
    pub(in crate::volume) fn finish_closing(self) -> Self {
        match self {
            Self::Closing => Self::Closed,
            Self::Fenced(FenceReason::FileLost)
            | Self::Poisoned(_)
            | Self::StateUnknown(_)
            | Self::Superseded => self,
            Self::Writable
            | Self::Full
            | Self::ReadOnly(_)
            | Self::Fenced(FenceReason::Suspect)
            | Self::Closed
            | Self::Building => self.has_no("finish_closing"),
        }
    }

    /// Begins to serve a generation that was built, where `set` is the state in its superblock.
    ///
    /// # Panics
    /// If it was not being built, or is still *building* by its superblock.
    #[must_use]
    pub(in crate::volume) fn begin_to_serve(self, set: SuperblockState) -> Self {
        match self {
            Self::Building => Self::opened(set),
            // The superblock could not be written in full.
            Self::StateUnknown(_) => self,
            Self::Writable
            | Self::Full
            | Self::ReadOnly(_)
            | Self::Fenced(_)
            | Self::Poisoned(_)
            | Self::Closing
            | Self::Closed
            | Self::Superseded => self.has_no("begin_to_serve"),
        }
    }

    /// Ends a generation whose place another one takes. Its file may have been lost, or a write to it failed,
    /// while the new generation was made to count, which has everything that was acknowledged.
    ///
    /// # Panics
    /// If it may not be compacted.
    #[must_use]
    pub(in crate::volume) fn supersede(self) -> Self {
        match self {
            Self::Writable | Self::Fenced(_) | Self::Poisoned(_) => Self::Superseded,
            Self::ReadOnly(reason) if reason.may_write_file() => Self::Superseded,
            Self::Full
            | Self::ReadOnly(_)
            | Self::StateUnknown(_)
            | Self::Closing
            | Self::Closed
            | Self::Building
            | Self::Superseded => self.has_no("supersede"),
        }
    }

    fn has_no(self, transition: &str) -> ! {
        panic!("a volume that is {self:?} has no transition {transition}")
    }
}

impl ReadOnlyReason {
    /// Returns whether the engine still writes to the files of the volume: commits admitted before, hints,
    /// checkpoints.
    pub(in crate::volume) fn may_write_file(self) -> bool {
        match self {
            Self::Operator | Self::Changing | Self::Sealed | Self::Replica | Self::Cluster => true,
            Self::Inspection => false,
        }
    }
}

impl FenceReason {
    /// Returns the error that waiting writers receive; `None` if what they have joined is still written.
    pub(in crate::volume) fn error(self) -> Option<IoError> {
        match self {
            Self::FileLost => Some(IoError::Errno(nix::libc::ENOENT)),
            Self::Suspect => None,
        }
    }

    /// Returns whether the engine still writes to the files of the volume: commits admitted before, hints,
    /// checkpoints.
    pub(in crate::volume) fn may_write_file(self) -> bool {
        match self {
            Self::FileLost => false,
            Self::Suspect => true,
        }
    }
}

#[cfg(test)]
mod tests;
