use std::cell::Cell;
use std::sync::Arc;

use super::super::assignment::{AssignedFile, Assignment};
use super::super::order::{CompactionRequest, PullOrder, PullStep, TargetDir};
use super::super::request::{
    CheckPut, DeleteNeedle, Dialect, PostNeedle, PutNeedle, ReadExtent, ReadNeedle, SetExpiry,
};
use super::*;
use crate::base::limits::TRAILER;
use crate::base::types::{Cookie, NeedleId, ShardId, VolumeId};
use crate::node::board::{CompactionOutcome, Level, VolumeBoard, VolumeInfo, VolumeState};
use crate::node::metrics::{ReadMetric, VolumeMetrics};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{Fault, World};
use crate::runtime::{Runtime, split_mix};
use crate::volume::{Checkpointing, Draft, Expected, Preallocation, Superblock};

const SUPERBLOCK: Superblock = Superblock {
    compat: 0,
    ro_compat: 0,
    incompat: 0,
    volume: VolumeId(1),
    incarnation: 7,
    parent: 0,
    generation: 0,
    state: volume::SuperblockState::Live,
    size: 1 << 20,
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
};

fn assignment() -> Assignment {
    let info =
        VolumeInfo { id: VolumeId(1), shard: ShardId::from_index(0), disk: 0, durable: true };
    let expected = Expected {
        volume: VolumeId(1),
        generation: 0,
        store: SUPERBLOCK.store,
        hash_bits: None,
        segments_max: None,
        checkpoints: None,
    };
    let board = Arc::new(VolumeBoard::new(info, VolumeState::Recovering));
    let metrics = Arc::new(VolumeMetrics::new(board));
    let file = AssignedFile { dir: "data".into(), disk: 0, expected, health: None };
    Assignment { volume: VolumeId(1), files: vec![file], all_directories: true, metrics }
}

fn put(pool: &Pool) -> PutNeedle {
    let draft = Draft::new(pool, None, 4).unwrap();
    PutNeedle {
        id: NeedleId::new(1, 0),
        cookie: Cookie(1),
        draft,
        conditions: None,
        dialect: Dialect::Own,
    }
}

/// Deletes a volume with a fault on disk operation `n` of the deletion. Returns the error and the state that
/// is published with it, whether a PUT succeeds afterwards, the result of a second deletion, and whether the
/// file still has its name.
fn delete_with_fault(
    n: u64,
) -> ((OrderError, VolumeState), bool, Result<Option<VolumeSummary>, OrderError>, bool) {
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let world = World::new(n, &Image::default());
    let (mut driver, mut state) = (world.driver(), n);
    let mut runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
    let handle = runtime.handle().clone();
    let of = world.clone();
    let result = runtime.block_on(&mut driver, async move {
        let volumes = Volumes::default();
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let how = Preallocation::Reserve;
        volume::create(&handle, DirId(0), &SUPERBLOCK, how, |_| ()).await.unwrap();
        volumes.open_one(&handle, assignment()).await.unwrap();
        of.fail(n, Fault::Errno(5));
        let error = volumes.delete(&handle, VolumeId(1)).await.unwrap_err();
        let failed = (error, published(&volumes, 1));
        let stored = volumes.put(VolumeId(1), put(&pool)).await;
        let is_stored = stored.is_ok();
        (failed, is_stored, volumes.delete(&handle, VolumeId(1)).await)
    });
    (result.0, result.1, result.2, world.look(|seen| seen.image().files.contains_key("1.0.vol")))
}

#[test]
fn failed_deletion_acknowledges_writes_only_if_the_file_is_kept() {
    let ((error, state), is_stored, again, is_there) = delete_with_fault(2);
    assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Kept(_))), "{error}");
    assert_eq!(state, VolumeState::Writable);
    assert!(is_stored, "its file is still at its path");
    assert!(again.is_ok() && !is_there);
    let ((error, state), is_stored, again, is_there) = delete_with_fault(3);
    assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Nameless(_))), "{error}");
    assert_eq!(state, VolumeState::Lost, "published before the answer");
    assert!(!is_stored && !is_there, "its file has no name");
    assert_eq!(again, Err(OrderError::Lost));
}

