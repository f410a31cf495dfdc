//! Large bodies are stored and read.

use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::split_mix;
use hayloft::volume::{Check, GetError, Refusal, Slot};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    A, B, CHUNK, MIB, UNALIGNED, accounting, capacity, flipped, head, needles, overlap, pieces,
    random_range, restarted, started, started_with,
};
use crate::common::{COOKIE, Process, bytes, draft, pool, upload};

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
