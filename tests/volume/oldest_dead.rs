//! Since when something in a volume is dead, and its highest key: what they are, and that a start finds the
//! same with a checkpoint and without one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{
    Kind, Manifest, NeedleHeader, PAYLOAD_AT, PieceKind, decode_header, finish_piece,
};
use hayloft::volume::{Check, Expected, NewNeedle, Slot, Upload};

use crate::common::{COOKIE, ON_DEMAND, Process, bytes, draft, expected, pool, superblock, upload};

const FILE: &str = "1.0.vol";
const CHECKPOINT: &str = "1.0.ckpt";
const SIZE: u64 = 4 << 20;
const CHUNK: u64 = 65_536;

const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);
const C: NeedleId = NeedleId::new(3, 0);

/// Time since which something is dead (nanoseconds), and the highest key.
type Properties = (Option<u64>, u64);

fn properties(volume: &Slot) -> Properties {
    let figures = volume.volume().figures();
    (figures.oldest_dead_ns, figures.key_max)
}

fn started(pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    process.checkpoints = Some(ON_DEMAND);
    let volume = process.open().unwrap();
    (process, volume)
}

/// What a start finds, with the checkpoint, if there is one that can be used, and without.
fn recovered(image: &Image, checkpoint: bool, pool: &Pool) -> Properties {
    let mut process = Process::start(3, image, pool);
    let checkpoints = checkpoint.then_some(ON_DEMAND);
    let volume = process.open_as(Expected { checkpoints, ..expected() }).unwrap();
    let discarded = volume.volume().figures().checkpoint.discarded;
    assert_eq!(discarded, 0);
    properties(&volume)
}

/// Asserts that a start finds these properties, whether it uses the checkpoint or not.
fn assert_recovered(image: &Image, wanted: Properties, pool: &Pool, what: &str) {
    assert_eq!(recovered(image, false, pool), wanted, "{what}: from the log");
    assert_eq!(recovered(image, true, pool), wanted, "{what}: from the checkpoint, if any");
}

/// The needles of the log, with their offsets.
fn needles(bytes: &[u8]) -> Vec<(usize, NeedleHeader)> {
    let incarnation = superblock(0).incarnation;
    let header = |at: usize| decode_header(&bytes[at..], incarnation, at as u64);
    let units = (65_536..bytes.len() - 4096).step_by(512);
    units.filter_map(|at| header(at).filter(|(_, back)| *back == 0).map(|(h, _)| (at, h))).collect()
}

/// The properties by their definition, from the bytes of a log in which every needle counts: a part is dead
/// if no manifest has its offset.
fn defined(image: &Image) -> Properties {
    let bytes = image.bytes(FILE);
    let needles = needles(&bytes);
    let mut named = BTreeSet::new();
    for (at, header) in &needles {
        if header.kind == Kind::Manifest {
            let data = header.layout().data_range();
            let manifest = Manifest::decode(&bytes[at + data.start..at + data.end]).unwrap();
            named.extend((0..manifest.len()).map(|n| manifest.part(n).offset));
        }
    }
    let died = needles.iter().filter(|(at, header)| match header.kind {
        Kind::Part => !named.contains(&(*at as u64)),
        _ => header.previous != 0,
    });
    let oldest = died.map(|(_, header)| header.version).min();
    let key_max = needles.iter().map(|(_, header)| header.id.key.0).max();
    (oldest, key_max.unwrap_or(0))
}

fn idle(process: &mut Process, ns: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + ns).await });
}

/// Adds a part to the forming commit.
fn add(process: &mut Process, mut upload: Upload) -> Upload {
    let mut part = upload.part(process.runtime.handle().pool(), CHUNK).unwrap();
    part.data_mut().fill(7);
    process.run(async move { upload.add(part).await.map(|()| upload) }).unwrap()
}

/// Begins an upload and stores its first part.
fn begin(process: &mut Process, volume: &Rc<Slot>, id: NeedleId) -> Upload {
    let upload = volume.upload(id, COOKIE, 2 * CHUNK).unwrap();
    let upload = add(process, upload);
    process.run(async move { upload.settle().await.map(|()| upload) }).unwrap()
}

