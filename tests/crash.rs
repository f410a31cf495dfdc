//! Small scope, exhaustively: all histories of up to two operations, one after the other and at
//! once, cut off at every event, with the subsets of sectors that a power cut can leave behind.
//! The recovered state must be one the model allows, recovering again must change nothing, and
//! the volume must go on taking writes.

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, pool};
use hayloft::buffer::Pool;
use hayloft::runtime::split_mix;
use hayloft::sim::World;
use hayloft::sim::disk::{Image, Wreck};
use hayloft::types::NeedleId;
use hayloft::volume::{GetError, Volume};

const SIZE: u64 = 160 * 1024;
const IDS: [NeedleId; 2] = [NeedleId::new(1, 0), NeedleId::new(2, 0)];
/// Subsets of unflushed sectors tried at one crash point, when there are more.
const SUBSETS: u64 = 192;

/// What an id holds: a value by its number, or nothing.
type Value = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Half a unit of data: the smallest commit.
    PutSmall(usize),
    /// Two commits' worth of sectors.
    PutLarge(usize),
    Delete(usize),
}

const ACTIONS: [Action; 6] = [
    Action::PutSmall(0),
    Action::PutLarge(0),
    Action::Delete(0),
    Action::PutSmall(1),
    Action::PutLarge(1),
    Action::Delete(1),
];

fn value_bytes(value: u64) -> Vec<u8> {
    bytes(value, if value.is_multiple_of(2) { 200 } else { 3000 })
}

/// Which values each id may have now. An operation under way may take effect or not.
#[derive(Clone, Default)]
struct Model {
    settled: BTreeMap<usize, Value>,
    under_way: BTreeMap<u64, (usize, Value)>,
}

impl Model {
    fn allowed(&self, id: usize) -> BTreeSet<Value> {
        let settled = self.settled.get(&id).copied().flatten();
        let under_way = self.under_way.values().filter(|(of, _)| *of == id);
        under_way.map(|(_, value)| *value).chain([settled]).collect()
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
    let (id, value) = match action {
        Action::PutSmall(id) => (id, Some(n * 2)),
        Action::PutLarge(id) => (id, Some(n * 2 + 1)),
        Action::Delete(id) => (id, None),
    };
    model.borrow_mut().under_way.insert(n, (id, value));
    handle.clone().spawn(async move {
        let done = match value {
            Some(value) => {
                let draft = draft(handle.pool(), &value_bytes(value));
                volume.put(IDS[id], COOKIE, draft, None).await.is_ok()
            }
            None => volume.delete(IDS[id], COOKIE, None).await.is_ok(),
        };
        let mut model = model.borrow_mut();
        model.under_way.remove(&n);
        if done {
            model.settled.insert(id, value);
        }
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
}

/// Runs a history and collects its crash points.
fn run_history(history: &[Action], course: Course, pool: &Pool) -> Vec<CrashPoint> {
    let mut process = Process::start(7, &Image::default(), pool);
    if course.at_once {
        process.runtime.shuffle(41);
    }
    process.create(SIZE);
    let volume = process.open().unwrap();
    let model = Rc::new(RefCell::new(Model::default()));
    if course.preset {
        for (n, id) in IDS.into_iter().enumerate() {
            process.put(&volume, id, &value_bytes(n as u64 + 6)).unwrap();
            model.borrow_mut().settled.insert(n, Some(n as u64 + 6));
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

fn state_of(process: &mut Process, volume: &Rc<Volume>) -> Vec<Value> {
    IDS.iter()
        .map(|&id| match process.get(volume, id) {
            Ok(got) => {
                let value = (2..8).find(|&value| value_bytes(value) == got);
                Some(value.expect("bytes that somebody wrote"))
            }
            Err(GetError::NotFound) => None,
            Err(other) => panic!("after a power cut nothing is damaged, yet: {other}"),
        })
        .collect()
}

fn check(image: &Image, model: &Model, pool: &Pool, what: &dyn Fn() -> String) {
    let mut process = Process::start(11, image, pool);
    let volume = process.open().unwrap_or_else(|error| panic!("{}: {error}", what()));
    assert!(volume.damage().is_empty(), "{}: {:?}", what(), volume.damage());
    let state = state_of(&mut process, &volume);
    for (id, value) in state.iter().enumerate() {
        let allowed = model.allowed(id);
        assert!(allowed.contains(value), "{}: id {id} is {value:?}, not of {allowed:?}", what());
    }
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
    assert_eq!(after, [state[0], Some(5)], "{}: after going on", what());
}

/// The images a power cut can leave behind: all subsets of the sectors, or a sample of them that
/// contains none, all, each alone and all but each.
fn images(point: &CrashPoint) -> Vec<(u64, Image)> {
    let wreck = &point.wreck;
    let count = wreck.loose();
    let mut seed = 99;
    let masks: BTreeSet<u64> = if count <= 7 {
        (0..1 << count).collect()
    } else {
        assert!(count < 64, "few sectors are ever unflushed");
        let all = (1 << count) - 1;
        let single = (0..count).flat_map(|bit| [1 << bit, all & !(1 << bit)]);
        let prefix = (0..count).map(|bit| (1 << bit) - 1);
        let random = (0..SUBSETS).map(|_| split_mix(&mut seed) & all);
        [0, all]
            .into_iter()
            .chain(single)
            .chain(prefix)
            .chain(random)
            .take(SUBSETS as usize)
            .collect()
    };
    let image = |mask: u64| wreck.image(|n| mask >> n & 1 == 1, wreck.changes());
    masks.into_iter().map(|mask| (mask, image(mask))).collect()
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

fn check_all(course: Course) {
    let pool = pool(8 << 20);
    let (mut states, mut points) = (0, 0);
    for history in histories() {
        for (n, point) in run_history(&history, course, &pool).iter().enumerate() {
            points += 1;
            for (mask, image) in images(point) {
                states += 1;
                check(&image, &point.model, &pool, &|| {
                    format!("{history:?} {course:?}, event {n}, sectors {mask:#b}")
                });
            }
        }
    }
    println!("{states} crash states at {points} crash points");
    assert!(states > 5_000, "only {states} states: the test does not test");
}

#[test]
fn one_after_the_other() {
    check_all(Course::default());
}

#[test]
fn one_after_the_other_with_hints() {
    check_all(Course { wait: true, ..Course::default() });
}

#[test]
fn at_once() {
    check_all(Course { at_once: true, ..Course::default() });
}

#[test]
fn at_once_over_what_is_there() {
    check_all(Course { preset: true, at_once: true, wait: false });
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
    for history in histories() {
        for point in run_history(&history, Course::default(), &pool) {
            let world = World::after_kill(19, &point.wreck);
            let mut process = Process::start_in(world, 19, &pool);
            let volume = process.open().unwrap();
            let state = state_of(&mut process, &volume);
            process.put(&volume, IDS[1], &value_bytes(5)).unwrap();
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            let image = wreck.image(|_| false, 0);
            let mut restarted = Process::start(23, &image, &pool);
            let volume = restarted.open().unwrap();
            assert_eq!(state_of(&mut restarted, &volume), [state[0], Some(5)]);
        }
    }
}
