//! What the daemon's main thread orders: volumes that come, go and change while the shard runs.

use std::rc::Rc;

use thiserror::Error;

use super::Shard;
use super::task::Message;
use super::volumes::Assignment;
use crate::volume::{NotRemoved, StateError};

/// What a shard is to do.
pub enum Order {
    /// Open a volume: it is this shard's from now on.
    Open(Assignment),
    /// Make a volume of this shard read-only, or writable.
    SetReadOnly {
        /// Which.
        volume: u32,
        /// Which of the two.
        read_only: bool,
    },
    /// Remove the file of a volume of this shard and forget the volume.
    Delete {
        /// Which.
        volume: u32,
    },
    /// Write no more to a volume of this shard: its file is no longer where it was.
    Forsake {
        /// Which.
        volume: u32,
    },
    /// Send what is asked of a volume there from now on; to nobody when the volume is gone.
    Route {
        /// Which.
        volume: u32,
        /// The shard.
        owner: Option<u16>,
    },
    /// Keep at most so many operations in flight on a device.
    LimitDevice(usize),
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The shard has no such volume.
    #[error("there is no such volume")]
    NoVolume,
    /// Its log is being read.
    #[error("it is recovering; try again when it serves")]
    Recovering,
    /// It could not be opened.
    #[error("it could not be opened: {0}")]
    NotOpened(String),
    /// Read-only or writable.
    #[error("{0}")]
    State(StateError),
    /// Its file is no longer where it was, and may be something else's.
    #[error("its file is no longer where it was; bring it back, or restart the daemon, first")]
    Lost,
    /// Its file could not be removed.
    #[error("{0}; check the kernel log and the disk")]
    NotRemoved(NotRemoved),
}

impl Shard {
    /// Carries an order out, in a task of its own when it takes time, and reports.
    pub(super) fn obey(self: &Rc<Self>, number: usize, order: Order) {
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
                let result = self.volumes.forsake(volume);
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
                unreachable!("done at once")
            }
        }
    }

    fn report(&self, number: usize, result: Result<(), OrderError>) {
        let main = u16::try_from(self.shared.main()).expect("few shards");
        self.send(main, Message::Report { number, result });
    }
}
