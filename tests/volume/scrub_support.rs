//! A volume that is scrubbed in the simulated world.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::KeyLocks;
use hayloft::runtime::background::Pace;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::CommitRecord;
use hayloft::volume::{CompactionOrder, Preallocation, ScrubPlan, Scrubbed, Slot};

use crate::common::{Process, superblock};
use crate::volume_support::FILE;

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
