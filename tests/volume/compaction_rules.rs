//! Rules of a compaction, one by one: what a copied needle keeps, what is read and flushed, and what happens
//! to writes, reads and uploads at the moment of the exchange.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::limits::{LOG_START, UNIT};
use hayloft::base::types::NeedleId;
use hayloft::runtime::background::{DiskLoad, Pace, PaceLimits, SharedPace, Waited};
use hayloft::runtime::op::Op;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{HEADER_LEN, Kind, NeedleHeader, decode_header};
use hayloft::volume::{
    Compacted, CompactionOrder, CompactionPhase, GetError, NewNeedle, NotCompacted, Slot,
    Superblock,
};

use crate::common::{COOKIE, Process, bytes, draft, pool, upload};
use crate::compaction_support::{
    Model, NEW, OLD, compact, compact_as, expected_of, id, names, order, reopened, started,
};

/// Headers of the needles in a file, in their order. Copies of tombstones count once.
fn headers(image: &Image, name: &str) -> Vec<NeedleHeader> {
    let bytes = image.bytes(name);
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let units = (LOG_START..bytes.len() as u64).step_by(usize::try_from(UNIT).unwrap());
    let found = units.filter_map(|at| {
        let from = usize::try_from(at).unwrap();
        match decode_header(&bytes[from..from + HEADER_LEN], incarnation, at) {
            Some((header, 0)) => Some(header),
            _ => None,
        }
    });
    found.collect()
}

/// What a compaction must not change.
type Identity = (u64, u64, u64, u16, u32, u64, u64);

fn identities(headers: &[NeedleHeader]) -> BTreeMap<NeedleId, Identity> {
    let objects = headers.iter().filter(|header| header.kind != Kind::Part);
    let identity = |header: &NeedleHeader| {
        let &NeedleHeader { cookie, version, modified_ns, .. } = header;
        let lens = (header.attributes_len, header.data_len, header.body_len);
        (cookie.0, version, modified_ns, lens.0, lens.1, lens.2, header.data_checksum)
    };
    // Later ones replace earlier ones.
    objects.map(|header| (header.id, identity(header))).collect()
}

#[test]
fn copied_headers_name_the_same_needles_in_another_log() {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(16 << 20);
    let slot = process.open_as(expected_of(0)).unwrap();
    process.put(&slot, id(1), b"replaced").unwrap();
    process.put(&slot, id(1), b"replaces").unwrap();
    process.put_large(&slot, id(2), &bytes(2, 1_300_000), &[300_000]).unwrap();
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    process.run(async move {
        let needle = |key| NewNeedle { id: id(key), cookie: COOKIE, draft: draft(&pool, b"one") };
        storing.put_batch((10..14).map(needle).collect(), None).await.unwrap();
    });
    process.delete(&slot, id(12)).unwrap();
    let deleting = Rc::clone(&slot);
    process.run(async move {
        deleting.delete_all(&[(id(13), COOKIE), (id(10), COOKIE)], None).await.unwrap();
    });
    let before = headers(&process.image(), OLD);
    assert!(before.iter().any(|header| header.batch != 0 && header.previous == 0));
    assert!(before.iter().any(|header| header.kind == Kind::Data && header.previous != 0));
    assert!(before.iter().any(|header| header.kind == Kind::Tombstone && header.batch != 0));
    let order = CompactionOrder { tombstone_keep_ns: 1 << 60, size: 16 << 20, ..order() };
    compact_as(&mut process, &slot, order).unwrap();
    let after = headers(&process.image(), NEW);
    assert_eq!(identities(&after), identities(&before));
    let epoch = after[0].epoch;
    assert!(before.iter().all(|header| header.epoch != epoch));
    for header in &after {
        let batch = (header.batch, header.batch_ordinal, header.batch_count);
        assert_eq!((header.epoch, header.previous, batch), (epoch, 0, (0, 0, 0)), "{header:?}");
    }
}

