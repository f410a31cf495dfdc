use super::*;

const fn event(called: u64, answered: u64, action: Action, answer: Answer) -> Event {
    Event { called, answered, action, answer }
}

fn is_linearizable(events: &[Event]) -> bool {
    check(events).is_ok()
}

const PUT: Event = event(0, 10, Action::Put(1), Answer::Created);

#[test]
fn sequential_operations_must_follow_each_other() {
    let get = |answer| event(20, 30, Action::Get, answer);
    assert!(is_linearizable(&[PUT, get(Answer::Value(1))]));
    assert!(!is_linearizable(&[PUT, get(Answer::Missing)]), "lost");
    assert!(!is_linearizable(&[PUT, get(Answer::Value(2))]), "nobody wrote it");
    assert!(!is_linearizable(&[get(Answer::Value(1)), event(40, 50, PUT.action, PUT.answer)]));
    let replaced = event(20, 30, Action::Put(2), Answer::Replaced);
    assert!(is_linearizable(&[PUT, replaced]));
    assert!(!is_linearizable(&[PUT, event(20, 30, Action::Put(2), Answer::Created)]));
    assert!(is_linearizable(&[PUT, replaced, event(40, 50, Action::Get, Answer::Value(2))]));
    assert!(
        !is_linearizable(&[PUT, replaced, event(40, 50, Action::Get, Answer::Value(1))]),
        "stale"
    );
}

#[test]
fn deletes_and_create_only_puts_are_checked() {
    let delete = event(20, 30, Action::Delete, Answer::Deleted);
    assert!(is_linearizable(&[PUT, delete, event(40, 50, Action::Get, Answer::Missing)]));
    assert!(
        !is_linearizable(&[PUT, delete, event(40, 50, Action::Get, Answer::Value(1))]),
        "undead"
    );
    assert!(!is_linearizable(&[PUT, event(20, 30, Action::Delete, Answer::Missing)]));
    let new = |answer| event(40, 50, Action::PutNew(2), answer);
    assert!(is_linearizable(&[PUT, delete, new(Answer::Created)]));
    assert!(!is_linearizable(&[PUT, delete, new(Answer::Exists)]));
    assert!(is_linearizable(&[PUT, new(Answer::Exists)]));
    assert!(!is_linearizable(&[PUT, new(Answer::Created)]));
}

#[test]
fn conditional_operations_are_checked_against_the_value() {
    let get_if =
        |value, answer| is_linearizable(&[PUT, event(20, 30, Action::GetIf(value), answer)]);
    assert!(get_if(1, Answer::Value(1)) && get_if(2, Answer::Unmet));
    assert!(!get_if(1, Answer::Unmet) && !get_if(2, Answer::Value(1)));
    let put_if = |old, answer, then| {
        let put = event(20, 30, Action::PutIf(5, old), answer);
        is_linearizable(&[PUT, put, event(40, 50, Action::Get, Answer::Value(then))])
    };
    assert!(put_if(1, Answer::Replaced, 5) && put_if(2, Answer::Unmet, 1));
    assert!(put_if(1, Answer::Unknown, 5) && put_if(1, Answer::Unknown, 1));
    assert!(!put_if(2, Answer::Unknown, 5), "the put cannot have taken effect");
    assert!(!put_if(1, Answer::Unmet, 1) && !put_if(2, Answer::Replaced, 5));
    let delete_if = |old, answer, then| {
        let delete = event(20, 30, Action::DeleteIf(old), answer);
        is_linearizable(&[PUT, delete, event(40, 50, Action::Get, then)])
    };
    assert!(delete_if(1, Answer::Deleted, Answer::Missing));
    assert!(delete_if(2, Answer::Unmet, Answer::Value(1)));
    assert!(!delete_if(1, Answer::Unmet, Answer::Value(1)));
    assert!(!delete_if(2, Answer::Deleted, Answer::Missing));
    assert!(is_linearizable(&[event(0, 1, Action::DeleteIf(2), Answer::Missing)]));
}