fn checkpoint(process: &mut Process, volume: &Rc<Slot>) {
    let volume = Rc::clone(volume);
    assert!(process.run(async move { volume.volume().checkpoint().await }).unwrap());
}

/// A way in which something dies, on a volume that holds A and B, of which B is in parts.
type Death = fn(&mut Process, &Rc<Slot>);

const DEATHS: [(&str, Death); 6] = [
    ("a needle is superseded", |process, volume| {
        process.put(volume, A, b"another").unwrap();
    }),
    ("a needle is deleted", |process, volume| process.delete(volume, A).unwrap()),
    ("a multipart object is superseded", |process, volume| {
        process.put_large(volume, B, &bytes(9, 70_000), &[CHUNK]).unwrap();
    }),
    ("a multipart object is deleted", |process, volume| process.delete(volume, B).unwrap()),
    ("a needle is superseded in a batch put", |process, volume| {
        let pool = process.runtime.handle().pool();
        let needle = |id| NewNeedle { id, cookie: COOKIE, draft: draft(pool, b"another") };
        let (needles, volume) = ([NeedleId::new(90, 1), A].map(needle).into(), Rc::clone(volume));
        process.run(async move { volume.put_batch(needles, None).await }).unwrap();
    }),
    ("an upload is abandoned", |process, volume| {
        drop(begin(process, volume, NeedleId::new(80, 2)));
    }),
];

#[test]
fn every_way_to_die_sets_the_time_and_a_start_finds_it() {
    let pool = pool(8 << 20);
    for (what, death) in DEATHS {
        let (mut process, volume) = started(&pool);
        assert_eq!(properties(&volume), (None, 0), "{what}: the volume is empty");
        process.put(&volume, A, b"data").unwrap();
        process.put_large(&volume, B, &bytes(1, 100_000), &[CHUNK]).unwrap();
        process.put(&volume, NeedleId::new(70, 0), b"data").unwrap();
        assert_eq!(properties(&volume), (None, 70), "{what}: nothing is dead");
        assert_recovered(&process.image(), (None, 70), &pool, what);
        death(&mut process, &volume);
        let found = properties(&volume);
        assert_eq!(found, defined(&process.image()), "{what}");
        let (wall, at) = (process.runtime.handle().wall(), found.0.expect(what));
        assert!(at <= wall && at + 60_000_000_000 > wall, "{what}: {at} is a time, now is {wall}");
        assert_recovered(&process.image(), found, &pool, what);
        // It does not change when more dies, and is in the checkpoint, which covers all of the log.
        process.put(&volume, C, b"data").unwrap();
        process.delete(&volume, C).unwrap();
        process.close(&volume);
        assert_eq!(properties(&volume), found, "{what}: it never rises");
        assert!(process.image().files.contains_key(CHECKPOINT));
        assert_recovered(&process.image(), found, &pool, what);
    }
}

#[test]
fn upload_in_progress_is_abandoned_by_a_kill() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    process.put(&volume, A, b"data").unwrap();
    let _first = begin(&mut process, &volume, B);
    checkpoint(&mut process, &volume);
    let _second = begin(&mut process, &volume, C);
    assert_eq!(properties(&volume), (None, 3), "the uploads are in progress");
    // The parts of B are before the checkpoint.
    let wanted = defined(&process.image());
    assert!(wanted.0.is_some());
    assert_recovered(&process.image(), wanted, &pool, "killed");

    // After it, the same id is stored: what was abandoned stays dead.
    let mut process = Process::start(5, &process.image(), &pool);
    process.checkpoints = Some(ON_DEMAND);
    let volume = process.open().unwrap();
    process.put_large(&volume, B, &bytes(1, 100_000), &[CHUNK]).unwrap();
    assert_eq!(properties(&volume), wanted);
    process.close(&volume);
    assert_recovered(&process.image(), wanted, &pool, "stored after the restart");
}

