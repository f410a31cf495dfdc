//! The engine against a small model: writes, deletes, multi-writes, large bodies and changes of state,
//! one after the other and at once, while the disk fails; then the process ends, is killed or loses its
//! power, and what the next one reads must be something that the model allows.
//!
//! Input: rounds, see [`Round`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::sim::disk::{Image, Wreck};
use hayloft::runtime::sim::{Fault, World};
use hayloft::runtime::split_mix;
use hayloft::volume::{GetError, NewNeedle, OpenError, Refusal, Slot, StateError};

use crate::common::{COOKIE, Process, bytes, draft, upload};
use crate::images::id;
use crate::input::Input;
use crate::model::{Effect, End, Model, NAMES, State};

const SIZE: u64 = 512 * 1024;
const ROUNDS_MAX: usize = 12;
const ACTIONS_MAX: usize = 4;
/// As long as a sector is read again: recovery takes what fails more often for damage.
const FAULTS_AT_OPEN_MAX: u64 = 3;
const FAULTS_MAX: u64 = 8;
const LARGE: usize = 65_536 + 200;

thread_local! {
    static POOL: Pool = Pool::new(&Region::map(1, 8 << 20).expect("8 MiB of memory"), 0);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    POOL.with(|pool| {
        let mut input = Input(data);
        let mut store = Store::new(pool);
        for _ in 0..ROUNDS_MAX {
            if input.is_empty() {
                break;
            }
            let round = Round::new(&mut input);
            store.play(&round);
        }
        store.restart(&Restart { how: How::Close, seed: 1, fault: None });
    });
}

/// What happens to disk operations: some number of them, from the `after`-th on.
#[derive(Clone, Copy, Debug)]
struct Failing {
    after: u64,
    count: u64,
    fault: Fault,
}

impl Failing {
    fn new(input: &mut Input<'_>, most: u64) -> Option<Self> {
        let (kind, after, count) = (input.u8(), u64::from(input.u8()), u64::from(input.u8()));
        let fault = match kind % 8 {
            0 => Fault::Errno(5),
            1 => Fault::Errno(28),
            2 => Fault::Short(u32::from(input.u8()) * 512),
            3 => Fault::Short(u32::from(input.u16())),
            _ => return None,
        };
        Some(Self { after: after % 40, count: 1 + count % most, fault })
    }

    /// The same as something that passes: a read below one unit is the end of the file, and nobody tries
    /// to read what is behind it.
    fn tried_again(self) -> Self {
        let fault = match self.fault {
            Fault::Short(len) => Fault::Short(len.max(512)),
            fault => fault,
        };
        Self { fault, ..self }
    }

