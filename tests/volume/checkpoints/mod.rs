//! Checkpoints by subject, and what the tests share.

mod recovery;
mod writing;

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{CheckpointFigures, Checkpointing, DamagedRange, Expected, Location, Slot};

use crate::common::{ON_DEMAND, Process, bytes, expected};

const FILE: &str = "1.0.vol";
const CHECKPOINT: &str = "1.0.ckpt";
const UNFINISHED: &str = "1.0.ckpt.new";
const SIZE: u64 = 48 << 20;
/// Number of needles stored first: enough for several segments of the index.
const BASE: u64 = 24_000;

fn id(n: u64) -> NeedleId {
    NeedleId::new(n / 2, u32::try_from(n % 2).unwrap())
}

fn as_volume(checkpoints: Option<Checkpointing>, hash_bits: Option<u32>) -> Expected {
    Expected { hash_bits, checkpoints, ..expected() }
}

fn start(seed: u64, image: &Image, pool: &Pool) -> Process {
    Process::start(seed, image, pool)
}

fn checkpoint(process: &mut Process, volume: &Rc<Slot>) -> bool {
    let volume = Rc::clone(volume);
    process.run(async move { volume.volume().checkpoint().await }).unwrap()
}

/// Result of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recovered {
    places: Vec<Location>,
    live: u64,
    needles: u64,
    tail: u64,
    version: u64,
    damage: Vec<DamagedRange>,
    oldest_dead_ns: Option<u64>,
    key_max: u64,
}

fn recovered(image: &Image, expected: Expected, pool: &Pool) -> (Recovered, CheckpointFigures) {
    let mut process = start(3, image, pool);
    let volume = process.open_as(expected).unwrap();
    let walk = volume.volume().walk().unwrap();
    let (figures, end) = (volume.volume().figures(), volume.volume().open_report().end);
    let recovered = Recovered {
        places: walk.places().to_vec(),
        live: figures.live,
        needles: figures.needles,
        tail: end.tail,
        version: end.version,
        damage: volume.volume().damage().to_vec(),
        oldest_dead_ns: figures.oldest_dead_ns,
        key_max: figures.key_max,
    };
    (recovered, figures.checkpoint)
}

/// Asserts that recovery with the checkpoint, if there is one, equals recovery from the whole log; returns
/// whether the checkpoint was used.
fn uses_checkpoint(image: &Image, hash_bits: Option<u32>, pool: &Pool, what: &str) -> bool {
    let (with, figures) = recovered(image, as_volume(Some(ON_DEMAND), hash_bits), pool);
    let (without, _) = recovered(image, as_volume(None, hash_bits), pool);
    assert!(with == without, "{what}: {} and {} needles", with.needles, without.needles);
    let mut sorted = with.places.clone();
    sorted.dedup_by_key(|at| at.offset);
    assert_eq!(sorted.len() as u64, with.needles, "{what}: each needle occurs once");
    figures.opened_from > 65_536
}

/// Image of a volume with a few needles and a checkpoint, closed cleanly.
fn small_image(pool: &Pool) -> Image {
    let mut process = start(1, &Image::default(), pool);
    process.create(1 << 20);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    for n in 0..40 {
        process.put(&volume, id(n % 30), &bytes(n, 100)).unwrap();
    }
    process.put_large(&volume, id(50), &bytes(50, 70_000), &[65_536]).unwrap();
    process.delete(&volume, id(3)).unwrap();
    process.close(&volume);
    process.image()
}
