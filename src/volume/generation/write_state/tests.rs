use std::panic::catch_unwind;

use super::FenceReason::{FileLost, Suspect};
use super::ReadOnlyReason::{Changing, Inspection, Operator, Sealed};
use super::WriteState::{
    Closed, Closing, Fenced, Full, Poisoned, ReadOnly, StateUnknown, Superseded, Writable,
};
use super::*;

const FIRST: IoError = IoError::Errno(5);
const SECOND: IoError = IoError::Errno(28);

const ALL: [WriteState; 12] = [
    Writable,
    Full,
    ReadOnly(Operator),
    ReadOnly(Changing),
    ReadOnly(Sealed),
    ReadOnly(Inspection),
    Fenced(FileLost),
    Fenced(Suspect),
    Poisoned(FIRST),
    StateUnknown(FIRST),
    Closing,
    Closed,
];

#[test]
fn each_state_accepts_the_operations_in_the_table() {
    // PUT, DELETE, commits, hints, checkpoints.
    let table = [
        (Writable, [true, true, true, true, true]),
        (Full, [true, true, true, true, true]),
        (ReadOnly(Operator), [false, false, true, true, true]),
        (ReadOnly(Changing), [false, false, true, true, true]),
        (ReadOnly(Sealed), [false, false, true, true, true]),
        (ReadOnly(Inspection), [false; 5]),
        (Fenced(FileLost), [false; 5]),
        (Fenced(Suspect), [false, false, true, true, true]),
        (Poisoned(FIRST), [false; 5]),
        (StateUnknown(FIRST), [false; 5]),
        (Closing, [false, false, true, true, true]),
        (Closed, [false, false, false, false, true]),
    ];
    assert_eq!(table.map(|(state, _)| state), ALL);
    for (state, takes) in table {
        let found = [
            state.takes_puts(),
            state.takes_deletes(),
            state.takes_commits(),
            state.takes_hints(),
            state.takes_checkpoints(),
        ];
        assert_eq!(found, takes, "{state:?}");
    }
}

#[test]
fn read_only_superblock_takes_precedence_in_refusals() {
    for state in ALL.into_iter().filter(|state| !state.takes_puts()) {
        for set in [SuperblockState::ReadOnly, SuperblockState::Sealed] {
            assert_eq!(state.admit(set), Err(Refusal::ReadOnly), "{state:?}");
        }
    }
}

#[test]
fn each_state_has_its_refusal() {
    let live = SuperblockState::Live;
    let table = [
        (Writable, Ok(()), Refusal::Full),
        (Full, Ok(()), Refusal::Full),
        (ReadOnly(Operator), Err(Refusal::ReadOnly), Refusal::ReadOnly),
        (ReadOnly(Changing), Err(Refusal::ReadOnly), Refusal::ReadOnly),
        (ReadOnly(Sealed), Err(Refusal::ReadOnly), Refusal::ReadOnly),
        (ReadOnly(Inspection), Err(Refusal::ReadOnly), Refusal::ReadOnly),
        (Fenced(FileLost), Err(Refusal::Poisoned), Refusal::Poisoned),
        (Fenced(Suspect), Err(Refusal::Suspect), Refusal::Suspect),
        (Poisoned(FIRST), Err(Refusal::Poisoned), Refusal::Poisoned),
        (StateUnknown(FIRST), Err(Refusal::ReadOnly), Refusal::Poisoned),
        (Closing, Ok(()), Refusal::Closing),
        (Closed, Ok(()), Refusal::Closing),
    ];
    assert_eq!(table.map(|(state, ..)| state), ALL);
    for (state, admitted, refusal) in table {
        assert_eq!((state.admit(live), state.refusal(live)), (admitted, refusal), "{state:?}");
    }
    for state in [Closing, Closed, Fenced(Suspect)] {
        assert_eq!(state.refusal(SuperblockState::ReadOnly), Refusal::ReadOnly);
    }
}

#[test]
fn initial_state_follows_from_the_superblock() {
    assert_eq!(WriteState::opened(SuperblockState::Live), Writable);
    assert_eq!(WriteState::opened(SuperblockState::ReadOnly), ReadOnly(Operator));
    assert_eq!(WriteState::opened(SuperblockState::Sealed), ReadOnly(Sealed));
    assert!(catch_unwind(|| WriteState::opened(SuperblockState::Building)).is_err());
}

#[test]
fn only_a_writable_volume_is_shown_as_full() {
    for state in ALL {
        assert_eq!(state.shown(|| false), state);
        assert_eq!(state.shown(|| true), if state == Writable { Full } else { state });
    }
}