#[test]
fn dead_bytes_are_not_read() {
    let (mut process, slot) = started();
    for key in 0..40 {
        process.put(&slot, id(key), &bytes(key, 500_000)).unwrap();
    }
    for key in 0..39 {
        process.delete(&slot, id(key)).unwrap();
    }
    let done = compact(&mut process, &slot).unwrap();
    assert!(done.read < 40 * 64_000 + 600_000, "{done:?}");
    assert_eq!(process.get(&slot, id(39)).unwrap(), bytes(39, 500_000));
}

/// A flush is for the whole device: after a long one every commit on it would wait.
#[test]
fn new_file_is_flushed_at_intervals() {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(160 << 20);
    let slot = process.open_as(expected_of(0)).unwrap();
    for key in 0..90 {
        process.put(&slot, id(key), &vec![u8::try_from(key).unwrap(); 1 << 20]).unwrap();
    }
    // Pieces that are not flushed: one of each write, or one of each sector of it.
    let (most, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (told, counted) = (Rc::clone(&most), Rc::clone(&seen));
    process.world.on_event(move |snapshot| {
        counted.set(counted.get() + 1);
        if counted.get() % 16 == 0 {
            told.set(told.get().max(snapshot.wreck().loose()));
        }
    });
    compact_as(&mut process, &slot, CompactionOrder { size: 160 << 20, ..order() }).unwrap();
    let sectors = (1 << 20) / 512;
    assert!(most.get() > 0 && most.get() < 72 * sectors, "{} pieces", most.get());
}

/// More would fill the queue of the device, and requests would wait for all of them.
#[test]
fn one_read_and_one_write_are_in_flight() {
    let (mut process, slot) = started();
    for key in 0..200 {
        process.put(&slot, id(key), &bytes(key, 100_000)).unwrap();
    }
    let most = Rc::new(Cell::new((0, 0)));
    let seen = Rc::clone(&most);
    process.world.on_event(move |snapshot| {
        let (reads, writes) = seen.get();
        seen.set((reads.max(snapshot.reads().len()), writes.max(snapshot.writes().len())));
    });
    // Writes that take longer than it takes to assemble the next commit.
    for operation in (20..60).step_by(3) {
        process.world.fail(operation, Fault::Stall(5_000_000));
    }
    compact(&mut process, &slot).unwrap();
    assert_eq!(most.get(), (1, 1));
}

/// Calls `work` at many moments of a compaction, in a task of its own each time.
fn during_a_compaction<F: Future<Output = ()> + 'static>(
    process: &mut Process,
    slot: &Rc<Slot>,
    work: impl Fn(u64) -> F + 'static,
) {
    let (compacted, handle) = (Rc::clone(slot), process.runtime.handle().clone());
    let is_over = Rc::new(Cell::new(false));
    let told = Rc::clone(&is_over);
    slot.compaction_task().start(async move {
        compacted.compact(&order(), &|_| Ok(())).await.unwrap();
        told.set(true);
    });
    let (begun, ended) = process.run(async move {
        let (mut begun, ended) = (0, Rc::new(Cell::new(0)));
        while !is_over.get() && begun < 20_000 {
            let (task, told) = (work(begun), Rc::clone(&ended));
            handle.spawn(async move {
                task.await;
                told.set(told.get() + 1);
            });
            begun += 1;
            // A moment: timers are slower than this.
            handle.submit(Op::OpenDir { path: "data".into() }).await;
        }
        handle.sleep_until(handle.now() + 2_000_000_000).await;
        assert!(is_over.get(), "the compaction is over");
        (begun, ended.get())
    });
    assert!(begun == ended && begun > 100, "{ended} of {begun}");
    assert_eq!(slot.volume().generation(), 1);
}

