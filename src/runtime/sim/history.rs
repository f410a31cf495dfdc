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
mod tests {
    use super::*;

    const fn event(called: u64, answered: u64, action: Action, answer: Answer) -> Event {
        Event { called, answered, action, answer }
    }

    fn is_right(events: &[Event]) -> bool {
        check(events).is_ok()
    }

    const PUT: Event = event(0, 10, Action::Put(1), Answer::Created);

    #[test]
    fn one_after_the_other() {
        let get = |answer| event(20, 30, Action::Get, answer);
        assert!(is_right(&[PUT, get(Answer::Value(1))]));
        assert!(!is_right(&[PUT, get(Answer::Missing)]), "lost");
        assert!(!is_right(&[PUT, get(Answer::Value(2))]), "nobody wrote it");
        assert!(!is_right(&[get(Answer::Value(1)), event(40, 50, PUT.action, PUT.answer)]));
        let replaced = event(20, 30, Action::Put(2), Answer::Replaced);
        assert!(is_right(&[PUT, replaced]));
        assert!(!is_right(&[PUT, event(20, 30, Action::Put(2), Answer::Created)]));
        assert!(is_right(&[PUT, replaced, event(40, 50, Action::Get, Answer::Value(2))]));
        assert!(!is_right(&[PUT, replaced, event(40, 50, Action::Get, Answer::Value(1))]), "stale");
    }

    #[test]
    fn deletes_and_conditions() {
        let delete = event(20, 30, Action::Delete, Answer::Deleted);
        assert!(is_right(&[PUT, delete, event(40, 50, Action::Get, Answer::Missing)]));
        assert!(!is_right(&[PUT, delete, event(40, 50, Action::Get, Answer::Value(1))]), "undead");
        assert!(!is_right(&[PUT, event(20, 30, Action::Delete, Answer::Missing)]));
        let new = |answer| event(40, 50, Action::PutNew(2), answer);
        assert!(is_right(&[PUT, delete, new(Answer::Created)]));
        assert!(!is_right(&[PUT, delete, new(Answer::Exists)]));
        assert!(is_right(&[PUT, new(Answer::Exists)]));
        assert!(!is_right(&[PUT, new(Answer::Created)]));
    }

    #[test]
    fn conditions_that_name_a_value() {
        let get_if = |value, answer| is_right(&[PUT, event(20, 30, Action::GetIf(value), answer)]);
        assert!(get_if(1, Answer::Value(1)) && get_if(2, Answer::Unmet));
        assert!(!get_if(1, Answer::Unmet) && !get_if(2, Answer::Value(1)));
        let put_if = |old, answer, then| {
            let put = event(20, 30, Action::PutIf(5, old), answer);
            is_right(&[PUT, put, event(40, 50, Action::Get, Answer::Value(then))])
        };
        assert!(put_if(1, Answer::Replaced, 5) && put_if(2, Answer::Unmet, 1));
        assert!(put_if(1, Answer::Unknown, 5) && put_if(1, Answer::Unknown, 1));
        assert!(!put_if(2, Answer::Unknown, 5), "the put cannot have taken effect");
        assert!(!put_if(1, Answer::Unmet, 1) && !put_if(2, Answer::Replaced, 5));
        let delete_if = |old, answer, then| {
            let delete = event(20, 30, Action::DeleteIf(old), answer);
            is_right(&[PUT, delete, event(40, 50, Action::Get, then)])
        };
        assert!(delete_if(1, Answer::Deleted, Answer::Missing));
        assert!(delete_if(2, Answer::Unmet, Answer::Value(1)));
        assert!(!delete_if(1, Answer::Unmet, Answer::Value(1)));
        assert!(!delete_if(2, Answer::Deleted, Answer::Missing));
        assert!(is_right(&[event(0, 1, Action::DeleteIf(2), Answer::Missing)]));
    }

    #[test]
    fn what_says_less_than_all() {
        let stored = |before: Option<Event>| {
            let put = event(20, 30, Action::Put(2), Answer::Stored);
            before.into_iter().chain([put]).collect::<Vec<_>>()
        };
        assert!(is_right(&stored(None)) && is_right(&stored(Some(PUT))));
        let present = event(40, 50, Action::Get, Answer::Present);
        assert!(is_right(&[PUT, present]) && !is_right(&[present]));
        let wipe = event(20, 30, Action::Wipe, Answer::Deleted);
        let missing = event(40, 50, Action::Get, Answer::Missing);
        assert!(is_right(&[PUT, wipe, missing]) && is_right(&[wipe, missing]));
        assert!(!is_right(&[PUT, wipe, present]));
    }

