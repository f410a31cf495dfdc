//! Compaction on the simulated disk: what lives is in the next generation, and nothing else.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    BodyError, CompactionOrder, Draft, Expected, NewNeedle, NotCompacted, Refusal, Slot,
    StateError, SuperblockState, Upload, WriteState,
};

use crate::common::{COOKIE, Process, bytes, draft, pool, read_large, upload};
use crate::compaction_support::{
    Model, NEW, OLD, SIZE, compact, compact_as, expected_of, filled, id, names, order, reopened,
    started,
};

#[test]
fn everything_that_lives_is_in_the_next_generation_and_nothing_else() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let before = slot.volume().figures();
    let done = compact(&mut process, &slot).unwrap();
    model.check(&mut process, &slot);
    let after = slot.volume().figures();
    assert_eq!(after.live, before.live);
    assert!(after.used < before.used && after.dead < 200_000, "{before:?} {after:?}");
    assert_eq!((done.used_before, done.used_after), (before.used, after.used));
    assert_eq!(done.carried.damaged + done.carried.lost, 0);
    assert_eq!(names(&process), ["1.1.ckpt", NEW]);

    for close in [false, true] {
        if close {
            process.close(&slot);
        }
        let (mut process, slot) = reopened(&process.image(), 1);
        assert!(slot.volume().damage().is_empty());
        assert_eq!(slot.volume().figures().checkpoint.discarded, 0);
        model.check(&mut process, &slot);
        let mut image = process.image();
        image.files.remove("1.1.ckpt");
        let (mut process, slot) = reopened(&image, 1);
        model.check(&mut process, &slot);
    }
}

#[test]
fn compactions_follow_each_other() {
    let (mut process, slot) = started();
    let mut model = filled(&mut process, &slot);
    for round in 1..=4 {
        compact(&mut process, &slot).unwrap();
        model.check(&mut process, &slot);
        model.put(&mut process, &slot, 100 + round, bytes(round, 100_000));
        model.put(&mut process, &slot, 2, bytes(round, 1_300_000));
        model.delete(&mut process, &slot, 100 + round);
        let (mut again, reopened) = reopened(&process.image(), round);
        model.check(&mut again, &reopened);
    }
}

#[test]
fn writes_while_a_volume_is_compacted_are_in_the_next_generation() {
    for seed in 0..20 {
        let (mut process, slot) = started();
        let mut model = filled(&mut process, &slot);
        let (handle, clients) =
            (process.runtime.handle().clone(), process.runtime.handle().pool().clone());
        let results = Rc::new(RefCell::new(Vec::new()));
        for n in 0..30 {
            let (slot, handle, pool) = (Rc::clone(&slot), handle.clone(), clients.clone());
            let results = Rc::clone(&results);
            let key = (n * 7 + seed) % 26;
            process.runtime.handle().spawn(async move {
                let wait = handle.random() % 60_000_000;
                handle.sleep_until(handle.now() + wait).await;
                let data = bytes(1000 + n, usize::try_from(handle.random() % 200_000).unwrap());
                match n % 4 {
                    3 => {
                        let keys = [key, 27 + key, (key + 5) % 26];
                        let named = keys.map(|key| (id(key), COOKIE));
                        let existed = slot.delete_all(&named, None).await.unwrap();
                        assert!(!existed[1]);
                        results.borrow_mut().extend([(keys[0], None), (keys[2], None)]);
                    }
                    0 => {
                        let deleted = slot.delete(id(key), COOKIE, None).await;
                        assert!(matches!(deleted, Ok(()) | Err(Refusal::NotFound)), "{deleted:?}");
                        results.borrow_mut().push((key, None));
                    }
                    1 if !data.is_empty() => {
                        let (_upload, manifest) =
                            upload(&slot, &pool, id(key), &data, &[70_000]).await.unwrap();
                        slot.put(id(key), COOKIE, manifest, None).await.unwrap();
                        results.borrow_mut().push((key, Some(data)));
                    }
                    _ => {
                        let draft = draft(&pool, &data);
                        slot.put(id(key), COOKIE, draft, None).await.unwrap();
                        results.borrow_mut().push((key, Some(data)));
                    }
                }
            });
        }
        compact(&mut process, &slot).unwrap();
        let rest = handle.clone();
        process.run(async move { rest.sleep_until(rest.now() + 1_000_000_000).await });
        for (key, data) in results.take() {
            match data {
                Some(data) => drop(model.objects.insert(key, data)),
                None => {
                    model.objects.remove(&key);
                    model.deleted.push(key);
                }
            }
        }
        model.check(&mut process, &slot);
        let (mut process, slot) = reopened(&process.image(), 1);
        model.check(&mut process, &slot);
    }
}

