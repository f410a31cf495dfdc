//! A partial volume file on a simulated disk with limited space.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::fault::WRITE_WITHOUT_SPACE;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{Expected, NewNeedle, Preallocation, Refusal, Slot, Superblock};

use crate::common::{COOKIE, Process, bytes, draft, expected};

pub const FILE: &str = "1.0.vol";
/// Size of the file (bytes).
pub const SIZE: u64 = 1 << 20;
/// Length of a step of a file of this size (bytes): an eighth.
pub const STEP: u64 = 128 << 10;
/// Space for tombstones in a file of this size (bytes).
pub const TOMBSTONES: u64 = SIZE / 16;
pub const LOG_END: u64 = SIZE - TRAILER;
pub const SECOND: u64 = 1_000_000_000;
/// Length of the bodies (bytes). A body takes a commit of three blocks if it is alone in it.
pub const BODY: usize = 9000;

pub const fn id(key: u64) -> NeedleId {
    NeedleId::new(key, 0)
}

pub fn blocks(bytes: u64) -> usize {
    usize::try_from(bytes / BLOCK).unwrap()
}

/// Number of allocated blocks of the volume file.
pub fn allocated(image: &Image) -> usize {
    image.files[FILE].allocated().count()
}

/// End of the part of the log whose blocks are reserved (bytes).
pub fn reserved_end(volume: &Slot) -> u64 {
    LOG_END - volume.volume().figures().unreserved
}

pub fn tail(volume: &Slot) -> u64 {
    volume.volume().figures().used - TRAILER
}

pub fn copies(image: &Image) -> [Superblock; 3] {
    let file = image.bytes(FILE);
    superblock_offsets(SIZE)
        .map(|at| Superblock::decode(&file[usize::try_from(at).unwrap()..]).unwrap())
}

/// Expected identity of the volume, with a whole hash: there are many needles.
pub fn identity() -> Expected {
    Expected { hash_bits: None, ..expected() }
}

/// A process on `image`, on a disk with `free` blocks apart from those of its files.
pub fn process_on(seed: u64, image: &Image, free: usize, pool: &Pool) -> Process {
    let world = World::new(seed, image);
    let used: usize = image.files.values().map(|file| file.allocated().count()).sum();
    world.set_capacity(used + free);
    Process::start_in(world, seed, pool)
}

/// Opens the volume of `image` on a disk with `free` blocks apart from those of its files.
pub fn restarted(seed: u64, image: &Image, free: usize, pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = process_on(seed, image, free, pool);
    let volume = process.open_as(identity()).unwrap();
    (process, volume)
}

/// A new partial file.
pub fn created(pool: &Pool) -> Image {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create_how(SIZE, Preallocation::InSteps).unwrap();
    process.image()
}

/// A new partial file, open, on a disk with `free` blocks for steps after the first.
pub fn started(free: usize, pool: &Pool) -> (Process, Rc<Slot>) {
    restarted(1, &created(pool), free, pool)
}

pub fn sleep(process: &mut Process, ns: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + ns).await });
}

pub fn put(process: &mut Process, volume: &Rc<Slot>, key: u64) -> Result<(), Refusal> {
    process.put(volume, id(key), &bytes(key, BODY)).map(drop)
}

/// Result of an operation that runs while others do.
pub type Outcome = Rc<Cell<Option<Result<(), Refusal>>>>;

/// Begins to put a key.
pub fn put_later(process: &Process, volume: &Rc<Slot>, key: u64) -> Outcome {
    let (volume, handle) = (Rc::clone(volume), process.runtime.handle().clone());
    let draft = draft(handle.pool(), &bytes(key, BODY));
    let outcome = Rc::new(Cell::new(None));
    let sink = Rc::clone(&outcome);
    handle.spawn(async move {
        sink.set(Some(volume.put(id(key), COOKIE, draft, None).await.map(drop)));
    });
    outcome
}

/// Puts the keys in one commit, each with a body of 10 bytes.
pub fn put_small(process: &mut Process, volume: &Rc<Slot>, keys: std::ops::Range<u64>) {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let needle = |key| NewNeedle { id: id(key), cookie: COOKIE, draft: draft(&pool, &[7; 10]) };
        volume.put_batch(keys.map(needle).collect(), None).await.unwrap();
    });
}

/// Puts keys from `from` on until one is refused, and returns that key.
pub fn fill(process: &mut Process, volume: &Rc<Slot>, from: u64) -> u64 {
    for key in from.. {
        match put(process, volume, key) {
            Ok(()) => {}
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Full);
                return key;
            }
        }
    }
    unreachable!("the volume never becomes full")
}

pub fn assert_readable(process: &mut Process, volume: &Rc<Slot>, keys: impl Iterator<Item = u64>) {
    for key in keys {
        assert!(process.get(volume, id(key)).as_ref() == Ok(&bytes(key, BODY)), "key {key}");
    }
}

/// Asserts that every write found its blocks.
pub fn assert_no_write_failed(process: &Process, volume: &Slot) {
    assert_eq!(process.world.count(WRITE_WITHOUT_SPACE), 0, "a write found no space");
    assert!(!volume.volume().poisoned(), "{:?}", volume.volume().write_state());
}

/// Asserts that `image` has all blocks up to the reserved end.
pub fn assert_has_reserved(image: &Image, end: u64) {
    assert_eq!(image.files[FILE].allocated().missing(&(0..blocks(end))), 0, "before byte {end}");
    assert_eq!(image.files[FILE].allocated().missing(&(blocks(LOG_END)..blocks(SIZE))), 0);
    assert!(end > LOG_START);
}
