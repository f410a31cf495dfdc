//! A volume that is scrubbed in the simulated world.

use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::KeyLocks;
use hayloft::runtime::background::Pace;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{CommitRecord, NeedleHeader, decode_header};
use hayloft::volume::{
    CompactionOrder, Expected, Location, Preallocation, ScrubPlan, Scrubbed, Slot,
};

use crate::common::{Process, bytes, expected, superblock};

pub const FILE: &str = "1.0.vol";

/// Damage as a scrub lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: u64,
    pub id: Option<NeedleId>,
    pub flaw: &'static str,
    pub is_io: bool,
}

/// The result of a pass, and the list after it.
pub struct Result {
    pub scrubbed: Scrubbed,
    pub damage: Vec<Found>,
}

pub fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 1)
}

fn as_volume() -> Expected {
    Expected { hash_bits: None, ..expected() }
}

pub fn created(size: u64, pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(size);
    let volume = process.open_as(as_volume()).unwrap();
    (process, volume)
}

pub fn opened(image: &Image, pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, pool);
    let volume = process.open_as(as_volume()).unwrap();
    (process, volume)
}

pub fn put_many(process: &mut Process, volume: &Rc<Slot>, ids: Range<u64>) {
    for n in ids {
        let len = 100 + usize::try_from(n * 37 % 4000).unwrap();
        process.put(volume, id(n), &bytes(n, len)).unwrap();
    }
}

/// How a volume is scrubbed.
pub struct Scrubbing(u64);

impl Scrubbing {
    pub fn every(interval_ns: u64) -> Self {
        Self(interval_ns)
    }

    pub fn start(&self, volume: &Rc<Slot>, process: &Process) {
        let turns = Rc::new(KeyLocks::new(process.runtime.handle()));
        let on_end = Rc::new(|| ());
        volume.start_scrubs(&ScrubPlan { interval_ns: self.0, turns, on_end });
    }
}

pub fn scrub_on_request(volume: &Rc<Slot>, process: &Process) {
    Scrubbing(0).start(volume, process);
}

/// Waits until this number of passes was made since the volume was opened: at most 100 days.
pub fn wait_for_passes(process: &mut Process, volume: &Rc<Slot>, passes: u64) {
    let (slot, handle) = (Rc::clone(volume), process.runtime.handle().clone());
    process.run(async move {
        for n in 0.. {
            if slot.scrub_progress().passes >= passes {
                return;
            }
            assert!(n < 100_000, "no pass: {:?}", slot.scrub_progress());
            let pause = if n < 10_000 { 1_000_000 } else { 100_000_000_000 };
            handle.sleep_until(handle.now() + pause).await;
        }
    });
}

/// Makes a pass.
pub fn scrub(process: &mut Process, volume: &Rc<Slot>) -> Result {
    scrub_on_request(volume, process);
    let passes = volume.scrub_progress().passes;
    volume.request_scrub();
    wait_for_passes(process, volume, passes + 1);
    let damage = volume.found_damage().into_iter().map(|found| Found {
        offset: found.finding.at.offset,
        id: found.finding.id,
        flaw: found.finding.flaw.name(),
        is_io: found.finding.is_io,
    });
    Result { scrubbed: volume.scrub_progress().last, damage: damage.collect() }
}

/// All needles in the file, dead or not, in its order.
pub fn found(image: &Image) -> Vec<(NeedleHeader, Location)> {
    let bytes = image.bytes(FILE);
    let (mut at, mut found) = (65_536, Vec::new());
    while at + 512 <= bytes.len() {
        match decode_header(&bytes[at..], superblock(0).incarnation, at as u64) {
            Some((header, 0)) => {
                let len = header.layout().len;
                found.push((header, Location { offset: at as u64, len: len as u64 }));
                at += len;
            }
            _ => at += 512,
        }
    }
    found
}

/// Offset of the record of the last commit.
pub fn last_record(image: &Image) -> u64 {
    let bytes = image.bytes(FILE);
    let log_end = bytes.len() as u64 - 4096;
    let is_record = |at: &usize| {
        let incarnation = superblock(0).incarnation;
        CommitRecord::decode(&bytes[*at..], incarnation, *at as u64, log_end).is_some()
    };
    (65_536..bytes.len() - 4096).step_by(4096).rfind(is_record).expect("a commit") as u64
}

pub fn order(size: u64) -> CompactionOrder {
    CompactionOrder {
        target: DirId(0),
        store: None,
        size,
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
