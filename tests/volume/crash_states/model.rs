//! Actions of histories, and the states allowed after each.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use hayloft::base::types::NeedleId;

use crate::common::bytes;

pub const IDS: [NeedleId; 3] = [NeedleId::new(1, 0), NeedleId::new(2, 0), NeedleId::new(3, 0)];
/// Content of an id: the number of a value, or nothing.
pub type Value = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Half a unit of data: the smallest commit.
    PutSmall(usize),
    /// A commit of two blocks.
    PutLarge(usize),
    Delete(usize),
    /// Values for this many ids in one batch put, small and large alternating.
    Batch(usize),
    /// Two parts and a manifest.
    PutBody(usize),
    /// The manifest of a multipart object and a small needle, in one batch put.
    BatchBody,
    /// This many ids in one multi-delete, whether they exist or not.
    MultiDelete(usize),
}

pub const ACTIONS: [Action; 6] = [
    Action::PutSmall(0),
    Action::PutLarge(0),
    Action::Delete(0),
    Action::PutSmall(1),
    Action::PutLarge(1),
    Action::Delete(1),
];

/// Actions with several sectors that only count together.
pub const MULTI: [Action; 5] =
    [Action::Batch(2), Action::Batch(3), Action::PutBody(0), Action::PutBody(1), Action::BatchBody];

/// Values from this one on are multipart objects.
pub const BODIES: u64 = 100;
/// The tens of a value are the number of its operation; small and large ones alternate.
pub const VALUES: std::ops::Range<u64> = 2..BODIES + 100;

pub fn value_len(value: u64) -> usize {
    match value {
        BODIES.. => 65_536 + 200,
        _ if value.is_multiple_of(2) => 200,
        _ => 3000,
    }
}

/// Bytes of all values, from 0.
static ALL: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| (0..VALUES.end).map(|value| bytes(value, value_len(value))).collect());
/// Value by its first eight bytes.
static BY_BEGINNING: LazyLock<HashMap<[u8; 8], u64>> = LazyLock::new(|| {
    let beginning = |value| value_bytes(value)[..8].try_into().unwrap();
    VALUES.map(|value| (beginning(value), value)).collect()
});

pub fn value_bytes(value: u64) -> &'static [u8] {
    &ALL[usize::try_from(value).unwrap()]
}

/// The value with these bytes.
pub fn value_of(bytes: &[u8]) -> Option<u64> {
    let value = *BY_BEGINNING.get(bytes.first_chunk()?)?;
    (value_bytes(value) == bytes).then_some(value)
}

/// Content of each id.
pub type State = [Value; IDS.len()];

/// Changes that an operation makes to the ids.
pub type Effect = Vec<(usize, Value)>;

pub fn effect(n: u64, action: Action) -> Effect {
    match action {
        Action::PutSmall(id) => vec![(id, Some(n * 10))],
        Action::PutLarge(id) => vec![(id, Some(n * 10 + 1))],
        Action::Delete(id) => vec![(id, None)],
        Action::Batch(count) => (0..count).map(|id| (id, Some(n * 10 + id as u64))).collect(),
        Action::PutBody(id) => vec![(id, Some(BODIES + n * 10))],
        Action::BatchBody => vec![(0, Some(BODIES + n * 10)), (1, Some(n * 10))],
        Action::MultiDelete(count) => (0..count).map(|id| (id, None)).collect(),
    }
}

/// The certain content of the ids, and the operations in flight: each may take effect or not, but only as a
/// whole.
#[derive(Clone, Default)]
pub struct Model {
    pub settled: State,
    pub in_flight: Vec<(u64, Effect)>,
}

impl Model {
    pub fn settle(&mut self, n: u64, done: bool) {
        let at = self.in_flight.iter().position(|(of, _)| *of == n).expect("it was in flight");
        let (_, effect) = self.in_flight.swap_remove(at);
        if done {
            apply(&mut self.settled, &effect);
        }
    }

    /// The states allowed now: any of the operations in flight, in any order.
    pub fn allowed(&self) -> BTreeSet<State> {
        let effects: Vec<&Effect> = self.in_flight.iter().map(|(_, effect)| effect).collect();
        let mut states = BTreeSet::new();
        add_all(self.settled, &effects, &mut states);
        states
    }
}

fn apply(state: &mut State, effect: &Effect) {
    for (id, value) in effect {
        state[*id] = *value;
    }
}

fn add_all(state: State, effects: &[&Effect], states: &mut BTreeSet<State>) {
    states.insert(state);
    for (n, effect) in effects.iter().enumerate() {
        let mut after = state;
        apply(&mut after, effect);
        let others = [&effects[..n], &effects[n + 1..]].concat();
        add_all(after, &others, states);
    }
}

/// All histories of up to `most` of the plain actions.
pub fn histories(most: usize) -> Vec<Vec<Action>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = |history: &Vec<Action>| {
            let history = history.clone();
            ACTIONS.map(move |action| [history.clone(), vec![action]].concat())
        };
        last = last.iter().flat_map(longer).collect();
        all.extend_from_slice(&last);
    }
    all
}

/// Histories with a batch put or a multipart object.
pub fn multi_histories() -> Vec<Vec<Action>> {
    let mut all = Vec::new();
    for multi in MULTI {
        all.push(vec![multi]);
        for other in [Action::PutSmall(0), Action::Delete(1)] {
            all.push(vec![multi, other]);
            all.push(vec![other, multi]);
        }
        for other in MULTI {
            all.push(vec![multi, other]);
        }
    }
    all
}

/// Histories with a multi-delete.
pub fn multi_delete_histories() -> Vec<Vec<Action>> {
    let mut all = Vec::new();
    for multi in [Action::MultiDelete(2), Action::MultiDelete(3)] {
        all.push(vec![multi]);
        for other in [
            Action::PutSmall(0),
            Action::PutLarge(1),
            Action::Delete(1),
            Action::Batch(3),
            Action::PutBody(0),
            Action::MultiDelete(2),
            Action::MultiDelete(3),
        ] {
            all.push(vec![multi, other]);
            all.push(vec![other, multi]);
        }
        // So that all three exist.
        all.push(vec![Action::Batch(3), multi, Action::PutSmall(2)]);
    }
    all
}

/// Actions of histories of three operations.
const TRIPLED: [Action; 8] = [
    Action::PutSmall(0),
    Action::PutLarge(0),
    Action::Delete(0),
    Action::PutSmall(1),
    Action::PutLarge(1),
    Action::Delete(1),
    Action::Batch(2),
    Action::Batch(3),
];

/// All histories of three operations that begin with action number `first`.
pub fn triples(first: usize) -> Vec<[Action; 3]> {
    let behind = |second| TRIPLED.map(move |third| [TRIPLED[first], second, third]);
    TRIPLED.into_iter().flat_map(behind).collect()
}

/// Number of actions that histories of three may begin with.
pub const FIRST: usize = TRIPLED.len();
