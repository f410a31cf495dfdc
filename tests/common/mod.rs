//! A volume in the simulated world, driven step by step.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its own part, so that `expect` would fail in some"
)]

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId, VolumeId};
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::runtime::{Runtime, split_mix};
use hayloft::volume::format::{INCOMPAT_LOSSES, Loss, decode_header};
use hayloft::volume::{
    self, Body, BodyError, Checkpointing, Draft, Expected, GetError, IoError, Needle, OpenError,
    Preallocation, Refusal, Slot, Stored, Superblock, SuperblockState, Upload,
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
        state: SuperblockState::Live,
        size,
        unit: 512,
        chunk: 65_536,
        hash_seed: 42,
        store: STORE,
        created_ns: 1_700_000_000_000_000_000,
        revision: 1,
        history_from: 0,
        verified_ns: 0,
        replica: None,
        cluster: None,
    }
}

/// The superblock of a file that may hold records of losses.
pub fn superblock_with_losses(size: u64) -> Superblock {
    Superblock { incompat: INCOMPAT_LOSSES, ..superblock(size) }
}

pub fn expected() -> Expected {
    Expected {
        volume: VolumeId(1),
        generation: 0,
        store: STORE,
        hash_bits: Some(1),
        segments_max: None,
        checkpoints: None,
    }
}

/// Checkpoints only on request and at close.
pub const ON_DEMAND: Checkpointing = Checkpointing { interval: u64::MAX, rate: 0 };

pub fn pool(len: usize) -> Pool {
    Pool::new(&Region::map(1, len).unwrap(), 0)
}

/// A runtime in a simulated world: a process of the store.
pub struct Process {
    pub world: World,
    pub runtime: Runtime,
    pub driver: SimDriver,
    /// Checkpoint policy of the volumes it opens.
    pub checkpoints: Option<Checkpointing>,
}

impl Process {
    pub fn start(seed: u64, image: &Image, pool: &Pool) -> Self {
        Self::start_in(World::new(seed, image), seed, pool)
    }

