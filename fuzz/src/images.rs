//! Volume files to begin with, and what was ever stored in them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{EarlierRange, HashPrefix, Loss};
use hayloft::volume::{Hasher, NewNeedle, Slot, Superblock};
use xxhash_rust::xxh3::xxh3_64;

use crate::common::{COOKIE, Process, bytes, draft, superblock, superblock_with_losses, tear};

/// The file.
pub const FILE: &str = "1.0.vol";
const SIZE: u64 = 128 * 1024;
const LARGE_SIZE: u64 = 320 * 1024;

/// A volume file.
pub struct Base {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Hashes of all that was ever stored under an id, whether it still counts or not.
    pub stored: BTreeMap<NeedleId, Vec<u64>>,
    /// Sectors that begin with a structure, and the one behind each of them.
    pub structures: Vec<usize>,
}

/// Ids of the images.
#[must_use]
pub const fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 0)
}

/// The images: an empty one, one that was closed, one whose process was killed, torn ones before and
/// after recovery, one with a large body, and one with records of losses.
pub fn bases(pool: &Pool) -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        vec![
            empty(pool),
            history(pool, true),
            history(pool, false),
            torn(pool, false),
            torn(pool, true),
            large(pool),
            losses(pool),
        ]
    })
}

/// An image under way: a running volume, and what was stored in it.
struct Maker {
    process: Process,
    volume: Rc<Slot>,
    stored: BTreeMap<NeedleId, Vec<u64>>,
}

impl Maker {
    fn new(pool: &Pool, size: u64) -> Self {
        Self::with(pool, superblock(size))
    }

    fn with(pool: &Pool, superblock: Superblock) -> Self {
        let mut process = Process::start(1, &Image::default(), pool);
        process.create_as(superblock);
        let volume = process.open().expect("a new volume opens");
        Self { process, volume, stored: BTreeMap::new() }
    }

    fn note(&mut self, n: u64, data: &[u8]) {
        self.stored.entry(id(n)).or_default().push(xxh3_64(data));
    }

    fn put(&mut self, n: u64, seed: u64, len: usize) {
        let data = bytes(seed, len);
        self.note(n, &data);
        self.process.put(&self.volume, id(n), &data).expect("there is room");
    }

    fn batch(&mut self, ids: &[u64]) {
        let mut needles = Vec::new();
        for &n in ids {
            let data = bytes(n + 50, 300);
            self.note(n, &data);
            let draft = draft(self.process.runtime.handle().pool(), &data);
            needles.push(NewNeedle { id: id(n), cookie: COOKIE, draft });
        }
        let volume = Rc::clone(&self.volume);
        let stored = self.process.run(async move { volume.put_batch(needles, None).await });
        stored.expect("there is room");
    }

    fn done(mut self, close: bool) -> Base {
        if close {
            self.process.close(&self.volume);
        }
        base(&self.process.image(), self.stored)
    }
}

fn base(image: &Image, stored: BTreeMap<NeedleId, Vec<u64>>) -> Base {
    let bytes = image.files[FILE].to_vec();
    let magics: [&[u8]; 4] = [b"HAYLSUPR", b"HAYLHINT", b"HAYLCMMT", b"HNDL"];
    let begins = |n: &usize| magics.iter().any(|magic| bytes[n * 512..].starts_with(magic));
    let structures: Vec<usize> = (0..bytes.len() / 512).filter(begins).collect();
    Base { bytes, stored, structures }
}

fn empty(pool: &Pool) -> Base {
    Maker::new(pool, SIZE).done(false)
}

fn history(pool: &Pool, close: bool) -> Base {
    let mut maker = Maker::new(pool, SIZE);
    for (n, seed, len) in [(1, 1, 100), (2, 2, 700), (3, 3, 0), (1, 4, 120)] {
        maker.put(n, seed, len);
    }
    maker.process.delete(&maker.volume, id(2)).expect("it is there");
    maker.batch(&[4, 3]);
    maker.done(close)
}

fn torn(pool: &Pool, sealed: bool) -> Base {
    let mut maker = Maker::new(pool, SIZE);
    maker.put(1, 1, 100);
    maker.process.close(&maker.volume);
    let puts = [(id(1), bytes(11, 600)), (id(2), bytes(2, 100))];
    let blocker = (id(9), bytes(9, 10));
    for (id, data) in puts.iter().chain([&blocker]) {
        maker.stored.entry(*id).or_default().push(xxh3_64(data));
    }
    let kept = [0, 1, 3, 4];
    let image = maker.process.image();
    let first = Some((blocker.0, &blocker.1[..]));
    let image = tear(1000, (FILE, &image), pool, first, &puts, |sector| kept.contains(&sector));
    if !sealed {
        return base(&image, maker.stored);
    }
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().expect("a torn volume opens");
    let mut maker = Maker { process, volume, ..maker };
    maker.put(3, 3, 50);
    maker.done(false)
}

fn large(pool: &Pool) -> Base {
    let mut maker = Maker::new(pool, LARGE_SIZE);
    let data = bytes(9, 65_536 + 200);
    maker.note(1, &data);
    let stored = maker.process.put_large(&maker.volume, id(1), &data, &[65_536]);
    stored.expect("there is room");
    maker.put(2, 2, 100);
    maker.done(true)
}

/// One needle was lost after it was stored, one before; of a third only some bits of the hash are known,
/// fewer than the index keeps. One of them was stored again.
fn losses(pool: &Pool) -> Base {
    let mut maker = Maker::with(pool, superblock_with_losses(SIZE));
    maker.put(1, 1, 100);
    maker.put(2, 2, 700);
    let at = maker.volume.volume().walk().expect("there are buffers").places()[0].offset;
    for n in [3, 4] {
        maker.stored.entry(id(n)).or_default();
    }
    let object = |n| Loss::Object { id: id(n), cookie: COOKIE, len: 1024 };
    let hash = HashPrefix { leading: Hasher::with_bits(42, 1).hash(id(4)).bits(), bits: 38 };
    let range = EarlierRange { generation: 1, offset: 65_536, len: 4096 };
    let losses = [
        (object(1), at),
        (object(3), 0),
        (object(4), 0),
        (Loss::Unidentified { hash, len: 1024 }, 0),
        (Loss::Range(range), 0),
    ];
    maker.process.record(&maker.volume, &losses).expect("there is room");
    maker.put(3, 3, 200);
    maker.done(true)
}