#[test]
fn upload_that_ends_before_its_needles_are_durable_is_judged_by_them() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    // A manifest that becomes durable after the upload has ended.
    let upload = begin(&mut process, &volume, A);
    let upload = add(&mut process, upload);
    let storing = Rc::clone(&volume);
    let (handle, memory) = (process.runtime.handle().clone(), pool.clone());
    let upload = process.run(async move {
        let manifest = upload.finish(&memory, Some(b"image/jpeg")).await.unwrap();
        handle.spawn(async move {
            storing.put(A, COOKIE, manifest, None).await.unwrap();
        });
        handle.yield_now().await;
        upload
    });
    assert_eq!(volume.volume().figures().needles, 0, "the manifest is being written");
    drop(upload);
    idle(&mut process, 50_000_000);
    assert_eq!((volume.volume().figures().needles, properties(&volume)), (1, (None, 1)));

    // A part that does.
    let upload = volume.upload(B, COOKIE, 2 * CHUNK).unwrap();
    let upload = add(&mut process, upload);
    drop(upload);
    assert_eq!(properties(&volume), (None, 1), "the part is being written");
    idle(&mut process, 50_000_000);
    let found = properties(&volume);
    assert_eq!(found, defined(&process.image()));
    assert!(found.0.is_some());
    process.close(&volume);
    assert_recovered(&process.image(), found, &pool, "closed");
}

/// The properties in a checkpoint are those of its covered position: the parts that arrive while it is being
/// written are in the log after that.
#[test]
fn parts_that_arrive_while_a_checkpoint_is_written_count_once() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    process.put(&volume, A, b"data").unwrap();
    // The first operations of a checkpoint: unlink, create, reserve space, write the header.
    process.world.fail(3, Fault::Stall(50_000_000));
    let (writer, handle) = (Rc::clone(&volume), process.runtime.handle().clone());
    handle.clone().spawn(async move {
        handle.sleep_until(handle.now() + 10_000_000).await;
        let data = bytes(1, 100_000);
        let uploaded = upload(&writer, handle.pool(), B, &data, &[CHUNK]).await;
        let (_upload, manifest) = uploaded.unwrap();
        handle.sleep_until(handle.now() + 100_000_000).await;
        writer.put(B, COOKIE, manifest, None).await.unwrap();
    });
    checkpoint(&mut process, &volume);
    idle(&mut process, 500_000_000);
    assert_eq!((volume.volume().figures().needles, properties(&volume)), (2, (None, 2)));
    assert_recovered(&process.image(), (None, 2), &pool, "killed");
}

/// Concurrent clients store, and later supersede, delete and abandon, with odd seeds the last from the
/// beginning; returns images of crash points, and what the volume found at the end.
fn history(seed: u64, pool: &Pool) -> (Vec<Image>, Properties) {
    let (mut process, volume) = started(pool);
    process.runtime.shuffle(seed | 1);
    let images = Rc::new(RefCell::new(Vec::new()));
    let (sink, state) = (Rc::clone(&images), Cell::new(seed ^ 77));
    process.world.on_event(move |snapshot| {
        let mut draws = state.get();
        if split_mix(&mut draws).is_multiple_of(12) {
            let wreck = snapshot.wreck();
            let survivors = split_mix(&mut draws);
            let changes = split_mix(&mut draws) as usize % (wreck.changes() + 1);
            sink.borrow_mut().push(match survivors % 2 {
                0 => snapshot.image(),
                _ => wreck.image(|n| (survivors >> (n % 60)) & 1 == 1, changes),
            });
        }
        state.set(draws);
    });
    let left = Rc::new(Cell::new(0));
    for client in 0..4_u64 {
        let (volume, handle, left) =
            (Rc::clone(&volume), process.runtime.handle().clone(), Rc::clone(&left));
        left.set(left.get() + 1);
        let mut state = seed ^ client << 40;
        process.runtime.handle().spawn(async move {
            for step in 0..10 {
                let draw = split_mix(&mut state);
                // Later, shared ids are superseded and deleted.
                let late = step > 5;
                let fresh = NeedleId::new(100 + client * 100 + step, 0);
                // Two clients may upload the same of these at once.
                let shared = NeedleId::new(10 + draw / 64 % 2, 0);
                match draw % 8 {
                    6 | 7 => {
                        let id = if draw & 8 == 0 { fresh } else { shared };
                        let data = bytes(draw, 66_000 + draw as usize / 4096 % 20_000);
                        let uploaded = upload(&volume, handle.pool(), id, &data, &[CHUNK]).await;
                        let (_upload, manifest) = uploaded.unwrap();
                        let absent = |there: Option<&_>| there.is_none();
                        let check: Check<'_> = if late { None } else { Some(&absent) };
                        // Else it is abandoned.
                        if !(late || seed % 2 == 1) || !(draw / 16).is_multiple_of(3) {
                            let _ = volume.put(id, COOKIE, manifest, check).await;
                        }
                    }
                    5 if late => drop(volume.delete(shared, COOKIE, None).await),
                    // Two checkpoints of a volume are never written at the same time.
                    3 | 4 if client == 0 => drop(volume.volume().checkpoint().await.unwrap()),
                    _ => {
                        let put = volume.put(fresh, COOKIE, draft(handle.pool(), b"once"), None);
                        put.await.unwrap();
                    }
                }
            }
            left.set(left.get() - 1);
        });
    }
    let handle = process.runtime.handle().clone();
    process.run(async move {
        while left.get() > 0 {
            handle.sleep_until(handle.now() + 100_000).await;
        }
    });
    let found = properties(&volume);
    let mut images = images.take();
    images.push(process.image());
    process.close(&volume);
    assert_eq!(properties(&volume), found);
    images.push(process.image());
    (images, found)
}

