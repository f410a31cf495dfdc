//! Tiny volumes, so that each history meets the end of the log: what was acknowledged there is found again,
//! what was refused is not there, room that was set aside comes back, and the last block is left to a seal.

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, pool, upload};
use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::{Handle, split_mix};
use hayloft::volume::{GetError, NewNeedle, Refusal, Volume};

const CLIENTS: u64 = 3;
/// Of each client.
const IDS: u64 = 3;

/// Returns the size (bytes) of a volume whose log has the given number of 4 KiB blocks.
fn size(blocks: u64) -> u64 {
    LOG_START + blocks * BLOCK + TRAILER
}

/// Bytes of the log behind its tail.
fn left(volume: &Volume) -> u64 {
    volume.figures().size - volume.figures().used
}

/// The longest body of one needle for which there is room (bytes); nothing when there is none for any.
fn room(volume: &Volume) -> Option<u64> {
    (0..1 << 20).step_by(512).take_while(|len| volume.has_space_for(*len)).last()
}

/// What clients were told.
#[derive(Default)]
struct Told {
    values: BTreeMap<NeedleId, Vec<u8>>,
    /// PUTs and DELETEs for which there was no room.
    full: [u64; 2],
}

impl Told {
    fn stored(&mut self, values: Vec<(NeedleId, Vec<u8>)>, outcome: Result<(), Refusal>) {
        match outcome {
            Ok(()) => self.values.extend(values),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Full);
                self.full[0] += 1;
            }
        }
    }

    fn deleted(&mut self, id: NeedleId, outcome: Result<(), Refusal>) {
        let there = self.values.contains_key(&id);
        match outcome {
            Ok(()) => assert!(self.values.remove(&id).is_some(), "{id} was not there"),
            Err(Refusal::Full) if there => self.full[1] += 1,
            Err(refusal) => assert_eq!((refusal, there), (Refusal::NotFound, false)),
        }
    }
}

/// One of those who write at once, each to needles of its own.
struct Client {
    volume: Rc<Volume>,
    handle: Handle,
    number: u64,
    seed: u64,
    told: Told,
}

impl Client {
    fn id(&self, n: u64) -> NeedleId {
        NeedleId::new(self.number * IDS + n, 0)
    }

    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn data(&mut self) -> Vec<u8> {
        let most = [1, 400, 3000, 9000][usize::try_from(self.draw(4)).unwrap()];
        let len = usize::try_from(self.draw(most)).unwrap();
        bytes(self.draw(1 << 40), len)
    }

    async fn put(&mut self) {
        let (n, data) = (self.draw(IDS), self.data());
        let id = self.id(n);
        let put = self.volume.put(id, COOKIE, draft(self.handle.pool(), &data), None).await;
        self.told.stored(vec![(id, data)], put.map(drop));
    }

    async fn batch(&mut self) {
        let values: Vec<_> = (0..IDS).map(|n| (self.id(n), self.data())).collect();
        let needle = |(id, data): &(NeedleId, Vec<u8>)| NewNeedle {
            id: *id,
            cookie: COOKIE,
            draft: draft(self.handle.pool(), data),
        };
        let needles = values.iter().map(needle).collect();
        let put = self.volume.put_batch(needles, None).await;
        self.told.stored(values, put.map(drop));
    }

    /// A body of two parts, which may be given up on the way.
    async fn body(&mut self) {
        let (n, seed, given_up) = (self.draw(IDS), self.draw(1 << 40), self.draw(3) == 0);
        let (id, data) = (self.id(n), bytes(seed, 66_000));
        let uploaded = upload(&self.volume, self.handle.pool(), id, &data, &[1 << 16]).await;
        match uploaded {
            Ok(_) if given_up => {}
            Ok((_upload, draft)) => {
                let put = self.volume.put(id, COOKIE, draft, None).await;
                assert!(put.is_ok(), "room was set aside, yet: {put:?}");
                self.told.stored(vec![(id, data)], Ok(()));
            }
            Err(refusal) => self.told.stored(vec![], Err(refusal)),
        }
    }

    async fn delete(&mut self) {
        let id = NeedleId::new(self.number * IDS + self.seed % IDS, 0);
        let deleted = self.volume.delete(id, COOKIE, None).await;
        self.told.deleted(id, deleted);
    }

    async fn write(mut self) -> Told {
        for _ in 0..6 {
            match self.draw(8) {
                0 => self.batch().await,
                1 => self.body().await,
                2 => self.delete().await,
                _ => self.put().await,
            }
        }
        self.told
    }
}