#[test]
fn a_long_download_goes_on_in_the_next_generation() {
    let (mut process, slot) = started();
    let data = bytes(5, 3_000_000);
    process.put(&slot, id(1), &bytes(1, 100_000)).unwrap();
    process.put_large(&slot, id(2), &data, &[1 << 20]).unwrap();
    process.delete(&slot, id(1)).unwrap();
    let (reading, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let wanted = data.clone();
    process.run(async move {
        let manifest = reading.get(id(2), COOKIE, |len| pool.alloc(len)).await.unwrap();
        let len = manifest.body_len;
        let mut body = reading.body((id(2), COOKIE), manifest, 0..len).await.unwrap();
        let (mut read, mut pieces) = (Vec::new(), 0);
        while body.remaining() > 0 {
            let buf = pool.alloc(hayloft::volume::Body::buffer_len(1 << 16)).unwrap();
            let (buf, at) = reading.read_body(&mut body, buf).await.unwrap();
            read.extend_from_slice(&buf[at]);
            pieces += 1;
            if pieces == 3 {
                reading.compact(&order(), &|_| Ok(())).await.unwrap();
            }
        }
        assert!(read == wanted);
        // A manifest of the old generation still opens the body.
        let manifest = reading.get(id(2), COOKIE, |len| pool.alloc(len)).await.unwrap();
        reading.compact(&order(), &|_| Ok(())).await.unwrap();
        let all = read_large(&reading, &pool, id(2), manifest, 0..len, 1 << 20).await.unwrap();
        assert!(all == wanted);
    });
    assert!(!process.image().files.contains_key(OLD));
}

/// What a manifest of an earlier generation says of an object that changed since: that it is absent would be
/// wrong, since it may have been replaced.
#[test]
fn a_body_that_changed_since_its_manifest_was_read_is_not_absent() {
    type Change = fn(&mut Process, &Rc<Slot>) -> Result<(), Refusal>;
    let changes: [Change; 3] = [
        |process, slot| process.put(slot, id(2), b"short").map(|_| ()),
        |process, slot| {
            process.put_large(slot, id(2), &bytes(6, 9_000_000), &[1 << 20]).map(|_| ())
        },
        |process, slot| process.delete(slot, id(2)),
    ];
    for change in changes {
        let (mut process, slot) = started();
        process.put_large(&slot, id(2), &bytes(5, 1_300_000), &[1 << 20]).unwrap();
        let (reading, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
        let read = async move { reading.get(id(2), COOKIE, |len| pool.alloc(len)).await };
        let manifest = process.run(read).unwrap();
        compact(&mut process, &slot).unwrap();
        change(&mut process, &slot).unwrap();
        let (reading, len) = (Rc::clone(&slot), manifest.body_len);
        let opened =
            process.run(async move { reading.body((id(2), COOKIE), manifest, 0..len).await });
        assert_eq!(opened.map(drop), Err(BodyError::Changed));
    }
}

/// The generation that a start serves, if its file is whole.
fn surviving(image: &Image) -> u64 {
    let mut process = Process::start(3, image, &pool(32 << 20));
    match process.open_as(expected_of(1)) {
        Ok(_) => 1,
        Err(_) => 0,
    }
}

/// Cuts the power at every event of a compaction beside which writes arrive: whichever generation counts, it
/// has everything that was acknowledged, and nothing that was deleted.
#[test]
fn power_cut_at_any_event_loses_nothing_and_restores_nothing() {
    let (mut old, mut new, mut states) = (0, 0, 0);
    for seed in 0..6_u64 {
        let mut process = Process::start(seed, &Image::default(), &pool(32 << 20));
        process.create(8 << 20);
        let slot = process.open_as(expected_of(0)).unwrap();
        let mut model = Model::default();
        for key in 0..12 {
            model.put(&mut process, &slot, key, bytes(key, 300 + 9000 * (key as usize % 4)));
        }
        model.put(&mut process, &slot, 20, bytes(20, 1_200_000));
        for key in [2, 5, 8] {
            model.delete(&mut process, &slot, key);
        }
        // What is acknowledged, as it changes with time.
        let acknowledged = Rc::new(RefCell::new(model.objects.clone()));
        let cuts = Rc::new(RefCell::new(Vec::new()));
        let (sink, seen) = (Rc::clone(&cuts), Rc::clone(&acknowledged));
        process.world.on_event(move |snapshot| {
            sink.borrow_mut().push((snapshot.wreck(), seen.borrow().clone()));
        });
        let handle = process.runtime.handle().clone();
        for n in 0..6_u64 {
            let (slot, handle, told) = (Rc::clone(&slot), handle.clone(), Rc::clone(&acknowledged));
            process.runtime.handle().spawn(async move {
                let wait = handle.random() % 20_000_000;
                handle.sleep_until(handle.now() + wait).await;
                // Each key is written once, so that its two states are before and after.
                let key = n;
                if n % 2 == 0 && slot.delete(id(key), COOKIE, None).await.is_ok() {
                    told.borrow_mut().remove(&key);
                } else if n % 2 == 1 {
                    let data = bytes(500 + n, 4000);
                    let draft = draft(handle.pool(), &data);
                    slot.put(id(key), COOKIE, draft, None).await.unwrap();
                    told.borrow_mut().insert(key, data);
                }
            });
        }
        compact_as(&mut process, &slot, CompactionOrder { size: 8 << 20, ..order() }).unwrap();
        let last = acknowledged.borrow().clone();
        let every = 1 + cuts.borrow().len() / 150;
        for (n, (wreck, told)) in cuts.take().into_iter().enumerate() {
            if n % every != 0 {
                continue;
            }
            for changes in [0, wreck.changes()] {
                let image = wreck.image(|loose| (loose * 7 + n) % 3 != 0, changes);
                let generation = surviving(&image);
                *(if generation == 1 { &mut new } else { &mut old }) += 1;
                states += 1;
                let (mut process, slot) = reopened(&image, generation);
                for key in 0..21 {
                    let got = process.get(&slot, id(key)).ok();
                    let (before, after) = (told.get(&key), last.get(&key));
                    assert!(
                        got.as_ref() == before || got.as_ref() == after,
                        "seed {seed}, event {n}, {changes} changes, object {key} in generation {generation}"
                    );
                }
            }
        }
    }
    assert!(
        old > 100 && new > 20,
        "{old} of {states} states are of the old generation, {new} of the new"
    );
}

#[test]
fn uploads_and_batches_under_way_end_in_the_next_generation() {
    let (mut process, slot) = started();
    let mut model = filled(&mut process, &slot);
    let (data, other) = (bytes(9, 2_000_000), bytes(10, 1_500_000));
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let (sent, batched) = (data.clone(), other.clone());
    process.run(async move {
        let mut upload = storing.upload(id(50), COOKIE, sent.len() as u64).unwrap();
        let (batch, manifest) = upload_of(&storing, &pool, &batched).await;
        for round in 0..2 {
            for bytes in sent[round * 1_000_000..(round + 1) * 1_000_000].chunks(200_000) {
                let mut part = upload.part(&pool, 200_000).unwrap();
                part.data_mut().copy_from_slice(bytes);
                upload.add(part).await.unwrap();
            }
            // The last part may still be in its commit.
            storing.compact(&order(), &|_| Ok(())).await.unwrap();
        }
        let needles = vec![
            NewNeedle { id: id(51), cookie: COOKIE, draft: manifest },
            NewNeedle { id: id(52), cookie: COOKIE, draft: draft(&pool, b"beside it") },
        ];
        storing.put_batch(needles, None).await.unwrap();
        drop(batch);
        let manifest = upload.finish(&pool, Some(b"image/jpeg")).await.unwrap();
        storing.put(id(50), COOKIE, manifest, None).await.unwrap();
    });
    model.objects.insert(50, data);
    model.objects.insert(51, other);
    model.objects.insert(52, b"beside it".to_vec());
    model.check(&mut process, &slot);
    compact(&mut process, &slot).unwrap();
    model.check(&mut process, &slot);
    let (mut process, slot) = reopened(&process.image(), 3);
    model.check(&mut process, &slot);
}

async fn upload_of(slot: &Rc<Slot>, pool: &Pool, data: &[u8]) -> (Upload, Draft) {
    upload(slot, pool, id(51), data, &[400_000]).await.unwrap()
}

#[test]
fn parts_of_an_upload_that_ends_without_an_object_are_not_carried_over_again() {
    let (mut process, slot) = started();
    process.put(&slot, id(1), b"stays").unwrap();
    let upload = slot.upload(id(2), COOKIE, 3_000_000).unwrap();
    let part = upload.part(process.runtime.handle().pool(), 1 << 20).unwrap();
    let (upload, added) = process.add(upload, part);
    added.unwrap();
    compact(&mut process, &slot).unwrap();
    assert!(slot.volume().figures().used > 1 << 20, "the part is carried over");
    drop(upload);
    compact(&mut process, &slot).unwrap();
    let figures = slot.volume().figures();
    assert!(figures.used < 100_000, "{figures:?}");
    slot.expect_rest();
}

#[test]
fn state_of_a_volume_is_that_of_its_next_generation() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let set = |process: &mut Process, read_only| -> Result<(), StateError> {
        let slot = Rc::clone(&slot);
        process.run(async move { slot.set_read_only(read_only).await })
    };
    set(&mut process, true).unwrap();
    compact(&mut process, &slot).unwrap();
    assert_eq!(slot.volume().superblock_state(), SuperblockState::ReadOnly);
    assert_eq!(process.put(&slot, id(90), b"x"), Err(Refusal::ReadOnly));
    let (_, again) = reopened(&process.image(), 1);
    assert_eq!(again.volume().superblock_state(), SuperblockState::ReadOnly);
    set(&mut process, false).unwrap();
    compact(&mut process, &slot).unwrap();
    let (mut process, slot) = reopened(&process.image(), 2);
    model.check(&mut process, &slot);
    process.put(&slot, id(90), b"x").unwrap();
}

#[test]
fn a_volume_gets_another_size_if_what_lives_fits() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    for (round, size) in [(1, 128 << 20), (2, 32 << 20)] {
        compact_as(&mut process, &slot, CompactionOrder { size, ..order() }).unwrap();
        assert_eq!(slot.volume().figures().size, size);
        model.check(&mut process, &slot);
        let (mut again, reopened) = reopened(&process.image(), round);
        model.check(&mut again, &reopened);
    }
    let refused = compact_as(&mut process, &slot, CompactionOrder { size: 4 << 20, ..order() });
    assert!(matches!(refused, Err(NotCompacted::TooSmall { .. })), "{refused:?}");
    model.check(&mut process, &slot);
}