/// Checks a transition from each state: to another state (`changes`), to the same (`stays`), or not legal.
fn check_transition(
    transition: impl Fn(WriteState) -> WriteState,
    changes: &[(WriteState, WriteState)],
    stays: &[WriteState],
) {
    for state in ALL {
        let expected = changes.iter().find(|(from, _)| *from == state).map(|(_, to)| *to);
        let expected = expected.or_else(|| stays.contains(&state).then_some(state));
        let transition = std::panic::AssertUnwindSafe(|| transition(state));
        assert_eq!(catch_unwind(transition).ok(), expected, "{state:?}");
    }
}

#[test]
fn volume_becomes_read_only_in_two_steps() {
    let ended = [Fenced(FileLost), Fenced(Suspect), Poisoned(FIRST), Closing, Closed];
    check_transition(WriteState::begin_read_only, &[(Writable, ReadOnly(Changing))], &ended);
    check_transition(
        WriteState::finish_read_only,
        &[(ReadOnly(Changing), ReadOnly(Operator))],
        &ended,
    );
    let ended = [&ended[..], &[StateUnknown(FIRST)]].concat();
    check_transition(WriteState::abandon_read_only, &[(ReadOnly(Changing), Writable)], &ended);
}

#[test]
fn only_an_operator_read_only_volume_becomes_writable() {
    let ended = [Fenced(FileLost), Fenced(Suspect), Poisoned(FIRST), Closing, Closed];
    check_transition(WriteState::make_writable, &[(ReadOnly(Operator), Writable)], &ended);
}

/// States in which the append side works or has ended cleanly.
const SOUND: [WriteState; 7] = [
    Writable,
    ReadOnly(Operator),
    ReadOnly(Changing),
    ReadOnly(Sealed),
    Fenced(Suspect),
    Closing,
    Closed,
];

#[test]
fn first_failure_is_kept() {
    let failed = [Fenced(FileLost), Poisoned(FIRST), StateUnknown(FIRST)];
    check_transition(
        |state| state.poison(SECOND),
        &SOUND.map(|from| (from, Poisoned(SECOND))),
        &failed,
    );
    for state in ALL {
        assert_eq!(state.error().is_some(), failed.contains(&state));
    }
}

#[test]
fn lost_file_outranks_unknown_state_which_outranks_poison() {
    let changing = [
        Writable,
        ReadOnly(Operator),
        ReadOnly(Changing),
        Fenced(Suspect),
        Poisoned(FIRST),
        Closing,
        Closed,
    ];
    let changes = changing.map(|from| (from, StateUnknown(SECOND)));
    let stays = [Fenced(FileLost), StateUnknown(FIRST)];
    check_transition(|state| state.lose_state(SECOND), &changes, &stays);
    let all = [&SOUND[..], &[Poisoned(FIRST), StateUnknown(FIRST)]].concat();
    let changes: Vec<_> = all.into_iter().map(|from| (from, Fenced(FileLost))).collect();
    check_transition(WriteState::fence, &changes, &[Fenced(FileLost)]);
}

#[test]
fn log_is_closed_in_two_steps() {
    let failed = [Fenced(FileLost), Poisoned(FIRST), StateUnknown(FIRST)];
    let changes =
        [Writable, ReadOnly(Operator), ReadOnly(Changing), ReadOnly(Sealed), Fenced(Suspect)];
    let stays = [&failed[..], &[Closing, Closed]].concat();
    check_transition(WriteState::begin_to_close, &changes.map(|from| (from, Closing)), &stays);
    check_transition(WriteState::finish_closing, &[(Closing, Closed)], &failed);
}

#[test]
fn generation_is_superseded_whatever_happened_to_its_file() {
    let ends = [
        Writable,
        ReadOnly(Operator),
        ReadOnly(Changing),
        ReadOnly(Sealed),
        Fenced(FileLost),
        Fenced(Suspect),
        Poisoned(FIRST),
    ];
    check_transition(WriteState::supersede, &ends.map(|from| (from, Superseded)), &[]);
}

#[test]
fn suspicion_ends_writes_until_it_is_cleared() {
    let open = [Writable, ReadOnly(Operator), ReadOnly(Changing), ReadOnly(Sealed)];
    let stays: Vec<_> =
        ALL.into_iter().filter(|state| !open.contains(state) && *state != Full).collect();
    check_transition(WriteState::suspect, &open.map(|from| (from, Fenced(Suspect))), &stays);
    let others: Vec<_> = ALL.into_iter().filter(|state| *state != Fenced(Suspect)).collect();
    for (set, opened) in
        [(SuperblockState::Live, Writable), (SuperblockState::ReadOnly, ReadOnly(Operator))]
    {
        check_transition(|state| state.clear(set), &[(Fenced(Suspect), opened)], &others);
    }
}