#[test]
fn writes_at_any_moment_of_an_exchange_are_kept() {
    let (mut process, slot) = started();
    for key in 0..7 {
        process.put(&slot, id(key), &bytes(key, 200_000)).unwrap();
    }
    let pool = process.runtime.handle().pool().clone();
    // Uploads whose parts are durable already: only their manifests are still to be stored.
    let (storing, buffers) = (Rc::clone(&slot), pool.clone());
    let uploads = process.run(async move {
        let mut uploads = Vec::new();
        for n in 0..120 {
            let stored = upload(&storing, &buffers, id(1000 + n), &bytes(n, 1500), &[700]).await;
            uploads.push((1000 + n, stored.unwrap()));
        }
        RefCell::new(uploads)
    });
    let before = (0..7).map(|key| (key, bytes(key, 200_000)));
    let expected = Rc::new(RefCell::new(before.collect::<BTreeMap<u64, Vec<u8>>>()));
    let (writing, told) = (Rc::clone(&slot), Rc::clone(&expected));
    during_a_compaction(&mut process, &slot, move |n| {
        let (slot, pool, told) = (Rc::clone(&writing), pool.clone(), Rc::clone(&told));
        let is_late = slot.compaction_progress().phase == CompactionPhase::Swapping;
        let next = if is_late && n % 2 == 0 { uploads.borrow_mut().pop() } else { None };
        async move {
            if let Some((key, (_upload, manifest))) = next {
                slot.put(id(key), COOKIE, manifest, None).await.unwrap();
                told.borrow_mut().insert(key, bytes(key - 1000, 1500));
            } else if is_late || n % 64 == 0 {
                let (key, data) = (n % 7, bytes(n, 300));
                slot.put(id(key), COOKIE, draft(&pool, &data), None).await.unwrap();
                told.borrow_mut().insert(key, data);
            }
        }
    });
    let objects = expected.take();
    assert!(objects.keys().filter(|key| **key >= 1000).count() > 5, "{} objects", objects.len());
    let model = Model { objects, deleted: Vec::new() };
    model.check(&mut process, &slot);
    let (mut process, slot) = reopened(&process.image(), 1);
    model.check(&mut process, &slot);
}

#[test]
fn upload_that_does_not_fit_calls_the_exchange_off() {
    let (mut process, slot) = started();
    process.put(&slot, id(1), b"stays").unwrap();
    let data = bytes(2, 20 << 20);
    let smaller = || CompactionOrder { size: 16 << 20, ..order() };
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let sent = data.clone();
    process.run(async move {
        let mut upload = storing.upload(id(2), COOKIE, sent.len() as u64).unwrap();
        for (n, bytes) in sent.chunks(1 << 20).enumerate() {
            let mut part = upload.part(&pool, bytes.len() as u64).unwrap();
            part.data_mut().copy_from_slice(bytes);
            upload.add(part).await.unwrap();
            if n == 2 {
                let refused = storing.compact(&smaller(), &|_| Ok(())).await;
                assert_eq!(refused, Err(NotCompacted::UploadsDoNotFit));
            }
        }
        let manifest = upload.finish(&pool, Some(b"image/jpeg")).await.unwrap();
        storing.put(id(2), COOKIE, manifest, None).await.unwrap();
    });
    assert_eq!((slot.volume().generation(), names(&process)), (0, vec![OLD.to_owned()]));
    compact(&mut process, &slot).unwrap();
    assert!(process.get(&slot, id(2)) == Ok(data));
}

