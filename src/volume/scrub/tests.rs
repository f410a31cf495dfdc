//! The index against the log: the tests change the index, which nobody else can.

use std::rc::Rc;

use super::{Flaw, ScrubPlan};
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{SimDriver, World};
use crate::runtime::{KeyLocks, Runtime, split_mix};
use crate::volume::index::Location;
use crate::volume::{
    self, Checkpointing, Draft, Expected, Preallocation, Slot, Superblock, SuperblockState,
};

const COOKIE: Cookie = Cookie(7);
const CHECKPOINT: &str = "1.0.ckpt";

struct Rig {
    world: World,
    driver: SimDriver,
    runtime: Runtime,
    pool: Pool,
}

impl Rig {
    fn new(image: &Image) -> Self {
        let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
        let world = World::new(1, image);
        let (driver, mut state) = (world.driver(), 1);
        let runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        Self { world, driver, runtime, pool }
    }

    fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.driver, future)
    }

    fn open(&mut self, create: bool) -> Rc<Slot> {
        let handle = self.runtime.handle().clone();
        let slot = self.run(async move {
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            if create {
                let how = Preallocation::Reserve;
                volume::create(&handle, DirId(0), &superblock(), how, |_| ()).await.unwrap();
            }
            Slot::new(volume::open(&handle, DirId(0), &expected()).await.unwrap())
        });
        let turns = Rc::new(KeyLocks::new(self.runtime.handle()));
        slot.start_scrubs(&ScrubPlan { interval_ns: 0, turns, on_end: Rc::new(|| ()) });
        slot
    }

    fn put(&mut self, slot: &Rc<Slot>, n: u64) {
        let mut draft = Draft::new(&self.pool, None, 700).unwrap();
        draft.data_mut().fill(u8::try_from(n % 251).unwrap());
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id(n), COOKIE, draft, None).await.unwrap() });
    }

    /// Makes a pass; returns the offset, id and flaw of each damaged place. With `busy`, other needles are
    /// written all the time.
    fn scrub(&mut self, slot: &Rc<Slot>, busy: bool) -> Vec<(u64, Option<NeedleId>, Flaw)> {
        let (slot, pool) = (Rc::clone(slot), self.pool.clone());
        let handle = self.runtime.handle().clone();
        self.run(async move {
            let passes = slot.scrub_progress().passes;
            slot.request_scrub();
            for n in 0_u64.. {
                if slot.scrub_progress().passes > passes {
                    break;
                }
                assert!(n < 100_000, "the scrub does not end");
                match busy {
                    true if n % 3 == 0 => drop(slot.delete(id(n / 2 % 60), COOKIE, None).await),
                    true => {
                        let draft = Draft::new(&pool, None, 700).unwrap();
                        slot.put(id(n % 60), COOKIE, draft, None).await.unwrap();
                    }
                    false => handle.sleep_until(handle.now() + 100_000).await,
                }
            }
            let found = slot.found_damage();
            found.iter().map(|it| (it.finding.at.offset, it.finding.id, it.finding.flaw)).collect()
        })
    }

    fn close(&mut self, slot: &Rc<Slot>) -> Image {
        let slot = Rc::clone(slot);
        self.run(async move { slot.close().await });
        self.world.look(|snapshot| snapshot.image())
    }
}

fn superblock() -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(1),
        incarnation: 7,
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size: 16 << 20,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: [1; 16],
        created_ns: 0,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: None,
    }
}

fn expected() -> Expected {
    Expected {
        volume: VolumeId(1),
        generation: 0,
        store: [1; 16],
        hash_bits: None,
        segments_max: None,
        checkpoints: Some(Checkpointing { interval: u64::MAX, rate: 0 }),
    }
}

fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 1)
}

fn location(slot: &Rc<Slot>, n: u64) -> Location {
    let volume = slot.volume();
    let contents = volume.contents.borrow();
    let hash = volume.hasher.hash(id(n));
    contents.index().candidates(hash).next().expect("it is in the index")
}

fn forget(slot: &Rc<Slot>, n: u64) -> u64 {
    let (at, volume) = (location(slot, n), slot.volume());
    let hash = volume.hasher.hash(id(n));
    assert!(volume.contents.borrow_mut().remove(hash, at.offset));
    at.offset
}

