//! Uploads that are abandoned, that end twice or that compete.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::volume::{GetError, Refusal};

use super::{A, CHUNK, MIB, accounting, capacity, restarted, started, started_with};
use crate::common::{COOKIE, Process, bytes, pool, upload};

/// Runs the simulation until `is_so` holds; panics after a simulated minute.
fn wait_until(process: &mut Process, what: &str, is_so: impl Fn() -> bool) {
    let deadline = process.world.now() + 60_000_000_000;
    while !is_so() {
        assert!(process.world.now() < deadline, "not within a minute: {what}");
        let handle = process.runtime.handle().clone();
        process.run(async move { handle.sleep_until(handle.now() + 1_000_000).await });
    }
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
