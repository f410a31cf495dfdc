//! Explores the states that a power cut can leave.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::{Image, Wreck};
use hayloft::runtime::split_mix;
use hayloft::volume::{Figures, GetError, Refusal, Slot};
use nix::time::{ClockId, clock_gettime};

use super::fingerprint::{CHECKPOINT, Fingerprints};
use super::history::{Variant, run_history};
use super::model::{Action, IDS, State, value_bytes, value_of};
use crate::common::{ON_DEMAND, Process, pool};

/// Maximum number of subsets of unflushed sectors tried at one crash point.
const SUBSETS: usize = 1024;
/// The same with multipart objects, whose states take far longer.
const LARGE_SUBSETS: usize = 64;

/// Explores distinct states, each once.
pub struct Explorer {
    pool: Pool,
    fingerprints: Fingerprints,
    pub seen: HashSet<u64>,
    /// Number of crash points.
    pub points: u64,
    /// Number of states left by a second power cut, during recovery.
    pub during_recovery: u64,
    /// Number of states after which a PUT, and even a DELETE, found no space.
    pub full: [u64; 2],
    began_ns: i64,
}

fn cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

impl Explorer {
    pub fn new() -> Self {
        Self {
            pool: pool(8 << 20),
            fingerprints: Fingerprints::default(),
            seen: HashSet::new(),
            points: 0,
            during_recovery: 0,
            full: [0; 2],
            began_ns: cpu_ns(),
        }
    }

    /// Number of distinct states so far.
    pub fn states(&self) -> usize {
        self.seen.len()
    }

    /// Processor time of this thread since the start (seconds).
    #[expect(clippy::cast_precision_loss, reason = "to be read by people")]
    pub fn seconds(&self) -> f64 {
        (cpu_ns() - self.began_ns) as f64 / 1e9
    }

    /// Cuts the power at every event of a history that makes a difference.
    pub fn history(&mut self, history: &[Action], variant: Variant) {
        let most = if variant.large { LARGE_SUBSETS } else { SUBSETS };
        let points = run_history(history, variant, &self.pool);
        let mut last = None;
        for (n, point) in points.iter().enumerate() {
            self.points += 1;
            let allowed = point.model.allowed();
            let none = point.wreck.image(|_| false, point.wreck.changes());
            self.fingerprints.expect(&none);
            // Skips an event that changed nothing.
            let all = point.wreck.image(|_| true, point.wreck.changes());
            let marks = [&none, &all].map(|image| self.fingerprints.of(image, allowed.iter()));
            if last.replace((marks, point.wreck.loose())) == Some((marks, point.wreck.loose())) {
                continue;
            }
            for (mask, image) in images(&point.wreck, most, 99 + variant.round) {
                self.state(&image, &allowed, (variant, true), &|| {
                    format!("{history:?} {variant:?}, event {n}, sectors {mask:#b}")
                });
            }
        }
    }

    /// Checks a state, if it is new, and with `again` also the states that a power cut during its recovery
    /// leaves.
    fn state(
        &mut self,
        image: &Image,
        allowed: &BTreeSet<State>,
        (variant, again): (Variant, bool),
        what: &dyn Fn() -> String,
    ) {
        if !self.seen.insert(self.fingerprints.of(image, allowed.iter())) {
            return;
        }
        let (recovering, full) = check(image, allowed, &self.pool, again, what);
        assert!(full == [false; 2] || variant.blocks.is_some(), "{}: the volume has space", what());
        self.full.iter_mut().zip(full).for_each(|(count, full)| *count += u64::from(full));
        for (n, wreck) in recovering.iter().enumerate() {
            for (mask, image) in images(wreck, SUBSETS, 7) {
                let before = self.seen.len();
                self.state(&image, allowed, (variant, false), &|| {
                    format!("{}; again at event {n} of the recovery, sectors {mask:#b}", what())
                });
                self.during_recovery += (self.seen.len() - before) as u64;
            }
        }
    }
}

/// Content of each id, as read.
pub fn state_of(process: &mut Process, volume: &Rc<Slot>) -> State {
    IDS.map(|id| match process.get(volume, id) {
        Ok(got) => Some(value_of(&got).expect("bytes of one of the values")),
        Err(GetError::NotFound) => None,
        Err(other) => panic!("nothing is damaged after a power cut, but: {other}"),
    })
}

/// Time since which something is dead (nanoseconds), and the highest key.
fn properties_of(figures: &Figures) -> (Option<u64>, u64) {
    (figures.oldest_dead_ns, figures.key_max)
}

fn properties(volume: &Slot) -> (Option<u64>, u64) {
    properties_of(&volume.volume().figures())
}

/// A process on this image, which uses a checkpoint if there is one.
fn start(seed: u64, image: &Image, pool: &Pool) -> Process {
    let mut process = Process::start(seed, image, pool);
    process.checkpoints = image.files.contains_key(CHECKPOINT).then_some(ON_DEMAND);
    process
}