    pub fn start_in(world: World, seed: u64, pool: &Pool) -> Self {
        let driver = world.driver();
        let mut state = seed;
        let runtime = Runtime::new(&driver, pool.clone(), move || split_mix(&mut state));
        Self { world, runtime, driver, checkpoints: None }
    }

    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.driver, future)
    }

    pub fn create(&mut self, size: u64) {
        self.create_how(size, Preallocation::Reserve).unwrap();
    }

    pub fn create_as(&mut self, superblock: Superblock) {
        self.create_with(superblock, Preallocation::Reserve).unwrap();
    }

    pub fn create_how(
        &mut self,
        size: u64,
        how: Preallocation,
    ) -> Result<(), (&'static str, IoError)> {
        self.create_with(superblock(size), how)
    }

    fn create_with(
        &mut self,
        superblock: Superblock,
        how: Preallocation,
    ) -> Result<(), (&'static str, IoError)> {
        let handle = self.runtime.handle().clone();
        self.run(async move { volume::create(&handle, DirId(0), &superblock, how, |_| ()).await })
    }

    pub fn open(&mut self) -> Result<Rc<Slot>, OpenError> {
        self.open_as(Expected { checkpoints: self.checkpoints, ..expected() })
    }

    pub fn open_as(&mut self, expected: Expected) -> Result<Rc<Slot>, OpenError> {
        let handle = self.runtime.handle().clone();
        self.run(async move {
            handle.submit(Op::OpenDir { path: "data".into() }).await;
            volume::open(&handle, DirId(0), &expected).await.map(Slot::new)
        })
    }

    pub fn put(&mut self, volume: &Rc<Slot>, id: NeedleId, data: &[u8]) -> Result<Stored, Refusal> {
        let draft = draft(self.runtime.handle().pool(), data);
        let volume = Rc::clone(volume);
        self.run(async move { volume.put(id, COOKIE, draft, None).await })
    }

    /// Stores a multipart object in parts of these lengths (bytes), repeated cyclically.
    pub fn put_large(
        &mut self,
        volume: &Rc<Slot>,
        id: NeedleId,
        data: &[u8],
        lens: &[u64],
    ) -> Result<Stored, Refusal> {
        let (volume, data, lens) = (Rc::clone(volume), data.to_vec(), lens.to_vec());
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let (_upload, draft) = upload(&volume, &pool, id, &data, &lens).await?;
            volume.put(id, COOKIE, draft, None).await
        })
    }

    /// Adds a part to an upload.
    pub fn add(&mut self, upload: Upload, part: Draft) -> (Upload, Result<(), Refusal>) {
        let mut upload = upload;
        self.run(async move {
            let added = upload.add(part).await;
            (upload, added)
        })
    }

    /// Reads bytes `range` of a multipart object with buffers for `buffer` bytes.
    pub fn get_large(
        &mut self,
        volume: &Rc<Slot>,
        id: NeedleId,
        range: Range<u64>,
        buffer: u64,
    ) -> Result<Vec<u8>, GetError> {
        let volume = Rc::clone(volume);
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let manifest = volume.get(id, COOKIE, |len| pool.alloc(len)).await?;
            read_large(&volume, &pool, id, manifest, range, buffer).await
        })
    }

    /// Records losses, each with the offset of what it supersedes (0 for nothing).
    pub fn record(&mut self, volume: &Rc<Slot>, losses: &[(Loss, u64)]) -> Result<(), Refusal> {
        let (volume, losses) = (volume.volume(), losses.to_vec());
        self.run(async move { volume.record_losses(&losses).await })
    }

    pub fn delete(&mut self, volume: &Rc<Slot>, id: NeedleId) -> Result<(), Refusal> {
        let volume = Rc::clone(volume);
        self.run(async move { volume.delete(id, COOKIE, None).await })
    }

    /// The body of a needle or of a multipart object.
    pub fn get(&mut self, volume: &Rc<Slot>, id: NeedleId) -> Result<Vec<u8>, GetError> {
        self.get_as(volume, id, COOKIE)
    }

    pub fn get_as(
        &mut self,
        volume: &Rc<Slot>,
        id: NeedleId,
        cookie: Cookie,
    ) -> Result<Vec<u8>, GetError> {
        let volume = Rc::clone(volume);
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let needle = volume.get(id, cookie, |len| pool.alloc(len)).await?;
            assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
            if needle.is_large {
                let range = 0..needle.body_len;
                return read_large(&volume, &pool, id, needle, range, 1 << 20).await;
            }
            Ok(needle.buf[needle.data.clone()].to_vec())
        })
    }

    pub fn close(&mut self, volume: &Rc<Slot>) {
        let volume = Rc::clone(volume);
        self.run(async move { volume.close().await });
    }

    /// Image that a kill at this moment leaves.
    pub fn image(&self) -> Image {
        self.world.look(|snapshot| snapshot.image())
    }

    /// Sets the wall clock, and lets the process notice.
    pub fn set_wall(&mut self, wall: u64) {
        self.world.set_wall(wall);
        let handle = self.runtime.handle().clone();
        self.run(async move { handle.yield_now().await });
    }
}

