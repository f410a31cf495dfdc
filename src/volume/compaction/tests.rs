use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::commit_writer::CommitWriter;
use super::copier::Copier;
use super::pass::Pass;
use super::target::{close_target, create_target};
use super::{Compacted, CompactionOrder, NotCompacted};
use crate::base::limits::{BLOCK, CHUNK, LOG_START, UNIT};
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundRun, Pace, WorkBuffer};
use crate::runtime::op::DirId;
use crate::runtime::sim::Fault;
use crate::runtime::sim::disk::Image;
use crate::volume::format::{INCOMPAT_LOSSES, Kind, NeedleHeader};
use crate::volume::log::log_reader::LogReader;
use crate::volume::object::look_up::Present;
use crate::volume::tests::rig::{
    COOKIE, FILE, Rig, SECOND, draft, expected, id, location, superblock,
};
use crate::volume::{
    self, CompactionPhase, DamageSource, Expected, GenerationFile, Preallocation, Slot, Superblock,
    Upload,
};

const MS: u64 = 1_000_000;
/// So slow (bytes per second) that something can happen meanwhile.
const SLOW: Pace = Pace::at_most(1 << 20);

fn order(pace: Pace) -> CompactionOrder {
    CompactionOrder {
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
    }
}

fn compact(rig: &mut Rig, slot: &Rc<Slot>, pace: Pace) -> Result<Compacted, NotCompacted> {
    compact_as(rig, slot, order(pace))
}

fn compact_as(
    rig: &mut Rig,
    slot: &Rc<Slot>,
    order: CompactionOrder,
) -> Result<Compacted, NotCompacted> {
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
    let done = compact(rig, slot, Pace::UNLIMITED).unwrap();
    assert_eq!(slot.volume().generation(), generation + 1);
    assert_eq!(done.gate.total_ns, done.gate.longest_ns, "without that of the one before");
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
    let written = Superblock::decode(&rig.image().bytes("1.1.vol")).unwrap();
    assert_eq!(
        written.incompat, INCOMPAT_LOSSES,
        "what does not know such records must not read it"
    );
}

async fn buffer(run: &BackgroundRun<'_>, len: u64) -> WorkBuffer {
    run.buffer(None, usize::try_from(len).unwrap(), 0).await.unwrap()
}

/// Parts of a body have the hash of their object, and one commit of them is assembled while the one before is
/// being written.
#[test]
fn hash_is_pending_until_the_last_commit_with_it_is_in_the_index() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put(&slot, 1);
    let handle = rig.handle();
    rig.run(async move {
        let old = slot.volume();
        let new = create_target(&old, &order(Pace::UNLIMITED)).await.unwrap();
        let run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let len = 2 * BLOCK;
        let bufs = (buffer(&run, len).await, buffer(&run, len).await);
        let mut writer = CommitWriter::new(&new, bufs.0, Some(bufs.1));
        let Ok(Present::Yes(header, at)) = old.look_up(id(1)).await else { panic!("it is there") };
        let (part, hash) = (NeedleHeader { kind: Kind::Part, ..header }, old.hasher.hash(id(1)));
        for _ in 0..2 {
            writer.room(at.len).await.unwrap();
            writer.add(writer.complete(part), hash);
            // Long enough for a new commit to begin.
            writer.room(len - UNIT).await.unwrap();
        }
        assert!(writer.is_pending(hash));
        writer.flush().await.unwrap();
        assert!(!writer.is_pending(hash));
        drop(writer);
        close_target(new).await;
    });
}

#[test]
fn new_file_is_synced_each_64_mib() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put(&slot, 1);
    let middle = slot.volume().log.tail();
    rig.put(&slot, 2);
    let handle = rig.handle();
    rig.run(async move {
        let (old, order) = (slot.volume(), order(Pace::UNLIMITED));
        let new = create_target(&old, &order).await.unwrap();
        let mut run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let reader = LogReader::new(&old, buffer(&run, CHUNK).await, false);
        let writer = CommitWriter::new(&new, buffer(&run, CHUNK).await, None);
        let mut copier = Copier::new(&old, &new, &order, reader, writer);
        let whole = 64 << 20;
        for (from, to, unsynced, left) in
            [(LOG_START, middle, whole - BLOCK, whole - BLOCK), (middle, old.log.tail(), whole, 0)]
        {
            copier.writer.unsynced = unsynced;
            let (copier, run) = (&mut copier, &mut run);
            let mut pass = Pass { old: &old, copier, run, to, on_step: &|_, _| () };
            pass.carry_all(from).await.unwrap();
            assert_eq!(copier.writer.unsynced, left);
        }
        drop(copier);
        close_target(new).await;
    });
}