/// Regression, found by the simulation: the manifest of a body was encoded although its parts did not fit
/// into the smaller file, which is a broken invariant.
#[test]
fn writes_that_do_not_fit_into_a_smaller_file_end_the_compaction() {
    let (mut process, slot) = started();
    for key in 0..9 {
        process.put(&slot, id(key), &bytes(key, 1 << 20)).unwrap();
    }
    let (writing, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    let pool = handle.pool().clone();
    let ended = process.run(async move {
        let ended = Rc::new(RefCell::new(None));
        let (compacted, told) = (Rc::clone(&writing), Rc::clone(&ended));
        writing.compaction_task().start(async move {
            let smaller = CompactionOrder { size: 12 << 20, ..order() };
            told.replace(Some(compacted.compact(&smaller, &|_| Ok(())).await));
        });
        let mut key = 100;
        while ended.borrow().is_none() && key < 120 {
            let (_upload, manifest) =
                upload(&writing, &pool, id(key), &bytes(key, 1_200_000), &[400_000]).await.unwrap();
            writing.put(id(key), COOKIE, manifest, None).await.unwrap();
            key += 1;
        }
        assert!(key > 101, "nothing was written meanwhile");
        handle.sleep_until(handle.now() + 10_000_000_000).await;
        ended.take()
    });
    assert_eq!(ended, Some(Err(NotCompacted::Outgrown)));
    assert_eq!((slot.volume().generation(), names(&process)), (0, vec![OLD.to_owned()]));
    for key in 0..9 {
        assert!(process.get(&slot, id(key)) == Ok(bytes(key, 1 << 20)), "object {key}");
    }
}

/// As above: the upload joins the log while the compaction begins, and its parts reach beyond the end of the
/// new file before anything is written there.
#[test]
fn upload_longer_than_the_smaller_file_ends_the_compaction() {
    let (mut process, slot) = started();
    let (writing, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    let pool = handle.pool().clone();
    let data = bytes(1, 1_183_621);
    let sent = data.clone();
    let ended = process.run(async move {
        let uploaded = upload(&writing, &pool, id(1), &sent, &[196_608]).await;
        let storing = Rc::clone(&writing);
        handle.spawn(async move {
            let (_upload, manifest) = uploaded.unwrap();
            storing.put(id(1), COOKIE, manifest, None).await.unwrap();
        });
        handle.yield_now().await;
        let smaller = CompactionOrder { size: 1 << 20, ..order() };
        writing.compact(&smaller, &|_| Ok(())).await
    });
    assert_eq!(ended, Err(NotCompacted::Outgrown));
    assert!(process.get(&slot, id(1)) == Ok(data));
    assert_eq!((slot.volume().generation(), names(&process)), (0, vec![OLD.to_owned()]));
}

#[test]
fn damage_list_survives_every_compaction() {
    let (mut process, slot) = started();
    let lost = bytes(1, 3000);
    process.put(&slot, id(1), &lost).unwrap();
    process.put(&slot, id(2), b"stays").unwrap();
    process.delete(&slot, id(1)).unwrap();
    process.close(&slot);
    let mut image = process.image();
    image.files.remove("1.0.ckpt");
    image.edit(OLD, |bytes| {
        let at = bytes.windows(64).position(|window| window == &lost[..64]).unwrap();
        bytes[at / 4096 * 4096..][..4096].fill(7);
    });
    let (mut process, mut slot) = reopened(&image, 0);
    let ranges = |slot: &Rc<Slot>| -> Vec<_> {
        slot.volume().damage().iter().map(|range| (range.at, range.id)).collect()
    };
    let damage = ranges(&slot);
    assert!(damage.iter().any(|(_, id)| id.is_none()), "{damage:?}");
    let owned = damage.iter().filter(|(_, id)| id.is_some()).count();
    for generation in 1..=3 {
        compact(&mut process, &slot).unwrap();
        let image = process.image();
        (process, slot) = reopened(&image, generation);
        assert_eq!(ranges(&slot).len() + owned, damage.len(), "generation {generation}");
        let headers = headers(&image, &format!("1.{generation}.vol"));
        let records = headers.iter().filter(|header| header.kind == Kind::DamagedRange);
        assert_eq!(records.count() + owned, damage.len(), "one record for each");
        assert_eq!(process.get(&slot, id(2)).unwrap(), b"stays");
        assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
    }
}

/// Length of the objects of [`compact_beside`].
const WRITTEN: usize = 30_000;

/// Compacts a volume while each of some writers replaces its object again and again, with a pause in between
/// (microseconds).
fn compact_beside(writers: u64, pause_us: u64, pace: Pace) -> Result<Compacted, NotCompacted> {
    const LARGE: u64 = 1 << 30;
    let mut process = Process::start(1, &Image::default(), &pool(96 << 20));
    process.create(LARGE);
    let slot = process.open_as(expected_of(0)).unwrap();
    let data = |key: u64, n: u64| bytes(n * 10_000 + key, WRITTEN);
    for key in 0..writers {
        process.put(&slot, id(key), &data(key, 0)).unwrap();
    }
    let (is_over, counts) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(BTreeMap::new())));
    let handle = process.runtime.handle().clone();
    for key in 0..writers {
        let (slot, handle) = (Rc::clone(&slot), handle.clone());
        let (is_over, counts) = (Rc::clone(&is_over), Rc::clone(&counts));
        process.runtime.handle().spawn(async move {
            let mut n = 0;
            while !is_over.get() {
                let pause = handle.random() % (2 * pause_us * 1000);
                handle.sleep_until(handle.now() + pause).await;
                n += 1;
                let draft = draft(handle.pool(), &data(key, n));
                slot.put(id(key), COOKIE, draft, None).await.unwrap();
                counts.borrow_mut().insert(key, n);
            }
        });
    }
    let (compacted, order) = (Rc::clone(&slot), CompactionOrder { size: LARGE, pace, ..order() });
    let done = process.run(async move {
        let done = compacted.compact(&order, &|_| Ok(())).await;
        is_over.set(true);
        handle.sleep_until(handle.now() + 1_000_000_000).await;
        done
    });
    let counts = counts.take();
    let written = |key: u64| (key, data(key, counts.get(&key).copied().unwrap_or(0)));
    let model = Model { objects: (0..writers).map(written).collect(), deleted: Vec::new() };
    model.check(&mut process, &slot);
    // Nothing delays writes any more.
    let began = process.world.now();
    process.put(&slot, id(0), b"soon").unwrap();
    assert!(process.world.now() - began < 2_000_000);
    done
}

