//! Tiny volumes, so that each history reaches the end of the log: acknowledged writes are found again,
//! refused ones are absent, reservations are released, and the last block stays free for a seal.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::{Handle, split_mix};
use hayloft::volume::{GetError, NewNeedle, Refusal, Slot};

use crate::common::{COOKIE, Process, bytes, draft, pool, upload};

const CLIENTS: u64 = 3;
/// Needle ids of each client.
const IDS: u64 = 3;

/// Returns the size (bytes) of a volume whose log has the given number of 4 KiB blocks.
fn size(blocks: u64) -> u64 {
    LOG_START + blocks * BLOCK + TRAILER
}

/// Free bytes of the log after its tail.
fn bytes_left(volume: &Slot) -> u64 {
    volume.volume().figures().size - volume.volume().figures().used
}

/// Longest body of one needle that is admitted (bytes); `None` if the volume admits none.
fn largest_admitted(volume: &Slot) -> Option<u64> {
    (0..1 << 20).step_by(512).take_while(|len| volume.volume().has_space_for(*len)).last()
}

/// Answers that clients received.
#[derive(Default)]
struct Answers {
    values: BTreeMap<NeedleId, Vec<u8>>,
    /// Number of PUTs and of DELETEs refused as full.
    full: [u64; 2],
}

impl Answers {
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
            Ok(()) => assert!(self.values.remove(&id).is_some(), "{id} was absent"),
            Err(Refusal::Full) if there => self.full[1] += 1,
            Err(refusal) => assert_eq!((refusal, there), (Refusal::NotFound, false)),
        }
    }
}

/// One of the concurrent clients; each writes its own needles.
struct Client {
    volume: Rc<Slot>,
    handle: Handle,
    number: u64,
    seed: u64,
    answers: Answers,
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
        self.answers.stored(vec![(id, data)], put.map(drop));
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
        self.answers.stored(values, put.map(drop));
    }

    /// Uploads a body of two parts; a third of the uploads is abandoned.
    async fn body(&mut self) {
        let (n, seed, abandoned) = (self.draw(IDS), self.draw(1 << 40), self.draw(3) == 0);
        let (id, data) = (self.id(n), bytes(seed, 66_000));
        let uploaded = upload(&self.volume, self.handle.pool(), id, &data, &[1 << 16]).await;
        match uploaded {
            Ok(_) if abandoned => {}
            Ok((_upload, draft)) => {
                let put = self.volume.put(id, COOKIE, draft, None).await;
                assert!(put.is_ok(), "space was reserved, but: {put:?}");
                self.answers.stored(vec![(id, data)], Ok(()));
            }
            Err(refusal) => self.answers.stored(vec![], Err(refusal)),
        }
    }

    async fn delete(&mut self) {
        let id = NeedleId::new(self.number * IDS + self.seed % IDS, 0);
        let deleted = self.volume.delete(id, COOKIE, None).await;
        self.answers.deleted(id, deleted);
    }

    /// Deletes all of the client's needles at once.
    async fn delete_all(&mut self) {
        let named: Vec<_> = (0..IDS).map(|n| (self.id(n), COOKIE)).collect();
        let there = |(id, _): &(NeedleId, _)| self.answers.values.contains_key(id);
        let wanted: Vec<bool> = named.iter().map(there).collect();
        match self.volume.delete_all(&named, None).await {
            Ok(existed) => {
                assert_eq!(existed, wanted);
                named.iter().for_each(|(id, _)| drop(self.answers.values.remove(id)));
            }
            Err(refusal) => {
                assert_eq!((refusal, wanted.contains(&true)), (Refusal::Full, true));
                self.answers.full[1] += 1;
            }
        }
    }

    async fn write(mut self) -> Answers {
        for _ in 0..6 {
            match self.draw(9) {
                8 => self.delete_all().await,
                0 => self.batch().await,
                1 => self.body().await,
                2 => self.delete().await,
                _ => self.put().await,
            }
        }
        self.answers
    }
}