/// Deletes a volume while its checkpoint is being written. Returns the names of the remaining files.
fn names_after_deletion(seed: u64) -> Vec<String> {
    with_volume(seed, move |handle, world, volumes| async move {
        let pool = handle.pool().clone();
        let stored = volumes.put(VolumeId(1), put(&pool)).await;
        assert!(stored.is_ok());
        let begun = handle.now() + seed * 40_000;
        handle.sleep_until(begun).await;
        volumes.delete(&handle, VolumeId(1)).await.unwrap();
        handle.sleep_until(begun + 60_000_000_000).await;
        names(&world)
    })
}

#[test]
fn deleted_volume_leaves_no_checkpoint() {
    for seed in 0..200 {
        let left = names_after_deletion(seed);
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}

/// Runs `test` in a simulated world with volume 1 open, which writes a checkpoint after each commit.
fn with_volume<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    test: impl FnOnce(Handle, World, Rc<Volumes>) -> F + 'static,
) -> T {
    let pool = Pool::new(&Region::map(1, 16 << 20).unwrap(), 0);
    let world = World::new(seed, &Image::default());
    let (mut driver, mut state) = (world.driver(), seed);
    let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut state));
    let (handle, of) = (runtime.handle().clone(), world.clone());
    runtime.block_on(&mut driver, async move {
        let volumes = Rc::new(Volumes::default());
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let how = Preallocation::Reserve;
        volume::create(&handle, DirId(0), &SUPERBLOCK, how, |_| ()).await.unwrap();
        let mut assignment = assignment();
        assignment.files[0].expected.checkpoints = Some(Checkpointing { interval: 1, rate: 0 });
        volumes.open_one(&handle, assignment).await.unwrap();
        test(handle, of, volumes).await
    })
}

fn names(world: &World) -> Vec<String> {
    world.look(|seen| seen.image().files.keys().cloned().collect())
}

#[test]
fn volume_kept_by_a_failed_deletion_continues_checkpoints() {
    let kept = (0..12).filter(|&n| {
        with_volume(n, move |handle, world, volumes| async move {
            world.fail(n, Fault::Errno(5));
            let deleted = volumes.delete(&handle, VolumeId(1)).await;
            let Err(OrderError::NotRemoved(NotRemoved::Kept(_))) = deleted else {
                return false;
            };
            let pool = handle.pool().clone();
            let stored = volumes.put(VolumeId(1), put(&pool)).await;
            assert!(stored.is_ok(), "operation {n}");
            handle.sleep_until(handle.now() + 400_000_000_000).await;
            assert_eq!(names(&world), ["1.0.ckpt", "1.0.vol"], "operation {n}");
            true
        })
    });
    assert!(kept.count() > 0, "no operation whose failure keeps the volume");
}

#[test]
fn no_write_is_acknowledged_during_a_deletion() {
    let refused = (0..40).map(|seed| {
        with_volume(seed, |handle, _, volumes| async move {
            let is_deleted = Rc::new(Cell::new(false));
            let (deleting, own, done) =
                (Rc::clone(&volumes), handle.clone(), Rc::clone(&is_deleted));
            handle.spawn(async move {
                deleting.delete(&own, VolumeId(1)).await.unwrap();
                done.set(true);
            });
            handle.yield_now().await;
            let mut refused = 0;
            while !is_deleted.get() {
                let pool = handle.pool().clone();
                let stored = volumes.put(VolumeId(1), put(&pool)).await;
                assert!(stored.is_err(), "stored in a file that is being deleted");
                refused +=
                    usize::from(matches!(stored, Err(RequestError::Refused(Refusal::Closing))));
                handle.sleep_until(handle.now() + 10_000).await;
            }
            refused
        })
    });
    assert!(refused.sum::<usize>() >= 40, "too few writes were refused during the deletions");
}

