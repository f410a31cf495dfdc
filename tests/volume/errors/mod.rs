//! Fails every disk operation in turn, in every way, once or from then on: no wrong byte, no lost
//! acknowledgement, no panic, no endless wait, and nothing is written to a file after a failed write or
//! flush. Then the store is restarted on the images that a kill and power cuts leave.

mod scenarios;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use hayloft::base::types::{NeedleId, VolumeId};
use hayloft::runtime::Handle;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::WRITE_AFTER_FAILURE;
use hayloft::volume::{
    self, GetError, NewNeedle, NotRemoved, NotWritten, OpenError, Preallocation, Refusal, Slot,
    StateError, SuperblockState,
};

use crate::common::{COOKIE, ON_DEMAND, Process, bytes, draft, pool, upload};
use scenarios::{BODIES, Base, CHECKPOINT, FILE, SCENARIOS, Step};

const IDS: [NeedleId; 4] =
    [NeedleId::new(1, 0), NeedleId::new(2, 0), NeedleId::new(3, 0), NeedleId::new(4, 0)];
const VALUES: std::ops::Range<u64> = 1..BODIES + 10;

const FAULTS: [Fault; 7] = [
    Fault::Errno(5),
    Fault::Errno(28),
    Fault::Errno(4),
    Fault::Errno(125),
    Fault::Short(512),
    Fault::Dropped,
    Fault::Kept,
];
const NAMES: [&str; 4] = ["error", "short", "failed, data dropped", "failed, data kept"];

/// Number of operations hit by each kind of fault.
fn hits(process: &Process) -> [u64; NAMES.len()] {
    NAMES.map(|name| process.world.count(name))
}

/// Content of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    values: [Option<u64>; IDS.len()],
    read_only: bool,
    file: bool,
}

fn data(value: u64) -> Vec<u8> {
    let len = match value {
        BODIES.. => 65_536 + 200,
        _ if value.is_multiple_of(2) => 100,
        _ => 700,
    };
    bytes(value, len)
}

fn set_read_only(
    process: &mut Process,
    volume: &Rc<Slot>,
    read_only: bool,
) -> Result<(), StateError> {
    let volume = Rc::clone(volume);
    process.run(async move { volume.set_read_only(read_only).await })
}

/// Result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Failed: it may have taken effect or not.
    Unknown,
    Refused,
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        if matches!(refusal, Refusal::Failed(_)) { Self::Unknown } else { Self::Refused }
    }
}

async fn store(volume: &Rc<Slot>, handle: &Handle, values: &[(usize, u64)]) -> Result<(), Refusal> {
    let (mut uploads, mut needles) = (Vec::new(), Vec::new());
    for (id, value) in values {
        let (id, data) = (IDS[*id], data(*value));
        let draft = if *value >= BODIES {
            let (upload, draft) = upload(volume, handle.pool(), id, &data, &[1 << 16]).await?;
            uploads.push(upload);
            draft
        } else {
            draft(handle.pool(), &data)
        };
        needles.push(NewNeedle { id, cookie: COOKIE, draft });
    }
    if needles.len() > 1 {
        return volume.put_batch(needles, None).await.map(drop);
    }
    let NewNeedle { id, cookie, draft } = needles.remove(0);
    volume.put(id, cookie, draft, None).await.map(drop)
}

/// Performs a step that needs only an open volume.
async fn perform(volume: Rc<Slot>, handle: Handle, step: Step) -> Result<(), Refusal> {
    match step {
        Step::Put(id, value) => store(&volume, &handle, &[(id, value)]).await,
        Step::Batch(values) => store(&volume, &handle, values).await,
        Step::Delete(id) => volume.delete(IDS[id], COOKIE, None).await,
        Step::MultiDelete(ids) => {
            let named: Vec<_> = ids.iter().map(|id| (IDS[*id], COOKIE)).collect();
            let existed = volume.delete_all(&named, None).await?;
            // As with a delete of each: after a write that failed, what is not found may be found later.
            if existed.contains(&true) { Ok(()) } else { Err(Refusal::NotFound) }
        }
        Step::Checkpoint => match volume.volume().checkpoint().await {
            Ok(_) => Ok(()),
            Err(NotWritten::Failed(_, error)) => Err(Refusal::Failed(error)),
            Err(_) => Err(Refusal::NoBuffer),
        },
        Step::ReadOnly(read_only) => match volume.set_read_only(read_only).await {
            Ok(()) => Ok(()),
            Err(StateError::Failed(error)) => Err(Refusal::Failed(error)),
            Err(_) => Err(Refusal::Poisoned),
        },
        other => unreachable!("{other:?} needs more than a volume"),
    }
}

fn apply(held: &mut Held, step: Step) {
    match step {
        Step::Put(id, value) => held.values[id] = Some(value),
        Step::Batch(values) => {
            values.iter().for_each(|(id, value)| held.values[*id] = Some(*value));
        }
        Step::Delete(id) => held.values[id] = None,
        Step::MultiDelete(ids) => ids.iter().for_each(|id| held.values[*id] = None),
        Step::ReadOnly(read_only) => held.read_only = read_only,
        Step::Create => held.file = true,
        Step::Remove => held.file = false,
        _ => {}
    }
}

