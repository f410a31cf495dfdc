//! Volume files whose blocks are reserved in steps, after kills and power cuts, also on disks that are full
//! by then: what was acknowledged is there, and what is admitted has its blocks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::{Image, Wreck};
use hayloft::runtime::sim::fault::NO_SPACE;
use hayloft::runtime::{Handle, split_mix};
use hayloft::volume::{Ending, GetError, NewNeedle, Preallocation, Refusal, Slot, WriteState};

use crate::common::{COOKIE, Process, bytes, draft, pool, tear, upload};
use crate::reserved_harness::{
    FILE, SECOND, SIZE, assert_has_reserved, assert_no_write_failed, assert_readable, fill, id,
    put, put_small, reserved_end, restarted, sleep, started,
};

/// Images that a power cut may leave: without and with everything that was not flushed, and halves of it.
fn images(wreck: &Wreck) -> Vec<Image> {
    let mut images = Vec::new();
    for changes in [0, wreck.changes()] {
        for survives in 0..4 {
            images.push(wreck.image(|n| [false, true, n % 2 == 0, n % 2 == 1][survives], changes));
        }
        if wreck.changes() == 0 {
            break;
        }
    }
    images
}

/// Asserts that a volume with the acknowledged keys opens on a disk with `free` blocks, takes deletes, and
/// is filled without a write that finds no block.
fn assert_usable(seed: u64, image: &Image, free: usize, acknowledged: u64, pool: &Pool) {
    let (mut process, volume) = restarted(seed, image, free, pool);
    assert!(volume.volume().damage().is_empty(), "{:?}", volume.volume().damage());
    assert_readable(&mut process, &volume, 0..acknowledged);
    let filled = fill(&mut process, &volume, acknowledged + 1);
    sleep(&mut process, SECOND);
    for key in 0..filled.min(3) {
        if key != acknowledged {
            process.delete(&volume, id(key)).unwrap();
        }
    }
    assert_no_write_failed(&process, &volume);
    assert_readable(&mut process, &volume, (3..filled).filter(|key| *key != acknowledged));
    let (mut process, volume) = restarted(seed, &process.image(), 0, pool);
    assert_no_write_failed(&process, &volume);
    assert_readable(&mut process, &volume, (3..filled).filter(|key| *key != acknowledged));
}

#[test]
fn creation_of_a_partial_file_is_complete_or_absent() {
    let pool = pool(16 << 20);
    let mut process = Process::start(3, &Image::default(), &pool);
    let points = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&points);
    process.world.on_event(move |snapshot| sink.borrow_mut().push(snapshot.wreck()));
    process.create_how(SIZE, Preallocation::InSteps).unwrap();
    let (mut whole, mut absent) = (0, 0);
    for wreck in points.take() {
        for image in images(&wreck) {
            if !image.files.contains_key(FILE) {
                absent += 1;
                continue;
            }
            whole += 1;
            for free in [0, 1000] {
                assert_usable(5, &image, free, 0, &pool);
            }
        }
    }
    assert!(whole > 0 && absent > 0, "{whole} {absent}");
}

/// The volume is filled from its first step to the cleared flag; at every event it is killed or the power
/// cut.
#[test]
fn every_step_and_the_cleared_flag_survive_kill_and_power_cut() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    let (points, done) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (sink, seen) = (Rc::clone(&points), Rc::clone(&done));
    process.world.on_event(move |snapshot| {
        sink.borrow_mut().push((snapshot.wreck(), snapshot.image(), seen.get()));
    });
    while put(&mut process, &volume, done.get()).is_ok() {
        done.set(done.get() + 1);
    }
    sleep(&mut process, SECOND);
    assert!(!volume.volume().is_partial());
    let points = points.take();
    println!("{} events", points.len());
    let mut partial = [0; 2];
    for (n, (wreck, killed, acknowledged)) in (0..).zip(points) {
        // The last third has the last steps and the flag.
        let is_sampled = n % 7 == 0 || n > 250;
        if !is_sampled {
            continue;
        }
        let lost = wreck.image(|_| false, 0);
        let survived = wreck.image(|_| true, wreck.changes());
        for image in [lost, survived, killed] {
            partial[usize::from(image.bytes(FILE)[16] == 0)] += 1;
            assert_usable(n, &image, 0, acknowledged, &pool);
        }
    }
    println!("{partial:?} images of partial and of whole files");
    assert!(partial[0] > 20 && partial[1] > 2, "{partial:?}");
}

#[test]
fn blocks_that_needles_are_admitted_into_survive_a_power_cut() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(1000, &pool);
    for key in 0..60 {
        put(&mut process, &volume, key).unwrap();
        let wreck = process.world.look(|snapshot| snapshot.wreck());
        assert_has_reserved(&wreck.image(|_| false, 0), reserved_end(&volume));
    }
}

