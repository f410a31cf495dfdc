use crate::base::types::VolumeId;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;
use crate::runtime::{Runtime, split_mix};
use crate::volume::{
    self, Draft, Expected, Preallocation, Refusal, Slot, Superblock, SuperblockState,
};

/// Regression, found by the simulation: while the device could not read a needle that had the hash of
/// every id, the search for a free id did not end.
#[test]
fn search_for_a_free_id_ends_when_a_needle_is_unreadable() {
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let (mut driver, mut state) = (world.driver(), 1);
    let mut runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
    let handle = runtime.handle().clone();
    let superblock = Superblock {
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
    let expected = Expected {
        volume: VolumeId(1),
        generation: 0,
        store: [1; 16],
        hash_bits: Some(0),
        segments_max: None,
        checkpoints: None,
    };
    runtime.block_on(&mut driver, async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        let how = Preallocation::Reserve;
        volume::create(&handle, DirId(0), &superblock, how, |_| ()).await.unwrap();
        let slot = Slot::new(volume::open(&handle, DirId(0), &expected).await.unwrap());
        let draft = || Draft::new(&pool, None, 4).unwrap();
        slot.put_new(draft()).await.unwrap();
        world.unplug("1.");
        let refused = slot.put_new(draft()).await;
        assert!(matches!(refused, Err(Refusal::Unreadable(_))), "{refused:?}");
    });
}