fn invent(slot: &Rc<Slot>, n: u64, at: Location) {
    let volume = slot.volume();
    let hash = volume.hasher.hash(id(n));
    assert!(volume.contents.borrow_mut().insert(hash, at, 0));
}

#[test]
fn needles_that_the_index_lacks_are_found_and_read_from_the_log_after_a_restart() {
    let mut rig = Rig::new(&Image::default());
    let slot = rig.open(true);
    (0..200).for_each(|n| rig.put(&slot, n));
    (100..150).for_each(|n| rig.put(&slot, n));
    let image = rig.close(&slot);
    let mut rig = Rig::new(&image);
    let slot = rig.open(false);
    assert!(slot.volume().figures().checkpoint.opened_from > 65_536, "the checkpoint was used");
    assert_eq!(rig.scrub(&slot, false), []);
    let mut lacking: Vec<_> = [3, 120, 150, 199]
        .map(|n| (forget(&slot, n), Some(id(n)), Flaw::NotIndexed))
        .into_iter()
        .collect();
    lacking.sort_unstable_by_key(|(offset, ..)| *offset);
    assert_eq!(rig.scrub(&slot, false), lacking);
    assert!(!rig.world.names().contains(&CHECKPOINT.to_owned()), "the checkpoint is wrong");
    rig.put(&slot, 500);
    let image = rig.close(&slot);
    let mut rig = Rig::new(&image);
    assert!(!rig.world.names().contains(&CHECKPOINT.to_owned()), "the index was wrong");
    let slot = rig.open(false);
    assert_eq!(rig.scrub(&slot, false), []);
    assert_eq!(slot.volume().figures().needles, 201);
}

#[test]
fn entries_that_the_log_lacks_are_found() {
    let mut rig = Rig::new(&Image::default());
    let slot = rig.open(true);
    (0..200).for_each(|n| rig.put(&slot, n));
    let replaced = location(&slot, 5);
    rig.put(&slot, 5);
    // A needle that was superseded, and the second half of one.
    invent(&slot, 5, replaced);
    let twice = location(&slot, 77);
    let wrong = Location { offset: twice.offset + 512, len: 512 };
    invent(&slot, 900, wrong);
    let expected =
        [(replaced, 5), (wrong, 77)].map(|(at, n)| (at.offset, Some(id(n)), Flaw::NotInLog));
    assert_eq!(rig.scrub(&slot, false), expected);
}

#[test]
fn entry_of_the_wrong_length_is_found() {
    let mut rig = Rig::new(&Image::default());
    let slot = rig.open(true);
    (0..50).for_each(|n| rig.put(&slot, n));
    let at = location(&slot, 9);
    forget(&slot, 9);
    invent(&slot, 9, Location { len: at.len + 512, ..at });
    // The sums are those of the offsets: it is found where the needle is verified.
    let found = rig.scrub(&slot, false);
    assert_eq!(found, [(at.offset, Some(id(9)), Flaw::NotIndexed)]);
}

#[test]
fn writes_during_the_comparison_are_no_difference() {
    let mut rig = Rig::new(&Image::default());
    let slot = rig.open(true);
    (0..60).for_each(|n| rig.put(&slot, n));
    (1000..1400).for_each(|n| rig.put(&slot, n));
    let offset = forget(&slot, 1234);
    for round in 0..4 {
        let found = rig.scrub(&slot, true);
        assert_eq!(found, [(offset, Some(id(1234)), Flaw::NotIndexed)], "round {round}");
    }
}

#[test]
fn what_a_damaged_needle_has_superseded_is_no_difference() {
    for flips in [&[30][..], &[30, 1000]] {
        let mut rig = Rig::new(&Image::default());
        let slot = rig.open(true);
        (0..50).for_each(|n| rig.put(&slot, n));
        rig.put(&slot, 7);
        (60..70).for_each(|n| rig.put(&slot, n));
        let at = location(&slot, 7);
        assert_eq!(at.len, 1024);
        // The header, or header and footer.
        for byte in flips {
            rig.world.rot("1.0.vol", usize::try_from(at.offset).unwrap() + byte, 1);
        }
        let found = rig.scrub(&slot, false);
        let owner = (flips.len() == 1).then(|| id(7));
        let header = Flaw::Needle(crate::volume::format::Unreadable::Header);
        assert_eq!(found, [(at.offset, owner, header)]);
    }
}
