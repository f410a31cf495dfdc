//! Operations that clients of a simulated node saw, by object, and their verification.

use std::collections::BTreeMap;

use hayloft::base::types::VolumeId;
use hayloft::runtime::sim::history::{Action, Answer, Event, Facts, check_with};
use hayloft::runtime::split_mix;
use xxhash_rust::xxh3::xxh3_64;

use super::damage::Damages;

/// Name of an object: volume, key, cookie.
pub type Name = (VolumeId, u64, u64);

/// Number of events, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// A value that a client stores.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub number: u64,
    pub len: usize,
    pub etag: u64,
}

impl Value {
    /// Content of the value: number, length, and pseudo-random bytes derived from them.
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(self.number, self.len)
    }
}

/// The shortest value (bytes).
pub const LEN_MIN: usize = 16;

fn bytes_of(number: u64, len: usize) -> Vec<u8> {
    let mut state = number ^ ((len as u64) << 40);
    let mut bytes = vec![0; len.next_multiple_of(8)];
    let (head, rest) = bytes.split_at_mut(LEN_MIN);
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&(len as u64).to_le_bytes());
    for eight in rest.chunks_exact_mut(8) {
        eight.copy_from_slice(&split_mix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// All operations that clients saw.
#[derive(Default)]
pub struct Seen {
    objects: BTreeMap<Name, Vec<Event>>,
    /// Deletions of whole volumes.
    wipes: BTreeMap<VolumeId, Vec<Event>>,
    /// Batch puts: object and index of each of their events.
    batches: Vec<Vec<(Name, usize)>>,
    /// Multi-deletes: object and index of each of their events.
    multi_deletes: Vec<Vec<(Name, usize)>>,
    /// Values by number, starting at 1.
    values: Vec<Value>,
    /// Numbers of values by entity tag.
    tags: BTreeMap<u64, u64>,
    /// Times at which values expire (ns), by number.
    expires: BTreeMap<u64, u64>,
    /// Objects whose names the node picked.
    posted: Vec<Name>,
    pub counts: Counts,
}

/// The value that an operation stores if it takes effect.
fn stored_by(event: &Event) -> Option<u64> {
    match event.action {
        Action::Put(value) | Action::PutNew(value) | Action::PutIf(value, _) => Some(value),
        _ => None,
    }
}

/// The value that an answer proves to have been stored.
fn proven_by(event: &Event) -> Option<u64> {
    match (event.action, event.answer) {
        (_, Answer::Value(value)) => Some(value),
        (Action::PutIf(_, old), Answer::Replaced) | (Action::DeleteIf(old), Answer::Deleted) => {
            Some(old)
        }
        _ => None,
    }
}

/// Whether the event at `at` must have deleted the object, which does not expire: it was there, it was
/// missing later, and nothing else can have deleted it in between.
fn must_have_deleted(events: &[Event], at: usize, wipes: impl Iterator<Item = Event>) -> bool {
    let others = events.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, event)| *event);
    let may_have_deleted = |event: &Event| {
        matches!(event.action, Action::Delete | Action::DeleteIf(_) | Action::Wipe)
            && matches!(event.answer, Answer::Deleted | Answer::Removed | Answer::Unknown)
    };
    let deletes: Vec<Event> = others.chain(wipes).filter(may_have_deleted).collect();
    let is_there = |event: &&Event| {
        use Answer::{Created, Exists, Present, Replaced, Restored, Stored, Value};
        matches!(event.answer, Created | Replaced | Stored | Exists | Present | Restored | Value(_))
    };
    let deleting = events[at];
    events.iter().filter(|event| event.answer == Answer::Missing).any(|missing| {
        let there = events.iter().filter(is_there);
        let mut there = there.filter(|there| there.answered < missing.called);
        deleting.called < missing.answered
            && there.any(|there| {
                !deletes.iter().any(|delete| {
                    delete.answered >= there.called && delete.called <= missing.answered
                })
            })
    })
}

impl Seen {
    /// Creates a new value of at least `len` bytes.
    pub fn fresh(&mut self, len: usize) -> Value {
        let (number, len) = (self.values.len() as u64 + 1, len.max(LEN_MIN));
        let value = Value { number, len, etag: xxh3_64(&bytes_of(number, len)) };
        self.values.push(value);
        self.tags.insert(value.etag, number);
        value
    }

    /// Records the time at which a value expires (ns).
    pub fn set_expiry(&mut self, value: Value, time: u64) {
        self.expires.insert(value.number, time);
    }

    /// Whether a value of the object expires in this interval, or did.
    pub fn expires_within(&self, name: Name, from: u64, until: u64) -> bool {
        let time = |event: &Event| match event.action {
            Action::Renew(time) => time,
            _ => self.expires.get(&stored_by(event)?).copied(),
        };
        let mut times = self.objects.get(&name).into_iter().flatten().filter_map(time);
        times.any(|time| (from..=until).contains(&time))
    }