    fn apply(&self, world: &World) {
        for n in self.after..self.after + self.count {
            world.fail(n, self.fault);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// Not at all.
    Not,
    /// Closed in order.
    Close,
    /// The process is killed: what was written may still be lost in a power cut later.
    Kill,
    /// The power is cut.
    Cut,
}

#[derive(Clone, Copy, Debug)]
struct Restart {
    how: How,
    /// Which sectors survive.
    seed: u64,
    /// What fails while the volume is opened.
    fault: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Put(usize, usize),
    Delete(usize),
    Batch(usize),
    MultiDelete(usize),
    Body(usize),
    BatchBody,
    Get(usize),
    ReadOnly(bool),
    Idle,
}

impl Action {
    fn new(input: &mut Input<'_>) -> Self {
        let (kind, name) = (input.u8(), usize::from(input.u8()) % NAMES);
        match kind % 16 {
            0..5 => Self::Put(name, [0, 200, 3000, 70_000][usize::from(input.u8()) % 4]),
            5 | 6 => Self::Delete(name),
            7 => Self::MultiDelete(1 + name),
            8 | 9 => Self::Batch(1 + name),
            10 => Self::Body(name),
            11 => Self::BatchBody,
            12 | 13 => Self::Get(name),
            14 => Self::ReadOnly(name.is_multiple_of(2)),
            _ => Self::Idle,
        }
    }

    /// What it writes, with value number `n`; all of it or nothing.
    fn effect(self, n: u32) -> Effect {
        match self {
            Self::Put(name, _) | Self::Body(name) => vec![(name, Some(n))],
            Self::Delete(name) => vec![(name, None)],
            Self::MultiDelete(count) => (0..count).map(|name| (name, None)).collect(),
            Self::Batch(count) => (0..count).map(|name| (name, Some(n))).collect(),
            Self::BatchBody => vec![(0, Some(n)), (1, Some(n))],
            Self::Get(_) | Self::ReadOnly(_) | Self::Idle => Vec::new(),
        }
    }
}

/// What happens until the next restart, or the next round.
#[derive(Clone, Debug)]
struct Round {
    /// Whether its actions overlap; then they name different names.
    at_once: bool,
    shuffle: u64,
    /// At which event the power is cut, if it is.
    event: usize,
    actions: Vec<Action>,
    fault: Option<Failing>,
    restart: Restart,
}

impl Round {
    fn new(input: &mut Input<'_>) -> Self {
        let (flags, shuffle, event) = (input.u8(), input.u8(), input.u8());
        let fault = Failing::new(input, FAULTS_MAX);
        let count = usize::from(flags >> 3) % ACTIONS_MAX + 1;
        let actions = (0..count).map(|_| Action::new(input)).collect();
        let how = [How::Not, How::Close, How::Kill, How::Cut][usize::from(flags >> 1 & 3)];
        let seed = u64::from(input.u16());
        let fault_at_open = Failing::new(input, FAULTS_AT_OPEN_MAX).map(Failing::tried_again);
        Self {
            at_once: flags & 1 == 1,
            shuffle: u64::from(shuffle) + 1,
            event: usize::from(event),
            actions,
            fault,
            restart: Restart { how, seed, fault: fault_at_open },
        }
    }
}

/// What value number `n` of a name is. How it was stored decides its length.
fn value(n: u32, name: usize, len: usize) -> Vec<u8> {
    let mut value = format!("{n}/{name}/").into_bytes();
    value.extend(bytes(u64::from(n), len));
    value
}

/// The moment at which the power is cut.
type CutHere = Rc<RefCell<Option<(Wreck, Model)>>>;

struct Store {
    pool: Pool,
    process: Process,
    volume: Rc<Slot>,
    model: Rc<RefCell<Model>>,
    /// Numbers operations and values.
    n: u32,
    /// How long each value's filling is.
    lens: Rc<RefCell<Vec<usize>>>,
    /// Whether the state of the volume is not known until the next start.
    state_unknown: bool,
    /// Whether the disk may still fail: what a round did not use up is left to the next one.
    faulty: bool,
    cut: CutHere,
}

impl Store {
    fn new(pool: &Pool) -> Self {
        let mut process = Process::start(7, &Image::default(), pool);
        process.create(SIZE);
        let volume = process.open().expect("a new volume opens");
        Self {
            pool: pool.clone(),
            process,
            volume,
            model: Rc::default(),
            n: 0,
            lens: Rc::default(),
            state_unknown: false,
            faulty: false,
            cut: CutHere::default(),
        }
    }

    fn play(&mut self, round: &Round) {
        self.process.runtime.shuffle(round.shuffle);
        self.watch(round.event);
        if let Some(fault) = &round.fault {
            fault.apply(&self.process.world);
            self.faulty = true;
        }
        let mut busy = [false; NAMES];
        for action in &round.actions {
            let effect = action.effect(self.n);
            let free = effect.iter().all(|(name, _)| !std::mem::replace(&mut busy[*name], true));
            if round.at_once && !free {
                continue;
            }
            self.act(*action, round.at_once);
            if !round.at_once {
                busy = [false; NAMES];
                self.settle();
            }
        }
        self.settle();
        match round.restart.how {
            How::Not => self.compare(),
            _ => self.restart(&round.restart),
        }
    }

    /// Keeps what a power cut at event number `event` from now would leave, and what is known then.
    fn watch(&self, event: usize) {
        let (cut, model, count) = (Rc::clone(&self.cut), Rc::clone(&self.model), Cell::new(0));
        cut.take();
        self.process.world.on_event(move |snapshot| {
            if count.replace(count.get() + 1) == event {
                *cut.borrow_mut() = Some((snapshot.wreck(), model.borrow().clone()));
            }
        });
    }

    fn sleep(&mut self, ns: u64) {
        let handle = self.process.runtime.handle().clone();
        self.process.run(async move { handle.sleep_until(handle.now() + ns).await });
    }

    /// Waits until nothing is under way.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.model.borrow().is_settled() {
                return;
            }
            self.sleep(1_000_000);
        }
        panic!("after a second something is still under way: {:?}", self.model.borrow());
    }

    fn act(&mut self, action: Action, at_once: bool) {
        match action {
            Action::Get(name) => {
                // What is under way may end while this reads.
                let mut may = self.model.borrow().may_hold(name);
                let got = self.read(name, self.faulty);
                may.extend(self.model.borrow().may_hold(name));
                assert!(got.is_none_or(|got| may.contains(&got)), "{name}: {got:?} of {may:?}");
            }
            Action::Idle if !at_once => self.sleep(1_500_000_000),
            Action::ReadOnly(read_only) if !at_once => self.set_read_only(read_only),
            Action::Idle | Action::ReadOnly(_) => {}
            writing => self.write(writing),
        }
    }

    fn set_read_only(&mut self, read_only: bool) {
        let volume = Rc::clone(&self.volume);
        let was_poisoned = volume.volume().poisoned();
        match self.process.run(async move { volume.set_read_only(read_only).await }) {
            Ok(()) => {
                assert!(
                    self.state_unknown
                        || self.volume.volume().writable() != read_only
                        || was_poisoned
                );
            }
            Err(StateError::Failed(_)) => self.state_unknown = true,
            Err(StateError::Poisoned) => assert!(self.volume.volume().poisoned()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Starts a write, as a task of its own.
    fn write(&mut self, action: Action) {
        let n = self.n;
        self.n += 1;
        let len = match action {
            Action::Put(_, len) => len,
            Action::Body(_) | Action::BatchBody => LARGE,
            _ => 300,
        };
        self.lens.borrow_mut().push(len);
        let effect = action.effect(n);
        let (volume, pool) = (Rc::clone(&self.volume), self.pool.clone());
        let model = Rc::clone(&self.model);
        model.borrow_mut().begin(n, effect.clone());
        self.process.runtime.handle().spawn(async move {
            let result = match action {
                Action::Delete(name) => volume.delete(id(name as u64), COOKIE, None).await,
                Action::MultiDelete(_) => {
                    let named = effect.iter().map(|(name, _)| (id(*name as u64), COOKIE));
                    let named: Vec<_> = named.collect();
                    match volume.delete_all(&named, None).await {
                        // After a write that failed, what is not found may be found later.
                        Ok(existed) if !existed.contains(&true) => Err(Refusal::NotFound),
                        other => other.map(drop),
                    }
                }
                _ => store(&volume, &pool, action, n, len, &effect).await,
            };
            if let (Action::Delete(name), Err(Refusal::NotFound)) = (action, result) {
                assert!(model.borrow().may_hold(name).contains(&None), "{name} is there");
            }
            model.borrow_mut().end(n, ended(result));
        });
    }

    /// The number of the value that a name holds. Nothing when faults made it unreadable.
    fn read(&mut self, name: usize, faults: bool) -> Option<Option<u32>> {
        match self.process.get(&self.volume, id(name as u64)) {
            Ok(got) => {
                let text = String::from_utf8_lossy(&got[..got.len().min(20)]).into_owned();
                let n: u32 = text.split('/').next()?.parse().expect("bytes that somebody wrote");
                let len = self.lens.borrow()[n as usize];
                assert!(got == value(n, name, len), "wrong bytes under {name}: {text}");
                Some(Some(n))
            }
            Err(GetError::NotFound) => Some(None),
            Err(GetError::Unreadable(..)) if faults => None,
            Err(other) => panic!("nothing is damaged, yet: {other}"),
        }
    }

    /// What all names hold. Faults that are left over from a round are used up by reading again.
    fn state(&mut self) -> State {
        let mut state = State::default();
        for (name, value) in state.iter_mut().enumerate() {
            let mut tries = 0..4 * FAULTS_MAX;
            *value = loop {
                if let Some(value) = self.read(name, tries.next().is_some()) {
                    break value;
                }
            };
        }
        state
    }

    /// Between two rounds: each name holds what it may.
    fn compare(&mut self) {
        let state = self.state();
        for (name, value) in state.iter().enumerate() {
            let may = self.model.borrow().may_hold(name);
            assert!(may.contains(value), "{name}: {value:?} of {may:?}");
        }
        if !self.volume.volume().poisoned() {
            self.model.borrow_mut().observe(state);
            self.count(&state);
        }
    }

    /// The index holds just what is there.
    fn count(&self, state: &State) {
        let present = state.iter().flatten().count() as u64;
        let figures = self.volume.volume().figures();
        assert_eq!(figures.needles, present, "{figures:?}");
        assert!(figures.used <= figures.size, "{figures:?}");
    }

    fn restart(&mut self, restart: &Restart) {
        let world = match restart.how {
            How::Not | How::Close => {
                self.process.close(&self.volume);
                World::new(restart.seed, &self.process.image())
            }
            How::Kill => {
                let wreck = self.process.world.look(|snapshot| snapshot.wreck());
                World::after_kill(restart.seed, &wreck)
            }
            How::Cut => {
                let now = || {
                    let wreck = self.process.world.look(|snapshot| snapshot.wreck());
                    (wreck, self.model.borrow().clone())
                };
                let (wreck, model) = self.cut.take().unwrap_or_else(now);
                self.model.replace(model);
                let mut seed = restart.seed;
                let survives = move |_| split_mix(&mut seed) & 1 == 1;
                World::new(restart.seed, &wreck.image(survives, wreck.changes()))
            }
        };
        self.process = Process::start_in(world, restart.seed + 5, &self.pool);
        self.open(restart.fault);
    }

    /// Opens the volume; if that fails, once more without faults.
    fn open(&mut self, fault: Option<Failing>) {
        self.faulty = fault.is_some();
        if let Some(fault) = &fault {
            fault.apply(&self.process.world);
        }
        let opened = match (self.process.open(), fault) {
            (
                Err(OpenError::Io(..) | OpenError::WrongLength { .. } | OpenError::Superblock(_)),
                Some(_),
            ) => {
                let image = self.process.image();
                self.process = Process::start(9, &image, &self.pool);
                self.faulty = false;
                self.process.open()
            }
            (opened, _) => opened,
        };
        self.volume = opened.expect("a volume opens after any crash");
        self.state_unknown = false;
        assert!(self.volume.volume().damage().is_empty(), "{:?}", self.volume.volume().damage());
        let state = self.state();
        self.model.borrow_mut().observe(state);
        self.count(&state);
    }
}

fn ended(result: Result<(), Refusal>) -> End {
    match result {
        Ok(()) => End::Done,
        Err(Refusal::Failed(_)) => End::Unknown,
        Err(Refusal::Conflict | Refusal::Precondition) => panic!("nobody gave reason for that"),
        Err(_) => End::Refused,
    }
}

/// Stores what an action stores.
async fn store(
    volume: &Rc<Slot>,
    pool: &Pool,
    action: Action,
    n: u32,
    len: usize,
    effect: &Effect,
) -> Result<(), Refusal> {
    let (mut uploads, mut needles) = (Vec::new(), Vec::new());
    for (name, _) in effect {
        let (id, data) = (id(*name as u64), value(n, *name, len));
        let draft = if matches!(action, Action::Body(_) | Action::BatchBody) {
            let (upload, draft) = upload(volume, pool, id, &data, &[65_536]).await?;
            uploads.push(upload);
            draft
        } else {
            draft(pool, &data)
        };
        needles.push(NewNeedle { id, cookie: COOKIE, draft });
    }
    if matches!(action, Action::Batch(_) | Action::BatchBody) {
        return volume.put_batch(needles, None).await.map(drop);
    }
    let NewNeedle { id, cookie, draft } = needles.remove(0);
    volume.put(id, cookie, draft, None).await.map(drop)
}
