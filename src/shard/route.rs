//! From a volume's number to the shard that owns it, here or elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::answer::Plain;
use super::task::{Arrival, Message, Outcome, Task, Want};
use crate::http::status::Status;
use crate::limits::{HANDED_OVER_MAX, MESSAGES_IN_FLIGHT, REPLY_HEADROOM};
use crate::metrics;
use crate::op::Op;
use crate::types::{Cookie, NeedleId};
use crate::volume::GetError;

/// Length of the buffer that is first sent along with a read elsewhere (bytes).
const FIRST_GUESS: usize = 16 << 10;
/// The longest such buffer: longer needles pay another message, not everybody else with memory.
const GUESS_MAX: usize = 128 << 10;

/// A question that came from another shard.
pub struct Asked {
    from: u16,
    number: usize,
    volume: u32,
    task: Task,
}

/// What routing remembers.
pub struct Routes {
    owners: RefCell<HashMap<u32, u16>>,
    /// Lengths of buffers that lately were needed, by volume: who asks for a needle elsewhere must
    /// send a buffer along without knowing how long the needle is.
    guesses: RefCell<HashMap<u32, usize>>,
    workers: Cell<usize>,
    /// The log says that no volume has room; reset when one has.
    is_no_room_logged: Cell<bool>,
}

impl Routes {
    /// Knows who owns what.
    #[must_use]
    pub fn new(owners: HashMap<u32, u16>) -> Self {
        Self {
            owners: RefCell::new(owners),
            guesses: RefCell::default(),
            workers: Cell::new(0),
            is_no_room_logged: Cell::new(false),
        }
    }

    /// Who owns a volume.
    fn owner(&self, volume: u32) -> Option<u16> {
        self.owners.borrow().get(&volume).copied()
    }

    /// Says who owns a volume from now on.
    pub(super) fn set_owner(&self, volume: u32, owner: Option<u16>) {
        match owner {
            Some(owner) => drop(self.owners.borrow_mut().insert(volume, owner)),
            None => drop(self.owners.borrow_mut().remove(&volume)),
        }
    }

    fn guess(&self, volume: u32) -> usize {
        self.guesses.borrow().get(&volume).copied().unwrap_or(FIRST_GUESS)
    }

    /// Remembers the longest of late: it rises at once and sinks slowly.
    fn learn(&self, volume: u32, needed: usize) {
        let mut guesses = self.guesses.borrow_mut();
        let guess = guesses.entry(volume).or_insert(FIRST_GUESS);
        *guess = needed.clamp(FIRST_GUESS, GUESS_MAX).max(*guess - *guess / 128);
    }
}

impl Shard {
    /// The shard that owns a volume, if there is such a volume.
    pub fn owner_of(&self, volume: u32) -> Option<u16> {
        self.routes.owner(volume)
    }

    /// A volume that takes a body of `len` bytes: one of this shard, if it can be.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick_volume(&self, len: u64) -> Result<u32, Plain> {
        if let Some(own) = self.volumes.roomiest(len) {
            self.routes.is_no_room_logged.set(false);
            return Ok(own);
        }
        let all = self.shared.metrics.volumes();
        let writable = || all.iter().filter(|v| v.state.get() == metrics::VolumeState::Writable);
        let room = |v: &metrics::VolumeMetrics| v.size_bytes.get() - v.used_bytes.get();
        let roomiest = writable().max_by_key(|v| room(v)).filter(|v| room(v) > len);
        match roomiest {
            Some(volume) => {
                self.routes.is_no_room_logged.set(false);
                Ok(volume.info.id)
            }
            None if writable().next().is_some() => {
                self.log_no_room(len);
                Err(Plain::error(Status::INSUFFICIENT_STORAGE, "every volume is full"))
            }
            None => {
                Err(Plain::unavailable("no volume takes writes now", metrics::Refusal::ReadOnly))
            }
        }
    }

    /// Logs once, until there is room again, that an upload of `len` bytes fits into no volume.
    fn log_no_room(&self, len: u64) {
        if !self.routes.is_no_room_logged.replace(true) {
            tracing::warn!(
                "no volume has room for an upload of {len} bytes: such uploads are answered with 507. Make \
                 another volume (hayloft volume create)"
            );
        }
    }

    /// Does what is asked of a volume, wherever it lives.
    pub async fn perform(self: &Rc<Self>, volume: u32, task: Task) -> Outcome {
        match self.routes.owner(volume) {
            None => Outcome::NoVolume,
            Some(owner) if owner == self.id => {
                self.volumes.perform(volume, task, |len| self.read_buffer(len)).await
            }
            Some(owner) => match task {
                Task::Read { id, cookie, want, .. } => {
                    self.read_elsewhere(owner, volume, id, cookie, want).await
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
        want: Want,
    ) -> Outcome {
        let mut len = self.routes.guess(volume);
        loop {
            let buf = self.read_buffer(len);
            if buf.is_none() {
                return Outcome::NoBuffer;
            }
            let outcome = self.ask(owner, volume, Task::Read { id, cookie, want, buf }).await;
            match &outcome {
                Outcome::NotRead(GetError::NeedBuffer(needed)) => {
                    len = *needed;
                    self.routes.learn(volume, len);
                }
                Outcome::Read(needle, _) if want == Want::Whole => {
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

    /// Sends a message. Mailboxes have room for all that can be under way.
    pub(super) fn send(&self, to: u16, message: Message) {
        self.metrics().messages_sent.inc();
        match self.shared.mailboxes[usize::from(to)].send(message) {
            Ok(false) => {}
            Ok(true) => drop(self.handle.submit(Op::Wake { shard: to })),
            Err(_) => unreachable!("a mailbox has room for every message that may be under way"),
        }
    }

    /// Whether another shard has room for a connection.
    pub(super) fn may_hand_over(&self, to: u16) -> bool {
        self.shared.mailboxes[usize::from(to)].len() < HANDED_OVER_MAX
    }

    /// Hands a connection over, if [`Self::may_hand_over`] has just said so.
    pub(super) fn hand_over(&self, to: u16, arrival: Arrival) {
        self.metrics().handed_over.inc();
        self.shared.arriving[usize::from(to)].fetch_add(1, Ordering::SeqCst);
        self.send(to, Message::Connection(arrival));
    }

    /// Reads the mailbox. Questions are worked on by a number of tasks that grows to what is needed
    /// and stays.
    pub(super) fn read_mailbox(self: &Rc<Self>) {
        while let Some(message) = self.mailbox().receive() {
            self.metrics().messages_received.inc();
            match message {
                Message::Ask { from, number, volume, task } => {
                    let asked = Asked { from, number, volume, task };
                    if !self.asked.push(asked) {
                        self.routes.workers.set(self.routes.workers.get() + 1);
                        let shard = Rc::clone(self);
                        self.handle.spawn(async move { shard.work().await });
                    }
                }
                Message::Answer { number, outcome } => self.replies.fulfil(number, outcome),
                Message::Order { number, order } => self.obey(number, order),
                Message::Report { .. } => unreachable!("reports go to the main thread"),
                Message::Connection(arrival) => {
                    self.adopt(arrival);
                    // Only now: until here it counts as on its way, and nobody ends.
                    let id = usize::from(self.id);
                    self.shared.idle[id].store(false, Ordering::SeqCst);
                    self.shared.arriving[id].fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }

    async fn work(self: Rc<Self>) {
        loop {
            let Asked { from, number, volume, task } = self.asked.next().await;
            let outcome = self.volumes.perform(volume, task, |_| None).await;
            self.send(from, Message::Answer { number, outcome });
        }
    }
}