/// A process that runs a script, and the set of states that the disk may be in.
struct Run {
    process: Process,
    volume: Option<Rc<Slot>>,
    opened: bool,
    base: Base,
    possible: BTreeSet<Held>,
}

impl Run {
    /// Whether the fault has hit an operation; before that nothing may fail.
    fn is_hit(&self) -> bool {
        hits(&self.process).iter().sum::<u64>() > 0
    }

    fn settle(&mut self, step: Step, outcome: Outcome) {
        if outcome == Outcome::Refused {
            return;
        }
        let after = |held: &Held| {
            let mut held = *held;
            apply(&mut held, step);
            held
        };
        let after: BTreeSet<Held> = self.possible.iter().map(after).collect();
        if outcome == Outcome::Done {
            self.possible.clear();
        }
        self.possible.extend(after);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Create => self.create(Preallocation::Reserve),
            Step::CreateInSteps => self.create(Preallocation::InSteps),
            Step::Open => self.open(),
            Step::Get => self.get(),
            Step::Idle => self.sleep(3_000_000_000),
            Step::Remove => self.remove(),
            Step::Close => {
                if let Some(volume) = self.volume.take() {
                    self.process.close(&volume);
                }
            }
            Step::Concurrent(steps) => self.run_concurrently(steps, 0),
            Step::ReadOnlyAtHint(read_only) => {
                // Timers fire up to 4 ms late.
                self.run_concurrently(&[Step::ReadOnly(read_only)], 1_000_000_000);
            }
            _ => self.run_concurrently(&[step], 0),
        }
    }

    fn sleep(&mut self, ns: u64) {
        let handle = self.process.runtime.handle().clone();
        self.process.run(async move { handle.sleep_until(handle.now() + ns).await });
    }

    fn create(&mut self, how: Preallocation) {
        let created = self.process.create_how(self.base.size(), how);
        let unknown = |what: &str| ["name the file", "sync the directory"].contains(&what);
        self.settle(
            Step::Create,
            match created {
                Ok(()) => Outcome::Done,
                Err((what, _)) if unknown(what) => Outcome::Unknown,
                Err(_) => Outcome::Refused,
            },
        );
    }

    fn remove(&mut self) {
        let handle = self.process.runtime.handle().clone();
        let removed = self
            .process
            .run(async move { volume::remove(&handle, DirId(0), VolumeId(1), 0).await });
        self.settle(
            Step::Remove,
            match removed {
                Ok(()) => Outcome::Done,
                Err(NotRemoved::Nameless(_)) => Outcome::Unknown,
                Err(NotRemoved::Kept(_)) => Outcome::Refused,
            },
        );
    }

    fn open(&mut self) {
        // As in the daemon: an open that failed is not retried before the next process.
        if self.opened && self.is_hit() {
            return;
        }
        self.opened = true;
        match self.process.open() {
            Ok(volume) => self.volume = Some(volume),
            Err(OpenError::Io(..) | OpenError::Superblock(_) | OpenError::WrongLength { .. })
                if self.is_hit() => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn run_concurrently(&mut self, steps: &[Step], after_ns: u64) {
        let Some(volume) = &self.volume else {
            assert!(self.is_hit(), "without a fault there is a volume");
            return;
        };
        let handle = self.process.runtime.handle().clone();
        let outcomes = Rc::new(RefCell::new(vec![None; steps.len()]));
        for (n, step) in steps.iter().enumerate() {
            let (volume, task, sink, step) =
                (Rc::clone(volume), handle.clone(), Rc::clone(&outcomes), *step);
            handle.spawn(async move {
                task.sleep_until(task.now() + after_ns).await;
                sink.borrow_mut()[n] = Some(perform(volume, task, step).await);
            });
        }
        let waiting = Rc::clone(&outcomes);
        self.process.run(async move {
            let deadline = handle.now() + 60_000_000_000;
            while waiting.borrow().iter().any(Option::is_none) {
                assert!(handle.now() < deadline, "a step never completes");
                handle.sleep_until(handle.now() + 1_000_000).await;
            }
        });
        for (step, result) in steps.iter().zip(outcomes.take()) {
            let result = result.expect("waited for");
            let expected = match result {
                Ok(()) | Err(Refusal::ReadOnly | Refusal::NotFound) => true,
                Err(refusal) => refusal == Refusal::Full && self.base.is_full(),
            };
            assert!(expected || self.is_hit(), "{step:?} without a fault: {result:?}");
            self.settle(*step, result.map_or_else(Outcome::from, |()| Outcome::Done));
        }
    }

    /// Every read must return acknowledged content or an error.
    fn get(&mut self) {
        let Some(volume) = self.volume.clone() else {
            assert!(self.is_hit(), "without a fault there is a volume");
            return;
        };
        for (n, id) in IDS.into_iter().enumerate() {
            let got = match self.process.get(&volume, id) {
                Ok(got) => Some(value_of(&got)),
                Err(GetError::NotFound) => None,
                Err(error) => {
                    assert!(self.is_hit(), "without a fault: {error}");
                    continue;
                }
            };
            // An open file that was removed still returns what it held.
            let may_be = |held: &Held| held.values[n] == got;
            assert!(self.possible.iter().any(may_be), "id {n} reads {got:?}: {:?}", self.possible);
        }
    }
}

fn value_of(got: &[u8]) -> u64 {
    let is = |value: &u64| got.starts_with(&bytes(*value, 8)) && data(*value) == got;
    VALUES.into_iter().find(is).expect("bytes of one of the values")
}

/// Recovers without faults: the state must be possible, and writes must work.
fn restart(image: &Image, possible: &BTreeSet<Held>, base: Base, pool: &Pool) {
    let mut process = Process::start(9, image, pool);
    process.checkpoints = image.files.contains_key(CHECKPOINT).then_some(ON_DEMAND);
    let Ok(volume) = process.open() else {
        let absent = !image.files.contains_key(FILE) && possible.iter().any(|held| !held.file);
        assert!(absent, "the volume does not open");
        return;
    };
    assert!(volume.volume().damage().is_empty(), "{:?}", volume.volume().damage());
    let values = IDS.map(|id| match process.get(&volume, id) {
        Ok(got) => Some(value_of(&got)),
        Err(GetError::NotFound) => None,
        Err(other) => panic!("{other}"),
    });
    let read_only = volume.volume().superblock_state() == SuperblockState::ReadOnly;
    let found = Held { values, read_only, file: true };
    assert!(possible.contains(&found), "{found:?} is not of {possible:?}");
    if read_only {
        set_read_only(&mut process, &volume, false).unwrap();
    }
    let put = process.put(&volume, IDS[3], &data(12));
    if base.is_full() {
        assert_eq!(put, Err(Refusal::Full));
    } else {
        put.unwrap();
        assert_eq!(process.get(&volume, IDS[3]).unwrap(), data(12));
    }
}

struct Script {
    base: Base,
    steps: &'static [Step],
    image: Image,
    held: Held,
}

impl Script {
    /// Runs the script with a fault at one operation; returns the number of operations and the run.
    fn run(&self, fault: Option<(u64, Fault, bool)>, pool: &Pool) -> (u64, Run) {
        let mut process = Process::start(5, &self.image, pool);
        let saves = self.steps.iter().any(|step| matches!(step, Step::Checkpoint));
        let saved = self.image.files.contains_key(CHECKPOINT);
        process.checkpoints = (saves || saved).then_some(ON_DEMAND);
        if let Some((n, fault, sticky)) = fault {
            if sticky { process.world.fail_from(n, fault) } else { process.world.fail(n, fault) }
        }
        let possible = [self.held].into();
        let mut run = Run { process, volume: None, opened: false, base: self.base, possible };
        self.steps.iter().for_each(|step| run.step(*step));
        (run.process.world.operations(), run)
    }

    fn judge(&self, run: &Run, pool: &Pool) {
        let world = &run.process.world;
        assert_eq!(world.count(WRITE_AFTER_FAILURE), 0, "nothing is written after a failure");
        let (wreck, present) = world.look(|snapshot| (snapshot.wreck(), snapshot.image()));
        let mut images = vec![present];
        for changes in [0, wreck.changes()] {
            for survives in 0..4 {
                let image =
                    wreck.image(|n| [false, true, n % 2 == 0, n % 2 == 1][survives], changes);
                if !images.contains(&image) {
                    images.push(image);
                }
            }
        }
        images.iter().for_each(|image| restart(image, &run.possible, self.base, pool));
    }
}

#[test]
fn any_failed_disk_operation_loses_nothing_acknowledged() {
    let pool = pool(8 << 20);
    let (mut runs, mut counts) = (0, [0; NAMES.len()]);
    for (base, steps) in SCENARIOS {
        let (image, held) = base.build(&pool);
        let script = Script { base: *base, steps, image, held };
        let (operations, clean) = script.run(None, &pool);
        assert_eq!(
            clean.possible.len(),
            1,
            "{base:?} {steps:?}: exactly one state is possible when nothing fails"
        );
        script.judge(&clean, &pool);
        for (fault, sticky) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)])
        {
            for n in 0..operations {
                let what = Context(format!("{base:?} {steps:?}: {fault:?} {sticky} at {n}"));
                let (_, run) = script.run(Some((n, fault, sticky)), &pool);
                let hits = hits(&run.process);
                if run.is_hit() {
                    runs += 1;
                    script.judge(&run, &pool);
                    counts.iter_mut().zip(hits).for_each(|(all, hits)| *all += hits);
                }
                drop(what);
            }
        }
    }
    let hits: Vec<String> =
        NAMES.iter().zip(counts).map(|(name, count)| format!("{name} {count}")).collect();
    let hits = hits.join(", ");
    println!("{runs} runs with a fault, of {} scenarios; operations hit: {hits}", SCENARIOS.len());
    assert!(runs > 11_000, "only {runs} runs with a fault");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// Prints the case when a test panics.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