#[test]
fn a_full_volume_opens_again_with_a_twentieth_free() {
    const LEN: usize = 1 << 20;
    let (mut process, slot) = started();
    let mut key = 0;
    while !slot.volume().is_full() {
        process.put(&slot, id(key), &bytes(key, LEN)).unwrap();
        key += 1;
    }
    // A twentieth of 64 MiB are 3.2 MiB.
    for (deleted, expected) in [(0..2, WriteState::Full), (2..5, WriteState::Writable)] {
        for key in deleted {
            process.delete(&slot, id(key)).unwrap();
        }
        compact(&mut process, &slot).unwrap();
        assert!(slot.volume().has_space_for(LEN as u64));
        assert_eq!(slot.volume().write_state(), expected);
    }
    // What fits is stored all the same.
    process.put(&slot, id(0), &bytes(0, LEN)).unwrap();
}

#[test]
fn a_volume_belongs_to_the_store_of_its_new_directory() {
    let (mut process, slot) = started();
    let model = filled(&mut process, &slot);
    let store = [0xb; 16];
    let order = CompactionOrder { store: Some(store), ..order() };
    compact_as(&mut process, &slot, order).unwrap();
    compact(&mut process, &slot).unwrap();
    let mut again = Process::start(2, &process.image(), &pool(32 << 20));
    let reopened = again.open_as(Expected { store, ..expected_of(2) }).unwrap();
    model.check(&mut again, &reopened);
}

