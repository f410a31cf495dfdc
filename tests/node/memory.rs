//! Buffers of a node, and the disk image that it begins with.

use hayloft::base::types::VolumeId;
use hayloft::runtime::Runtime;
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{self, Preallocation, Superblock, SuperblockState};

use super::files::STORES;
use super::plan::{Plan, SIZES, VOLUMES};

/// Memory of each shard and of the clients (bytes).
pub const POOL: usize = 8 << 20;

/// Buffers for a node; reusable after its end.
pub struct Memory {
    pub shards: Vec<Pool>,
    pub clients: Pool,
    /// Disk images with [`VOLUMES`] new volumes, by volume size.
    fresh: Vec<(u64, Image)>,
}

impl Memory {
    pub fn new() -> Self {
        let region = Region::map(4, POOL).unwrap();
        let pool = |n| Pool::new(&region, n);
        let clients = pool(3);
        let fresh = SIZES.iter().map(|size| (*size, create(&clients, *size))).collect();
        Self { shards: (0..3).map(pool).collect(), clients, fresh }
    }

    /// Disk image of a node that was never started.
    pub fn image(&self, plan: &Plan) -> Image {
        let mut image = self.fresh.iter().find(|(size, _)| *size == plan.size).unwrap().1.clone();
        image.files.retain(|name, _| (1..=plan.volumes).any(|id| *name == format!("{id}.0.vol")));
        image
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.shards.iter().chain([&self.clients]).map(Pool::used).sum()
    }
}

fn create(pool: &Pool, size: u64) -> Image {
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let mut runtime = Runtime::new(&driver, pool.clone(), || 7);
    for id in 1..=VOLUMES {
        let superblock = superblock(VolumeId(id), size, u64::from(id));
        let handle = runtime.handle().clone();
        let created = async move {
            volume::create(&handle, DirId(0), &superblock, Preallocation::Reserve, |_| ()).await
        };
        runtime.block_on(&mut driver, created).unwrap();
    }
    world.look(|snapshot| snapshot.image())
}

/// Superblock of a new volume.
pub fn superblock(id: VolumeId, size: u64, number: u64) -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: id,
        incarnation: 0x1bad_b002_dead_beef ^ number,
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: STORES[0],
        created_ns: 1_700_000_000_000_000_000,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: None,
    }
}
