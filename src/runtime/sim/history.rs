//! Linearizability checker: checks whether there is an order of all operations on one object in which each
//! takes effect at one moment between its call and its answer, and every answer is correct (Herlihy and Wing,
//! 1990; the search is that of Wing and Gong, 1993, with the memoization of Lowe, 2017).
//!
//! Crashes need no special treatment. An acknowledged operation took effect before its answer, so that no
//! later answer, even after a restart, may contradict it. An unanswered operation took effect before the
//! process ended, or never.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

/// A client's request for an object. Values are identified by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Store a value.
    Put(u64),
    /// Store a value if the object does not exist.
    PutNew(u64),
    /// Store a value (first) if the object has another value (second).
    PutIf(u64, u64),
    /// Delete the object.
    Delete,
    /// Delete the object if it has this value.
    DeleteIf(u64),
    /// Read the object.
    Get,
    /// Read the object if it has this value.
    GetIf(u64),
    /// Delete the whole volume, whether the object exists or not.
    Wipe,
    /// Change the time at which the object expires; `None` for never.
    Renew(Option<u64>),
    /// Take the object back that was deleted last.
    Undelete,
    /// The object expires, if this is its time. [`check_with`] adds it.
    Expire(u64),
}

/// Answer that the client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored; the object did not exist.
    Created,
    /// Stored; the object existed.
    Replaced,
    /// Stored, whether the object existed or not.
    Stored,
    /// Not stored, since the object exists.
    Exists,
    /// Nothing was done: a precondition does not hold, because the object does not exist or has another
    /// value.
    Unmet,
    /// Deleted.
    Deleted,
    /// Deleted, unless the object did not exist.
    Removed,
    /// Read, with this value.
    Value(u64),
    /// The object exists, with any value.
    Present,
    /// The object does not exist.
    Missing,
    /// The object that was deleted last is back.
    Restored,
    /// The object exists and is damaged. Nothing was done.
    Unreadable,
    /// The object exists, and its header is damaged. Nothing was done.
    HeadUnreadable,
    /// Refused: the operation must not have taken effect.
    Refused,
    /// No answer, or one that leaves the effect unknown.
    Unknown,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time of the call.
    pub called: u64,
    /// Time of the answer; for [`Answer::Unknown`], the end of the process that might still have carried out
    /// the operation.
    pub answered: u64,
    /// Request.
    pub action: Action,
    /// Answer.
    pub answer: Answer,
}

/// Damage of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Time of the damage.
    pub since: u64,
    /// Time at which it went away; `u64::MAX` for never.
    pub until: u64,
    /// Whether the header may be unreadable.
    pub is_of_head: bool,
    /// Whether it is in a part of a multipart object: a change of the time of expiry does not read it.
    pub is_in_part: bool,
}

/// What is known of the values of an object beside the operations.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Times at which values expire, by value.
    pub expires: BTreeMap<u64, u64>,
    /// Damage by value.
    pub damaged: BTreeMap<u64, Damaged>,
}

/// Operations on one object that are not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Longest order of operations that was found to be correct.
    pub explained: Vec<Event>,
    /// The other operations.
    pub left: Vec<Event>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order of these operations explains their answers; at best, first")?;
        for event in &self.explained {
            writeln!(f, "    {event:?}")?;
        }
        writeln!(f, "and then none of")?;
        for event in &self.left {
            writeln!(f, "    {event:?}")?;
        }
        Ok(())
    }
}

/// A value that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stored {
    value: u64,
    /// Time at which it expires.
    expires: Option<u64>,
}

/// State of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Object {
    current: Option<Stored>,
    /// What was deleted last, if that was the last change.
    deleted: Option<Stored>,
}

impl Object {
    fn value(self) -> Option<u64> {
        self.current.map(|stored| stored.value)
    }
}

/// Bit set of the operations that are part of the order.
type Set = Vec<u64>;

fn has(set: &[u64], n: usize) -> bool {
    set[n / 64] >> (n % 64) & 1 == 1
}

/// Stands for all values that no answer or condition names, which are interchangeable.
const UNREAD: u64 = u64::MAX;

struct Search<'a> {
    events: &'a [Event],
    facts: &'a Facts,
    /// Values that an answer or a condition names.
    read: HashSet<u64>,
    /// Whether an operation takes a deleted object back.
    has_undeletes: bool,
    seen: HashSet<(Set, Object)>,
    order: Vec<usize>,
    best: Vec<usize>,
}

