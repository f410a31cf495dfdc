//! A process with one volume in the simulated world.

use std::rc::Rc;

use crate::base::types::{Cookie, NeedleId, VolumeId};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, Op};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{SimDriver, World};
use crate::runtime::{Handle, Runtime, split_mix};
use crate::volume::index::Location;
use crate::volume::{
    self, Checkpointing, Draft, Expected, Preallocation, Refusal, Slot, Superblock, SuperblockState,
};

/// Cookie of all objects.
pub const COOKIE: Cookie = Cookie(7);
/// Name of the volume file.
pub const FILE: &str = "1.0.vol";
/// Second of the simulated clock (nanoseconds).
pub const SECOND: u64 = 1_000_000_000;

/// A process.
pub struct Rig {
    pub world: World,
    pub pool: Pool,
    driver: SimDriver,
    runtime: Runtime,
}

impl Rig {
    /// Starts a process that finds this disk.
    pub fn new(image: &Image) -> Self {
        let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
        let world = World::new(1, image);
        let (driver, mut state) = (world.driver(), 1);
        let runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        let mut rig = Self { world, pool, driver, runtime };
        let handle = rig.handle();
        rig.run(async move { drop(handle.submit(Op::OpenDir { path: "data".into() }).await) });
        rig
    }

    /// Starts a process with an empty volume.
    pub fn with_volume() -> (Self, Rc<Slot>) {
        Self::with(superblock())
    }

    /// Starts a process with an empty volume that has this superblock.
    pub fn with(superblock: Superblock) -> (Self, Rc<Slot>) {
        Self::preallocated(superblock, Preallocation::Reserve)
    }

    /// Starts a process with an empty volume whose space is allocated like this.
    pub fn preallocated(superblock: Superblock, how: Preallocation) -> (Self, Rc<Slot>) {
        let mut rig = Self::new(&Image::default());
        let handle = rig.handle();
        rig.run(async move {
            volume::create(&handle, DirId(0), &superblock, how, |_| ()).await.unwrap();
        });
        let slot = rig.open();
        (rig, slot)
    }

    /// Opens the volume that is there.
    pub fn open(&mut self) -> Rc<Slot> {
        let handle = self.handle();
        self.run(
            async move { Slot::new(volume::open(&handle, DirId(0), &expected()).await.unwrap()) },
        )
    }

    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.driver, future)
    }

    /// Lets this time pass (nanoseconds).
    pub fn sleep(&mut self, ns: u64) {
        let handle = self.handle();
        self.run(async move { handle.sleep_until(handle.now() + ns).await });
    }

    /// Stores object `n`, of 700 bytes.
    pub fn put(&mut self, slot: &Rc<Slot>, n: u64) {
        self.put_len(slot, n, 700);
    }

    /// Stores object `n` with this length (bytes), of at most 1 MiB.
    pub fn put_len(&mut self, slot: &Rc<Slot>, n: u64, len: usize) {
        self.store(slot, n, draft(&self.pool, n, len, None));
    }

    /// Stores object `n` with a content type and 700 bytes.
    pub fn put_jpeg(&mut self, slot: &Rc<Slot>, n: u64) {
        self.store(slot, n, draft(&self.pool, n, 700, Some(b"image/jpeg")));
    }

    fn store(&mut self, slot: &Rc<Slot>, n: u64, draft: Draft) {
        self.try_store(slot, n, draft).unwrap();
    }

    /// Stores object `n`, if the volume takes it.
    pub fn try_store(&mut self, slot: &Rc<Slot>, n: u64, draft: Draft) -> Result<(), Refusal> {
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id(n), COOKIE, draft, None).await.map(drop) })
    }

    pub fn delete(&mut self, slot: &Rc<Slot>, n: u64) {
        let slot = Rc::clone(slot);
        self.run(async move { slot.delete(id(n), COOKIE, None).await.unwrap() });
    }

    /// Flips a bit of the volume file.
    pub fn rot(&self, offset: u64) {
        self.world.rot(FILE, usize::try_from(offset).unwrap(), 1);
    }

    /// What a kill at this moment leaves.
    pub fn image(&self) -> Image {
        self.world.look(|snapshot| snapshot.image())
    }

    /// Closes the volume. Returns what is on the disk then.
    pub fn close(&mut self, slot: &Rc<Slot>) -> Image {
        let slot = Rc::clone(slot);
        self.run(async move { slot.close().await });
        self.image()
    }
}

pub fn superblock() -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(1),
        incarnation: 7,
        parent: 0,
        generation: 0,
        state: SuperblockState::Live,
        size: 16 << 20,
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
    }
}

/// Checkpoints are written only at close.
pub fn expected() -> Expected {
    Expected {
        volume: VolumeId(1),
        generation: 0,
        store: [1; 16],
        hash_bits: None,
        segments_max: None,
        checkpoints: Some(Checkpointing { interval: u64::MAX, rate: 0 }),
    }
}

pub fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 1)
}

/// The data of object `n`, of this length (bytes).
pub fn draft(pool: &Pool, n: u64, len: usize, content_type: Option<&[u8]>) -> Draft {
    let mut draft = Draft::new(pool, content_type, len as u64).unwrap();
    draft.data_mut().fill(u8::try_from(n % 251).unwrap());
    draft
}

/// Where the index has object `n`.
pub fn location(slot: &Rc<Slot>, n: u64) -> Location {
    let volume = slot.volume();
    let contents = volume.contents.borrow();
    let hash = volume.hasher.hash(id(n));
    contents.index().candidates(hash).next().expect("it is in the index")
}