/// All write at once: what each was told.
fn crowd(process: &mut Process, volume: &Rc<Volume>, seed: u64) -> Told {
    process.runtime.shuffle(seed | 1);
    let handle = process.runtime.handle().clone();
    let (told, open) = (Rc::new(Cell::new(Told::default())), Rc::new(Cell::new(CLIENTS)));
    for number in 0..CLIENTS {
        let client = Client {
            volume: Rc::clone(volume),
            handle: handle.clone(),
            number,
            seed: seed << 8 | number,
            told: Told::default(),
        };
        let (all, open) = (Rc::clone(&told), Rc::clone(&open));
        handle.spawn(async move {
            let of_one = client.write().await;
            let mut told = all.take();
            told.values.extend(of_one.values);
            told.full.iter_mut().zip(of_one.full).for_each(|(all, of_one)| *all += of_one);
            all.set(told);
            open.set(open.get() - 1);
        });
    }
    process.run(async move {
        let deadline = handle.now() + 60_000_000_000;
        while open.get() > 0 {
            assert!(handle.now() < deadline, "{} clients wait forever", open.get());
            handle.sleep_until(handle.now() + 1_000_000).await;
        }
    });
    told.take()
}

/// Deletes what is there until there is no room.
fn delete_all(process: &mut Process, volume: &Rc<Volume>, told: &mut Told) {
    for id in told.values.keys().copied().collect::<Vec<_>>() {
        let deleted = process.delete(volume, id);
        told.deleted(id, deleted);
    }
}

/// A start finds just what was told, and as much room as there was.
fn compare(image: &Image, volume: &Volume, told: &Told, pool: &Pool, what: &str) {
    let mut process = Process::start(99, image, pool);
    let again = process.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(again.damage().is_empty(), "{what}: {:?}", again.damage());
    for id in (0..CLIENTS * IDS).map(|key| NeedleId::new(key, 0)) {
        let wanted = told.values.get(&id).cloned().ok_or(GetError::NotFound);
        assert!(process.get(&again, id) == wanted, "{what}: {id}");
    }
    let account = |volume: &Volume| {
        let figures = volume.figures();
        (figures.used, figures.live, figures.needles, room(volume), volume.is_full())
    };
    assert_eq!(account(&again), account(volume), "{what}: used, live, needles, room, full");
}

#[test]
fn what_was_told_at_the_end_of_the_log_holds_after_a_kill_and_after_a_power_cut() {
    const HISTORIES: u64 = 400;
    let pool = pool(16 << 20);
    let (mut full, mut to_the_end) = ([0; 2], 0);
    for seed in 1..=HISTORIES {
        let mut process = Process::start(seed, &Image::default(), &pool);
        // Some have room for a body, hardly.
        let blocks = if seed.is_multiple_of(5) { 18 + seed % 40 } else { 3 + seed % 12 };
        process.create(size(blocks));
        let volume = process.open().unwrap();
        let mut told = crowd(&mut process, &volume, seed);
        for last in ["crowd", "deletes"] {
            let what = format!("seed {seed}, {blocks} blocks, after the {last}");
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            compare(&process.image(), &volume, &told, &pool, &what);
            compare(&wreck.image(|_| false, 0), &volume, &told, &pool, &what);
            delete_all(&mut process, &volume, &mut told);
        }
        process.close(&volume);
        compare(&process.image(), &volume, &told, &pool, &format!("seed {seed}, closed"));
        assert!(left(&volume) >= BLOCK, "seed {seed}: the last block is left to the seal");
        full.iter_mut().zip(told.full).for_each(|(all, full)| *all += u64::from(full > 0));
        to_the_end += u64::from(left(&volume) == BLOCK);
    }
    println!(
        "{HISTORIES} histories: PUTs, DELETEs found no room in {full:?}, {to_the_end} to the end"
    );
    assert!(full[0] > HISTORIES / 2 && full[1] > HISTORIES / 4, "{full:?}");
    assert!(to_the_end > HISTORIES / 4, "{to_the_end}");
}

#[test]
fn deletes_are_taken_until_only_the_last_block_is_left() {
    let pool = pool(16 << 20);
    for blocks in 4..40 {
        let mut process = Process::start(blocks, &Image::default(), &pool);
        process.create(size(blocks));
        let volume = process.open().unwrap();
        let mut told = Told::default();
        for key in 0.. {
            let (id, data) = (NeedleId::new(key, 0), bytes(key, 10));
            let put = process.put(&volume, id, &data);
            let is_full = put.is_err();
            told.stored(vec![(id, data)], put.map(drop));
            if is_full {
                break;
            }
        }
        assert!(left(&volume) > BLOCK, "{blocks} blocks: deletes have their reserve");
        delete_all(&mut process, &volume, &mut told);
        assert!(left(&volume) == BLOCK || told.values.is_empty(), "{blocks} blocks");
        let mut again = Process::start(2, &process.image(), &pool);
        let volume = again.open().unwrap();
        assert_eq!(volume.figures().needles, told.values.len() as u64, "{blocks} blocks");
        for (id, data) in &told.values {
            assert_eq!(again.get(&volume, *id).as_ref(), Ok(data));
        }
    }
}