impl Search<'_> {
    fn canonical(&self, value: u64) -> u64 {
        if self.read.contains(&value) { value } else { UNREAD }
    }

    fn canonical_action(&self, action: Action) -> Action {
        match action {
            Action::Put(value) => Action::Put(self.canonical(value)),
            Action::PutNew(value) => Action::PutNew(self.canonical(value)),
            Action::PutIf(value, old) => Action::PutIf(self.canonical(value), old),
            other => other,
        }
    }

    /// Returns the state of the object after an operation; `None` if the answer is incorrect for the state
    /// before.
    fn effect(&self, event: &Event, before: Object) -> Option<Object> {
        if matches!(event.answer, Answer::Unreadable | Answer::HeadUnreadable) {
            return self.may_be_unreadable(event, before).then_some(before);
        }
        let put = |value| Object { current: Some(self.stored(value)), deleted: None };
        let deleted = before.current.filter(|_| self.has_undeletes);
        let gone = Object { current: None, deleted };
        let there = before.value();
        let (after, right) = match event.action {
            Action::Put(value) => {
                let right = if there.is_some() { Answer::Replaced } else { Answer::Created };
                (put(value), right)
            }
            Action::PutNew(_) if there.is_some() => (before, Answer::Exists),
            Action::PutNew(value) => (put(value), Answer::Created),
            Action::PutIf(value, old) if there == Some(old) => (put(value), Answer::Replaced),
            Action::PutIf(..) => (before, Answer::Unmet),
            Action::Delete | Action::DeleteIf(_) if there.is_none() => (before, Answer::Missing),
            Action::DeleteIf(old) if there != Some(old) => (before, Answer::Unmet),
            Action::Delete | Action::DeleteIf(_) => (gone, Answer::Deleted),
            Action::Wipe => (Object::default(), Answer::Deleted),
            Action::GetIf(value) if there.is_some_and(|there| there != value) => {
                (before, Answer::Unmet)
            }
            Action::Get | Action::GetIf(_) => {
                (before, there.map_or(Answer::Missing, Answer::Value))
            }
            Action::Renew(expires) => match before.current {
                // What is damaged is not written anew.
                Some(stored) if stored.expires != expires && self.is_unrenewable(event, stored) => {
                    (before, Answer::Unreadable)
                }
                Some(stored) => (
                    Object { current: Some(Stored { expires, ..stored }), ..before },
                    Answer::Present,
                ),
                None => (before, Answer::Missing),
            },
            Action::Undelete => match (before.current, before.deleted) {
                (Some(_), _) => (before, Answer::Exists),
                (None, Some(deleted)) if self.is_damaged(event, deleted) => {
                    (before, Answer::Unreadable)
                }
                (None, Some(deleted)) => {
                    (Object { current: Some(deleted), deleted: None }, Answer::Restored)
                }
                (None, None) => (before, Answer::Missing),
            },
            Action::Expire(time) => {
                let lasts = |stored: &Stored| stored.expires != Some(time);
                let Object { current, deleted } = before;
                let after =
                    Object { current: current.filter(lasts), deleted: deleted.filter(lasts) };
                (after, event.answer)
            }
        };
        let is_right = match event.answer {
            Answer::Unknown => true,
            Answer::Stored => matches!(right, Answer::Created | Answer::Replaced),
            Answer::Removed => matches!(right, Answer::Deleted | Answer::Missing | Answer::Removed),
            Answer::Present => matches!(right, Answer::Value(_) | Answer::Present),
            answer => answer == right,
        };
        is_right.then_some(after)
    }

    fn stored(&self, value: u64) -> Stored {
        let expires = self.facts.expires.get(&value).copied();
        Stored { value: self.canonical(value), expires }
    }

    /// Whether the value certainly is damaged when the operation takes effect.
    fn is_damaged(&self, event: &Event, stored: Stored) -> bool {
        let damaged = self.facts.damaged.get(&stored.value);
        damaged.is_some_and(|it| it.since < event.called && it.until > event.answered)
    }

    /// Whether the value certainly is damaged where a change of the time of expiry reads it.
    fn is_unrenewable(&self, event: &Event, stored: Stored) -> bool {
        let damaged = self.facts.damaged.get(&stored.value);
        self.is_damaged(event, stored) && damaged.is_some_and(|it| !it.is_in_part)
    }

    /// Whether the operation may have found the object damaged.
    fn may_be_unreadable(&self, event: &Event, before: Object) -> bool {
        let damaged = before.value().and_then(|value| self.facts.damaged.get(&value));
        damaged.is_some_and(|it| {
            let overlaps = it.since <= event.answered && it.until >= event.called;
            overlaps && (it.is_of_head || event.answer == Answer::Unreadable)
        })
    }

    fn run(&mut self, done: &mut Set, before: Object) -> bool {
        if self.order.len() > self.best.len() {
            self.best.clone_from(&self.order);
        }
        let open = || (0..self.events.len()).filter(|&n| !has(done, n));
        let known = |n: &usize| self.events[*n].answer != Answer::Unknown;
        if !open().any(|n| known(&n)) {
            return true;
        }
        if !self.seen.insert((done.clone(), before)) {
            return false;
        }
        // An operation that was answered before another one was called comes before it.
        let first = open().filter(known).map(|n| self.events[n].answered).min();
        let first = first.expect("an answered operation is open");
        let next: Vec<usize> = open().filter(|&n| self.events[n].called <= first).collect();
        let mut tried = HashSet::new();
        for n in next {
            let event = &self.events[n];
            // An unanswered operation cannot take effect after one that was called when its process had
            // ended.
            let later = event.answer == Answer::Unknown
                && self.order.iter().any(|&before| self.events[before].called >= event.answered);
            if later {
                continue;
            }
            // Unanswered operations with the same action and the same end are interchangeable: try one.
            let kind = (self.canonical_action(event.action), event.answered);
            if event.answer == Answer::Unknown && !tried.insert(kind) {
                continue;
            }
            let Some(after) = self.effect(event, before) else { continue };
            if event.answer == Answer::Unknown && after == before {
                continue;
            }
            done[n / 64] |= 1 << (n % 64);
            self.order.push(n);
            if self.run(done, after) {
                return true;
            }
            self.order.pop();
            done[n / 64] &= !(1 << (n % 64));
        }
        false
    }
}

