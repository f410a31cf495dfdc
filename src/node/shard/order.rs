//! Orders of the daemon's main thread to a shard, and the reasons why one is not carried out.

use thiserror::Error;

use super::assignment::Assignment;
use crate::volume::{NotRemoved, StateError};

/// An order to a shard.
pub enum Order {
    /// Open a volume, which this shard owns from now on.
    Open(Assignment),
    /// Make a volume of this shard read-only, or writable.
    SetReadOnly {
        /// Volume id.
        volume: u32,
        /// True for read-only, false for writable.
        read_only: bool,
    },
    /// Remove the file of a volume of this shard, and the volume from its table.
    Delete {
        /// Volume id.
        volume: u32,
    },
    /// Fence a volume of this shard: its file is no longer at its path, so that nothing more is written.
    Forsake {
        /// Volume id.
        volume: u32,
    },
    /// Set the shard that requests to a volume are sent to.
    Route {
        /// Volume id.
        volume: u32,
        /// Owning shard; `None` when the volume was removed.
        owner: Option<u16>,
    },
    /// Limit the operations in flight on each device (count, this shard's share).
    LimitDevice(usize),
}

/// Reason why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The shard has no such volume.
    #[error("there is no such volume")]
    NoVolume,
    /// The volume is being recovered.
    #[error("it is recovering; try again when it serves")]
    Recovering,
    /// The volume could not be opened.
    #[error("it could not be opened: {0}")]
    NotOpened(String),
    /// The volume could not be made read-only, or writable.
    #[error("{0}")]
    State(StateError),
    /// The volume's file is no longer at its path, where another file may be now.
    #[error("its file is no longer where it was; bring it back, or restart the daemon, first")]
    Lost,
    /// The volume's file could not be removed.
    #[error("{0}; check the kernel log and the disk")]
    NotRemoved(NotRemoved),
}