/// Recovers and continues; returns the events of the recovery at which sectors could be lost, and whether a
/// PUT and a DELETE found no space afterwards.
fn check(
    image: &Image,
    allowed: &BTreeSet<State>,
    pool: &Pool,
    again: bool,
    what: &dyn Fn() -> String,
) -> (Vec<Wreck>, [bool; 2]) {
    let mut process = start(11, image, pool);
    let recovering = Rc::new(RefCell::new(Vec::new()));
    if again {
        let sink = Rc::clone(&recovering);
        process.world.on_event(move |snapshot| {
            let wreck = snapshot.wreck().trimmed();
            if wreck.loose() > 0 {
                sink.borrow_mut().push(wreck);
            }
        });
    }
    let volume = process.open().unwrap_or_else(|error| panic!("{}: {error}", what()));
    let recovering = recovering.take();
    assert!(volume.volume().damage().is_empty(), "{}: {:?}", what(), volume.volume().damage());
    let state = state_of(&mut process, &volume);
    assert!(allowed.contains(&state), "{}: {state:?} is not of {allowed:?}", what());
    let figures = volume.volume().figures();
    let present = state.iter().flatten().count() as u64;
    assert_eq!(figures.needles, present, "{}: the index holds exactly what is stored", what());
    if process.checkpoints.is_some() {
        let mut log_only = Process::start(12, image, pool);
        let volume = log_only.open().unwrap();
        assert_eq!(properties(&volume), properties_of(&figures), "{}: from the log alone", what());
    }

    // A second recovery, after a kill, decides the same.
    let mut again = start(13, &process.image(), pool);
    let volume = again.open().unwrap();
    assert!(
        volume.volume().damage().is_empty(),
        "{}: second recovery: {:?}",
        what(),
        volume.volume().damage()
    );
    assert_eq!(state_of(&mut again, &volume), state, "{}: second recovery", what());
    assert_eq!(volume.volume().figures().live, figures.live, "{}: second recovery", what());
    assert_eq!(properties(&volume), properties_of(&figures), "{}: second recovery", what());

    // Writes continue without an operator, unless the log is full.
    let mut after = state;
    let full = write_more(&mut again, &volume, &mut after);
    let mut third = start(17, &again.image(), pool);
    let volume = third.open().unwrap();
    assert!(
        volume.volume().damage().is_empty(),
        "{}: after further writes: {:?}",
        what(),
        volume.volume().damage()
    );
    assert_eq!(state_of(&mut third, &volume), after, "{}: after further writes", what());
    (recovering, full)
}

/// Stores a needle; without space for it, deletes needles while that fits. Returns whether a PUT and a DELETE
/// found no space.
fn write_more(process: &mut Process, volume: &Rc<Slot>, state: &mut State) -> [bool; 2] {
    let mut full = [false; 2];
    match process.put(volume, IDS[1], value_bytes(5)) {
        Ok(_) => state[1] = Some(5),
        Err(refusal) => {
            assert_eq!(refusal, Refusal::Full);
            full[0] = true;
        }
    }
    for (n, id) in IDS.into_iter().enumerate() {
        if !full[0] {
            break;
        }
        match process.delete(volume, id) {
            Ok(()) => assert!(state[n].take().is_some()),
            Err(Refusal::Full) => full[1] = true,
            Err(refusal) => assert_eq!((refusal, state[n]), (Refusal::NotFound, None)),
        }
    }
    full
}

/// At most `most` subsets of `count` sectors: all of them, or a sample that starts with none, all, and all
/// but one.
fn subsets(count: usize, most: usize, mut seed: u64) -> BTreeSet<u64> {
    assert!(count < 64, "at most 63 sectors are unflushed");
    if 1 << count <= most {
        return (0..1 << count).collect();
    }
    let all = (1 << count) - 1;
    let without = (0..count).map(|bit| all & !(1 << bit));
    let prefix = (1..count).map(|len| (1 << len) - 1);
    let single = (0..count).map(|bit| 1 << bit);
    let random = (0..most).map(|_| split_mix(&mut seed) & all);
    [0, all]
        .into_iter()
        .chain(without)
        .chain(prefix)
        .chain(single)
        .chain(random)
        .take(most)
        .collect()
}

/// Images that a power cut can leave. The sectors in the middle of a long commit, which hold only data,
/// survive or are lost together.
pub fn images(wreck: &Wreck, most: usize, seed: u64) -> impl Iterator<Item = (u64, Image)> {
    const EDGE: usize = 4;
    let count = wreck.loose();
    let bit = move |sector: usize| match count {
        ..64 => sector,
        _ if sector < EDGE => sector,
        _ => EDGE + (sector + EDGE + 1).saturating_sub(count),
    };
    let image =
        move |mask: u64| wreck.image(|sector| mask >> bit(sector) & 1 == 1, wreck.changes());
    let masks = subsets(if count == 0 { 0 } else { bit(count - 1) + 1 }, most, seed);
    masks.into_iter().map(move |mask| (mask, image(mask)))
}