/// The process before could still delete: so can the next one.
#[test]
fn deletes_find_their_blocks_after_a_power_cut_on_a_full_disk() {
    let pool = pool(16 << 20);
    for free in [0, 5, 40, 100] {
        let (mut process, volume) = started(free, &pool);
        put_small(&mut process, &volume, 1000..1030);
        let filled = fill(&mut process, &volume, 0);
        assert_eq!(volume.volume().write_state(), WriteState::Full);
        let image = process.world.look(|snapshot| snapshot.wreck().image(|_| false, 0));
        let room = reserved_end(&volume) - volume.volume().figures().used;
        let (mut process, volume) = restarted(9, &image, 0, &pool);
        assert!(process.world.count(NO_SPACE) > 0, "the first step fails");
        assert_eq!(volume.volume().write_state(), WriteState::Full);
        assert!(reserved_end(&volume) - volume.volume().figures().used >= room / 2, "by halves");
        for key in 1000..1007 {
            process.delete(&volume, id(key)).unwrap();
        }
        assert_eq!(put(&mut process, &volume, filled), Err(Refusal::Full));
        assert_no_write_failed(&process, &volume);
        process.world.set_capacity(1000);
        sleep(&mut process, 31 * SECOND);
        put(&mut process, &volume, filled).unwrap();
        assert_readable(&mut process, &volume, 0..=filled);
    }
}

/// The seal of a torn commit takes a block that the process before has reserved.
#[test]
fn torn_commit_is_sealed_on_a_full_disk() {
    let pool = pool(16 << 20);
    let (mut process, volume) = started(0, &pool);
    let filled = fill(&mut process, &volume, 0);
    process.close(&volume);
    let image = process.image();
    // Only the record of the torn commit survives.
    let torn = tear(500, (FILE, &image), &pool, None, &[(id(50), bytes(50, 100))], |n| n == 0);
    let (mut process, volume) = restarted(11, &torn, 0, &pool);
    assert_eq!(volume.volume().open_report().ending, Ending::Torn { kept: 0 });
    assert_no_write_failed(&process, &volume);
    assert_readable(&mut process, &volume, 0..filled);
    process.delete(&volume, id(0)).unwrap();
}

/// What a client knows of the needles that only it writes.
type Values = BTreeMap<NeedleId, Vec<u8>>;

/// One of the concurrent clients; each writes its own needles.
struct Client {
    volume: Rc<Slot>,
    handle: Handle,
    number: u64,
    seed: u64,
    values: Values,
    refused: u64,
}

impl Client {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn id(&mut self) -> NeedleId {
        id(self.number * 100 + self.draw(20))
    }

    fn note(&mut self, values: Vec<(NeedleId, Vec<u8>)>, outcome: Result<(), Refusal>) {
        match outcome {
            Ok(()) => self.values.extend(values),
            Err(Refusal::Full) => self.refused += 1,
            Err(refusal) => panic!("{refusal}"),
        }
    }

    async fn put(&mut self) {
        let len = usize::try_from(self.draw(20_000)).unwrap();
        let (id, data) = (self.id(), bytes(self.draw(1 << 40), len));
        let put = self.volume.put(id, COOKIE, draft(self.handle.pool(), &data), None).await;
        self.note(vec![(id, data)], put.map(drop));
    }

    async fn batch(&mut self) {
        let mut values = Values::new();
        for _ in 0..3 {
            let (id, seed) = (self.id(), self.draw(1 << 40));
            values.insert(id, bytes(seed, 2000));
        }
        let needle = |(id, data): (&NeedleId, &Vec<u8>)| NewNeedle {
            id: *id,
            cookie: COOKIE,
            draft: draft(self.handle.pool(), data),
        };
        let needles = values.iter().map(needle).collect();
        let put = self.volume.put_batch(needles, None).await;
        self.note(values.into_iter().collect(), put.map(drop));
    }

