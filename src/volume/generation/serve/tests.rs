use std::cell::Cell;
use std::rc::Rc;

use crate::base::types::{NeedleId, VolumeId};
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;
use crate::volume::index::Location;
use crate::volume::{self, Expected, Preallocation, Superblock, SuperblockState};

const SUPERBLOCK: Superblock = Superblock {
    compat: 0,
    ro_compat: 0,
    incompat: 0,
    volume: VolumeId(1),
    incarnation: 7,
    parent: 0,
    generation: 0,
    state: SuperblockState::Live,
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

const EXPECTED: Expected = Expected {
    volume: VolumeId(1),
    generation: 0,
    store: SUPERBLOCK.store,
    hash_bits: None,
    segments_max: None,
    checkpoints: None,
};

#[test]
fn other_tasks_run_while_an_index_is_freed() {
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, pool, || 7);
    let handle = runtime.handle().clone();
    let runs = runtime.block_on(&mut driver, async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let how = Preallocation::Reserve;
        volume::create(&handle, DirId(0), &SUPERBLOCK, how, |_| ()).await.unwrap();
        let volume = volume::open(&handle, DirId(0), &EXPECTED).await.unwrap();
        for n in 1..=200_000 {
            let (hash, at) =
                (volume.hasher.hash(NeedleId::new(n, 0)), Location { offset: n * 512, len: 512 });
            volume.contents.borrow_mut().index_mut().insert(hash, at);
        }
        let (is_over, runs) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (over, counted, own) = (Rc::clone(&is_over), Rc::clone(&runs), handle.clone());
        handle.spawn(async move {
            while !over.get() {
                counted.set(counted.get() + 1);
                own.yield_now().await;
            }
        });
        volume.free_index().await;
        is_over.set(true);
        runs.get()
    });
    assert!(runs > 10, "{runs} runs of another task");
}