#[test]
fn young_tombstones_are_kept_and_old_ones_are_not() {
    let (mut process, slot) = started();
    for key in 0..20 {
        process.put(&slot, id(key), b"gone soon").unwrap();
        process.delete(&slot, id(key)).unwrap();
    }
    process.put(&slot, id(3), b"back again").unwrap();
    let hour = 3_600_000_000_000;
    for (keep_ns, kept) in [(hour, 20), (hour, 20), (0, 0)] {
        let order = CompactionOrder { tombstone_keep_ns: keep_ns, ..order() };
        let done = compact_as(&mut process, &slot, order).unwrap();
        assert_eq!(done.carried.tombstones, kept);
        assert_eq!(process.get(&slot, id(3)).unwrap(), b"back again");
        let generation = slot.volume().generation();
        let mut image = process.image();
        image.files.remove(&format!("1.{generation}.ckpt"));
        let (mut again, reopened) = reopened(&image, generation);
        assert_eq!(again.get(&reopened, id(3)).unwrap(), b"back again");
        assert_eq!(reopened.volume().figures().needles, 1);
        assert_eq!(reopened.volume().history_from() > 0, kept == 0);
    }
}

#[test]
fn bytes_of_a_deleted_object_are_in_no_file_afterwards() {
    let (mut process, slot) = started();
    let (secret, kept) = (bytes(77, 700), bytes(78, 700));
    process.put(&slot, id(1), &secret).unwrap();
    process.put_large(&slot, id(2), &secret.repeat(3000), &[300_000]).unwrap();
    process.put(&slot, id(3), &kept).unwrap();
    let holds = |process: &Process, pattern: &[u8]| {
        let image = process.image();
        image.files.values().any(|file| {
            let bytes = file.to_vec();
            bytes.windows(pattern.len()).any(|window| window == pattern)
        })
    };
    process.delete(&slot, id(1)).unwrap();
    process.delete(&slot, id(2)).unwrap();
    assert!(holds(&process, &secret[..64]) && holds(&process, &kept[..64]));
    compact(&mut process, &slot).unwrap();
    assert!(!holds(&process, &secret[..64]) && holds(&process, &kept[..64]));
}

#[test]
fn compaction_ends_in_the_smallest_pool() {
    let mut process = Process::start(1, &Image::default(), &pool(8 << 20));
    process.create(SIZE);
    let slot = process.open_as(expected_of(0)).unwrap();
    process.put(&slot, id(1), b"stays").unwrap();
    let (compacted, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    slot.compaction_task().start(async move {
        compacted.compact(&order(), &|_| Ok(())).await.unwrap();
    });
    process.run(async move { handle.sleep_until(handle.now() + 60_000_000_000).await });
    assert_eq!(slot.volume().generation(), 1);
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"stays");
}