#[test]
fn opening_a_volume_waits_for_buffers() {
    with_volume(1, |handle, _, volumes| async move {
        volumes.close_all().await;
        let all = handle.pool().alloc(handle.pool().capacity() - handle.pool().used()).unwrap();
        let opened = Rc::new(Cell::new(false));
        let (own, done) = (handle.clone(), Rc::clone(&opened));
        let again = Rc::new(Volumes::default());
        let its = Rc::clone(&again);
        handle.spawn(async move {
            its.open_one(&own, assignment()).await.unwrap();
            done.set(true);
        });
        handle.sleep_until(handle.now() + 3_000_000_000).await;
        assert!(!opened.get() && matches!(again.local(VolumeId(1)), Err(RequestError::Recovering)));
        drop(all);
        handle.sleep_until(handle.now() + 3_000_000_000).await;
        assert!(opened.get() && again.local(VolumeId(1)).is_ok());
    });
}

/// Creates and opens volume `id` of `size` bytes.
async fn add_volume(handle: &Handle, volumes: &Volumes, id: u32, size: u64) -> Assignment {
    let superblock = Superblock { volume: VolumeId(id), size, ..SUPERBLOCK };
    let how = Preallocation::Reserve;
    volume::create(handle, DirId(0), &superblock, how, |_| ()).await.unwrap();
    let opened = assignment_of(id);
    volumes.open_one(handle, assignment_of(id)).await.unwrap();
    opened
}

fn assignment_of(id: u32) -> Assignment {
    let mut assignment = assignment();
    (assignment.volume, assignment.files[0].expected.volume) = (VolumeId(id), VolumeId(id));
    assignment
}

fn published(volumes: &Volumes, id: u32) -> VolumeState {
    volumes.entries.borrow()[&VolumeId(id)].metrics.board.state.get()
}

#[test]
fn most_free_writable_volume_that_fits_is_picked() {
    with_volume(1, |handle, _, volumes| async move {
        volumes.close_all().await;
        volumes.entries.borrow_mut().clear();
        add_volume(&handle, &volumes, 2, 16 << 20).await;
        add_volume(&handle, &volumes, 3, 17 << 20).await;
        add_volume(&handle, &volumes, 4, 16 << 20).await;
        assert_eq!(volumes.most_free(100), Some(VolumeId(3)));
        volumes.set_read_only(VolumeId(3), true).await.unwrap();
        assert_eq!(volumes.most_free(100), Some(VolumeId(4)), "the last of those with equal space");
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(4), put(&pool)).await.is_ok());
        assert_eq!(volumes.most_free(100), Some(VolumeId(2)), "it has 4 KiB more than volume 4");
        assert_eq!(volumes.most_free(16 << 20), None, "it fits into none");
        volumes.set_read_only(VolumeId(3), false).await.unwrap();
        assert_eq!(volumes.most_free(100), Some(VolumeId(3)));
        volumes.fence(VolumeId(3), 0).unwrap().unwrap();
        assert_eq!(volumes.most_free(100), Some(VolumeId(2)));
    });
}

#[test]
fn new_generation_is_published_before_the_end_of_its_compaction() {
    with_volume(1, |handle, _, volumes| async move {
        let request = CompactionRequest {
            target: Some(TargetDir { path: "data".into(), disk: 0, store: [2; 16] }),
            ..CompactionRequest::default()
        };
        let metrics = Arc::clone(&volumes.entries.borrow()[&VolumeId(1)].metrics);
        volumes.begin_compaction(&handle, VolumeId(1), request).await.unwrap();
        let deadline = handle.now() + 60_000_000_000;
        while metrics.board.compaction.ended() == 0 && handle.now() < deadline {
            handle.sleep_until(handle.now() + 1_000_000).await;
        }
        let end = metrics.board.compaction.last_end().unwrap();
        assert_eq!((end.outcome, end.reason.as_str()), (CompactionOutcome::Done, ""));
        assert_eq!(metrics.board.generation.get(), 1);
        volumes.close_all().await;
        let expected = Expected {
            generation: 1,
            store: [2; 16],
            checkpoints: None,
            ..assignment().files[0].expected
        };
        let opened = volume::open(&handle, DirId(0), &expected).await;
        assert!(opened.is_ok(), "it belongs to the store of its new directory");
    });
}

