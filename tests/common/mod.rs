//! A volume in the simulated world, driven step by step.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::rc::Rc;

use hayloft::buffer::{Pool, Region};
use hayloft::op::{DirId, Op};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::sim::disk::Image;
use hayloft::sim::{SimDriver, World};
use hayloft::types::{Cookie, NeedleId, VolumeId};
use hayloft::volume::{
    self, Draft, Expected, GetError, OpenError, Preallocation, Refusal, Stored, Superblock, Volume,
    VolumeState,
};

pub const STORE: [u8; 16] = *b"a store of tests";
pub const COOKIE: Cookie = Cookie(0x0123_4567_89ab_cdef);

pub fn superblock(size: u64) -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        volume: VolumeId(1),
        incarnation: 0x1bad_b002_dead_beef,
        parent: 0,
        generation: 0,
        state: VolumeState::Live,
        size,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: STORE,
        created_ns: 1_700_000_000_000_000_000,
        revision: 1,
    }
}

pub fn expected() -> Expected {
    Expected { volume: VolumeId(1), generation: 0, store: STORE, hash_bits: Some(1) }
}

pub fn pool(len: usize) -> Pool {
    Pool::new(&Region::map(1, len).unwrap(), 0)
}

/// A runtime in a world; the store's process, so to say.
pub struct Process {
    pub world: World,
    pub runtime: Runtime,
    pub driver: SimDriver,
}

impl Process {
    pub fn start(seed: u64, image: &Image, pool: &Pool) -> Self {
        Self::start_in(World::new(seed, image), seed, pool)
    }

    pub fn start_in(world: World, seed: u64, pool: &Pool) -> Self {
        let driver = world.driver();
        let mut state = seed;
        let runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        Self { world, runtime, driver }
    }

    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.driver, future)
    }

    pub fn create(&mut self, size: u64) {
        let handle = self.runtime.handle().clone();
        let created = self.run(async move {
            volume::create(&handle, DirId(0), &superblock(size), Preallocation::Reserve).await
        });
        created.unwrap();
    }

    pub fn open(&mut self) -> Result<Rc<Volume>, OpenError> {
        let handle = self.runtime.handle().clone();
        self.run(async move {
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            volume::open(&handle, DirId(0), &expected()).await
        })
    }

    pub fn put(
        &mut self,
        volume: &Rc<Volume>,
        id: NeedleId,
        data: &[u8],
    ) -> Result<Stored, Refusal> {
        let draft = draft(self.runtime.handle().pool(), data);
        let volume = Rc::clone(volume);
        self.run(async move { volume.put(id, COOKIE, draft, |_| true).await })
    }

    pub fn delete(&mut self, volume: &Rc<Volume>, id: NeedleId) -> Result<(), Refusal> {
        let volume = Rc::clone(volume);
        self.run(async move { volume.delete(id, COOKIE, |_| true).await })
    }

    pub fn get(&mut self, volume: &Rc<Volume>, id: NeedleId) -> Result<Vec<u8>, GetError> {
        self.get_as(volume, id, COOKIE)
    }

    pub fn get_as(
        &mut self,
        volume: &Rc<Volume>,
        id: NeedleId,
        cookie: Cookie,
    ) -> Result<Vec<u8>, GetError> {
        let volume = Rc::clone(volume);
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let needle = volume.get(id, cookie, |len| pool.alloc(len)).await?;
            assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
            Ok(needle.buf[needle.data.clone()].to_vec())
        })
    }

    pub fn close(&mut self, volume: &Rc<Volume>) {
        let volume = Rc::clone(volume);
        self.run(async move { volume.close().await });
    }

    /// What a kill now leaves behind.
    pub fn image(&self) -> Image {
        self.world.look(|snapshot| snapshot.image())
    }
}

pub fn draft(pool: &Pool, data: &[u8]) -> Draft {
    let mut draft = Draft::new(pool, Some(b"image/jpeg"), data.len() as u64).unwrap();
    draft.data_mut().copy_from_slice(data);
    draft
}

/// Bytes that depend on `seed` and do not compress.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&split_mix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