    async fn body(&mut self) {
        let (id, data) = (self.id(), bytes(self.draw(1 << 40), 150_000));
        self.volume.await_blocks_for(data.len() as u64).await;
        let uploaded = upload(&self.volume, self.handle.pool(), id, &data, &[1 << 16]).await;
        let stored = match uploaded {
            Ok((_upload, draft)) => {
                let put = self.volume.put(id, COOKIE, draft, None).await;
                assert!(put.is_ok(), "space was reserved, but: {put:?}");
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        self.note(vec![(id, data)], stored);
    }

    async fn delete(&mut self) {
        let id = self.id();
        match self.volume.delete(id, COOKIE, None).await {
            Ok(()) => assert!(self.values.remove(&id).is_some()),
            Err(Refusal::NotFound) => assert!(!self.values.contains_key(&id)),
            Err(refusal) => self.note(vec![], Err(refusal)),
        }
    }

    async fn work(mut self) -> Self {
        for _ in 0..12 {
            match self.draw(10) {
                0 => self.batch().await,
                1 => self.body().await,
                2..5 => self.delete().await,
                _ => self.put().await,
            }
            let pause = self.draw(SECOND / 2);
            self.handle.sleep_until(self.handle.now() + pause).await;
        }
        self
    }
}

/// Another program that takes and frees space, until the clients have ended.
async fn other_program(world: World, handle: Handle, mut seed: u64, open: Rc<Cell<u64>>) {
    while open.get() > 0 {
        let blocks = usize::try_from(split_mix(&mut seed) % 200).unwrap();
        match split_mix(&mut seed) % 5 {
            0 => drop(world.occupy(usize::MAX)),
            1 => world.vacate(usize::MAX),
            2 | 3 => world.vacate(blocks),
            _ => drop(world.occupy(blocks)),
        }
        handle.sleep_until(handle.now() + split_mix(&mut seed) % SECOND).await;
    }
}

/// Runs the clients and the other program. Returns what is stored, and the number of refused operations.
fn run_clients(
    process: &mut Process,
    volume: &Rc<Slot>,
    values: &Values,
    seed: u64,
) -> (Values, u64) {
    process.runtime.shuffle(seed | 1);
    let handle = process.runtime.handle().clone();
    let (open, ended) = (Rc::new(Cell::new(3)), Rc::new(RefCell::new((Values::new(), 0))));
    for number in 0..3 {
        let is_own = |id: &NeedleId| (number * 100..number * 100 + 100).contains(&id.key.0);
        let client = Client {
            volume: Rc::clone(volume),
            handle: handle.clone(),
            number,
            seed: seed << 8 | number,
            values: values
                .iter()
                .filter(|(id, _)| is_own(id))
                .map(|(i, v)| (*i, v.clone()))
                .collect(),
            refused: 0,
        };
        let (open, ended) = (Rc::clone(&open), Rc::clone(&ended));
        handle.spawn(async move {
            let client = client.work().await;
            let mut ended = ended.borrow_mut();
            ended.0.extend(client.values);
            ended.1 += client.refused;
            open.set(open.get() - 1);
        });
    }
    let other =
        other_program(process.world.clone(), handle.clone(), seed ^ 0xf00d, Rc::clone(&open));
    handle.spawn(other);
    process.run(async move {
        let deadline = handle.now() + 600 * SECOND;
        while open.get() > 0 {
            assert!(handle.now() < deadline, "{} clients wait forever", open.get());
            handle.sleep_until(handle.now() + SECOND / 100).await;
        }
    });
    ended.take()
}

fn assert_holds(process: &mut Process, volume: &Rc<Slot>, values: &Values, what: &str) {
    assert!(volume.volume().damage().is_empty(), "{what}: {:?}", volume.volume().damage());
    for key in (0..300).filter(|key| key % 100 < 20) {
        let wanted = values.get(&id(key)).cloned().ok_or(GetError::NotFound);
        assert!(process.get(volume, id(key)) == wanted, "{what}: key {key}");
    }
}

/// Writes, deletes, a disk that another program fills and frees, kills, power cuts and restarts.
#[test]
fn acknowledged_operations_survive_whatever_the_disk_has_space_for() {
    const HISTORIES: u64 = 60;
    let pool = pool(16 << 20);
    let (mut refused, mut steps_failed, mut whole) = (0, 0, 0);
    for seed in 1..=HISTORIES {
        let (mut process, mut volume) = started(100 + seed as usize, &pool);
        let mut values = Values::new();
        for round in 0..4 {
            let what = format!("seed {seed}, round {round}");
            let (stored, full) = run_clients(&mut process, &volume, &values, seed * 10 + round);
            (values, refused) = (stored, refused + full);
            assert_no_write_failed(&process, &volume);
            steps_failed += process.world.count(NO_SPACE);
            whole += u64::from(!volume.volume().is_partial());
            assert_holds(&mut process, &volume, &values, &what);
            volume.expect_rest();
            let wreck = process.world.look(|snapshot| snapshot.wreck());
            let image = match round {
                0 => process.image(),
                1 => wreck.image(|_| false, 0),
                2 => wreck.image(|n| n % 2 == 0, wreck.changes()),
                _ => {
                    process.close(&volume);
                    process.image()
                }
            };
            let free = [0, 10, 300][usize::try_from((seed + round) % 3).unwrap()];
            (process, volume) = restarted(seed, &image, free, &pool);
            assert_no_write_failed(&process, &volume);
            assert_holds(&mut process, &volume, &values, &what);
        }
    }
    println!(
        "{HISTORIES} histories: {refused} refused, {steps_failed} steps failed, {whole} whole"
    );
    assert!(refused > HISTORIES && steps_failed > HISTORIES && whole > 3);
}