#[test]
fn state_changes_are_published_before_the_answer() {
    with_volume(1, |handle, world, volumes| async move {
        assert_eq!(published(&volumes, 1), VolumeState::Writable);
        volumes.set_read_only(VolumeId(1), true).await.unwrap();
        assert_eq!(published(&volumes, 1), VolumeState::ReadOnly);
        volumes.set_read_only(VolumeId(1), false).await.unwrap();
        assert_eq!(published(&volumes, 1), VolumeState::Writable);
        // The deletion fails after the checkpoints were stopped: the volume is as it was.
        world.fail_from(0, Fault::Errno(5));
        assert!(volumes.delete(&handle, VolumeId(1)).await.is_err());
        assert!(!volumes.entries.borrow()[&VolumeId(1)].is_lost());
        assert_eq!(published(&volumes, 1), VolumeState::Writable);
        volumes.fence(VolumeId(1), 0).unwrap().unwrap();
        assert_eq!(published(&volumes, 1), VolumeState::Lost);
        assert_eq!(volumes.delete(&handle, VolumeId(1)).await, Err(OrderError::Lost));
    });
    with_volume(1, |handle, _, volumes| async move {
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        let metrics = Arc::clone(&volumes.entries.borrow()[&VolumeId(1)].metrics);
        assert_eq!(metrics.needles.get(), 1, "published before the write is answered");
        assert_eq!(metrics.checkpoints.get(), 0);
        volumes.close_all().await;
        assert_eq!(metrics.checkpoints.get(), 1, "the last checkpoint is published, too");
    });
}

#[test]
fn recovering_volume_refuses_requests_and_orders() {
    with_volume(1, |handle, _, volumes| async move {
        volumes.insert_recovering(&assignment_of(7));
        assert!(matches!(volumes.local(VolumeId(7)), Err(RequestError::Recovering)));
        assert_eq!(volumes.set_read_only(VolumeId(7), true).await, Err(OrderError::Recovering));
        assert_eq!(volumes.fence(VolumeId(7), 0), Err(OrderError::Recovering));
        assert_eq!(volumes.delete(&handle, VolumeId(7)).await, Err(OrderError::Recovering));
        assert!(
            matches!(volumes.local(VolumeId(7)), Err(RequestError::Recovering)),
            "it stays as it was"
        );
        assert!(matches!(volumes.local(VolumeId(8)), Err(RequestError::NoVolume)));
        assert_eq!(volumes.delete(&handle, VolumeId(8)).await, Err(OrderError::NoVolume));
    });
}

#[test]
fn volume_that_failed_to_open_can_only_be_deleted() {
    with_volume(1, |handle, world, volumes| async move {
        volumes.close_all().await;
        volumes.entries.borrow_mut().clear();
        let mut other = assignment();
        other.files[0].expected.store = [2; 16];
        let opened = volumes.open_one(&handle, other).await;
        let Err(OrderError::NotOpened(why)) = opened else { panic!("it belongs to another store") };
        assert!(matches!(volumes.local(VolumeId(1)), Err(RequestError::NotOpened)));
        assert_eq!(published(&volumes, 1), VolumeState::Failed);
        let refused = Err(OrderError::NotOpened(why.clone()));
        assert_eq!(volumes.set_read_only(VolumeId(1), true).await, refused);
        let refused = Err(OrderError::NotOpened(why));
        assert_eq!(volumes.fence(VolumeId(1), 0), refused);
        assert_eq!(names(&world).first().map(String::as_str), Some("1.0.vol"));
        assert!(volumes.delete(&handle, VolumeId(1)).await.is_ok());
        assert!(matches!(volumes.local(VolumeId(1)), Err(RequestError::NoVolume)));
        assert_eq!(names(&world), [""; 0]);
    });
}

