//! A client of the simulated node: one connection at a time, random requests; every answer is checked and
//! recorded.

mod exchange;
mod reads;
mod request;
mod writes;

use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::runtime::op::Sock;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::history::{Action, Answer, Event};
use hayloft::runtime::{Handle, split_mix};

use crate::node::causes::Causes;
use crate::node::seen::{Name, Value};
use crate::node::{Plan, SECOND, SharedSeen, listener};
use request::quoted;

/// Cookie of all objects whose names clients choose.
const COOKIE: u64 = 0x0123_4567_89ab_cdef;
/// Largest number of photos in a batch.
const PHOTOS_MAX: u64 = 4;
/// Usual time until a connection is established (ns).
pub const CONNECT_DELAY_NS: u64 = 300_000;
/// Time within which the clients of a burst send their requests (ns).
const BURST_TIME_NS: u64 = 1_500_000;
/// Longest time after which an object expires that is to expire soon (ns).
const EXPIRES_WITHIN_NS: u64 = SECOND;

pub struct Client {
    pub world: World,
    pub handle: Handle,
    pub plan: Plan,
    pub seed: u64,
    pub seen: SharedSeen,
    pub causes: Rc<Causes>,
    pub connection: Option<Sock>,
}

impl Client {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn count(&self, what: &'static str) {
        self.seen.borrow_mut().count(what);
    }

    fn volume(&mut self) -> VolumeId {
        VolumeId(1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap())
    }

    fn name(&mut self) -> Name {
        let drawn = self.draw(u64::MAX);
        match self.draw(8) {
            0 => self.seen.borrow().some_posted(drawn),
            _ => None,
        }
        .unwrap_or_else(|| (self.volume(), drawn % self.plan.keys, COOKIE))
    }

    fn value(&mut self) -> Value {
        let len = match self.draw(40) {
            0 => (1 << 20) + self.draw(200_000),
            1..=4 => self.draw(100_000),
            _ => self.draw(3000),
        };
        let value = self.seen.borrow_mut().fresh(usize::try_from(len).unwrap());
        if value.len > 1 << 20 {
            self.count("large bodies");
        }
        value
    }

    /// A time at which an object is to expire (ns), for some.
    fn expiry(&mut self) -> Option<u64> {
        let expires = self.plan.expiry && self.draw(4) == 0;
        expires.then(|| self.handle.now() + 5_000_000 + self.draw(EXPIRES_WITHIN_NS))
    }

    /// A value that was written to the object at some time.
    fn some_value(&mut self, name: Name) -> Option<Value> {
        let drawn = self.draw(u64::MAX);
        self.seen.borrow().some_value(name, drawn)
    }

    /// Sends `operations` random requests.
    pub async fn work(mut self, operations: u64) {
        for _ in 0..operations {
            let pause = self.draw(self.plan.pause_ns);
            self.handle.sleep_until(self.handle.now() + pause).await;
            self.one().await;
        }
        self.hang_up().await;
    }

    async fn one(&mut self) {
        let name = self.name();
        match self.draw(26) {
            0..=4 => {
                let value = self.value();
                self.put(name, value, Action::Put(value.number), None).await;
            }
            5 => {
                let (value, any) = (self.value(), ("If-None-Match", "*".to_owned()));
                self.put(name, value, Action::PutNew(value.number), Some(any)).await;
            }
            6 => {
                let Some(old) = self.some_value(name) else { return };
                let (value, condition) = (self.value(), ("If-Match", quoted(old)));
                let action = Action::PutIf(value.number, old.number);
                self.put(name, value, action, Some(condition)).await;
            }
            7 => self.delete(name, None).await,
            8 => {
                let Some(old) = self.some_value(name) else { return };
                self.delete(name, Some(old)).await;
            }
            9 => self.post(Some(name.0)).await,
            10 => self.post(None).await,
            11 | 12 => self.batch(name.0).await,
            13 | 14 => self.head(name).await,
            15 | 16 => self.range(name).await,
            17 => self.get_unless(name).await,
            18 => self.get_if(name).await,
            19 => self.get_with_wrong_cookie(name).await,
            20 => self.delete_all(name.0).await,
            21 => self.renew(name).await,
            _ => self.get(name).await,
        }
    }

    /// Connects, and reads one object after a short time.
    pub async fn read_one(mut self) {
        let shard = usize::try_from(self.draw(self.plan.shards as u64)).unwrap();
        self.connection = Some(self.world.connect(listener(shard), 64 << 10));
        let pause = CONNECT_DELAY_NS + self.draw(BURST_TIME_NS);
        self.handle.sleep_until(self.handle.now() + pause).await;
        let names = self.seen.borrow().names();
        if !names.is_empty() {
            let drawn = self.draw(names.len() as u64);
            self.get(names[usize::try_from(drawn).unwrap()]).await;
        }
        self.hang_up().await;
    }

    /// Reads every object.
    pub async fn read_all(mut self) {
        let names = self.seen.borrow().names();
        for name in names {
            self.get(name).await;
        }
        self.hang_up().await;
    }

    /// Writes an object to every volume, reads and deletes it.
    pub async fn write_all(mut self) {
        for volume in (1..=self.plan.volumes).map(VolumeId) {
            let name = (volume, self.plan.keys, COOKIE);
            let value = self.seen.borrow_mut().fresh(1000);
            self.put(name, value, Action::Put(value.number), None).await;
            self.get(name).await;
            self.delete(name, None).await;
            self.get(name).await;
        }
        self.hang_up().await;
    }

    fn event(&self, called: u64, action: Action, answer: Answer) -> Event {
        Event { called, answered: self.handle.now(), action, answer }
    }

    /// Records an operation before it is sent, since a power cut may prevent the answer.
    fn begin(&self, name: Name, action: Action) -> (usize, Event) {
        let called = self.handle.now();
        let unknown = Event { called, answered: u64::MAX, action, answer: Answer::Unknown };
        (self.seen.borrow_mut().record(name, unknown), unknown)
    }

    fn answered(&self, name: Name, at: usize, event: Event, answer: Answer) {
        if answer != Answer::Unknown {
            let event = self.event(event.called, event.action, answer);
            self.seen.borrow_mut().update(name, at, event);
        }
        if matches!(answer, Answer::Created | Answer::Replaced | Answer::Stored | Answer::Deleted) {
            self.causes.note_write(name.0, event.called);
            self.across(name, event.called, "writes across an exchange");
        }
    }

    /// Counts an answered operation during which the generation was exchanged.
    fn across(&self, name: Name, called: u64, what: &'static str) {
        self.causes.compactions.note_answer(name.0, called, self.handle.now(), what);
    }

    fn read(&self, name: Name, called: u64, action: Action, answer: Answer) {
        if !matches!(answer, Answer::Unknown | Answer::Refused) {
            let event = self.event(called, action, answer);
            self.seen.borrow_mut().record(name, event);
            self.across(name, called, "reads across an exchange");
        }
    }
}