#[test]
fn short_rest_is_carried_over_while_writers_wait() {
    const REST: u64 = 256 << 10;
    // Each fills half of it, with the record of its commit.
    const LEN: usize = (REST / 2 - UNIT) as usize - 128 - 2 * 8 - 56;
    for (further, rounds) in [(0, 0), (1, 1)] {
        let (mut rig, slot) = Rig::with_volume();
        for n in 0..3 {
            rig.put_len(&slot, n, 1_000_000);
        }
        let tail = slot.volume().log.tail();
        let (watched, pool, handle) = (Rc::clone(&slot), rig.pool.clone(), rig.handle());
        rig.handle().spawn(async move {
            while watched.compaction_progress().done == 0 {
                handle.sleep_until(handle.now() + MS).await;
            }
            for n in 10..12 {
                watched.put(id(n), COOKIE, draft(&pool, n, LEN, None), None).await.unwrap();
            }
            assert_eq!(watched.volume().log.tail() - tail, REST);
            for n in 20..20 + further {
                watched.put(id(n), COOKIE, draft(&pool, n, 0, None), None).await.unwrap();
            }
        });
        let done = compact(&mut rig, &slot, SLOW).unwrap();
        assert_eq!((done.rounds, done.carried.needles), (rounds, 5 + further));
    }
}

#[test]
fn unfinished_file_that_cannot_be_removed_is_remembered() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..3 {
        rig.put_len(&slot, n, 1_000_000);
    }
    let (watched, world, handle) = (Rc::clone(&slot), rig.world.clone(), rig.handle());
    rig.handle().spawn(async move {
        reached(&watched, &handle, CompactionPhase::Verifying).await;
        world.fail_from(0, Fault::Errno(nix::libc::EIO));
    });
    assert!(compact(&mut rig, &slot, SLOW).is_err());
    assert_eq!(slot.volume().generation(), 0);
    let left: Vec<u64> = slot.other_files().iter().map(GenerationFile::generation).collect();
    assert_eq!(left, [1]);
}

#[test]
fn deletion_whose_commit_record_is_damaged_is_kept() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..3 {
        rig.put(&slot, n);
    }
    let record = slot.volume().log.tail();
    rig.delete(&slot, 1);
    rig.put(&slot, 3);
    rig.rot(record + 30);
    let keep = CompactionOrder { tombstone_keep_ns: u64::MAX, ..order(Pace::UNLIMITED) };
    let done = compact_as(&mut rig, &slot, keep).unwrap();
    assert_eq!((done.carried.needles, done.carried.tombstones), (3, 1));
}

#[test]
fn nothing_before_the_log_is_read_although_its_first_record_is_damaged() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 0..3 {
        rig.put(&slot, n);
    }
    rig.rot(LOG_START + 30);
    let lowest = Rc::new(Cell::new(u64::MAX));
    let seen = Rc::clone(&lowest);
    rig.world.on_event(move |snapshot| {
        for (_, offset) in snapshot.reads().into_iter().filter(|(name, _)| name == FILE) {
            seen.set(seen.get().min(offset));
        }
    });
    let done = compact(&mut rig, &slot, Pace::UNLIMITED).unwrap();
    assert_eq!((done.carried.needles, lowest.get()), (3, LOG_START));
}

/// At first the new file has nothing that they could supersede.
#[test]
fn objects_of_the_same_hash_share_a_commit() {
    let mut rig = Rig::new(&Image::default());
    let handle = rig.handle();
    let slot = rig.run(async move {
        let (dir, how) = (DirId(0), Preallocation::Reserve);
        volume::create(&handle, dir, &superblock(), how, |_| ()).await.unwrap();
        let one_bit = Expected { hash_bits: Some(1), checkpoints: None, ..expected() };
        Slot::new(volume::open(&handle, dir, &one_bit).await.unwrap())
    });
    for n in 0..10 {
        rig.put(&slot, n);
    }
    let done = compact(&mut rig, &slot, Pace::UNLIMITED).unwrap();
    assert_eq!(
        (done.carried.needles, done.written),
        (10, (512 + 10 * 1024_u64).next_multiple_of(BLOCK))
    );
}