/// Runs all clients concurrently. Returns the answers they received.
fn run_clients(process: &mut Process, volume: &Rc<Slot>, seed: u64) -> Answers {
    process.runtime.shuffle(seed | 1);
    let handle = process.runtime.handle().clone();
    let (answers, open) = (Rc::new(Cell::new(Answers::default())), Rc::new(Cell::new(CLIENTS)));
    for number in 0..CLIENTS {
        let client = Client {
            volume: Rc::clone(volume),
            handle: handle.clone(),
            number,
            seed: seed << 8 | number,
            answers: Answers::default(),
        };
        let (all, open) = (Rc::clone(&answers), Rc::clone(&open));
        handle.spawn(async move {
            let of_client = client.write().await;
            let mut answers = all.take();
            answers.values.extend(of_client.values);
            answers
                .full
                .iter_mut()
                .zip(of_client.full)
                .for_each(|(all, of_client)| *all += of_client);
            all.set(answers);
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
    answers.take()
}

/// Deletes every needle, until deletes are refused as full.
fn delete_all(process: &mut Process, volume: &Rc<Slot>, answers: &mut Answers) {
    for id in answers.values.keys().copied().collect::<Vec<_>>() {
        let deleted = process.delete(volume, id);
        answers.deleted(id, deleted);
    }
}

/// Asserts that recovery of `image` finds exactly the acknowledged needles and the same accounting.
fn assert_recovers(image: &Image, volume: &Slot, answers: &Answers, pool: &Pool, what: &str) {
    let mut process = Process::start(99, image, pool);
    let again = process.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(again.volume().damage().is_empty(), "{what}: {:?}", again.volume().damage());
    for id in (0..CLIENTS * IDS).map(|key| NeedleId::new(key, 0)) {
        let wanted = answers.values.get(&id).cloned().ok_or(GetError::NotFound);
        assert!(process.get(&again, id) == wanted, "{what}: {id}");
    }
    let account = |volume: &Slot| {
        let figures = volume.volume().figures();
        (
            figures.used,
            figures.live,
            figures.needles,
            largest_admitted(volume),
            volume.volume().is_full(),
        )
    };
    assert_eq!(
        account(&again),
        account(volume),
        "{what}: used, live, needles, largest admitted, full"
    );
}

#[test]
fn answers_near_the_end_of_the_log_survive_kill_and_power_cut() {
    const HISTORIES: u64 = 400;
    let pool = pool(16 << 20);
    let (mut full, mut filled) = ([0; 2], 0);
    for seed in 1..=HISTORIES {
        let mut process = Process::start(seed, &Image::default(), &pool);
        // Every fifth volume has just enough space for a large body.
        let blocks = if seed.is_multiple_of(5) { 18 + seed % 40 } else { 3 + seed % 12 };
        process.create(size(blocks));
        let volume = process.open().unwrap();
        let mut answers = run_clients(&mut process, &volume, seed);
        for last in ["writes", "deletes"] {
            let what = format!("seed {seed}, {blocks} blocks, after the {last}");
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            assert_recovers(&process.image(), &volume, &answers, &pool, &what);
            assert_recovers(&wreck.image(|_| false, 0), &volume, &answers, &pool, &what);
            delete_all(&mut process, &volume, &mut answers);
        }
        process.close(&volume);
        assert_recovers(
            &process.image(),
            &volume,
            &answers,
            &pool,
            &format!("seed {seed}, closed"),
        );
        assert!(bytes_left(&volume) >= BLOCK, "seed {seed}: the last block is kept for the seal");
        full.iter_mut().zip(answers.full).for_each(|(all, full)| *all += u64::from(full > 0));
        filled += u64::from(bytes_left(&volume) == BLOCK);
    }
    println!(
        "{HISTORIES} histories: PUTs, DELETEs refused as full in {full:?}; log full in {filled}"
    );
    assert!(full[0] > HISTORIES / 2 && full[1] > HISTORIES / 4, "{full:?}");
    assert!(filled > HISTORIES / 4, "{filled}");
}

#[test]
fn deletes_are_accepted_until_only_the_seal_block_is_left() {
    let pool = pool(16 << 20);
    for blocks in 4..40 {
        let mut process = Process::start(blocks, &Image::default(), &pool);
        process.create(size(blocks));
        let volume = process.open().unwrap();
        let mut answers = Answers::default();
        for key in 0.. {
            let (id, data) = (NeedleId::new(key, 0), bytes(key, 10));
            let put = process.put(&volume, id, &data);
            let is_full = put.is_err();
            answers.stored(vec![(id, data)], put.map(drop));
            if is_full {
                break;
            }
        }
        assert!(bytes_left(&volume) > BLOCK, "{blocks} blocks: deletes have their reserve");
        delete_all(&mut process, &volume, &mut answers);
        assert!(bytes_left(&volume) == BLOCK || answers.values.is_empty(), "{blocks} blocks");
        let mut again = Process::start(2, &process.image(), &pool);
        let volume = again.open().unwrap();
        assert_eq!(
            volume.volume().figures().needles,
            answers.values.len() as u64,
            "{blocks} blocks"
        );
        for (id, data) in &answers.values {
            assert_eq!(again.get(&volume, *id).as_ref(), Ok(data));
        }
    }
}
