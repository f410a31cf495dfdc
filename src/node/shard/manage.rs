//! Carries out orders of the daemon's main thread: opens, changes and deletes volumes while the shard runs.

use std::rc::Rc;

use super::message::Message;
use super::order::{Order, OrderError};
use super::shard::Shard;

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
            Order::Open(assignment) => self.spawn_order(number, async move |shard: &Self| {
                shard.volumes.open_one(&shard.handle, assignment).await
            }),
            Order::SetReadOnly { volume, read_only } => {
                self.spawn_order(number, async move |shard: &Self| {
                    shard.volumes.set_read_only(volume, read_only).await
                });
            }
            Order::Delete { volume } => self.spawn_order(number, async move |shard: &Self| {
                shard.volumes.delete(&shard.handle, volume).await
            }),
        }
    }

    /// Carries out an order in a task of its own, and reports the result.
    fn spawn_order(
        self: &Rc<Self>,
        number: usize,
        carry_out: impl AsyncFnOnce(&Self) -> Result<(), OrderError> + 'static,
    ) {
        let shard = Rc::clone(self);
        self.handle.spawn(async move {
            let result = carry_out(&shard).await;
            shard.report(number, result);
        });
    }

    fn report(&self, number: usize, result: Result<(), OrderError>) {
        let main = u16::try_from(self.shared.main_mailbox()).expect("shard count fits u16");
        self.send(main, Message::Report { number, result });
    }
}
