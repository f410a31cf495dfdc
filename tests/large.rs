//! Large bodies, stored in the log as parts and a manifest: their guarantees without crashes, and under
//! single faults.

mod common;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use common::{COOKIE, Process, bytes, draft, pool, superblock, upload};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{
    Kind, NeedleHeader, NeedleLayout, Unreadable, decode_header, encode_chunk_table,
    encode_data_needle,
};
use hayloft::volume::{Check, Damage, Figures, GetError, Refusal, Slot};
use xxhash_rust::xxh3::xxh3_64;

const FILE: &str = "1.0.vol";
const EIO: i32 = 5;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 * KIB;
/// Part lengths (bytes), most of which are not multiples of a chunk or block.
const UNALIGNED: [u64; 4] = [70_000, MIB, CHUNK, 200_001];

const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);

fn started_with(pool: &Pool, size: u64) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(size);
    let volume = process.open().unwrap();
    (process, volume)
}

fn started() -> (Process, Rc<Slot>) {
    started_with(&pool(16 << 20), 16 << 20)
}

fn restarted(image: &Image) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, &pool(16 << 20));
    let volume = process.open().unwrap();
    (process, volume)
}

/// Runs the simulation until `is_so` holds; panics after a simulated minute.
fn wait_until(process: &mut Process, what: &str, is_so: impl Fn() -> bool) {
    let deadline = process.world.now() + 60_000_000_000;
    while !is_so() {
        assert!(process.world.now() < deadline, "not within a minute: {what}");
        let handle = process.runtime.handle().clone();
        process.run(async move { handle.sleep_until(handle.now() + 1_000_000).await });
    }
}

/// Space accounting: used, live and dead bytes, and the number of needles.
fn accounting(volume: &Slot) -> (u64, u64, u64, u64) {
    let Figures { used, live, dead, needles, .. } = volume.volume().figures();
    (used, live, dead, needles)
}

/// Longest body that would be admitted in the current state (bytes).
fn capacity(volume: &Rc<Slot>) -> u64 {
    let (mut fits, mut too_long) = (0, 1_u64 << 30);
    while too_long - fits > 1 {
        let len = u64::midpoint(fits, too_long);
        match volume.upload(A, COOKIE, len) {
            Ok(_) => fits = len,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Full);
                too_long = len;
            }
        }
    }
    fits
}

/// Parts of a body and their chunks, as ranges of the body. `lens`: lengths of the parts, repeated.
fn pieces(len: u64, lens: &[u64]) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let (mut parts, mut chunks) = (Vec::new(), Vec::new());
    let mut lens = lens.iter().cycle();
    let mut at = 0;
    while at < len {
        let part = at..len.min(at + lens.next().unwrap());
        at = part.end;
        chunks.extend(
            part.clone().step_by(CHUNK as usize).map(|start| start..part.end.min(start + CHUNK)),
        );
        parts.push(part);
    }
    (parts, chunks)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn random_range(seed: &mut u64, len: u64) -> Range<u64> {
    let start = split_mix(seed) % len;
    // Short ranges are as frequent as long ones.
    let most = (len - start).min([1, 100, CHUNK, len][(split_mix(seed) % 4) as usize]);
    start..start + 1 + split_mix(seed) % most
}

/// Needles of a volume file, with their offsets.
fn needles(image: &Image) -> Vec<(usize, NeedleHeader)> {
    let bytes = image.bytes(FILE);
    let units = (65_536..bytes.len() - 4096).step_by(512);
    let incarnation = superblock(0).incarnation;
    let header = |at: usize| decode_header(&bytes[at..], incarnation, at as u64);
    units.filter_map(|at| header(at).filter(|(_, back)| *back == 0).map(|(h, _)| (at, h))).collect()
}

fn first_of_kind(image: &Image, kind: Kind) -> (usize, NeedleHeader) {
    needles(image)
        .into_iter()
        .find(|(_, header)| header.kind == kind)
        .expect("a needle of this kind")
}

fn flipped(image: &Image, byte: usize) -> Image {
    let mut image = image.clone();
    image.file(FILE).flip(byte, byte as u32 % 8);
    image
}