#[test]
fn concurrent_deletion_is_refused_and_counts_are_kept() {
    with_volume(1, |handle, _, volumes| async move {
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        let commits = || volumes.sum(|stats| stats.commits.get());
        assert_eq!(commits(), 1);
        let (deleting, own) = (Rc::clone(&volumes), handle.clone());
        let ended = Rc::new(Cell::new(false));
        let done = Rc::clone(&ended);
        handle.spawn(async move {
            assert!(deleting.delete(&own, VolumeId(1)).await.is_ok());
            done.set(true);
        });
        handle.yield_now().await;
        let mut seen = 0;
        while !ended.get() {
            assert_eq!(volumes.delete(&handle, VolumeId(1)).await, Err(OrderError::NoVolume));
            assert_eq!(volumes.set_read_only(VolumeId(1), true).await, Err(OrderError::NoVolume));
            assert_eq!(commits(), 1, "counters do not fall");
            seen += 1;
            handle.sleep_until(handle.now() + 10_000).await;
        }
        assert!(seen > 1, "the deletion took no time");
        assert_eq!(commits(), 1);
        assert!(volumes.entries.borrow().is_empty());
    });
}

fn in_place() -> CompactionRequest {
    // Smaller ones cannot be compacted.
    CompactionRequest { size: Some(8 << 20), ..CompactionRequest::default() }
}

/// Compacts the volume while its old file cannot be removed. Otherwise a crash could leave three generations,
/// of which the oldest is no parent of the newest.
#[test]
fn volume_is_not_compacted_while_its_old_file_is_there() {
    with_volume(1, |handle, world, volumes| async move {
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        volumes.begin_compaction(&handle, VolumeId(1), in_place()).await.unwrap();
        let slot = volumes.local(VolumeId(1)).unwrap();
        while slot.volume().generation() == 0 {
            // Timers are slower than this.
            handle.submit(Op::OpenDir { path: "data".into() }).await;
        }
        world.unplug("1.0.");
        handle.sleep_until(handle.now() + 60_000_000_000).await;
        assert_eq!(slot.compaction_progress().phase, CompactionPhase::None);
        assert!(names(&world).contains(&"1.0.vol".to_owned()));
        let again = volumes.begin_compaction(&handle, VolumeId(1), in_place()).await;
        assert!(matches!(again, Err(OrderError::NotCompacted(_))), "{again:?}");
    });
}

/// Deletes a volume while it is being compacted, with a fault on an operation of that time, if one is given.
/// Returns the names of the remaining files, unless the deletion was refused.
fn names_after_deletion_while_compacting(
    seed: u64,
    fault: Option<u64>,
) -> Option<(u64, Vec<String>)> {
    with_volume(seed, move |handle, world, volumes| async move {
        let pool = handle.pool().clone();
        for _ in 0..3 {
            assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        }
        let request = in_place();
        if let Some(n) = fault {
            world.fail(n, Fault::Errno(5));
        }
        volumes.begin_compaction(&handle, VolumeId(1), request).await.unwrap();
        // Timers are slower than this.
        for _ in 0..seed {
            handle.submit(Op::OpenDir { path: "data".into() }).await;
        }
        let generation = volumes.local(VolumeId(1)).unwrap().volume().generation();
        volumes.delete(&handle, VolumeId(1)).await.ok()?;
        Some((generation, names(&world)))
    })
}

