use std::cell::RefCell;
use std::rc::Rc;

use super::{Compacted, CompactionOrder, NotCompacted};
use crate::base::limits::{BLOCK, CHUNK, LOG_START};
use crate::runtime::Handle;
use crate::runtime::background::Pace;
use crate::runtime::op::DirId;
use crate::volume::tests::rig::{COOKIE, Rig, SECOND, draft, id, location};
use crate::volume::{CompactionPhase, DamageSource, Preallocation, Slot, Upload};

const MS: u64 = 1_000_000;
/// So slow (bytes per second) that something can happen meanwhile.
const SLOW: Pace = Pace::at_most(1 << 20);

fn compact(rig: &mut Rig, slot: &Rc<Slot>, pace: Pace) -> Result<Compacted, NotCompacted> {
    let order = CompactionOrder {
        target: DirId(0),
        store: None,
        size: 16 << 20,
        preallocation: Preallocation::Reserve,
        accept_losses: false,
        tombstone_keep_ns: 0,
        drop_expired_before_ns: 0,
        verify: true,
        index_memory_max: u64::MAX,
        pace,
        target_pace: None,
    };
    let slot = Rc::clone(slot);
    rig.run(async move { slot.compact(&order, &|_| Ok(())).await })
}

/// Waits until a compaction is in this phase.
async fn reached(slot: &Slot, handle: &Handle, phase: CompactionPhase) {
    while slot.compaction_progress().phase != phase {
        handle.sleep_until(handle.now() + MS).await;
    }
}

/// Stores a part of an upload.
fn add(rig: &mut Rig, mut upload: Upload) -> Upload {
    let mut part = upload.part(&rig.pool, CHUNK).unwrap();
    part.data_mut().fill(7);
    rig.run(async move {
        upload.add(part).await.unwrap();
        upload.settle().await.unwrap();
        upload
    })
}

#[test]
fn parts_of_an_upload_in_progress_are_not_dead_in_the_new_file() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put(&slot, 1);
    let upload = add(&mut rig, slot.upload(id(2), COOKIE, 3 * CHUNK).unwrap());
    compact(&mut rig, &slot, Pace::UNLIMITED).unwrap();
    assert_eq!(slot.volume().figures().oldest_dead_ns, None, "a manifest may name them");
    let upload = add(&mut rig, upload);
    compact_again(&mut rig, &slot);
    assert_eq!(slot.volume().figures().oldest_dead_ns, None);
    drop(upload);
    assert!(slot.volume().figures().oldest_dead_ns.is_some(), "nothing names them any more");
    slot.expect_rest();
}

fn compact_again(rig: &mut Rig, slot: &Rc<Slot>) {
    let generation = slot.volume().generation();
    compact(rig, slot, Pace::UNLIMITED).unwrap();
    assert_eq!(slot.volume().generation(), generation + 1);
}

#[test]
fn compaction_writes_the_new_log_and_nothing_else() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..40 {
        rig.put(&slot, n);
    }
    rig.delete(&slot, 3);
    let deleted = slot.volume().log.end().version;
    let done = compact(&mut rig, &slot, Pace::UNLIMITED).unwrap();
    assert_eq!(done.carried.needles, 39);
    assert_eq!(done.written, slot.volume().log.tail() - LOG_START);
    assert_eq!(done.written, (512 + 39 * 1024_u64).next_multiple_of(BLOCK), "in one commit");
    assert_eq!(slot.volume().history_from(), deleted + 1, "the deletion is left out");
    assert!(done.read_back >= done.written);
    rig.sleep(SECOND);
    assert_eq!(rig.world.open_files(), ["1.1.vol"], "nothing holds the old file");
}

#[test]
fn progress_shows_each_phase_until_the_next_one() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..3 {
        rig.put_len(&slot, n, 1_000_000);
    }
    let phases = Rc::new(RefCell::new(Vec::new()));
    let (seen, watched, pool, handle) =
        (Rc::clone(&phases), Rc::clone(&slot), rig.pool.clone(), rig.handle());
    rig.handle().spawn(async move {
        reached(&watched, &handle, CompactionPhase::Copying).await;
        for n in 3..5 {
            let draft = draft(&pool, n, 1_000_000, None);
            watched.put(id(n), COOKIE, draft, None).await.unwrap();
        }
        loop {
            let phase = watched.compaction_progress().phase;
            if seen.borrow().last() != Some(&phase) {
                seen.borrow_mut().push(phase);
            }
            handle.sleep_until(handle.now() + MS).await;
        }
    });
    let done = compact(&mut rig, &slot, SLOW).unwrap();
    assert_eq!((done.rounds, done.carried.needles), (1, 5));
    let seen = phases.take();
    let [CompactionPhase::Copying, CompactionPhase::CatchingUp, CompactionPhase::Verifying, ..] =
        seen[..]
    else {
        panic!("{seen:?}");
    };
    let again = seen[3..].iter().any(|phase| seen[..3].contains(phase));
    assert!(!again, "{seen:?}");
}

#[test]
fn new_file_that_reads_back_different_does_not_take_the_place_of_the_old_one() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..3 {
        rig.put_len(&slot, n, 1_000_000);
    }
    let (watched, world, handle) = (Rc::clone(&slot), rig.world.clone(), rig.handle());
    rig.handle().spawn(async move {
        reached(&watched, &handle, CompactionPhase::Verifying).await;
        world.rot("1.1.vol", usize::try_from(LOG_START).unwrap() + 2_500_000, 1);
    });
    let refused = compact(&mut rig, &slot, SLOW);
    assert!(matches!(refused, Err(NotCompacted::ReadBack(_))), "{refused:?}");
    assert_eq!(slot.volume().generation(), 0);
    assert!(!rig.world.names().contains(&"1.1.vol".to_owned()));
}

#[test]
fn object_whose_header_is_damaged_is_lost_under_its_name() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..4 {
        rig.put(&slot, n);
    }
    rig.rot(location(&slot, 2).offset + 30);
    let done = compact(&mut rig, &slot, Pace::UNLIMITED).unwrap();
    assert_eq!((done.carried.needles, done.carried.lost), (3, 1));
    let lost = slot.volume().damage();
    let lost: Vec<_> = lost.iter().map(|range| (range.source, range.id)).collect();
    assert_eq!(lost, [(DamageSource::Loss, Some(id(2)))]);
    assert_eq!(slot.volume().figures().needles, 4);
}
