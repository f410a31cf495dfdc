//! Routing of tasks to the shard that owns a volume, and messages between shards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::answer::Plain;
use super::task::{Arrival, Message, Outcome, ReadKind, Task};
use crate::base::limits::{HANDED_OVER_MAX, MESSAGES_IN_FLIGHT, REPLY_HEADROOM};
use crate::base::types::{Cookie, NeedleId};
use crate::http::status::Status;
use crate::node::board::VolumeState;
use crate::node::metrics;
use crate::runtime::op::Op;
use crate::volume::GetError;

/// Initial size hint: length of the buffer that is first sent along with a remote read (bytes).
const FIRST_GUESS: usize = 16 << 10;
/// Maximum size hint (bytes): a read of a longer needle costs a second pair of messages, so that not every
/// remote read takes that much memory.
const GUESS_MAX: usize = 128 << 10;

/// A task that came from another shard.
pub struct RemoteTask {
    from: u16,
    number: usize,
    volume: u32,
    task: Task,
}

/// Routing state of a shard.
pub struct Routes {
    /// Owning shard of each volume.
    owners: RefCell<HashMap<u32, u16>>,
    /// Size hint of each volume (bytes): a remote read sends a buffer along before the length of the needle
    /// is known.
    guesses: RefCell<HashMap<u32, usize>>,
    /// Number of workers that perform tasks of other shards.
    workers: Cell<usize>,
    /// Whether it is logged that no volume has room; reset when one has.
    is_no_room_logged: Cell<bool>,
}

impl Routes {
    /// Creates the routing state from the owning shard of each volume.
    #[must_use]
    pub fn new(owners: HashMap<u32, u16>) -> Self {
        Self {
            owners: RefCell::new(owners),
            guesses: RefCell::default(),
            workers: Cell::new(0),
            is_no_room_logged: Cell::new(false),
        }
    }

    /// Returns the shard that owns a volume.
    fn owner(&self, volume: u32) -> Option<u16> {
        self.owners.borrow().get(&volume).copied()
    }

    /// Sets the shard that owns a volume; `None` removes the volume.
    pub(super) fn set_owner(&self, volume: u32, owner: Option<u16>) {
        match owner {
            Some(owner) => drop(self.owners.borrow_mut().insert(volume, owner)),
            None => drop(self.owners.borrow_mut().remove(&volume)),
        }
    }

    fn guess(&self, volume: u32) -> usize {
        self.guesses.borrow().get(&volume).copied().unwrap_or(FIRST_GUESS)
    }

    /// Updates a size hint: it rises to `needed` bytes at once and falls by at most 1/128 per read.
    fn learn(&self, volume: u32, needed: usize) {
        let mut guesses = self.guesses.borrow_mut();
        let guess = guesses.entry(volume).or_insert(FIRST_GUESS);
        *guess = needed.clamp(FIRST_GUESS, GUESS_MAX).max(*guess - *guess / 128);
    }
}

impl Shard {
    /// Returns the shard that owns a volume, if there is such a volume.
    pub fn owner_of(&self, volume: u32) -> Option<u16> {
        self.routes.owner(volume)
    }

    /// Picks a volume for a body of `len` bytes, preferably one of this shard.
    ///
    /// # Errors
    /// 507 when no writable volume has room, 503 when no volume is writable.
    pub fn pick_volume(&self, len: u64) -> Result<u32, Plain> {
        if let Some(own) = self.volumes.roomiest(len) {
            self.routes.is_no_room_logged.set(false);
            return Ok(own);
        }
        let all = self.shared.board.volumes();
        let writable = || all.iter().filter(|v| v.state.get() == VolumeState::Writable);
        let roomiest = writable().max_by_key(|v| v.room()).filter(|v| v.room() > len);
        match roomiest {
            Some(volume) => {
                self.routes.is_no_room_logged.set(false);
                Ok(volume.info.id)
            }
            None if writable().next().is_some() => {
                self.log_no_room(len);
                Err(Plain::error(Status::INSUFFICIENT_STORAGE, "every volume is full"))
            }
            None => Err(Plain::unavailable(
                "no volume takes writes now",
                metrics::AdmissionRefusal::ReadOnly,
            )),
        }
    }

    /// Logs that an upload of `len` bytes fits into no volume; once, until there is room again.
    fn log_no_room(&self, len: u64) {
        if !self.routes.is_no_room_logged.replace(true) {
            tracing::warn!(
                "no volume has room for an upload of {len} bytes: such uploads are answered with 507. Make \
                 another volume (hayloft volume create)"
            );
        }
    }