#[test]
fn deleted_volume_leaves_no_file_of_a_generation() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..150 {
        let (generation, left) = names_after_deletion_while_compacting(seed, None).unwrap();
        assert!(left.is_empty(), "{seed}: {left:?}");
        match generation {
            0 => before += 1,
            _ => after += 1,
        }
    }
    assert!(before > 20 && after > 20, "{before} {after}");
}

/// Also if the exchange of the generations failed, or the removal of a file.
#[test]
fn deleted_volume_leaves_no_file_after_a_failed_compaction() {
    let mut deleted = 0;
    for fault in 0..80 {
        let seed = 500;
        let Some((_, left)) = names_after_deletion_while_compacting(seed, Some(fault)) else {
            continue;
        };
        deleted += 1;
        // A checkpoint alone is no volume, and belongs to no other file.
        let left: Vec<_> = left.iter().filter(|name| name.ends_with(".vol")).collect();
        assert!(left.is_empty(), "operation {fault}: {left:?}");
    }
    assert!(deleted > 40, "{deleted}");
}

#[test]
fn volume_of_a_cluster_takes_writes_of_its_cluster_only() {
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let (mut driver, mut state) = (world.driver(), 1);
    let mut runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, async move {
        let volumes = Volumes::default();
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let cluster = Some(volume::ClusterProperties::default());
        let superblock = Superblock { cluster, ..SUPERBLOCK };
        let how = Preallocation::Reserve;
        volume::create(&handle, DirId(0), &superblock, how, |_| ()).await.unwrap();
        let assignment = assignment();
        let board = Arc::clone(&assignment.metrics.board);
        volumes.open_one(&handle, assignment).await.unwrap();
        assert_eq!(board.cluster.is_of_cluster.get(), 1);
        let (volume, PutNeedle { id, cookie, draft, conditions, dialect }) =
            (VolumeId(1), put(&pool));
        let stored = volumes.put(volume, put(&pool)).await;
        assert!(matches!(stored, Err(RequestError::OfCluster)));
        let stored = volumes.post(volume, PostNeedle { draft }).await;
        assert!(matches!(stored, Err(RequestError::OfCluster)));
        let checked = volumes.check_put(volume, CheckPut { id, cookie, conditions: None }).await;
        assert!(matches!(checked, Err(RequestError::OfCluster)));
        let change = SetExpiry { id, cookie, expires_ns: None, conditions };
        let changed = volumes.set_expiry(volume, change).await;
        assert!(matches!(changed, Err(RequestError::OfCluster)));
        assert!(matches!(volumes.own(volume), Err(RequestError::OfCluster)));
        assert_eq!(volumes.most_free(1), None, "uploads without a volume go elsewhere");
        // Reads and deletes go on.
        let deleted = DeleteNeedle { id, cookie, origin: None, conditions: None };
        let deleted = volumes.delete_needle(volume, deleted).await;
        assert!(matches!(deleted, Err(RequestError::Refused(Refusal::NotFound))));
        let read = ReadNeedle { id, cookie, extent: ReadExtent::Whole, dialect };
        let read = volumes.read(volume, read, |len| pool.alloc(len)).await;
        assert!(matches!(read, Err(RequestError::NotRead(volume::GetError::NotFound))));
    });
}

