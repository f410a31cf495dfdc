//! Damage in the log while it is compacted: what is damaged is never absent afterwards, and what was deleted
//! or replaced does not come back.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::base::limits::TRAILER;
use hayloft::runtime::background::Pace;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{HashPrefix, Loss};
use hayloft::volume::{CompactionOrder, GetError, Hasher, Slot};

use crate::common::{Process, bytes, pool, superblock_with_losses};
use crate::compaction_support::{OLD, SIZE, compact, expected_of, id, order, reopened, started};

const HASH_SEED: u64 = 42;
const UNIT: usize = 512;
const LOST: u64 = 77;

fn unidentified(key: u64, bits: u32) -> Loss {
    let leading = Hasher::new(HASH_SEED).hash(id(key)).bits() >> (64 - bits) << (64 - bits);
    Loss::Unidentified { hash: HashPrefix { leading, bits }, len: 4096 }
}

/// A volume with a few objects and the record of one that was lost. Returns the offset of the record (bytes).
fn with_record(bits: u32) -> (Process, Rc<Slot>, usize) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create_as(superblock_with_losses(SIZE));
    let slot = process.open_as(expected_of(0)).unwrap();
    for key in 0..4 {
        process.put(&slot, id(key), &bytes(key, 3000)).unwrap();
    }
    let record = tail(&slot) + UNIT;
    process.record(&slot, &[(unidentified(LOST, bits), 0)]).unwrap();
    process.delete(&slot, id(3)).unwrap();
    (process, slot, record)
}

/// End of the log (bytes).
fn tail(slot: &Slot) -> usize {
    usize::try_from(slot.volume().figures().used - TRAILER).unwrap()
}

/// Checks it now, and after restarts with and without a checkpoint.
fn check_with_restarts(
    mut process: Process,
    mut slot: Rc<Slot>,
    check: impl Fn(&mut Process, &Rc<Slot>),
) {
    check(&mut process, &slot);
    for keep_checkpoint in [true, false] {
        let generation = slot.volume().generation();
        let mut image = process.image();
        if !keep_checkpoint {
            image.files.remove(&format!("1.{generation}.ckpt"));
        }
        (process, slot) = reopened(&image, generation);
        check(&mut process, &slot);
    }
}

fn expect_lost(process: &mut Process, slot: &Rc<Slot>, key: u64) {
    let got = process.get(slot, id(key)).map(|body| body.len());
    assert!(matches!(got, Err(GetError::Unreadable(..))), "object {key}: {got:?}");
}

#[test]
fn record_of_an_unknown_object_is_carried_over_by_its_footer() {
    let (process, _, record) = with_record(42);
    // The header is there twice.
    for header in [record, record + UNIT] {
        process.world.rot(OLD, header + 20, 2);
    }
    let mut image = process.image();
    image.files.remove("1.0.ckpt");
    let (mut process, slot) = reopened(&image, 0);
    expect_lost(&mut process, &slot, LOST);
    compact(&mut process, &slot).unwrap();
    check_with_restarts(process, slot, |process, slot| {
        expect_lost(process, slot, LOST);
        assert_eq!(process.get(slot, id(0)), Ok(bytes(0, 3000)));
        assert_eq!(process.get(slot, id(78)), Err(GetError::NotFound));
    });
}

/// The record is in the index under 128 hashes, or under one.
#[test]
fn record_of_an_unknown_object_is_carried_over_by_the_index() {
    for bits in [35, 42] {
        let (mut process, slot, record) = with_record(bits);
        damage(&process, record, record + 2 * UNIT);
        compact(&mut process, &slot).unwrap();
        check_with_restarts(process, slot, |process, slot| {
            expect_lost(process, slot, LOST);
            assert_eq!(process.get(slot, id(0)), Ok(bytes(0, 3000)));
            assert_eq!(process.get(slot, id(78)), Err(GetError::NotFound));
        });
    }
}

/// Compacts slowly; `change` comes when everything that was stored before has been copied.
fn compact_around(process: &mut Process, slot: &Rc<Slot>, change: impl FnOnce(&mut Process)) {
    let (compacted, done) = (Rc::clone(slot), Rc::new(Cell::new(None)));
    let told = Rc::clone(&done);
    let slow = CompactionOrder { pace: Pace::at_most(1 << 20), ..order() };
    slot.compaction_task().start(async move {
        told.set(Some(compacted.compact(&slow, &|_| Ok(())).await));
    });
    let (watched, handle) = (Rc::clone(slot), process.runtime.handle().clone());
    process.run(async move {
        while watched.compaction_progress().done < 3 << 20 {
            handle.sleep_until(handle.now() + 1_000_000).await;
        }
    });
    change(process);
    assert_eq!(slot.volume().generation(), 0, "the change came before the exchange");
    let handle = process.runtime.handle().clone();
    let done = process.run(async move {
        loop {
            match done.take() {
                Some(ended) => break ended,
                None => handle.sleep_until(handle.now() + 100_000_000).await,
            }
        }
    });
    done.unwrap();
    assert_eq!(slot.volume().generation(), 1);
}

/// Damages the beginning and the end of each of the units in `from..to` of the old file.
fn damage(process: &Process, from: usize, to: usize) {
    for at in (from..to).step_by(UNIT) {
        process.world.rot(OLD, at + 20, 2);
        process.world.rot(OLD, at + UNIT - 20, 2);
    }
}

fn with_objects() -> (Process, Rc<Slot>) {
    let (mut process, slot) = started();
    for key in 0..12 {
        process.put(&slot, id(key), &bytes(key, 400_000)).unwrap();
    }
    (process, slot)
}

#[test]
fn deleted_object_does_not_come_back_when_its_tombstone_is_damaged() {
    let (mut process, slot) = with_objects();
    compact_around(&mut process, &slot, |process| {
        let from = tail(&slot);
        process.delete(&slot, id(2)).unwrap();
        damage(process, from, tail(&slot));
        process.put(&slot, id(20), b"after").unwrap();
    });
    check_with_restarts(process, slot, |process, slot| {
        assert_eq!(process.get(slot, id(2)), Err(GetError::NotFound));
        assert_eq!(process.get(slot, id(3)), Ok(bytes(3, 400_000)));
        assert_eq!(process.get(slot, id(20)), Ok(b"after".to_vec()));
        assert_eq!(slot.volume().figures().needles, 12);
    });
}

#[test]
fn replaced_object_does_not_come_back_when_its_successor_is_damaged() {
    let (mut process, slot) = with_objects();
    compact_around(&mut process, &slot, |process| {
        let from = tail(&slot);
        process.put(&slot, id(2), &bytes(99, 3000)).unwrap();
        damage(process, from, tail(&slot));
        expect_lost(process, &slot, 2);
        process.put(&slot, id(20), b"after").unwrap();
    });
    check_with_restarts(process, slot, |process, slot| {
        expect_lost(process, slot, 2);
        assert_eq!(process.get(slot, id(3)), Ok(bytes(3, 400_000)));
        assert_eq!(process.get(slot, id(20)), Ok(b"after".to_vec()));
    });
}
