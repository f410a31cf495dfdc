//! Space that is reserved for uploads.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::volume::Refusal;

use super::{A, B, CHUNK, MIB, accounting, capacity, restarted, started};
use crate::common::{COOKIE, Process, bytes, draft, upload};

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