#[test]
fn figures_of_a_volume_are_published() {
    with_volume(1, |handle, _, volumes| async move {
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        let volume = volumes.local(VolumeId(1)).unwrap().volume();
        let metrics = Arc::clone(&volumes.entries.borrow()[&VolumeId(1)].metrics);
        let (board, health, stats) = (&metrics.board, &metrics.board.health, volume.stats());
        let [hard_device, soft_device] = &stats.device_errors;
        let counts =
            [&stats.hard_errors, &stats.soft_errors, hard_device, soft_device, &stats.probes];
        (1..).zip(counts).for_each(|(n, count)| count.set(n));
        stats.damaged_reads.set(6);
        let levels = [
            &board.size_bytes,
            &board.used_bytes,
            &board.unavailable_bytes,
            &board.live_bytes,
            &board.dead_bytes,
            &board.expired_bytes,
        ];
        let gauges = [
            &metrics.needles,
            &metrics.extents,
            &metrics.index_bytes,
            &metrics.index_slots,
            &metrics.index_overflow,
            &metrics.index_step_max,
            &metrics.tail_bytes,
            &metrics.open_read_bytes,
            &metrics.checkpoint_tail_bytes,
            &metrics.checkpoint_age_bytes,
            &metrics.checkpoint_ms,
        ];
        levels.iter().for_each(|level| level.set(77));
        gauges.iter().for_each(|gauge| gauge.set(77));
        board.scrub.verified_ns.set(77);
        volumes.publish();
        let is = volume.figures();
        let spaces = [is.size, is.used, is.unavailable, is.live, is.dead, is.expired];
        assert_eq!(levels.map(Level::get), spaces);
        let index = [
            is.needles,
            is.extents,
            is.index,
            is.index_slots,
            is.index_overflow,
            is.index_step_max,
        ];
        let (shown, checkpoint) = (gauges.map(ReadMetric::get), is.checkpoint);
        assert_eq!(shown[..6], index);
        let age = [checkpoint.opened_read, checkpoint.tail, checkpoint.age];
        assert_eq!((shown[6], &shown[7..10]), (is.used - TRAILER, &age[..]));
        assert_eq!(shown[10], checkpoint.last_ns / 1_000_000);
        assert_eq!(metrics.damaged_records.get(), 6);
        assert_eq!(board.scrub.verified_ns.get(), volume.verified_ns());
        let shown = [
            &health.hard_errors,
            &health.soft_errors,
            &health.hard_device_errors,
            &health.soft_device_errors,
            &health.probes,
        ];
        assert_eq!(shown.map(Level::get), [1, 2, 3, 4, 5]);
    });
}

/// Otherwise a disk that works would count as one whose reads hang.
#[test]
fn read_of_a_random_needle_is_under_way_until_it_has_ended() {
    with_volume(1, |handle, world, volumes| async move {
        let pool = handle.pool().clone();
        assert!(volumes.put(VolumeId(1), put(&pool)).await.is_ok());
        let metrics = Arc::clone(&volumes.entries.borrow()[&VolumeId(1)].metrics);
        let health = &metrics.board.health;
        // Until its checkpoint is written.
        handle.sleep_until(handle.now() + 60_000_000_000).await;
        let asked_at = handle.now();
        world.fail(0, Fault::Stall(2_000_000_000));
        volumes.request_burst(VolumeId(1), 1).unwrap();
        handle.sleep_until(asked_at + 1_000_000_000).await;
        let began = health.probe_began_ns.get();
        assert!((asked_at..asked_at + 1_000_000_000).contains(&began), "{began}");
        handle.sleep_until(asked_at + 3_000_000_000).await;
        assert_eq!((health.probe_began_ns.get(), health.probes.get()), (0, 1));
    });
}

#[test]
fn pull_is_in_progress_until_it_is_finished_or_abandoned() {
    with_volume(1, |_, _, volumes| async move {
        let volume = VolumeId(1);
        volumes.pull(PullOrder { volume, step: PullStep::Become }).await.unwrap();
        let ends: [fn(u64) -> PullStep; 2] =
            [|pull| PullStep::Finish { pull }, |pull| PullStep::Abandon { pull }];
        for end in ends {
            let step = PullStep::Begin { is_complete: false };
            let pull = volumes.pull(PullOrder { volume, step }).await.unwrap().pull;
            assert!(volumes.pulls().is_open(volume));
            // Nothing has arrived, so that finishing fails, too.
            drop(volumes.pull(PullOrder { volume, step: end(pull) }).await);
            assert!(!volumes.pulls().is_open(volume));
        }
    });
}