/// The value that an operation stores if it takes effect.
fn stored_by(event: &Event) -> Option<u64> {
    match event.action {
        Action::Put(value) | Action::PutNew(value) | Action::PutIf(value, _) => Some(value),
        _ => None,
    }
}

/// Times at which the object may expire.
fn times(events: &[Event], facts: &Facts) -> BTreeSet<u64> {
    let time = |event: &Event| match event.action {
        Action::Renew(time) => time,
        _ => facts.expires.get(&stored_by(event)?).copied(),
    };
    events.iter().filter_map(time).collect()
}

/// Weakens the answer to a write during which the object may expire: what it replaces is decided before it
/// takes effect.
fn weakened(event: &Event, times: &BTreeSet<u64>) -> Event {
    if event.called > event.answered || times.range(event.called..=event.answered).next().is_none()
    {
        return *event;
    }
    match (event.action, event.answer) {
        (Action::Put(_), Answer::Created | Answer::Replaced) => {
            Event { answer: Answer::Stored, ..*event }
        }
        (Action::PutIf(value, _), Answer::Replaced) => {
            Event { action: Action::Put(value), answer: Answer::Stored, ..*event }
        }
        (Action::PutIf(value, _), Answer::Unknown) => {
            Event { action: Action::Put(value), ..*event }
        }
        _ => *event,
    }
}

/// The object expires at `time`, or, if that was set by an operation that took longer, at its end at the
/// latest.
fn expiry(events: &[Event], facts: &Facts, time: u64) -> Event {
    let sets = |event: &&Event| times(&[**event], facts).contains(&time);
    let ends = events.iter().filter(sets).filter(|event| event.called <= time);
    let answered = ends.map(|event| event.answered).max().unwrap_or(0).max(time);
    Event { called: time, answered, action: Action::Expire(time), answer: Answer::Removed }
}

/// Checks the operations on one object that did not exist at first.
///
/// # Errors
/// A [`Violation`] when no order of the operations explains their answers.
pub fn check(events: &[Event]) -> Result<(), Box<Violation>> {
    check_with(events, &Facts::default())
}

/// As [`check`], of an object with values that expire or are damaged.
///
/// # Errors
/// A [`Violation`] when no order of the operations explains their answers.
pub fn check_with(events: &[Event], facts: &Facts) -> Result<(), Box<Violation>> {
    let took_part = events.iter().filter(|event| event.answer != Answer::Refused);
    let took_part: Vec<Event> = took_part.copied().collect();
    let times = times(&took_part, facts);
    let expiries = times.iter().map(|time| expiry(&took_part, facts, *time));
    let events = took_part.iter().map(|event| weakened(event, &times)).chain(expiries);
    let events: &[Event] = &events.collect::<Vec<_>>();
    // A value that a condition names is distinguishable too, and so is one that is damaged or expires.
    let read = |event: &Event| match (event.action, event.answer) {
        (Action::PutIf(_, old) | Action::DeleteIf(old) | Action::GetIf(old), _) => Some(old),
        (_, Answer::Value(value)) => Some(value),
        _ => None,
    };
    let special = facts.damaged.keys().chain(facts.expires.keys());
    let mut search = Search {
        events,
        facts,
        read: events.iter().filter_map(read).chain(special.copied()).collect(),
        has_undeletes: events.iter().any(|event| event.action == Action::Undelete),
        seen: HashSet::new(),
        order: Vec::new(),
        best: Vec::new(),
    };

    if search.run(&mut vec![0; events.len() / 64 + 1], Object::default()) {
        return Ok(());
    }
    let best = search.best;
    let left = (0..events.len()).filter(|n| !best.contains(n)).map(|n| events[n]).collect();
    Err(Box::new(Violation { explained: best.iter().map(|&n| events[n]).collect(), left }))
}

#[cfg(test)]
mod tests;