#[test]
fn writers_that_outrun_the_copy_are_slowed() {
    let done = compact_beside(128, 1000, Pace::UNLIMITED).unwrap();
    assert!(done.rounds > 1, "{done:?}");
}

#[test]
fn writers_that_outrun_every_round_end_the_compaction() {
    let done = compact_beside(1000, 40_000, Pace::UNLIMITED);
    assert_eq!(done, Err(NotCompacted::TooManyWrites));
}

/// These writers are not slowed enough for this pace, and need not be when it is lifted.
#[test]
fn pace_is_lifted_when_writes_outrun_the_copy() {
    let done = compact_beside(16, 50_000, Pace::at_most(1 << 20)).unwrap();
    assert!(done.rounds > 1, "{done:?}");
}

/// Number of operations of a compaction, while requests are served from the disk of the new file or not.
fn operations(is_busy: bool) -> u64 {
    let (mut process, slot) = started();
    for key in 0..8 {
        process.put(&slot, id(key), &bytes(key, 500_000)).unwrap();
    }
    let handle = process.runtime.handle().clone();
    let limits = PaceLimits { min: 1 << 30, max: 1 << 40, transfer_max: 64 << 10 };
    let pace = Rc::new(SharedPace::new(&handle, limits, DiskLoad::new(1), 0));
    if is_busy {
        pace.waited(Waited::Read, handle.now());
    }
    let order = CompactionOrder { target_pace: Some(pace), ..order() };
    let before = process.world.operations();
    compact_as(&mut process, &slot, order).unwrap();
    process.world.operations() - before
}

#[test]
fn transfers_are_short_while_the_disk_serves_requests() {
    let (idle, busy) = (operations(false), operations(true));
    // Writes, and reading back.
    let short = 2 * (8 * 500_000 / 65_536);
    assert!(busy > idle + short / 2 && busy < idle + 2 * short, "{idle} {busy}");
}