    /// Operations on an object.
    pub fn events(&self, name: Name) -> &[Event] {
        self.objects.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Objects of which a read since `from` (ns) said that they are damaged.
    pub fn unreadable_since(&self, from: u64) -> Vec<Name> {
        let is_damaged = |event: &Event| {
            event.called >= from
                && event.answer == Answer::Unreadable
                && event.action == Action::Get
        };
        let damaged = self.objects.iter().filter(|(_, events)| events.iter().any(is_damaged));
        damaged.map(|(name, _)| *name).collect()
    }

    /// Objects of a volume.
    fn names_of(&self, volume: VolumeId) -> impl Iterator<Item = (&Name, &Vec<Event>)> {
        self.objects.iter().filter(move |(name, _)| name.0 == volume)
    }

    /// One of the objects of a volume that a client wanted to delete, or any.
    pub fn some_deleted(&self, volume: VolumeId, drawn: u64) -> Option<Name> {
        let is_delete =
            |event: &Event| matches!(event.action, Action::Delete | Action::DeleteIf(_));
        let is_any = drawn.is_multiple_of(8);
        let deleted = self.names_of(volume).filter(|(_, of)| is_any || of.iter().any(is_delete));
        let names: Vec<Name> = deleted.map(|(name, _)| *name).collect();
        let at = (drawn / 8).checked_rem(names.len() as u64)?;
        Some(names[usize::try_from(at).unwrap()])
    }

    /// A value of a volume that is durable for certain, and the object in which it was stored.
    pub fn some_durable(&self, volume: VolumeId, drawn: u64) -> Option<(Name, Value)> {
        let is_write = |event: &&Event| {
            use Answer::{Created, Deleted, Replaced, Stored};
            matches!(event.answer, Created | Replaced | Stored | Deleted)
        };
        let writes = self.names_of(volume).flat_map(|(_, events)| events).filter(is_write);
        let last_write = writes.map(|event| event.called).max()?;
        let names: Vec<Name> = self.names_of(volume).map(|(name, _)| *name).collect();
        let at = drawn.checked_rem(names.len() as u64)?;
        let name = names[usize::try_from(at).unwrap()];
        Some((name, self.durable_value(name, last_write, drawn / 64)?))
    }

    /// A value that was stored in the object, and is durable: an operation that was called later was
    /// answered, so that more than its own bytes prove it.
    fn durable_value(&self, name: Name, last_write: u64, drawn: u64) -> Option<Value> {
        let is_stored = |event: &&Event| {
            let is_done =
                matches!(event.answer, Answer::Created | Answer::Replaced | Answer::Stored);
            is_done && event.answered <= last_write
        };
        // The needle that counts may be a copy, which must be proven, too.
        let copies = |event: &&Event| matches!(event.action, Action::Renew(_) | Action::Undelete);
        if self.events(name).iter().filter(copies).any(|event| event.answered > last_write) {
            return None;
        }
        let stored = self.events(name).iter().filter(is_stored).filter_map(stored_by);
        let stored: Vec<u64> = stored.collect();
        let last = *stored.last()?;
        let some = stored[usize::try_from(drawn % stored.len() as u64).unwrap()];
        Some(self.numbered(if drawn.is_multiple_of(8) { some } else { last }))
    }

    fn numbered(&self, number: u64) -> Value {
        self.values[usize::try_from(number - 1).unwrap()]
    }

    /// The value with this entity tag.
    pub fn tagged(&self, etag: Option<u64>) -> Value {
        let etag = etag.expect("an object has an entity tag");
        let number = self.tags.get(&etag);
        self.numbered(*number.unwrap_or_else(|| panic!("no client stored an object {etag:016x}")))
    }

    /// A value that a client tried to store in the object at some time.
    pub fn some_value(&self, name: Name, drawn: u64) -> Option<Value> {
        let stored: Vec<u64> = self.objects.get(&name)?.iter().filter_map(stored_by).collect();
        let number = *stored.get(usize::try_from(drawn % stored.len().max(1) as u64).unwrap())?;
        Some(self.numbered(number))
    }

    /// Whether a client tried to store a value of this length in the object at some time.
    pub fn had_len(&self, name: Name, len: usize) -> bool {
        let mut stored = self.objects.get(&name).into_iter().flatten().filter_map(stored_by);
        stored.any(|number| self.numbered(number).len == len)
    }

    /// Upper bound of the data of a needle of the object (bytes): that of a multipart object is a manifest.
    pub fn longest_needle(&self, name: Name) -> usize {
        let stored = self.events(name).iter().filter_map(stored_by);
        let lens = stored.map(|number| self.numbered(number).len);
        lens.filter(|len| *len <= 1 << 20).max().unwrap_or(0)
    }

    /// One of the objects whose names the node picked.
    pub fn some_posted(&self, drawn: u64) -> Option<Name> {
        self.posted.get(usize::try_from(drawn % self.posted.len().max(1) as u64).unwrap()).copied()
    }

    /// Adds an object whose name the node picked.
    pub fn add_posted(&mut self, name: Name, event: Event) {
        assert!(!self.objects.contains_key(&name), "{name:?} was picked twice");
        self.posted.push(name);
        self.record(name, event);
    }

    /// Names of all objects in recorded operations.
    pub fn names(&self) -> Vec<Name> {
        self.objects.keys().copied().collect()
    }

    /// Records an operation. Returns its index.
    pub fn record(&mut self, name: Name, event: Event) -> usize {
        let events = self.objects.entry(name).or_default();
        events.push(event);
        events.len() - 1
    }

    /// Replaces a recorded operation.
    pub fn update(&mut self, name: Name, at: usize, event: Event) {
        self.objects.get_mut(&name).unwrap()[at] = event;
    }

    /// Records a batch put by the indices of its operations.
    pub fn add_batch(&mut self, events: Vec<(Name, usize)>) {
        self.batches.push(events);
    }

    /// Records a multi-delete by the indices of its operations.
    pub fn add_multi_delete(&mut self, events: Vec<(Name, usize)>) {
        self.multi_deletes.push(events);
    }

    /// Records, or updates, the deletion of a volume.
    pub fn wipe(&mut self, volume: VolumeId, event: Event) {
        let wipes = self.wipes.entry(volume).or_default();
        match wipes.last_mut().filter(|last| last.called == event.called) {
            Some(last) => *last = event,
            None => wipes.push(event),
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Ends all unanswered operations at `now`.
    pub fn settle(&mut self, now: u64) {
        for event in self.objects.values_mut().chain(self.wipes.values_mut()).flatten() {
            event.answered = event.answered.min(now);
        }
    }

    /// Marks all operations of a batch put as stored if one of its values was seen.
    fn settle_batches(&mut self) {
        for batch in &self.batches {
            let seen = |(name, at): &(Name, usize)| {
                let events = &self.objects[name];
                let value = stored_by(&events[*at]);
                events.iter().any(|event| proven_by(event).is_some() && proven_by(event) == value)
            };
            if !batch.iter().any(seen) {
                continue;
            }
            for (name, at) in batch {
                let event = &mut self.objects.get_mut(name).unwrap()[*at];
                if event.answer == Answer::Unknown {
                    event.answer = Answer::Stored;
                    *self.counts.entry("batches proven by one photo").or_default() += 1;
                }
            }
        }
    }

    /// Marks all operations of a multi-delete as carried out if one of them must have been.
    fn settle_multi_deletes(&mut self) {
        for photos in &self.multi_deletes {
            let is_proven = |(name, at): &(Name, usize)| {
                if self.expires_within(*name, 0, u64::MAX) {
                    return false;
                }
                let wipes = self.wipes.get(&name.0).into_iter().flatten();
                must_have_deleted(&self.objects[name], *at, wipes.copied())
            };
            if !photos.iter().any(is_proven) {
                continue;
            }
            for (name, at) in photos {
                let event = &mut self.objects.get_mut(name).unwrap()[*at];
                if event.answer == Answer::Unknown {
                    event.answer = Answer::Removed;
                    *self.counts.entry("multi-deletes proven by one photo").or_default() += 1;
                }
            }
        }
    }

    /// Verifies the history of every object.
    pub fn verify(&mut self, damages: &Damages) {
        self.settle_batches();
        self.settle_multi_deletes();
        for (name, events) in &self.objects {
            let wipes = self.wipes.get(&name.0).into_iter().flatten();
            let events: Vec<Event> = events.iter().chain(wipes).copied().collect();
            let stored: Vec<u64> = events.iter().filter_map(stored_by).collect();
            let of = |value: &u64| Some((*value, *self.expires.get(value)?));
            let expires = stored.iter().filter_map(of).collect();
            let facts = Facts { expires, damaged: damages.of(*name) };
            let checked = check_with(&events, &facts);
            checked.unwrap_or_else(|violation| panic!("object {name:?}, {facts:?}: {violation}"));
            let unknown = events.iter().filter(|event| event.answer == Answer::Unknown).count();
            *self.counts.entry("operations without an answer").or_default() += unknown as u64;
        }
    }
}

/// Number of the value with this content.
pub fn value_of(bytes: &[u8]) -> u64 {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (value, len) = (number(0), usize::try_from(number(8)).unwrap());
    assert_eq!(bytes, bytes_of(value, len), "content that no client stored");
    value
}
