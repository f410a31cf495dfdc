use std::sync::Arc;

use super::super::request::PutNeedle;
use super::*;
use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::node::board::{VolumeBoard, VolumeInfo, VolumeState};
use crate::node::metrics::VolumeMetrics;
use crate::runtime::buffer::{Pool, Region};
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
};

fn assignment() -> Assignment {
    let info = VolumeInfo { id: 1, shard: 0, disk: 0, durable: true };
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
    Assignment { dir: "data".into(), expected, metrics }
}

fn put(pool: &Pool) -> PutNeedle {
    let draft = Draft::new(pool, None, 4).unwrap();
    PutNeedle { id: NeedleId::new(1, 0), cookie: Cookie(1), draft, conditions: None }
}

/// Deletes a volume with a fault on disk operation `n` of the deletion. Returns the error, whether a PUT
/// succeeds afterwards, the result of a second deletion, and whether the file still has its name.
fn delete_with_fault(n: u64) -> (OrderError, bool, Result<Option<VolumeReport>, OrderError>, bool) {
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
        let error = volumes.delete(&handle, 1).await.unwrap_err();
        let stored = volumes.put(1, put(&pool)).await;
        let is_stored = stored.is_ok();
        (error, is_stored, volumes.delete(&handle, 1).await)
    });
    (result.0, result.1, result.2, world.look(|seen| seen.image().files.contains_key("1.0.vol")))
}

#[test]
fn failed_deletion_acknowledges_writes_only_if_the_file_is_kept() {
    let (error, is_stored, again, is_there) = delete_with_fault(2);
    assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Kept(_))), "{error}");
    assert!(is_stored, "its file is still at its path");
    assert!(again.is_ok() && !is_there);
    let (error, is_stored, again, is_there) = delete_with_fault(3);
    assert!(matches!(error, OrderError::NotRemoved(NotRemoved::Nameless(_))), "{error}");
    assert!(!is_stored && !is_there, "its file has no name");
    assert_eq!(again, Err(OrderError::Lost));
}

/// Deletes a volume while its checkpoint is being written. Returns the names of the remaining files.
fn names_after_deletion(seed: u64) -> Vec<String> {
    with_volume(seed, move |handle, world, volumes| async move {
        let pool = handle.pool().clone();
        let stored = volumes.put(1, put(&pool)).await;
        assert!(stored.is_ok());
        let begun = handle.now() + seed * 40_000;
        handle.sleep_until(begun).await;
        volumes.delete(&handle, 1).await.unwrap();
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
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
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
        assignment.expected.checkpoints = Some(Checkpointing { interval: 1, rate: 0 });
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
            let deleted = volumes.delete(&handle, 1).await;
            let Err(OrderError::NotRemoved(NotRemoved::Kept(_))) = deleted else {
                return false;
            };
            let pool = handle.pool().clone();
            let stored = volumes.put(1, put(&pool)).await;
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
                deleting.delete(&own, 1).await.unwrap();
                done.set(true);
            });
            handle.yield_now().await;
            let mut refused = 0;
            while !is_deleted.get() {
                let pool = handle.pool().clone();
                let stored = volumes.put(1, put(&pool)).await;
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
        assert!(!opened.get() && matches!(again.local(1), Err(RequestError::Recovering)));
        drop(all);
        handle.sleep_until(handle.now() + 3_000_000_000).await;
        assert!(opened.get() && again.local(1).is_ok());
    });
}
