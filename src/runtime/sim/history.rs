//! Linearizability checker: checks whether there is an order of all operations on one object in which each
//! takes effect at one moment between its call and its answer, and every answer is correct (Herlihy and Wing,
//! 1990; the search is that of Wing and Gong, 1993, with the memoization of Lowe, 2017).
//!
//! Crashes need no special treatment. An acknowledged operation took effect before its answer, so that no
//! later answer, even after a restart, may contradict it. An unanswered operation took effect before the
//! process ended, or never.

use std::collections::HashSet;
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

type Value = Option<u64>;

/// Returns the value of the object after an operation; `None` if the answer is incorrect for the value
/// before.
fn effect(event: &Event, before: Value) -> Option<Value> {
    let (after, right) = match event.action {
        Action::Put(value) => {
            let right = if before.is_some() { Answer::Replaced } else { Answer::Created };
            (Some(value), right)
        }
        Action::PutNew(_) if before.is_some() => (before, Answer::Exists),
        Action::PutNew(value) => (Some(value), Answer::Created),
        Action::PutIf(value, old) if before == Some(old) => (Some(value), Answer::Replaced),
        Action::PutIf(..) => (before, Answer::Unmet),
        Action::Delete | Action::DeleteIf(_) if before.is_none() => (None, Answer::Missing),
        Action::DeleteIf(old) if before != Some(old) => (before, Answer::Unmet),
        Action::Delete | Action::DeleteIf(_) | Action::Wipe => (None, Answer::Deleted),
        Action::GetIf(value) if before.is_some_and(|there| there != value) => {
            (before, Answer::Unmet)
        }
        Action::Get | Action::GetIf(_) => (before, before.map_or(Answer::Missing, Answer::Value)),
    };
    let is_right = match event.answer {
        Answer::Unknown => true,
        Answer::Stored => matches!(right, Answer::Created | Answer::Replaced),
        Answer::Removed => matches!(right, Answer::Deleted | Answer::Missing),
        Answer::Present => matches!(right, Answer::Value(_)),
        answer => answer == right,
    };
    is_right.then_some(after)
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
    /// Values that an answer or a condition names.
    read: HashSet<u64>,
    seen: HashSet<(Set, Value)>,
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

    fn run(&mut self, done: &mut Set, value: Value) -> bool {
        if self.order.len() > self.best.len() {
            self.best.clone_from(&self.order);
        }
        let open = || (0..self.events.len()).filter(|&n| !has(done, n));
        let known = |n: &usize| self.events[*n].answer != Answer::Unknown;
        if !open().any(|n| known(&n)) {
            return true;
        }
        if !self.seen.insert((done.clone(), value)) {
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
            let Some(after) = effect(event, value) else { continue };
            let after = after.map(|value| self.canonical(value));
            if event.answer == Answer::Unknown && after == value {
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

/// Checks the operations on one object that did not exist at first.
///
/// # Errors
/// A [`Violation`] when no order of the operations explains their answers.
pub fn check(events: &[Event]) -> Result<(), Box<Violation>> {
    let took_part = events.iter().filter(|event| event.answer != Answer::Refused);
    let events: &[Event] = &took_part.copied().collect::<Vec<_>>();
    // A value that a condition names is distinguishable too.
    let read = |event: &Event| match (event.action, event.answer) {
        (Action::PutIf(_, old) | Action::DeleteIf(old) | Action::GetIf(old), _) => Some(old),
        (_, Answer::Value(value)) => Some(value),
        _ => None,
    };
    let mut search = Search {
        events,
        read: events.iter().filter_map(read).collect(),
        seen: HashSet::new(),
        order: Vec::new(),
        best: Vec::new(),
    };

    if search.run(&mut vec![0; events.len() / 64 + 1], None) {
        return Ok(());
    }
    let best = search.best;
    let left = (0..events.len()).filter(|n| !best.contains(n)).map(|n| events[n]).collect();
    Err(Box::new(Violation { explained: best.iter().map(|&n| events[n]).collect(), left }))
}

#[cfg(test)]
mod tests;
