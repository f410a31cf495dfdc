//! Small scope, exhaustively: all histories of up to two operations, one after the other and at
//! once, cut off at every event, with the subsets of sectors that a power cut can leave behind.
//! The recovered state must be one the model allows, recovering again must change nothing, and
//! the volume must go on taking writes. Multi-writes and large bodies too take effect whole or not
//! at all.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, pool, upload};
use hayloft::buffer::Pool;
use hayloft::runtime::split_mix;
use hayloft::sim::World;
use hayloft::sim::disk::{Image, Wreck};
use hayloft::types::NeedleId;
use hayloft::volume::{GetError, NewNeedle, Volume};

const SIZE: u64 = 160 * 1024;
/// For histories with large bodies.
const LARGE_SIZE: u64 = 416 * 1024;
const IDS: [NeedleId; 3] = [NeedleId::new(1, 0), NeedleId::new(2, 0), NeedleId::new(3, 0)];
/// Subsets of unflushed sectors tried at one crash point, when there are more.
const SUBSETS: usize = 192;
/// The same with large bodies, of which each state takes far longer.
const LARGE_SUBSETS: usize = 32;

/// What an id holds: a value by its number, or nothing.
type Value = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Half a unit of data: the smallest commit.
    PutSmall(usize),
    /// Two commits' worth of sectors.
    PutLarge(usize),
    Delete(usize),
    /// Values for so many ids in one multi-write, small and large in turn.
    Batch(usize),
    /// Two parts and a manifest.
    PutBody(usize),
    /// The manifest of a body and a small needle, in one multi-write.
    BatchBody,
}

const ACTIONS: [Action; 6] = [
    Action::PutSmall(0),
    Action::PutLarge(0),
    Action::Delete(0),
    Action::PutSmall(1),
    Action::PutLarge(1),
    Action::Delete(1),
];

/// Those that take several sectors that only count together.
const MULTI: [Action; 5] =
    [Action::Batch(2), Action::Batch(3), Action::PutBody(0), Action::PutBody(1), Action::BatchBody];

/// The first value that is a large body.
const BODIES: u64 = 100;
/// Who wrote a value, by operation, stands in its tens; small and large ones alternate.
const VALUES: std::ops::Range<u64> = 2..BODIES + 100;

fn value_len(value: u64) -> usize {
    match value {
        BODIES.. => 65_536 + 200,
        _ if value.is_multiple_of(2) => 200,
        _ => 3000,
    }
}

fn value_bytes(value: u64) -> Vec<u8> {
    bytes(value, value_len(value))
}

/// What each id holds.
type State = [Value; IDS.len()];

/// What an operation makes of the ids.
type Effect = Vec<(usize, Value)>;

fn effect(n: u64, action: Action) -> Effect {
    match action {
        Action::PutSmall(id) => vec![(id, Some(n * 10))],
        Action::PutLarge(id) => vec![(id, Some(n * 10 + 1))],
        Action::Delete(id) => vec![(id, None)],
        Action::Batch(count) => (0..count).map(|id| (id, Some(n * 10 + id as u64))).collect(),
        Action::PutBody(id) => vec![(id, Some(BODIES + n * 10))],
        Action::BatchBody => vec![(0, Some(BODIES + n * 10)), (1, Some(n * 10))],
    }
}

/// What the ids hold for certain, and what is under way: each may take effect or not, but as a
/// whole.
#[derive(Clone, Default)]
struct Model {
    settled: State,
    under_way: Vec<(u64, Effect)>,
}

impl Model {
    fn settle(&mut self, n: u64, done: bool) {
        let at = self.under_way.iter().position(|(of, _)| *of == n).expect("it was under way");
        let (_, effect) = self.under_way.swap_remove(at);
        if done {
            apply(&mut self.settled, &effect);
        }
    }

