//! Judges what clients saw: whether there is an order of all operations on one object in which each
//! took effect at one moment between its call and its answer, and every answer was right
//! (linearizability: Herlihy and Wing, 1990; the search is that of Wing and Gong, 1993, with the memory
//! of Lowe, 2017).
//!
//! Crashes need nothing of their own. What was acknowledged took effect before its answer, so that no
//! later answer, after a restart either, may contradict it. What was not answered took effect before the
//! process ended, or never.

use std::collections::HashSet;
use std::fmt;

/// What a client asked of an object. Values are told apart by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To store a value.
    Put(u64),
    /// To store a value unless there is one.
    PutNew(u64),
    /// To store a value in the place of another one, and only there: the new one, the old one.
    PutIf(u64, u64),
    /// To delete it.
    Delete,
    /// To delete it if it holds this value.
    DeleteIf(u64),
    /// To read it.
    Get,
    /// To read it if it holds this value.
    GetIf(u64),
    /// To be rid of it, with all others of its volume, whether it is there or not.
    Wipe,
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored where nothing was.
    Created,
    /// Stored in place of what was there.
    Replaced,
    /// Stored, whether something was there or not.
    Stored,
    /// Not stored, since there was something.
    Exists,
    /// Nothing was done: it is not there, or holds another value than the one that was named.
    Unmet,
    /// Deleted.
    Deleted,
    /// Read.
    Value(u64),
    /// Something was there.
    Present,
    /// Nothing was there.
    Missing,
    /// That it was turned away: it must not have taken effect.
    Refused,
    /// Nothing, or that it is not known: it took effect, or it did not.
    Unknown,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was called.
    pub called: u64,
    /// When it was answered; for [`Answer::Unknown`], when the process that might still have carried it
    /// out ended.
    pub answered: u64,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub answer: Answer,
}

/// Operations on one object that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// As many as could be explained, in that order.
    pub explained: Vec<Event>,
    /// The others.
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

/// What the object holds after an operation, if that can have been answered so.
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

/// Operations of which an order has been found, as bits.
type Set = Vec<u64>;

fn has(set: &[u64], n: usize) -> bool {
    set[n / 64] >> (n % 64) & 1 == 1
}

/// A value that nobody read: which one it is makes no difference.
const UNREAD: u64 = u64::MAX;

struct Search<'a> {
    events: &'a [Event],
    /// Values that somebody read.
    read: HashSet<u64>,
    seen: HashSet<(Set, Value)>,
    order: Vec<usize>,
    best: Vec<usize>,
}

impl Search<'_> {
    fn blur(&self, value: u64) -> u64 {
        if self.read.contains(&value) { value } else { UNREAD }
    }

    fn blurred(&self, action: Action) -> Action {
        match action {
            Action::Put(value) => Action::Put(self.blur(value)),
            Action::PutNew(value) => Action::PutNew(self.blur(value)),
            Action::PutIf(value, old) => Action::PutIf(self.blur(value), old),
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
        // Whoever was answered before another one was called comes before it.
        let first = open().filter(known).map(|n| self.events[n].answered).min();
        let first = first.expect("some are open");
        let next: Vec<usize> = open().filter(|&n| self.events[n].called <= first).collect();
        let mut tried = HashSet::new();
        for n in next {
            let event = &self.events[n];
            // Without an answer and past its end it has not happened; whatever happens now is later.
            let later = event.answer == Answer::Unknown
                && self.order.iter().any(|&before| self.events[before].called >= event.answered);
            if later {
                continue;
            }
            // Of unanswered operations that do the same and end together, one is as good as another.
            let kind = (self.blurred(event.action), event.answered);
            if event.answer == Answer::Unknown && !tried.insert(kind) {
                continue;
            }
            let Some(after) = effect(event, value) else { continue };
            let after = after.map(|value| self.blur(value));
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

/// Judges the operations on one object that was not there at first.
///
/// # Errors
/// See [`Violation`].
pub fn check(events: &[Event]) -> Result<(), Box<Violation>> {
    let took_part = events.iter().filter(|event| event.answer != Answer::Refused);
    let events: &[Event] = &took_part.copied().collect::<Vec<_>>();
    // Or named by a condition: then it makes a difference which it is, too.
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
        assert!(!put_if(2, Answer::Unknown, 5), "it cannot have taken effect");
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
        assert!(!is_right(&events[..8]), "nothing was created, all say they replaced something");
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

    /// Every history that a real register makes is right, and most become wrong with a wrong answer.
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
