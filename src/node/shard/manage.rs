//! Orders of the daemon's main thread to a shard: opening, changing and deleting volumes while it runs.

use std::rc::Rc;

use thiserror::Error;

use super::Shard;
use super::task::Message;
use super::volumes::Assignment;
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
    /// Set the shard that tasks for a volume are sent to.
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

impl Shard {
    /// Carries out an order, in a task of its own if it takes time, and reports the result to the main
    /// thread.
    pub(super) fn handle_order(self: &Rc<Self>, number: usize, order: Order) {
        match order {
            Order::Route { volume, owner } => {
                self.routes.set_owner(volume, owner);
                self.report(number, Ok(()));
            }
            Order::LimitDevice(limit) => {
                self.device_limit.set(Some(limit));
                self.report(number, Ok(()));
            }
            Order::Forsake { volume } => {
                let result = self.volumes.fence(volume);
                self.report(number, result);
            }
            order => {
                let shard = Rc::clone(self);
                self.handle.spawn(async move {
                    let result = shard.carry_out(order).await;
                    shard.report(number, result);
                });
            }
        }
    }

    async fn carry_out(&self, order: Order) -> Result<(), OrderError> {
        match order {
            Order::Open(assignment) => self.volumes.open_one(&self.handle, assignment).await,
            Order::SetReadOnly { volume, read_only } => {
                self.volumes.set_read_only(volume, read_only).await
            }
            Order::Delete { volume } => self.volumes.delete(&self.handle, volume).await,
            Order::Forsake { .. } | Order::Route { .. } | Order::LimitDevice(_) => {
                unreachable!("handle_order carries it out at once")
            }
        }
    }

    fn report(&self, number: usize, result: Result<(), OrderError>) {
        let main = u16::try_from(self.shared.main()).expect("shard count fits u16");
        self.send(main, Message::Report { number, result });
    }
}
