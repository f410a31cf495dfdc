//! What a volume may hold: the reference that the engine is compared with.

use std::collections::BTreeSet;

/// How many names there are.
pub const NAMES: usize = 4;

/// What each name holds: a value by its number, or nothing.
pub type State = [Option<u32>; NAMES];

/// What an operation makes of the names.
pub type Effect = Vec<(usize, Option<u32>)>;

/// All states that are possible, and what is under way: each may take effect or not, but as a whole.
#[derive(Clone, Debug)]
pub struct Model {
    states: BTreeSet<State>,
    under_way: Vec<(u32, Effect)>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged.
    Done,
    /// Refused: it has no effect.
    Refused,
    /// Failed: it may have an effect, now or after the next start.
    Unknown,
}

impl Default for Model {
    fn default() -> Self {
        Self { states: BTreeSet::from([State::default()]), under_way: Vec::new() }
    }
}

impl Model {
    /// Operation `n` begins. Those under way at once name different names.
    pub fn begin(&mut self, n: u32, effect: Effect) {
        self.under_way.push((n, effect));
    }

    /// Operation `n` ended.
    pub fn end(&mut self, n: u32, end: End) {
        let at = self.under_way.iter().position(|(of, _)| *of == n).expect("it was under way");
        let (_, effect) = self.under_way.swap_remove(at);
        let after = self.states.iter().map(|state| applied(state, &effect));
        match end {
            End::Done => self.states = after.collect(),
            End::Refused => {}
            End::Unknown => {
                let after: Vec<State> = after.collect();
                self.states.extend(after);
            }
        }
    }

    /// Whether nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// All states that are possible now, or after a crash now.
    pub fn possible(&self) -> BTreeSet<State> {
        let mut states = self.states.clone();
        for (_, effect) in &self.under_way {
            let after: Vec<State> = states.iter().map(|state| applied(state, effect)).collect();
            states.extend(after);
        }
        states
    }

    /// What a name may hold.
    pub fn may_hold(&self, name: usize) -> BTreeSet<Option<u32>> {
        self.possible().iter().map(|state| state[name]).collect()
    }

    /// After a start this is how it is, and stays.
    pub fn observe(&mut self, state: State) {
        let possible = self.possible();
        assert!(possible.contains(&state), "{state:?} is not of {possible:?}");
        *self = Self { states: BTreeSet::from([state]), under_way: Vec::new() };
    }
}

fn applied(state: &State, effect: &Effect) -> State {
    let mut state = *state;
    for (name, value) in effect {
        state[*name] = *value;
    }
    state
}