fn head(process: &mut Process, volume: &Rc<Slot>, id: NeedleId) -> Result<(u64, u64), GetError> {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let needle = volume.head(id, COOKIE, |len| pool.alloc(len)).await?;
        assert!(needle.is_large && needle.data.is_empty());
        assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
        Ok((needle.body_len, needle.etag))
    })
}

#[test]
fn bodies_of_every_size_read_back_also_after_restart() {
    let sizes = [1, CHUNK - 1, CHUNK, CHUNK + 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 4 * MIB + 12_345];
    for lens in [&[MIB][..], &[CHUNK], &UNALIGNED] {
        let (mut process, volume) = started();
        let body = |n: usize| bytes(n as u64, sizes[n] as usize);
        let check = |process: &mut Process, volume: &Rc<Slot>| {
            for (n, &size) in sizes.iter().enumerate() {
                let id = NeedleId::new(n as u64, 3);
                assert!(process.get(volume, id).unwrap() == body(n), "{size} bytes");
                let tag = (size, xxh3_64(&body(n)));
                assert_eq!(head(process, volume, id), Ok(tag));
            }
        };
        for n in 0..sizes.len() {
            let id = NeedleId::new(n as u64, 3);
            let stored = process.put_large(&volume, id, &body(n), lens).unwrap();
            assert_eq!((stored.replaced, stored.etag), (false, xxh3_64(&body(n))));
        }
        check(&mut process, &volume);
        let before = accounting(&volume);
        let content: u64 = sizes.iter().sum();
        assert!(before.1 >= content && before.1 < content + content / 50, "{before:?}");
        let all: u64 = needles(&process.image()).iter().map(|(_, it)| it.layout().len as u64).sum();
        assert_eq!(before.1, all, "all parts and manifests are live");
        process.close(&volume);
        for image in [process.image(), flipped(&process.image(), 12_288)] {
            let (mut process, volume) = restarted(&image);
            assert_eq!(accounting(&volume), before);
            assert!(volume.volume().damage().is_empty());
            check(&mut process, &volume);
        }
    }
}

#[test]
fn body_of_64_mib_reads_back_after_restart() {
    let len = 64 * MIB;
    let (mut process, volume) = started_with(&pool(16 << 20), 80 << 20);
    let body = bytes(1, len as usize);
    process.put_large(&volume, A, &body, &[MIB]).unwrap();
    process.close(&volume);
    let before = accounting(&volume);
    let (mut process, volume) = restarted(&process.image());
    assert_eq!(accounting(&volume), before);
    assert!(process.get(&volume, A).unwrap() == body);
    let range = len - CHUNK - 5..len - 3;
    let within = range.start as usize..range.end as usize;
    assert!(process.get_large(&volume, A, range, CHUNK).unwrap() == body[within]);
}

#[test]
fn range_reads_only_the_chunks_it_overlaps() {
    let len = 3 * MIB + 77;
    let mut seed = 5;
    for lens in [&[MIB][..], &[CHUNK], &UNALIGNED] {
        let (mut process, volume) = started();
        let body = bytes(8, len as usize);
        process.put_large(&volume, A, &body, lens).unwrap();
        let (parts, chunks) = pieces(len, lens);
        let reads = |volume: &Slot| {
            let volume = volume.volume();
            let stats = volume.stats();
            (stats.get_reads.get(), stats.get_read_bytes.get())
        };
        // Cost of reading the manifest alone.
        let before = reads(&volume);
        assert_eq!(process.get_large(&volume, A, 7..7, CHUNK), Ok(Vec::new()));
        let manifest = (reads(&volume).0 - before.0, reads(&volume).1 - before.1);
        assert_eq!(manifest.0, 1);
        for _ in 0..200 {
            let range = random_range(&mut seed, len);
            let buffer = [CHUNK, 3 * CHUNK, MIB][(split_mix(&mut seed) % 3) as usize];
            let before = reads(&volume);
            let got = process.get_large(&volume, A, range.clone(), buffer).unwrap();
            assert!(got == body[range.start as usize..range.end as usize], "{range:?} {lens:?}");
            let count = reads(&volume).0 - before.0 - manifest.0;
            let read = reads(&volume).1 - before.1 - manifest.1;
            let touched = |within: &Range<u64>| {
                let within = chunks.iter().filter(|chunk| overlap(chunk, within));
                within.filter(|chunk| overlap(chunk, &range)).cloned().collect::<Vec<_>>()
            };
            let expected: u64 = parts
                .iter()
                .map(|part| (touched(part).len() as u64).div_ceil(buffer / CHUNK))
                .sum();
            let needed: u64 = touched(&(0..len)).iter().map(|chunk| chunk.end - chunk.start).sum();
            assert_eq!(count, expected, "{range:?} of {lens:?} with {buffer}");
            assert!(read >= needed && read < needed + count * 1024, "{range:?}: {read} bytes");
        }
    }
}