#[test]
fn recovery_finds_the_same_with_and_without_a_checkpoint_at_any_crash_point() {
    let pool = pool(16 << 20);
    let (mut none, mut some) = (0, 0);
    for seed in 1..=40 {
        let (images, found) = history(seed, &pool);
        let (last, before) = images.split_last().unwrap();
        for (n, image) in before.iter().enumerate() {
            let wanted = recovered(image, false, &pool);
            let what = format!("seed {seed}, crash point {n}");
            assert_eq!(recovered(image, true, &pool), wanted, "{what}");
            *if wanted.0.is_some() { &mut some } else { &mut none } += 1;
        }
        assert_recovered(last, found, &pool, &format!("seed {seed}, closed"));
        let (oldest, key_max) = defined(last);
        assert_eq!(found.1, key_max, "seed {seed}");
        // When parts of two uploads of an id alternate, the first of both counts.
        let (found, oldest) = (found.0.unwrap_or(u64::MAX), oldest.unwrap_or(u64::MAX));
        assert!(found <= oldest, "seed {seed}: {found} is later than {oldest}");
        assert_eq!(found == u64::MAX, oldest == u64::MAX, "seed {seed}");
    }
    println!("{some} crash points with something dead, {none} with nothing dead");
    assert!(none > 100 && some > 100, "{none} and {some}");
}

#[test]
fn checkpoint_of_format_version_1_is_discarded_and_the_log_read() {
    let pool = pool(8 << 20);
    let (mut process, volume) = started(&pool);
    process.put(&volume, A, b"data").unwrap();
    process.delete(&volume, A).unwrap();
    process.close(&volume);
    let (wanted, mut image) = (properties(&volume), process.image());
    image.edit(CHECKPOINT, |bytes| {
        bytes[PAYLOAD_AT] = 1;
        let len = u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
        let incarnation = superblock(0).incarnation;
        finish_piece(PieceKind::Header, 0, 1, len, incarnation, &mut bytes[..4096]);
    });
    let mut process = Process::start(5, &image, &pool);
    process.checkpoints = Some(ON_DEMAND);
    let volume = process.open().unwrap();
    let figures = volume.volume().figures().checkpoint;
    assert_eq!((figures.discarded, figures.opened_from), (1, 65_536));
    assert_eq!(properties(&volume), wanted);
    // The next one is of the version of this build.
    process.close(&volume);
    assert_recovered(&process.image(), wanted, &pool, "after the upgrade");
}