    /// The states that are allowed now: some of what is under way, in any order.
    fn allowed(&self) -> BTreeSet<State> {
        let effects: Vec<&Effect> = self.under_way.iter().map(|(_, effect)| effect).collect();
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

/// A moment at which the power may fail.
struct CrashPoint {
    wreck: Wreck,
    model: Model,
}

fn act(process: &Process, volume: &Rc<Volume>, model: &Rc<RefCell<Model>>, n: u64, action: Action) {
    let handle = process.runtime.handle().clone();
    let (volume, model) = (Rc::clone(volume), Rc::clone(model));
    let effect = effect(n, action);
    model.borrow_mut().under_way.push((n, effect.clone()));
    handle.clone().spawn(async move {
        let (mut uploads, mut needles) = (Vec::new(), Vec::new());
        for (id, value) in &effect {
            let Some(value) = *value else { continue };
            let (id, data) = (IDS[*id], value_bytes(value));
            let draft = if value >= BODIES {
                let (upload, draft) =
                    upload(&volume, handle.pool(), id, &data, &[65_536]).await.unwrap();
                uploads.push(upload);
                draft
            } else {
                draft(handle.pool(), &data)
            };
            needles.push(NewNeedle { id, cookie: COOKIE, draft });
        }
        let done = match action {
            Action::Delete(id) => volume.delete(IDS[id], COOKIE, None).await.is_ok(),
            Action::Batch(_) | Action::BatchBody => volume.put_batch(needles, None).await.is_ok(),
            _ => {
                let NewNeedle { id, cookie, draft } = needles.remove(0);
                volume.put(id, cookie, draft, None).await.is_ok()
            }
        };
        model.borrow_mut().settle(n, done);
    });
}

#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// Both ids hold something already.
    preset: bool,
    /// The operations overlap.
    at_once: bool,
    /// A second of idleness follows, in which a tail hint is written.
    wait: bool,
    /// The volume has room for large bodies.
    large: bool,
}

/// What the first ids hold when they hold something already.
const PRESET: [u64; 2] = [6, 7];

/// Runs a history and collects its crash points.
fn run_history(history: &[Action], course: Course, pool: &Pool) -> Vec<CrashPoint> {
    let mut process = Process::start(7, &Image::default(), pool);
    if course.at_once {
        process.runtime.shuffle(41);
    }
    process.create(if course.large { LARGE_SIZE } else { SIZE });
    let volume = process.open().unwrap();
    let model = Rc::new(RefCell::new(Model::default()));
    if course.preset {
        for (n, value) in PRESET.into_iter().enumerate() {
            process.put(&volume, IDS[n], &value_bytes(value)).unwrap();
            model.borrow_mut().settled[n] = Some(value);
        }
    }
    let points = Rc::new(RefCell::new(Vec::new()));
    {
        let (model, points) = (Rc::clone(&model), Rc::clone(&points));
        process.world.on_event(move |snapshot| {
            let model = model.borrow().clone();
            points.borrow_mut().push(CrashPoint { wreck: snapshot.wreck(), model });
        });
    }
    let idle = |process: &mut Process, ns| {
        let handle = process.runtime.handle().clone();
        process.run(async move { handle.sleep_until(handle.now() + ns).await });
    };
    for (n, action) in history.iter().enumerate() {
        act(&process, &volume, &model, n as u64 + 1, *action);
        if !course.at_once {
            idle(&mut process, 5_000_000);
        }
    }
    idle(&mut process, if course.wait { 1_500_000_000 } else { 5_000_000 });
    process.close(&volume);
    drop(process);
    points.take()
}

fn state_of(process: &mut Process, volume: &Rc<Volume>) -> State {
    IDS.map(|id| match process.get(volume, id) {
        Ok(got) => {
            // Most are told apart by their first bytes.
            let may_be =
                |value: &u64| value_len(*value) == got.len() && got.starts_with(&bytes(*value, 8));
            let is = |value: &u64| may_be(value) && value_bytes(*value) == got;
            Some(VALUES.into_iter().find(is).expect("bytes that somebody wrote"))
        }
        Err(GetError::NotFound) => None,
        Err(other) => panic!("after a power cut nothing is damaged, yet: {other}"),
    })
}

fn check(image: &Image, model: &Model, pool: &Pool, what: &dyn Fn() -> String) {
    let mut process = Process::start(11, image, pool);
    let volume = process.open().unwrap_or_else(|error| panic!("{}: {error}", what()));
    assert!(volume.damage().is_empty(), "{}: {:?}", what(), volume.damage());
    let state = state_of(&mut process, &volume);
    let allowed = model.allowed();
    assert!(allowed.contains(&state), "{}: {state:?} is not of {allowed:?}", what());
    let figures = volume.figures();
    let present = state.iter().flatten().count() as u64;
    assert_eq!(figures.needles, present, "{}: the index holds just what is there", what());

    // Again, after a kill: the same decision.
    let mut again = Process::start(13, &process.image(), pool);
    let volume = again.open().unwrap();
    assert!(volume.damage().is_empty(), "{}: second recovery: {:?}", what(), volume.damage());
    assert_eq!(state_of(&mut again, &volume), state, "{}: second recovery", what());
    assert_eq!(volume.figures().live, figures.live, "{}: second recovery", what());

    // And writes go on without any operator step.
    again.put(&volume, IDS[1], &value_bytes(5)).unwrap();
    let mut third = Process::start(17, &again.image(), pool);
    let volume = third.open().unwrap();
    let after = state_of(&mut third, &volume);
    assert_eq!(after, [state[0], Some(5), state[2]], "{}: after going on", what());
}

/// At most `most` subsets of so many sectors: all there are, or a sample of them that begins with
/// none, all, all but each.
fn subsets(count: usize, most: usize) -> BTreeSet<u64> {
    let mut seed = 99;
    if 1 << count <= most {
        return (0..1 << count).collect();
    }
    assert!(count < 64, "few sectors are ever unflushed");
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

/// The images a power cut can leave behind. The sectors in the middle of a long commit, which hold
/// nothing but data, stay or go together.
fn images(point: &CrashPoint, most: usize) -> impl Iterator<Item = (u64, Image)> {
    const EDGE: usize = 4;
    let wreck = &point.wreck;
    let count = wreck.loose();
    let bit = move |sector: usize| match count {
        ..64 => sector,
        _ if sector < EDGE => sector,
        _ => EDGE + (sector + EDGE + 1).saturating_sub(count),
    };
    let image =
        move |mask: u64| wreck.image(|sector| mask >> bit(sector) & 1 == 1, wreck.changes());
    let masks = subsets(if count == 0 { 0 } else { bit(count - 1) + 1 }, most);
    masks.into_iter().map(move |mask| (mask, image(mask)))
}

fn histories() -> Vec<Vec<Action>> {
    let mut all = vec![vec![]];
    for first in ACTIONS {
        all.push(vec![first]);
        for second in ACTIONS {
            all.push(vec![first, second]);
        }
    }
    all
}

/// Histories with a multi-write or a large body.
fn multi_histories() -> Vec<Vec<Action>> {
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

fn check_all(histories: Vec<Vec<Action>>, course: Course) {
    let pool = pool(8 << 20);
    let most = if course.large { LARGE_SUBSETS } else { SUBSETS };
    let (mut states, mut points) = (0, 0);
    for history in histories {
        for (n, point) in run_history(&history, course, &pool).iter().enumerate() {
            points += 1;
            for (mask, image) in images(point, most) {
                states += 1;
                check(&image, &point.model, &pool, &|| {
                    format!("{history:?} {course:?}, event {n}, sectors {mask:#b}")
                });
            }
        }
    }
    println!("{states} crash states at {points} crash points");
    assert!(states > 25 * most, "only {states} states: the test does not test");
}

#[test]
fn one_after_the_other() {
    check_all(histories(), Course::default());
}

#[test]
fn one_after_the_other_with_hints() {
    check_all(histories(), Course { wait: true, ..Course::default() });
}

#[test]
fn at_once() {
    check_all(histories(), Course { at_once: true, ..Course::default() });
}

#[test]
fn at_once_over_what_is_there() {
    check_all(histories(), Course { preset: true, at_once: true, ..Course::default() });
}

#[test]
fn batches_and_bodies_one_after_the_other() {
    check_all(multi_histories(), Course { large: true, ..Course::default() });
}

#[test]
fn batches_and_bodies_at_once_over_what_is_there() {
    let course = Course { preset: true, at_once: true, large: true, ..Course::default() };
    check_all(multi_histories(), course);
}

#[test]
fn creation_is_whole_or_absent() {
    let pool = pool(8 << 20);
    let mut process = Process::start(3, &Image::default(), &pool);
    let points = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&points);
    process.world.on_event(move |snapshot| sink.borrow_mut().push(snapshot.wreck()));
    process.create(SIZE);
    let mut whole = 0;
    for wreck in points.take() {
        for changes in 0..=wreck.changes() {
            for survive in [true, false] {
                let image = wreck.image(|_| survive, changes);
                if image.files.contains_key("1.0.vol") {
                    whole += 1;
                    let mut process = Process::start(5, &image, &pool);
                    let volume = process.open().expect("a file under its name is whole");
                    process.put(&volume, IDS[0], b"works").unwrap();
                }
            }
        }
    }
    assert!(whole > 0);
}

#[test]
fn what_was_read_before_a_second_power_cut_stays() {
    // A kill leaves completed but unflushed writes in the device's cache; what recovery builds
    // upon must survive the power cut that follows.
    let pool = pool(8 << 20);
    let large = Course { large: true, ..Course::default() };
    let courses = histories().into_iter().map(|history| (history, Course::default()));
    let multi = multi_histories().into_iter().map(|history| (history, large));
    for (history, course) in courses.chain(multi) {
        for point in run_history(&history, course, &pool) {
            let world = World::after_kill(19, &point.wreck);
            let mut process = Process::start_in(world, 19, &pool);
            let volume = process.open().unwrap();
            let state = state_of(&mut process, &volume);
            process.put(&volume, IDS[1], &value_bytes(5)).unwrap();
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            let image = wreck.image(|_| false, 0);
            let mut restarted = Process::start(23, &image, &pool);
            let volume = restarted.open().unwrap();
            assert_eq!(state_of(&mut restarted, &volume), [state[0], Some(5), state[2]]);
        }
    }
}