#[test]
fn read_beyond_the_end_of_a_body_fails() {
    let (mut process, volume) = started();
    process.put_large(&volume, A, &bytes(1, 100_000), &[CHUNK]).unwrap();
    let refused = process.get_large(&volume, A, 0..100_001, CHUNK);
    assert!(matches!(refused, Err(GetError::Unreadable(..))));
}

#[test]
fn small_and_large_bodies_replace_each_other() {
    let (mut process, volume) = started();
    process.put(&volume, B, b"beside it").unwrap();
    let alone = accounting(&volume).1;
    let check = |process: &mut Process, volume: &Rc<Slot>, body: Option<&[u8]>| {
        let live = accounting(volume).1 - alone;
        match body {
            Some(body) => {
                assert!(process.get(volume, A).unwrap() == body);
                let len = body.len() as u64;
                assert!(live >= len && live < len + len / 100 + 2048, "{len} bytes: {live}");
            }
            None => {
                assert_eq!(process.get(volume, A), Err(GetError::NotFound));
                assert_eq!(live, 0);
            }
        }
        assert_eq!(process.get(volume, B).unwrap(), b"beside it");
        let (mut process, again) = restarted(&process.image());
        assert_eq!(accounting(&again), accounting(volume));
        assert_eq!(process.get(&again, A).ok().as_deref(), body);
    };
    for n in 0..2u64 {
        for (step, len) in [300, 2 * MIB, 70_000, 3 * CHUNK, 5 * CHUNK + 1].into_iter().enumerate()
        {
            let body = bytes(n * 10 + len, len as usize);
            let stored = if step % 2 == 0 && len < MIB && step < 4 {
                process.put(&volume, A, &body).unwrap()
            } else {
                process.put_large(&volume, A, &body, &[100_000]).unwrap()
            };
            assert_eq!(stored.replaced, step > 0);
            check(&mut process, &volume, Some(&body));
        }
        process.delete(&volume, A).unwrap();
        check(&mut process, &volume, None);
    }
}

#[test]
fn wrong_cookie_reveals_and_changes_nothing() {
    let (mut process, volume) = started();
    let body = bytes(1, 100_000);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    let wrong = Cookie(COOKIE.0 ^ 1);
    assert_eq!(process.get_as(&volume, A, wrong), Err(GetError::NotFound));
    let (theirs, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let refused = process.run(async move {
        let (_upload, draft) =
            upload(&theirs, &pool, A, &bytes(2, 100_000), &[CHUNK]).await.unwrap();
        let refused = theirs.put(A, wrong, draft, None).await.map(drop);
        (theirs.may_put(A, wrong, None).await, refused, theirs.delete(A, wrong, None).await)
    });
    let conflict = Err(Refusal::Conflict);
    assert_eq!(refused, (conflict, conflict, Err(Refusal::NotFound)));
    assert!(process.get(&volume, A).unwrap() == body);
    assert_eq!(capacity(&volume), capacity(&restarted(&process.image()).1));
}

#[test]
fn conditions_see_the_etag_of_the_whole_body() {
    let (mut process, volume) = started();
    let body = bytes(1, 100_000);
    let tag = xxh3_64(&body);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    let (writer, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let same: Check<'_> = Some(&move |existing| existing.is_some_and(|e| e.etag == tag));
        let other: Check<'_> = Some(&move |existing| existing.is_none_or(|e| e.etag != tag));
        assert_eq!(writer.may_put(A, COOKIE, other).await, Err(Refusal::Precondition));
        let refused = writer.put(A, COOKIE, draft(&pool, b"new"), other).await;
        assert_eq!(refused, Err(Refusal::Precondition));
        assert_eq!(writer.may_put(A, COOKIE, same).await, Ok(()));
        assert!(writer.put(A, COOKIE, draft(&pool, b"new"), same).await.unwrap().replaced);
        assert_eq!(writer.delete(A, COOKIE, same).await, Err(Refusal::Precondition));
    });
    assert_eq!(process.get(&volume, A).unwrap(), b"new");
}

