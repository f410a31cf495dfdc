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
    let facts = Facts::default();
    let search = Search {
        events: &[],
        facts: &facts,
        read: (0..100).collect(),
        has_undeletes: true,
        seen: HashSet::new(),
        order: Vec::new(),
        best: Vec::new(),
    };
    for _ in 0..10_000 {
        let mut object = Object::default();
        let mut events = Vec::new();
        for n in 0..2 + draw(10) {
            let at = 100 * n + 50;
            let old = draw(n + 1);
            let action = match draw(10) {
                0 => Action::Put(n),
                1 => Action::PutNew(n),
                2 => Action::Delete,
                3 => Action::PutIf(n, old),
                4 => Action::DeleteIf(old),
                5 => Action::GetIf(old),
                6 => Action::Wipe,
                7 => Action::Undelete,
                8 => Action::Renew(None),
                _ => Action::Get,
            };
            let right = [
                Answer::Created,
                Answer::Replaced,
                Answer::Exists,
                Answer::Unmet,
                Answer::Deleted,
                Answer::Missing,
                Answer::Present,
                Answer::Restored,
            ];
            let right = right.into_iter().chain(object.value().map(Answer::Value));
            let candidates = right.map(|answer| event(at, at, action, answer));
            let effect = |event| search.effect(&event, object).map(|after| (event, after));
            let mut found = candidates.filter_map(effect);
            let (mut found, after) = found.next_back().expect("one answer is right");
            let (before, behind) = (draw(180), draw(180));
            (found.called, found.answered) = (at.saturating_sub(before), at + behind);
            object = after;
            if draw(8) == 0 {
                found.answer = Answer::Unknown;
            }
            events.push(found);
        }
        check(&events).unwrap_or_else(|violation| panic!("{violation}"));
        let last = object.value().map_or(Answer::Missing, Answer::Value);
        events.push(event(5000, 5001, Action::Get, last));
        check(&events).unwrap_or_else(|violation| panic!("{violation}"));
        events.push(event(6000, 6001, Action::Get, Answer::Value(99)));
        wrong += u64::from(check(&events).is_err());
    }
    assert_eq!(wrong, 10_000);
}

/// Checks the operations on an object of which values expire or are damaged.
fn is_explained(events: &[Event], expires: &[(u64, u64)], damaged: &[(u64, Damaged)]) -> bool {
    let facts = Facts {
        expires: expires.iter().copied().collect(),
        damaged: damaged.iter().copied().collect(),
    };
    check_with(events, &facts).is_ok()
}

#[test]
fn value_is_missing_from_the_time_on_at_which_it_expires() {
    let at = |called, answer| event(called, called + 5, Action::Get, answer);
    let explained = |events: &[Event]| is_explained(events, &[(1, 100)], &[]);
    assert!(explained(&[PUT, at(90, Answer::Value(1)), at(101, Answer::Missing)]));
    assert!(
        explained(&[PUT, at(97, Answer::Value(1))]) && explained(&[PUT, at(97, Answer::Missing)])
    );
    assert!(!explained(&[PUT, at(90, Answer::Missing)]), "too early");
    assert!(!explained(&[PUT, at(101, Answer::Value(1))]), "too late");
    let then = |action, answer| [PUT, event(101, 110, action, answer)];
    assert!(explained(&then(Action::Put(2), Answer::Created)));
    assert!(!explained(&then(Action::Put(2), Answer::Replaced)));
    assert!(!explained(&then(Action::Delete, Answer::Deleted)));
    // It was decided before, and took effect after another had found nothing.
    let put = event(99, 120, Action::Put(2), Answer::Replaced);
    assert!(explained(&[PUT, put, at(101, Answer::Missing), at(130, Answer::Value(2))]));
    let put_if = event(99, 120, Action::PutIf(2, 1), Answer::Replaced);
    assert!(explained(&[PUT, put_if, at(101, Answer::Missing), at(130, Answer::Value(2))]));
}