    /// Performs a task on a volume, in this shard or in the one that owns the volume.
    pub async fn perform(self: &Rc<Self>, volume: u32, task: Task) -> Outcome {
        match self.routes.owner(volume) {
            None => Outcome::NoVolume,
            Some(owner) if owner == self.id => {
                self.volumes.perform(volume, task, |len| self.read_buffer(len)).await
            }
            Some(owner) => match task {
                Task::Read { id, cookie, kind, .. } => {
                    self.read_elsewhere(owner, volume, id, cookie, kind).await
                }
                task => self.ask(owner, volume, task).await,
            },
        }
    }

    async fn read_elsewhere(
        self: &Rc<Self>,
        owner: u16,
        volume: u32,
        id: NeedleId,
        cookie: Cookie,
        kind: ReadKind,
    ) -> Outcome {
        let mut len = self.routes.guess(volume);
        loop {
            let buf = self.read_buffer(len);
            if buf.is_none() {
                return Outcome::NoBuffer;
            }
            let outcome = self.ask(owner, volume, Task::Read { id, cookie, kind, buf }).await;
            match &outcome {
                Outcome::NotRead(GetError::NeedBuffer(needed)) => {
                    len = *needed;
                    self.routes.learn(volume, len);
                }
                Outcome::Read(needle, _) if kind == ReadKind::Whole => {
                    self.routes.learn(volume, needle.data.end + REPLY_HEADROOM);
                    return outcome;
                }
                _ => return outcome,
            }
        }
    }

    async fn ask(self: &Rc<Self>, owner: u16, volume: u32, task: Task) -> Outcome {
        if self.replies.len() >= MESSAGES_IN_FLIGHT {
            return Outcome::Busy;
        }
        let number = self.replies.expect();
        self.send(owner, Message::Ask { from: self.id, number, volume, task });
        self.replies.wait(number).await
    }

    /// Sends a message. A mailbox has room for all messages that can be under way (see
    /// [`super::Shared::new`]).
    pub(super) fn send(&self, to: u16, message: Message) {
        self.metrics().messages_sent.inc();
        match self.shared.mailboxes[usize::from(to)].send(message) {
            Ok(false) => {}
            Ok(true) => drop(self.handle.submit(Op::Wake { shard: to })),
            Err(_) => unreachable!("a mailbox has room for every message that may be under way"),
        }
    }

    /// Whether another shard's mailbox is short enough to hand a connection over to it.
    pub(super) fn may_hand_over(&self, to: u16) -> bool {
        self.shared.mailboxes[usize::from(to)].len() < HANDED_OVER_MAX
    }

    /// Hands a connection over to another shard. To be called only right after [`Self::may_hand_over`]
    /// returned true.
    pub(super) fn hand_over(&self, to: u16, arrival: Arrival) {
        self.metrics().handed_over.inc();
        self.shared.arriving[usize::from(to)].fetch_add(1, Ordering::SeqCst);
        self.send(to, Message::Connection(arrival));
    }

    /// Handles all messages in the mailbox. Tasks of other shards are performed by a pool of workers, which
    /// grows on demand and does not shrink.
    pub(super) fn read_mailbox(self: &Rc<Self>) {
        while let Some(message) = self.mailbox().receive() {
            self.metrics().messages_received.inc();
            match message {
                Message::Ask { from, number, volume, task } => {
                    let asked = RemoteTask { from, number, volume, task };
                    if !self.asked.push(asked) {
                        self.routes.workers.set(self.routes.workers.get() + 1);
                        let shard = Rc::clone(self);
                        self.handle.spawn(async move { shard.work().await });
                    }
                }
                Message::Answer { number, outcome } => self.replies.fulfil(number, outcome),
                Message::Order { number, order } => self.handle_order(number, order),
                Message::Report { .. } => unreachable!("reports go to the main thread"),
                Message::Connection(arrival) => {
                    self.adopt(arrival);
                    // Last: until here the connection counts as arriving, so that no shard ends.
                    let id = usize::from(self.id);
                    self.shared.idle[id].store(false, Ordering::SeqCst);
                    self.shared.arriving[id].fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }

    async fn work(self: Rc<Self>) {
        loop {
            let RemoteTask { from, number, volume, task } = self.asked.next().await;
            let outcome = self.volumes.perform(volume, task, |_| None).await;
            self.send(from, Message::Answer { number, outcome });
        }
    }
}