/// Cuts the power while one commit of exactly these needles, in this order, is being written to the volume
/// `file` of `image`; keeps the sectors of the commit (0 is the record) for which `survives` holds. With
/// `first`, that needle is stored and acknowledged right before. Searches the seeds from `seed` on for such a
/// run: two calls need seeds that are far apart.
pub fn tear(
    seed: u64,
    (file, image): (&str, &Image),
    pool: &Pool,
    first: Option<(NeedleId, &[u8])>,
    puts: &[(NeedleId, Vec<u8>)],
    survives: impl Fn(usize) -> bool,
) -> Image {
    for seed in seed..seed + 1000 {
        let mut process = Process::start(seed, image, pool);
        let handle = process.runtime.handle().clone();
        let opening = handle.clone();
        let expected = Expected { hash_bits: None, ..expected() };
        let opened = process.run(async move { volume::open(&opening, DirId(0), &expected).await });
        let opened = opened.map(Slot::new).unwrap();
        let cut = Rc::new(RefCell::new(None));
        let wrecks = Rc::clone(&cut);
        process.world.on_event(move |snapshot| {
            let wreck = snapshot.wreck();
            if wreck.loose() > 0 {
                *wrecks.borrow_mut() = Some(wreck);
            }
        });
        let alone = first.is_none();
        let first = first.as_slice().iter().copied();
        for (n, (id, data)) in
            first.chain(puts.iter().map(|(id, data)| (*id, &data[..]))).enumerate()
        {
            let draft = draft(pool, data);
            let volume = Rc::clone(&opened);
            let waiting = handle.clone();
            let waits = !alone && n > 0;
            handle.spawn(async move {
                if waits {
                    // Delays the put by about the duration of the first write.
                    waiting.submit(Op::OpenDir { path: "data".into() }).await;
                }
                volume.put(id, COOKIE, draft, None).await.unwrap();
            });
        }
        process.run(async move { handle.sleep_until(handle.now() + 5_000_000).await });
        let wreck = cut.take().expect("something was written");
        let whole = wreck.image(|_| true, wreck.changes());
        if last_commit(&whole.bytes(file)) == puts.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            return wreck.image(survives, wreck.changes());
        }
    }
    panic!("in no run do these needles share a commit");
}

/// Ids in the last commit of a volume file.
fn last_commit(bytes: &[u8]) -> Vec<NeedleId> {
    let magic = b"HAYLCMMT";
    let mut starts = (65_536..bytes.len() - 4096).step_by(4096);
    let mut at = starts.rfind(|&at| bytes[at..].starts_with(magic)).expect("a commit") + 512;
    let mut ids = Vec::new();
    let incarnation = superblock(0).incarnation;
    while let Some((header, 0)) = decode_header(&bytes[at..], incarnation, at as u64) {
        ids.push(header.id);
        at += header.layout().len;
    }
    ids
}

/// Uploads a multipart object; returns the upload, which keeps the reservation, and the manifest, still to be
/// stored. Two parts share a commit.
pub async fn upload(
    volume: &Rc<Slot>,
    pool: &Pool,
    id: NeedleId,
    data: &[u8],
    lens: &[u64],
) -> Result<(Upload, Draft), Refusal> {
    let mut upload = volume.upload(id, COOKIE, data.len() as u64)?;
    let (mut lens, mut rest) = (lens.iter().cycle(), data);
    while !rest.is_empty() {
        upload.settle().await?;
        for _ in 0..2 {
            let len = upload.next_len(*lens.next().unwrap());
            let (now, later) = rest.split_at(usize::try_from(len).unwrap());
            if !now.is_empty() {
                let mut part = upload.part(pool, len).ok_or(Refusal::NoBuffer)?;
                part.data_mut().copy_from_slice(now);
                upload.add(part).await?;
            }
            rest = later;
        }
    }
    assert_eq!(upload.next_len(1 << 20), 0, "all parts were added");
    let draft = upload.finish(pool, Some(b"image/jpeg")).await?;
    Ok((upload, draft))
}

/// Reads bytes of the multipart object of a manifest with buffers for `buffer` bytes.
pub async fn read_large(
    volume: &Slot,
    pool: &Pool,
    id: NeedleId,
    manifest: Needle,
    range: Range<u64>,
    buffer: u64,
) -> Result<Vec<u8>, GetError> {
    let not_read = |error| match error {
        BodyError::NotRead(error) => error,
        BodyError::Changed => GetError::NotFound,
    };
    let wanted = range.end - range.start;
    let mut body = volume.body((id, COOKIE), manifest, range).await.map_err(not_read)?;
    let mut bytes = Vec::new();
    while body.remaining() > 0 {
        let buf = pool.alloc(Body::buffer_len(buffer)).unwrap();
        let (buf, at) = volume.read_body(&mut body, buf).await.map_err(not_read)?;
        bytes.extend_from_slice(&buf[at]);
        assert_eq!(bytes.len() as u64 + body.remaining(), wanted);
    }
    Ok(bytes)
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
