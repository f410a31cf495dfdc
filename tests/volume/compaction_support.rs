//! A volume that is compacted on the simulated disk, and what must be in it.

use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::background::Pace;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    Compacted, CompactionOrder, Expected, GetError, NotCompacted, Preallocation, Refusal, Slot,
};

use crate::common::{COOKIE, ON_DEMAND, Process, bytes, expected, pool};

pub const SIZE: u64 = 64 << 20;
pub const OLD: &str = "1.0.vol";
pub const NEW: &str = "1.1.vol";

pub fn id(key: u64) -> NeedleId {
    NeedleId::new(key, 0)
}

pub fn order() -> CompactionOrder {
    CompactionOrder {
        target: DirId(0),
        store: None,
        size: SIZE,
        preallocation: Preallocation::Reserve,
        accept_losses: false,
        tombstone_keep_ns: 0,
        drop_expired_before_ns: 0,
        verify: true,
        index_memory_max: u64::MAX,
        pace: Pace::UNLIMITED,
        target_pace: None,
    }
}

pub fn expected_of(generation: u64) -> Expected {
    Expected { generation, hash_bits: None, checkpoints: Some(ON_DEMAND), ..expected() }
}

pub fn started() -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(SIZE);
    let slot = process.open_as(expected_of(0)).unwrap();
    (process, slot)
}

pub fn reopened(image: &Image, generation: u64) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, &pool(32 << 20));
    let slot = process.open_as(expected_of(generation)).unwrap();
    (process, slot)
}

pub fn compact(process: &mut Process, slot: &Rc<Slot>) -> Result<Compacted, NotCompacted> {
    compact_as(process, slot, order())
}

pub fn compact_as(
    process: &mut Process,
    slot: &Rc<Slot>,
    order: CompactionOrder,
) -> Result<Compacted, NotCompacted> {
    let slot = Rc::clone(slot);
    process.run(async move { slot.compact(&order, &|_| Ok(())).await })
}

pub fn names(process: &Process) -> Vec<String> {
    process.image().files.keys().cloned().collect()
}

/// What is stored in a volume.
#[derive(Clone, Default)]
pub struct Model {
    pub objects: BTreeMap<u64, Vec<u8>>,
    pub deleted: Vec<u64>,
}

impl Model {
    pub fn put(&mut self, process: &mut Process, slot: &Rc<Slot>, key: u64, data: Vec<u8>) {
        let stored = if data.len() > 1 << 20 {
            process.put_large(slot, id(key), &data, &[300_000])
        } else {
            process.put(slot, id(key), &data)
        };
        stored.unwrap();
        self.objects.insert(key, data);
    }

    pub fn delete(&mut self, process: &mut Process, slot: &Rc<Slot>, key: u64) {
        process.delete(slot, id(key)).unwrap();
        self.objects.remove(&key);
        self.deleted.push(key);
    }

    /// Checks that every object can be read and no other exists.
    pub fn check(&self, process: &mut Process, slot: &Rc<Slot>) {
        for (key, data) in &self.objects {
            assert!(process.get(slot, id(*key)).as_ref() == Ok(data), "object {key}");
        }
        for key in &self.deleted {
            if !self.objects.contains_key(key) {
                assert_eq!(process.get(slot, id(*key)), Err(GetError::NotFound), "object {key}");
            }
        }
        assert_eq!(slot.volume().figures().needles, self.objects.len() as u64);
        slot.expect_rest();
    }
}

/// Objects of all kinds, some of them replaced or deleted.
pub fn filled(process: &mut Process, slot: &Rc<Slot>) -> Model {
    let mut model = Model::default();
    let lens = [0, 1, 700, 65_536, 65_537, 300_000, 1 << 20, 2_500_000];
    for key in 0..24 {
        let len = lens[usize::try_from(key).unwrap() % lens.len()];
        model.put(process, slot, key, bytes(key, len));
    }
    for key in (0..24).step_by(3) {
        model.put(process, slot, key, bytes(100 + key, 5000));
    }
    for key in [1, 7, 15, 22] {
        model.delete(process, slot, key);
    }
    model.put(process, slot, 22, bytes(222, 400));
    model
}

impl Process {
    pub fn delete_many(&mut self, slot: &Rc<Slot>, keys: &[u64]) -> Result<Vec<bool>, Refusal> {
        let slot = Rc::clone(slot);
        let named: Vec<_> = keys.iter().map(|key| (id(*key), COOKIE)).collect();
        self.run(async move { slot.delete_all(&named, None).await })
    }
}