    #[test]
    fn at_once_either_order_is_right() {
        let get = |answer| event(5, 30, Action::Get, answer);
        assert!(is_right(&[PUT, get(Answer::Value(1))]));
        assert!(is_right(&[PUT, get(Answer::Missing)]));
        let later = event(40, 50, Action::Get, Answer::Missing);
        assert!(!is_right(&[PUT, get(Answer::Value(1)), later]), "seen and gone again");
    }

    #[test]
    fn without_an_answer_it_happened_or_not_but_not_later() {
        let lost = event(0, 10, Action::Put(1), Answer::Unknown);
        let get = |at, answer| event(at, at + 1, Action::Get, answer);
        assert!(is_right(&[lost, get(20, Answer::Missing)]));
        assert!(is_right(&[lost, get(20, Answer::Value(1))]));
        assert!(!is_right(&[lost, get(20, Answer::Missing), get(30, Answer::Value(1))]), "revived");
        assert!(!is_right(&[lost, get(20, Answer::Value(1)), get(30, Answer::Missing)]), "undone");
        let during = event(2, 3, Action::Get, Answer::Missing);
        assert!(is_right(&[lost, during, get(20, Answer::Value(1))]));
        let gone = event(12, 15, Action::Delete, Answer::Unknown);
        assert!(is_right(&[PUT, gone, get(20, Answer::Value(1))]));
        assert!(is_right(&[PUT, gone, get(20, Answer::Missing)]));
    }

    #[test]
    fn many_at_once_are_judged_in_time() {
        let put = |n| event(n, 1000 + n, Action::Put(n), Answer::Replaced);
        let mut events: Vec<Event> = (1..20).map(put).collect();
        events.push(event(0, 500, Action::Put(0), Answer::Created));
        events.push(event(2000, 2001, Action::Get, Answer::Value(7)));
        assert!(is_right(&events));
        events.push(event(2002, 2003, Action::Get, Answer::Value(8)));
        events.truncate(9);
        assert!(!is_right(&events[..8]), "all replaced a value, and none created one");
    }

    #[test]
    fn many_without_an_answer_are_judged_in_time() {
        let lost = |n| event(n, 1000, Action::Put(n), Answer::Unknown);
        let mut events: Vec<Event> = (1..60).map(lost).collect();
        let at = |n: u64| 100 + 10 * n;
        events.extend((0..60).map(|n| event(at(n), at(n) + 1, Action::Delete, Answer::Deleted)));
        assert!(!is_right(&events), "59 values cannot be deleted 60 times");
        events.pop();
        assert!(is_right(&events));
    }

    /// Histories generated from a register are correct, and become incorrect with a wrong answer.
    #[test]
    fn made_up_histories_are_judged_right() {
        let mut seed = 5;
        let mut draw = |below: u64| crate::runtime::split_mix(&mut seed) % below;
        let mut wrong = 0;
        for _ in 0..10_000 {
            let mut value = None;
            let mut events = Vec::new();
            for n in 0..2 + draw(10) {
                let at = 100 * n + 50;
                let old = draw(n + 1);
                let action = match draw(8) {
                    0 => Action::Put(n),
                    1 => Action::PutNew(n),
                    2 => Action::Delete,
                    3 => Action::PutIf(n, old),
                    4 => Action::DeleteIf(old),
                    5 => Action::GetIf(old),
                    6 => Action::Wipe,
                    _ => Action::Get,
                };
                let right = [
                    Answer::Created,
                    Answer::Replaced,
                    Answer::Exists,
                    Answer::Unmet,
                    Answer::Deleted,
                    Answer::Missing,
                ];
                let right = right.into_iter().chain(value.map(Answer::Value));
                let candidates = right.map(|answer| event(at, at, action, answer));
                let mut found =
                    candidates.filter_map(|e| effect(&e, value).map(|after| (e, after)));
                let (mut found, after) = found.next_back().expect("one answer is right");
                let (before, behind) = (draw(180), draw(180));
                (found.called, found.answered) = (at.saturating_sub(before), at + behind);
                value = after;
                if draw(8) == 0 {
                    found.answer = Answer::Unknown;
                }
                events.push(found);
            }
            check(&events).unwrap_or_else(|violation| panic!("{violation}"));
            events.push(event(
                5000,
                5001,
                Action::Get,
                value.map_or(Answer::Missing, Answer::Value),
            ));
            check(&events).unwrap_or_else(|violation| panic!("{violation}"));
            events.push(event(6000, 6001, Action::Get, Answer::Value(99)));
            wrong += u64::from(check(&events).is_err());
        }
        assert_eq!(wrong, 10_000);
    }
}