#[test]
fn partial_answers_constrain_less() {
    let stored = |before: Option<Event>| {
        let put = event(20, 30, Action::Put(2), Answer::Stored);
        before.into_iter().chain([put]).collect::<Vec<_>>()
    };
    assert!(is_linearizable(&stored(None)) && is_linearizable(&stored(Some(PUT))));
    let removed = event(12, 15, Action::Delete, Answer::Removed);
    let then = |answer| event(20, 30, Action::Get, answer);
    assert!(is_linearizable(&[removed]) && is_linearizable(&[PUT, removed]));
    assert!(is_linearizable(&[PUT, removed, then(Answer::Missing)]));
    assert!(!is_linearizable(&[PUT, removed, then(Answer::Value(1))]));
    let present = event(40, 50, Action::Get, Answer::Present);
    assert!(is_linearizable(&[PUT, present]) && !is_linearizable(&[present]));
    let wipe = event(20, 30, Action::Wipe, Answer::Deleted);
    let missing = event(40, 50, Action::Get, Answer::Missing);
    assert!(is_linearizable(&[PUT, wipe, missing]) && is_linearizable(&[wipe, missing]));
    assert!(!is_linearizable(&[PUT, wipe, present]));
}

#[test]
fn concurrent_operations_may_take_either_order() {
    let get = |answer| event(5, 30, Action::Get, answer);
    assert!(is_linearizable(&[PUT, get(Answer::Value(1))]));
    assert!(is_linearizable(&[PUT, get(Answer::Missing)]));
    let later = event(40, 50, Action::Get, Answer::Missing);
    assert!(!is_linearizable(&[PUT, get(Answer::Value(1)), later]), "seen and gone again");
}

#[test]
fn unanswered_operation_took_effect_at_one_time_or_never() {
    let lost = event(0, 10, Action::Put(1), Answer::Unknown);
    let get = |at, answer| event(at, at + 1, Action::Get, answer);
    assert!(is_linearizable(&[lost, get(20, Answer::Missing)]));
    assert!(is_linearizable(&[lost, get(20, Answer::Value(1))]));
    assert!(
        !is_linearizable(&[lost, get(20, Answer::Missing), get(30, Answer::Value(1))]),
        "revived"
    );
    assert!(
        !is_linearizable(&[lost, get(20, Answer::Value(1)), get(30, Answer::Missing)]),
        "undone"
    );
    let during = event(2, 3, Action::Get, Answer::Missing);
    assert!(is_linearizable(&[lost, during, get(20, Answer::Value(1))]));
    let gone = event(12, 15, Action::Delete, Answer::Unknown);
    assert!(is_linearizable(&[PUT, gone, get(20, Answer::Value(1))]));
    assert!(is_linearizable(&[PUT, gone, get(20, Answer::Missing)]));
}

#[test]
fn many_concurrent_operations_are_checked_quickly() {
    let put = |n| event(n, 1000 + n, Action::Put(n), Answer::Replaced);
    let mut events: Vec<Event> = (1..20).map(put).collect();
    events.push(event(0, 500, Action::Put(0), Answer::Created));
    events.push(event(2000, 2001, Action::Get, Answer::Value(7)));
    assert!(is_linearizable(&events));
    events.push(event(2002, 2003, Action::Get, Answer::Value(8)));
    events.truncate(9);
    assert!(!is_linearizable(&events[..8]), "all replaced a value, and none created one");
}

#[test]
fn many_unanswered_operations_are_checked_quickly() {
    let lost = |n| event(n, 1000, Action::Put(n), Answer::Unknown);
    let mut events: Vec<Event> = (1..60).map(lost).collect();
    let at = |n: u64| 100 + 10 * n;
    events.extend((0..60).map(|n| event(at(n), at(n) + 1, Action::Delete, Answer::Deleted)));
    assert!(!is_linearizable(&events), "59 values cannot be deleted 60 times");
    events.pop();
    assert!(is_linearizable(&events));
}

/// Histories generated from a register are correct, and become incorrect with a wrong answer.
#[test]
fn generated_histories_are_accepted_and_wrong_ones_rejected() {
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
            let mut found = candidates.filter_map(|e| effect(&e, value).map(|after| (e, after)));
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
        events.push(event(5000, 5001, Action::Get, value.map_or(Answer::Missing, Answer::Value)));
        check(&events).unwrap_or_else(|violation| panic!("{violation}"));
        events.push(event(6000, 6001, Action::Get, Answer::Value(99)));
        wrong += u64::from(check(&events).is_err());
    }
    assert_eq!(wrong, 10_000);
}