#[test]
fn abandoned_upload_leaves_only_dead_parts() {
    let (mut process, volume) = started();
    process.put(&volume, A, b"what was there").unwrap();
    let (room, before) = (capacity(&volume), accounting(&volume));
    let all = volume.upload(A, COOKIE, room).unwrap();
    assert_eq!(capacity(&volume), 0);
    assert!(!volume.volume().has_space_for(CHUNK));
    drop(all);
    assert_eq!((capacity(&volume), accounting(&volume)), (room, before));

    for settled in [false, true] {
        let before = accounting(&volume);
        let (abandoned, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
        process.run(async move {
            let mut upload = abandoned.upload(A, COOKIE, 5 * MIB).unwrap();
            for _ in 0..2 {
                let mut part = upload.part(&pool, upload.next_len(MIB)).unwrap();
                part.data_mut().fill(7);
                upload.add(part).await.unwrap();
            }
            if settled {
                upload.settle().await.unwrap();
            }
        });
        let is_dead = || accounting(&volume).2 >= before.2 + 2 * MIB;
        wait_until(&mut process, "the parts are written, and dead", is_dead);
        assert_eq!(process.get(&volume, A).unwrap(), b"what was there");
        let after = accounting(&volume);
        assert_eq!((after.1, after.3), (before.1, before.3), "live, needles");
        let (mut process, again) = restarted(&process.image());
        assert_eq!(accounting(&again), after);
        assert_eq!(capacity(&again), capacity(&volume));
        assert_eq!(process.get(&again, A).unwrap(), b"what was there");
    }
}

#[test]
fn abandoned_manifest_releases_its_reservation() {
    let (mut process, volume) = started();
    let (writer, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let (kept, draft) = process
        .run(async move { upload(&writer, &pool, A, &bytes(1, 3 << 20), &[MIB]).await.unwrap() });
    drop(draft);
    assert!(capacity(&volume) < capacity(&restarted(&process.image()).1));
    drop(kept);
    assert_eq!(process.get(&volume, A), Err(GetError::NotFound));
    assert_eq!(accounting(&volume).1, 0);
    assert_eq!(capacity(&volume), capacity(&restarted(&process.image()).1));
}

#[test]
fn finish_can_be_retried_after_no_buffer() {
    let (mut process, volume) = started();
    let pool = process.runtime.handle().pool().clone();
    let body = bytes(1, 100_000);
    let (writer, wanted) = (Rc::clone(&volume), body.clone());
    process.run(async move {
        let (upload, first) = upload(&writer, &pool, A, &body, &[CHUNK]).await.unwrap();
        drop(first);
        let full: Vec<_> = std::iter::from_fn(|| pool.alloc(1)).collect();
        let refused = upload.finish(&pool, None).await.err();
        assert_eq!(refused, Some(Refusal::NoBuffer));
        drop(full);
        let again = upload.finish(&pool, Some(b"image/jpeg")).await.unwrap();
        writer.put(A, COOKIE, again, None).await.unwrap();
    });
    assert!(process.get(&volume, A).unwrap() == wanted);
}

#[test]
#[should_panic(expected = "an empty body has no parts")]
fn upload_of_an_empty_body_panics() {
    let (_process, volume) = started();
    let _ = volume.upload(A, COOKIE, 0);
}

#[test]
fn last_upload_to_finish_wins() {
    for seed in 0..10 {
        let pool = pool(16 << 20);
        let (mut process, volume) = started_with(&pool, 16 << 20);
        process.runtime.shuffle(seed);
        let handle = process.runtime.handle().clone();
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..3u64 {
            let (volume, pool, order) = (Rc::clone(&volume), pool.clone(), Rc::clone(&order));
            handle.spawn(async move {
                let body = bytes(n, 300_000 + n as usize);
                let (_upload, draft) = upload(&volume, &pool, A, &body, &[80_000]).await.unwrap();
                let stored = volume.put(A, COOKIE, draft, None).await.unwrap();
                assert_eq!(stored.replaced, !order.borrow().is_empty());
                order.borrow_mut().push(n);
            });
        }
        wait_until(&mut process, "all are stored", || order.borrow().len() == 3);
        let last = *order.borrow().last().unwrap();
        assert!(process.get(&volume, A).unwrap() == bytes(last, 300_000 + last as usize));
        let before = accounting(&volume);
        assert_eq!(accounting(&restarted(&process.image()).1), before);
    }
}

#[test]
fn upload_that_cannot_fit_is_refused_before_its_first_part() {
    let (mut process, volume) = started();
    assert_eq!(volume.upload(A, COOKIE, 16 << 20).err(), Some(Refusal::Full));
    process.put_large(&volume, A, &bytes(1, 10 << 20), &[MIB]).unwrap();
    let before = accounting(&volume);
    let refused = process.put_large(&volume, B, &bytes(1, 5 << 20), &[MIB]);
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!(accounting(&volume), before, "no part was written");
    process.put_large(&volume, B, &bytes(1, 3 << 20), &[MIB]).unwrap();
}

/// Concurrent operations on the volume during an upload.
#[derive(Clone, Copy)]
struct Load {
    fills: bool,
    deletes: bool,
}

/// Uploads a body in parts of `part` bytes while other operations use up the available space.
fn upload_under_load(load: Load, part: u64) {
    const DELETES: u64 = 120;
    let (mut process, volume) = started();
    for n in 0..DELETES {
        process.put(&volume, NeedleId::new(n, 1), b"to be deleted").unwrap();
    }
    let body = bytes(1, 7_000_000);
    let mut upload = volume.upload(A, COOKIE, body.len() as u64).unwrap();
    let (mut filled, mut deleted) = (0, 0);
    let mut apply_load = |process: &mut Process| {
        if load.fills {
            for len in [1 << 20, 1 << 17, 1 << 14, 1 << 12, 0] {
                while process.put(&volume, NeedleId::new(filled, 2), &bytes(filled, len)).is_ok() {
                    filled += 1;
                }
            }
        }
        if load.deletes && deleted < DELETES {
            process.delete(&volume, NeedleId::new(deleted, 1)).unwrap();
            deleted += 1;
        }
    };
    let pool = process.runtime.handle().pool().clone();
    let mut rest = &body[..];
    while !rest.is_empty() {
        apply_load(&mut process);
        let mut draft = upload.part(&pool, upload.next_len(part)).unwrap();
        let now;
        (now, rest) = rest.split_at(draft.data_len());
        draft.data_mut().copy_from_slice(now);
        let added;
        (upload, added) = process.add(upload, draft);
        assert_eq!(added, Ok(()), "parts of {part}, {} bytes to come", rest.len());
        upload = process.run(async move {
            upload.settle().await.unwrap();
            upload
        });
    }
    apply_load(&mut process);
    let room = pool.clone();
    let (draft, upload) = process.run(async move {
        let draft = upload.finish(&room, Some(b"image/jpeg")).await;
        (draft.unwrap(), upload)
    });
    apply_load(&mut process);
    let storing = Rc::clone(&volume);
    let stored = process.run(async move { storing.put(A, COOKIE, draft, None).await });
    assert!(stored.is_ok(), "parts of {part}: {stored:?}");
    drop(upload);
    assert!(process.get(&volume, A).unwrap() == body);
    apply_load(&mut process);
    assert_eq!(capacity(&volume), capacity(&restarted(&process.image()).1));
}

#[test]
fn writes_do_not_consume_the_reservation_of_an_upload() {
    for part in [CHUNK, MIB, CHUNK + 313] {
        upload_under_load(Load { fills: true, deletes: false }, part);
    }
}

#[test]
fn deletes_do_not_consume_the_reservation_of_an_upload() {
    for part in [CHUNK, MIB, CHUNK + 313] {
        upload_under_load(Load { fills: true, deletes: true }, part);
    }
}

#[test]
fn reservation_is_released_when_parts_are_refused_as_read_only() {
    let (mut process, volume) = started();
    let pool = process.runtime.handle().pool().clone();
    let before = capacity(&volume);
    let set = |process: &mut Process, read_only| {
        let volume = Rc::clone(&volume);
        process.run(async move { volume.set_read_only(read_only).await }).unwrap();
    };
    for _ in 0..4 {
        let upload = volume.upload(A, COOKIE, 3 * MIB).unwrap();
        set(&mut process, true);
        assert_eq!(volume.upload(B, COOKIE, MIB).err(), Some(Refusal::ReadOnly));
        let part = upload.part(&pool, upload.next_len(MIB)).unwrap();
        let (upload, added) = process.add(upload, part);
        assert_eq!(added, Err(Refusal::ReadOnly));
        drop(upload);
        set(&mut process, false);
    }
    assert_eq!(capacity(&volume), before);
    // The same for the manifest.
    let (storing, buffers) = (Rc::clone(&volume), pool);
    let put = process.run(async move {
        let uploaded = upload(&storing, &buffers, A, &bytes(1, 200_000), &[MIB]).await;
        let (_upload, manifest) = uploaded.unwrap();
        storing.set_read_only(true).await.unwrap();
        storing.put(A, COOKIE, manifest, None).await.map(drop)
    });
    assert_eq!(put, Err(Refusal::ReadOnly));
    set(&mut process, false);
    assert_eq!(capacity(&volume), capacity(&restarted(&process.image()).1));
}

#[test]
fn writes_to_a_closed_volume_are_refused_as_closing() {
    let (mut process, volume) = started();
    let pool = process.runtime.handle().pool().clone();
    let upload = volume.upload(A, COOKIE, MIB).unwrap();
    let part = upload.part(&pool, upload.next_len(MIB)).unwrap();
    process.close(&volume);
    assert_eq!(process.add(upload, part).1, Err(Refusal::Closing));
    let draft = draft(&pool, b"late");
    let putting = Rc::clone(&volume);
    let put = process.run(async move { putting.put(B, COOKIE, draft, None).await.map(drop) });
    assert_eq!(put, Err(Refusal::Closing));
}

#[test]
fn failed_write_of_an_upload_poisons_and_publishes_nothing() {
    for fault in [Fault::Errno(EIO), Fault::Short(512), Fault::Short(0)] {
        // The first commit of parts, a later one, the commit of the manifest.
        for operation in [0, 1, 2] {
            let (mut process, volume) = started();
            process.world.fail(operation, fault);
            let failed = process.put_large(&volume, A, &bytes(1, 400_000), &[100_000]);
            assert!(matches!(failed, Err(Refusal::Failed(_))), "{failed:?}");
            assert!(volume.volume().poisoned());
            assert_eq!(volume.upload(A, COOKIE, 1).err(), Some(Refusal::Poisoned));
            assert_eq!(process.get(&volume, A), Err(GetError::NotFound));
            assert_eq!(accounting(&volume).1, 0);
            let writes = volume.volume().stats().durable_writes.get();
            process.close(&volume);
            assert_eq!(volume.volume().stats().durable_writes.get(), writes);
            let (mut process, volume) = restarted(&process.image());
            assert_eq!(process.get(&volume, A), Err(GetError::NotFound));
            assert!(volume.volume().damage().is_empty());
            process.put_large(&volume, A, &bytes(2, 400_000), &[100_000]).unwrap();
            assert!(process.get(&volume, A).unwrap() == bytes(2, 400_000));
        }
    }
}

#[test]
fn upload_is_refused_after_another_write_failed() {
    let (mut process, volume) = started();
    let (writer, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let mut upload = volume.upload(A, COOKIE, 3 * CHUNK).unwrap();
    let part = upload.part(&pool, CHUNK).unwrap();
    let upload = process.run(async move {
        upload.add(part).await.unwrap();
        upload.settle().await.unwrap();
        upload
    });
    process.world.fail(0, Fault::Errno(EIO));
    assert!(process.put(&volume, B, b"lost?").is_err());
    let part = upload.part(&pool, CHUNK).unwrap();
    let (upload, added) = process.add(upload, part);
    assert_eq!(added, Err(Refusal::Poisoned));
    drop(upload);
    assert_eq!(process.get(&writer, A), Err(GetError::NotFound));
}

#[test]
fn damaged_chunk_fails_only_the_reads_that_overlap_it() {
    let lens = [200_000, CHUNK, 300_001];
    let len = 800_000;
    let body = bytes(9, len);
    let (mut process, volume) = started();
    process.put_large(&volume, A, &body, &lens).unwrap();
    process.close(&volume);
    let image = process.image();
    let (_, chunks) = pieces(len as u64, &lens);
    assert_eq!(chunks.len(), 4 + 1 + 5 + 4 + 1);
    let mut seed = 3;
    for (n, chunk) in chunks.iter().enumerate() {
        let wanted = &body[chunk.start as usize..chunk.start as usize + 32];
        let at = image.bytes(FILE).windows(32).position(|window| window == wanted).unwrap();
        let within = split_mix(&mut seed) % (chunk.end - chunk.start);
        let (mut process, volume) = restarted(&flipped(&image, at + within as usize));
        assert!(
            volume.volume().damage().is_empty(),
            "recovery does not read bodies below the tail hint"
        );
        let ranges: Vec<Range<u64>> = (0..40)
            .map(|_| random_range(&mut seed, len as u64))
            .chain(chunks.iter().cloned())
            .chain([0..len as u64, 0..chunk.start, chunk.end..len as u64])
            .collect();
        for range in ranges {
            for buffer in [CHUNK, MIB] {
                let got = process.get_large(&volume, A, range.clone(), buffer);
                if overlap(&range, chunk) {
                    let what = Damage::Checksum(Unreadable::Chunk(n));
                    assert_eq!(got, Err(GetError::Unreadable(A, what)), "{range:?} of {chunk:?}");
                } else {
                    let wanted = &body[range.start as usize..range.end as usize];
                    assert!(got.unwrap() == wanted, "{range:?} beside {chunk:?}");
                }
            }
        }
        assert!(volume.volume().stats().damaged_reads.get() > 0);
    }
}

#[test]
fn body_is_readable_with_damaged_part_header_or_footer() {
    let (mut process, volume) = started();
    let body = bytes(1, 300_000);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    process.close(&volume);
    let image = process.image();
    let (part, header) = first_of_kind(&image, Kind::Part);
    let footer = part + header.layout().len - 1;
    for (byte, reported) in [(part, 1), (footer, 0)] {
        let (mut process, volume) = restarted(&flipped(&image, byte));
        assert_eq!(volume.volume().damage().len(), reported);
        assert!(process.get(&volume, A).unwrap() == body);
    }
}

#[test]
fn damaged_manifest_is_unreadable_and_can_be_replaced() {
    let (mut process, volume) = started();
    let body = bytes(1, 300_000);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    process.put(&volume, B, b"beside it").unwrap();
    process.close(&volume);
    let image = process.image();
    let (at, header) = first_of_kind(&image, Kind::Manifest);
    let layout: NeedleLayout = header.layout();
    let table = layout.data_start - 8;
    let front = [
        (at + 30, Unreadable::Header),
        (at + 84, Unreadable::Header),
        (at + 130, Unreadable::Meta),
        (at + table, Unreadable::Meta),
    ];
    let data = layout.data_range();
    let data = [at + data.start, at + data.end - 1].map(|byte| (byte, Unreadable::Chunk(0)));
    for (byte, what) in front.into_iter().chain(data) {
        let (mut process, volume) = restarted(&flipped(&image, byte));
        let unreadable = GetError::Unreadable(A, Damage::Checksum(what));
        assert_eq!(process.get(&volume, A), Err(unreadable));
        // A HEAD reads no data.
        let tag = (body.len() as u64, xxh3_64(&body));
        let expected = if matches!(what, Unreadable::Chunk(_)) { Ok(tag) } else { Err(unreadable) };
        assert_eq!(head(&mut process, &volume, A), expected);
        assert_eq!(process.get(&volume, B).unwrap(), b"beside it");

        assert!(process.put_large(&volume, A, b"healed", &[MIB]).unwrap().replaced);
        assert_eq!(process.get(&volume, A).unwrap(), b"healed");
        let before = accounting(&volume);
        let (mut process, volume) = restarted(&process.image());
        assert_eq!(accounting(&volume), before);
        assert_eq!(process.get(&volume, A).unwrap(), b"healed");
    }
}

#[test]
fn short_part_read_continues_and_failed_one_is_retried_once() {
    let (mut process, volume) = started();
    let body = bytes(1, 200_000);
    process.put_large(&volume, A, &body, &[MIB]).unwrap();
    // Operation 0 reads the manifest.
    for fault in [Fault::Short(700), Fault::Errno(EIO)] {
        process.world.fail(1, fault);
        assert!(process.get(&volume, A).unwrap() == body);
    }
    process.world.fail(1, Fault::Errno(EIO));
    process.world.fail(2, Fault::Errno(EIO));
    let failed = process.get(&volume, A);
    assert!(matches!(failed, Err(GetError::Unreadable(A, Damage::Io(_)))), "{failed:?}");
    assert!(process.get(&volume, A).unwrap() == body);
}

#[test]
fn chunk_sized_buffers_suffice_for_upload_and_read() {
    let small = pool(3 << 20);
    let (mut process, volume) = started_with(&small, 16 << 20);
    // Fragments the pool: every other run of a chunk and its overhead is free, so that no longer run is.
    let run = (CHUNK + 4096) as usize;
    let mut runs = Vec::new();
    while let Some(buf) = small.alloc(run) {
        runs.push(buf);
    }
    let mut pages = Vec::new();
    while let Some(buf) = small.alloc(4096) {
        pages.push(buf);
    }
    let mut n = 0_u32;
    runs.retain(|_| {
        n += 1;
        !n.is_multiple_of(2) || n > 12
    });
    assert!(small.alloc(2 * run).is_none() && small.alloc(run).is_some());
    let upload = volume.upload(A, COOKIE, 2 * MIB).unwrap();
    assert!(upload.part(&small, upload.next_len(MIB)).is_none());
    assert!(upload.part(&small, upload.next_len(0)).is_some(), "a part is at least one chunk");
    drop(upload);
    let body = bytes(4, 2 << 20);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    let got = process.get_large(&volume, A, 0..2 * MIB, CHUNK).unwrap();
    assert!(got == body);
    drop(pages);
}

/// A manifest with valid checksums but impossible values is handled like a damaged one.
#[test]
fn manifest_with_impossible_values_is_unreadable() {
    let (mut process, volume) = started();
    process.put_large(&volume, A, &bytes(1, 300_000), &[CHUNK]).unwrap();
    process.put(&volume, B, b"beside it").unwrap();
    process.close(&volume);
    let image = process.image();
    let (at, header) = first_of_kind(&image, Kind::Manifest);
    let (layout, incarnation) = (header.layout(), superblock(0).incarnation);
    // Offset of the field in the manifest: 0 number of parts, 4 number of chunks, 8 offset and 16 length of
    // the first part.
    let forged: [(usize, u64); 8] = [
        (0, 0),
        (0, 1000),
        (4, 1000),
        (8, u64::MAX - 511),
        (8, 16 << 20),
        (8, 65_537),
        (16, 0),
        (16, CHUNK + 1),
    ];
    for (field, value) in forged {
        let mut image = image.clone();
        image.edit(FILE, |file| {
            let needle = &mut file[at..at + layout.len];
            let value = value.to_le_bytes();
            let field = layout.data_start + field..;
            let len = if field.start == layout.data_start + 8 { 8 } else { 4 };
            needle[field][..len].copy_from_slice(&value[..len]);
            encode_chunk_table(needle, &layout);
            encode_data_needle(&header, incarnation, at as u64, needle);
        });
        let (mut process, volume) = restarted(&image);
        let unreadable = Err(GetError::Unreadable(A, Damage::Checksum(Unreadable::Meta)));
        assert_eq!(process.get(&volume, A), unreadable, "{value} at {field}");
        assert_eq!(process.get_large(&volume, A, 0..1, CHUNK), unreadable, "{value} at {field}");
        assert_eq!(process.get(&volume, B).unwrap(), b"beside it");
        process.put(&volume, A, b"healed").unwrap();
    }
}