#[test]
fn time_of_expiry_can_be_changed() {
    let at = |called, answer| event(called, called + 5, Action::Get, answer);
    let renew = |called, time, answer| event(called, called + 5, Action::Renew(time), answer);
    let explained = |events: &[Event]| is_explained(events, &[(1, 100)], &[]);
    let present = Answer::Present;
    assert!(explained(&[PUT, renew(50, None, present), at(101, Answer::Value(1))]));
    assert!(!explained(&[PUT, renew(50, None, present), at(101, Answer::Missing)]));
    assert!(!explained(&[PUT, renew(50, Some(200), present), at(201, Answer::Value(1))]));
    assert!(explained(&[PUT, renew(50, Some(200), present), at(201, Answer::Missing)]));
    assert!(explained(&[PUT, renew(101, None, Answer::Missing)]));
    assert!(!explained(&[PUT, renew(101, None, present)]), "expired things do not come back");
    let slow = event(50, 150, Action::Renew(Some(99)), present);
    assert!(is_explained(
        &[PUT, slow, at(120, Answer::Value(1)), at(151, Answer::Missing)],
        &[],
        &[]
    ));
}

#[test]
fn what_was_deleted_last_comes_back_once() {
    let undelete = |called, answer| event(called, called + 5, Action::Undelete, answer);
    let delete = event(20, 30, Action::Delete, Answer::Deleted);
    let at = |called, answer| event(called, called + 5, Action::Get, answer);
    let back = undelete(40, Answer::Restored);
    assert!(is_linearizable(&[PUT, delete, back, at(50, Answer::Value(1))]));
    assert!(!is_linearizable(&[PUT, delete, back, at(50, Answer::Missing)]));
    assert!(!is_linearizable(&[PUT, back]), "it was there");
    assert!(is_linearizable(&[PUT, undelete(40, Answer::Exists)]));
    assert!(is_linearizable(&[undelete(40, Answer::Missing)]));
    assert!(!is_linearizable(&[PUT, delete, undelete(40, Answer::Missing)]));
    let put = event(32, 34, Action::Put(2), Answer::Created);
    let again = event(36, 38, Action::Delete, Answer::Deleted);
    assert!(
        !is_linearizable(&[PUT, delete, put, again, back, at(50, Answer::Value(1))]),
        "an older one"
    );
    assert!(is_linearizable(&[PUT, delete, put, again, back, at(50, Answer::Value(2))]));
    let lost = undelete(40, Answer::Unknown);
    assert!(is_linearizable(&[PUT, delete, lost, at(50, Answer::Missing)]));
    assert!(is_linearizable(&[PUT, delete, lost, at(50, Answer::Value(1))]));
    let damaged = Damaged { since: 15, until: u64::MAX, is_of_head: false, is_in_part: false };
    assert!(!is_explained(&[PUT, delete, back], &[], &[(1, damaged)]), "it is damaged");
    assert!(
        !is_explained(&[PUT, delete, undelete(120, Answer::Restored)], &[(1, 100)], &[]),
        "expired"
    );
    let wipe = event(32, 34, Action::Wipe, Answer::Deleted);
    assert!(!is_linearizable(&[PUT, delete, wipe, back]));
}

#[test]
fn damaged_value_is_unreadable_until_it_is_replaced() {
    let damaged =
        |is_of_head| [(1, Damaged { since: 20, until: 200, is_of_head, is_in_part: false })];
    let at = |called, answer| event(called, called + 5, Action::Get, answer);
    let explained = |events: &[Event]| is_explained(events, &[], &damaged(false));
    assert!(explained(&[PUT, at(30, Answer::Unreadable)]));
    assert!(!explained(&[PUT, at(12, Answer::Unreadable)]), "before the damage");
    assert!(!explained(&[PUT, at(201, Answer::Unreadable)]), "when it is readable again");
    assert!(!explained(&[PUT, at(30, Answer::Missing)]));
    assert!(!explained(&[PUT, at(30, Answer::HeadUnreadable)]));
    assert!(is_explained(&[PUT, at(30, Answer::HeadUnreadable)], &[], &damaged(true)));
    let put = event(40, 50, Action::Put(2), Answer::Replaced);
    assert!(explained(&[PUT, put, at(60, Answer::Value(2))]));
    assert!(!explained(&[PUT, put, at(60, Answer::Unreadable)]));
    let renew = |answer| event(40, 50, Action::Renew(None), answer);
    let expires = [(1, 100)];
    assert!(is_explained(&[PUT, renew(Answer::Unreadable)], &expires, &damaged(false)));
    assert!(
        !is_explained(&[PUT, renew(Answer::Present)], &expires, &damaged(false)),
        "it is damaged"
    );
}
