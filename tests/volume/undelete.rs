//! Deleted photos that are taken back: which, with what bytes, and what is left as it is.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{Kind, NeedleHeader, decode_header};
use hayloft::volume::{
    CompactionOrder, CompactionPhase, Draft, DraftAttributes, GetError, NewNeedle, NotUndeleted,
    Slot, Superblock,
};

use crate::common::{COOKIE, Process, bytes, draft};
use crate::compaction_support::{OLD, compact_as, id, order, reopened};
use crate::undelete_support::{
    HOUR, OTHER, SECOND, START, WITHIN, begun, ended, live, order_of, undeleted,
};

impl Process {
    /// Time of modification and of expiry.
    fn times(&mut self, slot: &Rc<Slot>, key: u64) -> (u64, Option<u64>) {
        let (slot, pool) = (Rc::clone(slot), self.runtime.handle().pool().clone());
        self.run(async move {
            let needle = slot.head(id(key), COOKIE, |len| pool.alloc(len)).await.unwrap();
            assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
            (needle.modified_ns, needle.expires_ns)
        })
    }

    fn put_expiring(&mut self, slot: &Rc<Slot>, key: u64, data: &[u8], expires_ns: u64) {
        let pool = self.runtime.handle().pool().clone();
        let attributes = DraftAttributes {
            content_type: Some(b"image/jpeg"),
            expires_ns: Some(expires_ns),
            ..DraftAttributes::default()
        };
        let len = data.len() as u64;
        let mut draft = Draft::with_attributes(&pool, attributes, len).unwrap();
        draft.data_mut().copy_from_slice(data);
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id(key), COOKIE, draft, None).await }).unwrap();
    }
}

/// Headers of the needles in a file, with their offsets.
fn headers(image: &Image, name: &str) -> Vec<(NeedleHeader, usize)> {
    let bytes = image.bytes(name);
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let found = (65_536..bytes.len()).step_by(512).filter_map(|at| {
        match decode_header(&bytes[at..at + 512], incarnation, at as u64) {
            Some((header, 0)) => Some((header, at)),
            _ => None,
        }
    });
    found.collect()
}

#[test]
fn deleted_photo_comes_back_as_it_was() {
    for len in [0, 1, 700, 65_537, 1 << 20, 2_500_000] {
        let (mut process, slot) = begun();
        let data = bytes(7, len);
        process.store(&slot, 2, b"another");
        process.store(&slot, 1, &data);
        process.set_wall(START + HOUR);
        let (before, times) = (live(&slot), process.times(&slot, 1));
        process.delete(&slot, id(1)).unwrap();
        process.set_wall(START + 2 * HOUR);
        assert_eq!(process.undelete(&slot, 1), Ok(()), "{len} bytes");
        assert_eq!(live(&slot), before, "its parts live again");
        assert_eq!(process.get(&slot, id(1)).unwrap(), data);
        assert_eq!(process.times(&slot, 1), times);
        assert_eq!(process.get_as(&slot, id(1), OTHER), Err(GetError::NotFound));
        slot.expect_rest();
        // A start finds the same, in the log and in a checkpoint.
        let (mut killed, again) = reopened(&process.image(), 0);
        killed.set_wall(START + 2 * HOUR);
        assert_eq!(killed.get(&again, id(1)).unwrap(), data, "{len} bytes, after a kill");
        assert_eq!((live(&again), again.volume().figures().needles), (before, 2));
        again.expect_rest();
        killed.close(&again);
        let (mut closed, again) = reopened(&killed.image(), 0);
        closed.set_wall(START + 2 * HOUR);
        assert!(again.volume().figures().checkpoint.tail > 0, "a checkpoint was read");
        assert_eq!(live(&again), before);
        assert_eq!(closed.get(&again, id(1)).unwrap(), data);
        // A compaction carries it over with its parts. It can be deleted and taken back again.
        compact_as(&mut closed, &again, order()).unwrap();
        assert_eq!((closed.get(&again, id(1)).unwrap(), live(&again)), (data.clone(), before));
        closed.delete(&again, id(1)).unwrap();
        assert_eq!(closed.undelete(&again, 1), Ok(()));
        assert_eq!((closed.get(&again, id(1)).unwrap(), live(&again)), (data, before));
        again.expect_rest();
    }
}

#[test]
fn the_version_that_was_deleted_comes_back() {
    let (mut process, slot) = begun();
    process.store(&slot, 1, b"first");
    process.store(&slot, 1, b"second");
    process.delete(&slot, id(1)).unwrap();
    process.store(&slot, 1, &bytes(3, 1_300_000));
    process.delete(&slot, id(1)).unwrap();
    process.store(&slot, 1, b"fourth");
    process.store(&slot, 1, b"fifth");
    process.delete(&slot, id(1)).unwrap();
    assert_eq!(process.undelete(&slot, 1), Ok(()));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"fifth");
    // A new needle: with the highest version, and on nobody's account.
    let found = headers(&process.image(), OLD);
    let (last, before) = found.split_last().unwrap();
    assert!(before.iter().all(|(header, _)| header.version < last.0.version));
    assert_eq!((last.0.kind, last.0.previous, last.0.batch), (Kind::Data, 0, 0));
    slot.expect_rest();
}

#[test]
fn photos_of_batches_and_multi_deletes_come_back_one_by_one() {
    let (mut process, slot) = begun();
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let needles = (0..9).map(|key| NewNeedle {
        id: id(key),
        cookie: COOKIE,
        draft: draft(&pool, &bytes(key, 900)),
    });
    let needles: Vec<NewNeedle> = needles.collect();
    process.run(async move { storing.put_batch(needles, None).await }).unwrap();
    let deleting = Rc::clone(&slot);
    let named: Vec<_> = (0..9).map(|key| (id(key), COOKIE)).collect();
    process.run(async move { deleting.delete_all(&named, None).await }).unwrap();
    for key in [4, 0, 8] {
        assert_eq!(process.undelete(&slot, key), Ok(()));
    }
    let (mut process, slot) = reopened(&process.image(), 0);
    for key in 0..9 {
        let want = match key {
            0 | 4 | 8 => Ok(bytes(key, 900)),
            _ => Err(GetError::NotFound),
        };
        assert_eq!(process.get(&slot, id(key)), want);
    }
    slot.expect_rest();
}

#[test]
fn nothing_comes_back_over_what_has_the_name() {
    let (mut process, slot) = begun();
    process.store(&slot, 1, b"deleted");
    process.delete(&slot, id(1)).unwrap();
    process.store(&slot, 1, b"the same name again");
    assert_eq!(process.undelete(&slot, 1), Err(NotUndeleted::InUse));
    process.store(&slot, 2, b"deleted");
    process.delete(&slot, id(2)).unwrap();
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    process
        .run(async move { storing.put(id(2), OTHER, draft(&pool, b"of another"), None).await })
        .unwrap();
    assert_eq!(process.undelete(&slot, 2), Err(NotUndeleted::InUse));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"the same name again");
    assert_eq!(process.get_as(&slot, id(2), OTHER).unwrap(), b"of another");
    assert_eq!(slot.volume().figures().needles, 2);
    // Each cookie has its own history.
    let deleting = Rc::clone(&slot);
    process.run(async move { deleting.delete(id(2), OTHER, None).await }).unwrap();
    assert_eq!(process.undelete(&slot, 2), Ok(()));
    assert_eq!(process.get(&slot, id(2)).unwrap(), b"deleted");
    slot.expect_rest();
}

#[test]
fn only_what_was_deleted_within_the_time_comes_back() {
    let (mut process, slot) = begun();
    for key in 1..5 {
        process.store(&slot, key, &bytes(key, 3000));
    }
    process.delete(&slot, id(1)).unwrap();
    process.set_wall(START + 10 * HOUR);
    process.delete(&slot, id(2)).unwrap();
    process.store(&slot, 9, b"later");
    let commits = slot.volume().stats().commits.get();
    assert_eq!(process.undelete_as(&slot, 1, OTHER), Err(NotUndeleted::NotFound), "the cookie");
    assert_eq!(process.undelete(&slot, 77), Err(NotUndeleted::NotFound), "never there");
    process.set_wall(START + WITHIN + SECOND);
    assert_eq!(process.undelete(&slot, 1), Err(NotUndeleted::TooOld));
    assert_eq!(slot.volume().stats().commits.get(), commits, "nothing is written for them");
    assert_eq!(process.undelete(&slot, 2), Ok(()));
    process.set_wall(START + 100 * WITHIN);
    process.delete(&slot, id(2)).unwrap();
    process.store(&slot, 10, b"later");
    // The clock was wrong, and is right again.
    process.set_wall(START);
    assert_eq!(process.undelete(&slot, 2), Ok(()));
    process.delete(&slot, id(2)).unwrap();
    process.set_wall(u64::MAX);
    assert_eq!(process.undelete(&slot, 2), Err(NotUndeleted::TooOld));
    process.set_wall(0);
    assert_eq!(process.undelete(&slot, 2), Ok(()));
    slot.expect_rest();
}

#[test]
fn what_has_expired_does_not_come_back() {
    let (mut process, slot) = begun();
    let at = START + HOUR;
    for key in 1..4 {
        process.put_expiring(&slot, key, b"short-lived", at);
    }
    let times = process.times(&slot, 1);
    assert_eq!(times.1, Some(at));
    process.delete(&slot, id(1)).unwrap();
    process.delete(&slot, id(2)).unwrap();
    assert_eq!(process.undelete(&slot, 1), Ok(()));
    assert_eq!(process.times(&slot, 1), times);
    let expired = |slot: &Slot| slot.volume().figures().expired;
    process.set_wall(START + 30 * HOUR);
    assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
    let both = expired(&slot);
    let (mut again, reopened) = reopened(&process.image(), 0);
    again.set_wall(START + 30 * HOUR);
    assert_eq!(expired(&reopened), both, "the day of its expiry is known from the log");
    process.set_wall(at);
    assert_eq!(process.undelete(&slot, 2), Err(NotUndeleted::Expired));
    // What expired was not deleted.
    assert_eq!(process.undelete(&slot, 3), Err(NotUndeleted::NotFound));
    // A name is free when its photo has expired.
    process.set_wall(START);
    process.store(&slot, 4, b"for ever");
    process.delete(&slot, id(4)).unwrap();
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let attributes =
        DraftAttributes { content_type: None, expires_ns: Some(at), ..DraftAttributes::default() };
    let draft = Draft::with_attributes(&pool, attributes, 0).unwrap();
    process.run(async move { storing.put(id(4), OTHER, draft, None).await }).unwrap();
    assert_eq!(process.undelete(&slot, 4), Err(NotUndeleted::InUse));
    process.set_wall(at);
    let before = slot.volume().figures().needles;
    assert_eq!(process.undelete(&slot, 4), Ok(()));
    assert_eq!(slot.volume().figures().needles, before, "it takes the place of the expired one");
    assert_eq!(process.get(&slot, id(4)).unwrap(), b"for ever");
    slot.expect_rest();
}

#[test]
fn what_a_compaction_left_out_is_gone() {
    for (keep, want) in [(u64::MAX, NotUndeleted::Compacted), (0, NotUndeleted::NotFound)] {
        let (mut process, slot) = begun();
        process.store(&slot, 1, b"deleted");
        process.store(&slot, 2, &bytes(2, 1_500_000));
        process.store(&slot, 3, b"kept");
        process.delete(&slot, id(1)).unwrap();
        process.delete(&slot, id(2)).unwrap();
        let order = CompactionOrder { tombstone_keep_ns: keep, ..order() };
        compact_as(&mut process, &slot, order).unwrap();
        for key in [1, 2] {
            assert_eq!(process.undelete(&slot, key), Err(want), "kept for {keep} ns");
            assert_eq!(process.get(&slot, id(key)), Err(GetError::NotFound));
        }
        assert_eq!(slot.volume().figures().needles, 1);
        slot.expect_rest();
    }
}

/// Deleted while the bytes were being copied: they are in the new file, and the record of the deletion says
/// where.
#[test]
fn photo_deleted_during_a_compaction_comes_back_from_the_new_file() {
    let mut back = 0;
    for delay in 0..24 {
        let (mut process, slot) = begun();
        for key in 0..12 {
            process.store(&slot, key, &bytes(key, 400_000));
        }
        process.store(&slot, 20, &bytes(20, 1_500_000));
        let (compacting, deleting) = (Rc::clone(&slot), Rc::clone(&slot));
        let handle = process.runtime.handle().clone();
        handle.spawn(async move {
            let order = CompactionOrder { tombstone_keep_ns: u64::MAX, ..order() };
            compacting.compact(&order, &|_| Ok(())).await.unwrap();
        });
        process.run(async move {
            handle.sleep_until(handle.now() + delay * 500_000).await;
            deleting.delete(id(20), COOKIE, None).await.unwrap();
            deleting.delete(id(3), COOKIE, None).await.unwrap();
            handle.sleep_until(handle.now() + 600 * SECOND).await;
        });
        process.set_wall(START + HOUR);
        assert_eq!(slot.volume().generation(), 1);
        for (key, len) in [(3, 400_000), (20, 1_500_000)] {
            match process.undelete(&slot, key) {
                Ok(()) => {
                    back += 1;
                    assert!(process.get(&slot, id(key)).unwrap() == bytes(key, len));
                }
                Err(why) => assert_eq!(why, NotUndeleted::Compacted),
            }
        }
        slot.expect_rest();
    }
    assert!(back > 0, "some were copied before they were deleted");
}

/// Whatever the compaction does meanwhile: it comes back whole, or was compacted away.
#[test]
fn compaction_and_undelete_do_not_disturb_each_other() {
    let (mut back, mut gone) = (0, 0);
    for delay in 0..60 {
        let (mut process, slot) = begun();
        process.runtime.shuffle(delay);
        for key in 0..10 {
            process.store(&slot, key, &bytes(key, 300_000));
        }
        process.store(&slot, 20, &bytes(20, 1_500_000));
        for key in [3, 20] {
            process.delete(&slot, id(key)).unwrap();
        }
        process.set_wall(START + HOUR);
        let results = Rc::new(RefCell::new(Vec::new()));
        let handle = process.runtime.handle().clone();
        let (compacting, undeleting, sink) =
            (Rc::clone(&slot), Rc::clone(&slot), Rc::clone(&results));
        handle.spawn(async move {
            let order = CompactionOrder { tombstone_keep_ns: u64::MAX, ..order() };
            compacting.compact(&order, &|_| Ok(())).await.unwrap();
        });
        let sleeping = handle.clone();
        handle.spawn(async move {
            sleeping.sleep_until(sleeping.now() + delay * 300_000).await;
            for key in [20, 3] {
                let result = undeleted(&undeleting, id(key), COOKIE).await;
                sink.borrow_mut().push((key, result));
            }
        });
        process.run(async move { handle.sleep_until(handle.now() + 600 * SECOND).await });
        let results = results.take();
        assert_eq!((results.len(), slot.volume().generation()), (2, 1), "after {delay}");
        let figures = slot.volume().figures();
        let (mut again, reopened) = reopened(&process.image(), 1);
        assert_eq!(reopened.volume().figures().live, figures.live);
        reopened.expect_rest();
        for (process, slot) in [(&mut process, &slot), (&mut again, &reopened)] {
            for (key, result) in &results {
                let len = if *key == 20 { 1_500_000 } else { 300_000 };
                let got = process.get(slot, id(*key));
                match result {
                    Ok(()) => assert!(got == Ok(bytes(*key, len)), "photo {key} after {delay}"),
                    Err(why) => {
                        assert_eq!(*why, NotUndeleted::Compacted, "photo {key} after {delay}");
                        assert_eq!(got, Err(GetError::NotFound));
                    }
                }
            }
        }
        back += results.iter().filter(|(_, result)| result.is_ok()).count();
        gone += results.iter().filter(|(_, result)| result.is_err()).count();
        slot.expect_rest();
    }
    assert!(back > 0 && gone > 0, "{back} came back, {gone} were gone");
}

/// What was found in the old file says nothing about the new one.
#[test]
fn undelete_that_waits_for_the_exchange_begins_anew() {
    let (mut process, slot) = begun();
    for key in 0..6 {
        process.store(&slot, key, &bytes(key, 100_000));
    }
    process.delete(&slot, id(1)).unwrap();
    let (handle, compacting, writing, undeleting) =
        (process.runtime.handle().clone(), Rc::clone(&slot), Rc::clone(&slot), Rc::clone(&slot));
    handle.spawn(async move {
        let order = CompactionOrder { tombstone_keep_ns: u64::MAX, ..order() };
        compacting.compact(&order, &|_| Ok(())).await.unwrap();
    });
    let result = process.run(async move {
        // A write that takes long: the exchange waits for its end, and other writes for the exchange.
        let write = writing.pass_gate().await;
        while writing.compaction_progress().phase != CompactionPhase::Swapping {
            handle.sleep_until(handle.now() + 10_000).await;
        }
        undeleting.begin_undelete(order_of(&[(id(1), COOKIE)])).unwrap();
        handle.sleep_until(handle.now() + 200_000_000).await;
        assert!(!undeleting.undelete_progress().unwrap().is_done(), "it waits, too");
        drop(write);
        let result = ended(&undeleting).await;
        assert_eq!(undeleting.volume().generation(), 1);
        handle.sleep_until(handle.now() + 60 * SECOND).await;
        result
    });
    assert_eq!(result, Err(NotUndeleted::Compacted));
    assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
    assert_eq!(process.get(&slot, id(2)).unwrap(), bytes(2, 100_000));
    slot.expect_rest();
}

#[test]
fn a_photo_that_came_back_survives_a_power_cut() {
    for len in [5000, 1_500_000] {
        let (mut process, slot) = begun();
        process.store(&slot, 1, &bytes(1, len));
        process.delete(&slot, id(1)).unwrap();
        assert_eq!(process.undelete(&slot, 1), Ok(()));
        let wreck = process.world.look(|snapshot| snapshot.wreck());
        let (mut process, slot) = reopened(&wreck.image(|_| false, wreck.changes()), 0);
        assert!(process.get(&slot, id(1)).unwrap() == bytes(1, len));
        slot.expect_rest();
    }
}

#[test]
fn a_power_cut_leaves_it_deleted_or_back() {
    let mut wrecks = 0;
    for len in [5000, 1_500_000] {
        let (mut process, slot) = begun();
        process.store(&slot, 1, &bytes(1, len));
        process.delete(&slot, id(1)).unwrap();
        let cut = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&cut);
        process.world.on_event(move |snapshot| {
            let wreck = snapshot.wreck();
            if wreck.loose() > 0 {
                sink.borrow_mut().push(wreck);
            }
        });
        assert_eq!(process.undelete(&slot, 1), Ok(()));
        for wreck in cut.take() {
            for kept in 0..wreck.loose() + 1 {
                wrecks += 1;
                let image = wreck.image(|sector| sector < kept, wreck.changes());
                let (mut process, slot) = reopened(&image, 0);
                match process.get(&slot, id(1)) {
                    Ok(got) => assert!(got == bytes(1, len)),
                    Err(error) => assert_eq!(error, GetError::NotFound),
                }
                slot.expect_rest();
            }
        }
    }
    assert!(wrecks > 10, "{wrecks}");
}

#[test]
fn damaged_bytes_do_not_come_back() {
    for len in [3000, 200_000, 1_500_000] {
        let (mut process, slot) = begun();
        process.store(&slot, 1, &bytes(1, len));
        process.store(&slot, 2, b"another");
        process.delete(&slot, id(1)).unwrap();
        let of_it = headers(&process.image(), OLD);
        let of_it =
            of_it.iter().filter(|(header, _)| header.id == id(1) && header.kind != Kind::Tombstone);
        // In the header, the attributes, the chunk checksums or the first data, the last data; of each part.
        let places = of_it.flat_map(|(header, at)| {
            let layout = header.layout();
            let data = layout.data_range();
            let attributes = (header.attributes_len > 0).then_some(130);
            let inside = [Some(20), attributes, Some(data.start), Some(data.end - 1)];
            let is_part = header.kind == Kind::Part;
            // Readers do not need the header of a part.
            let inside =
                inside.into_iter().flatten().filter(move |at| !is_part || *at >= data.start);
            inside.map(move |inside| at + inside).collect::<Vec<_>>()
        });
        let places: Vec<usize> = places.collect();
        assert!(places.len() >= 4);
        process.close(&slot);
        let image = process.image();
        for place in places {
            for is_unreadable in [false, true] {
                let (mut process, slot) = reopened(&image, 0);
                process.set_wall(START);
                match is_unreadable {
                    true => process.world.spoil(OLD, place / 512),
                    false => process.world.rot(OLD, place, 3),
                }
                let before = slot.volume().figures();
                let result = process.undelete(&slot, 1);
                assert_eq!(result, Err(NotUndeleted::Damaged), "{len} bytes, byte {place}");
                assert_eq!(slot.volume().figures().needles, before.needles, "nothing is appended");
                assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
                assert_eq!(process.get(&slot, id(2)).unwrap(), b"another");
                slot.expect_rest();
            }
        }
    }
}

#[test]
fn record_of_a_deletion_that_is_damaged_is_no_proof() {
    let (mut process, slot) = begun();
    process.store(&slot, 1, b"deleted");
    process.delete(&slot, id(1)).unwrap();
    process.store(&slot, 2, b"kept");
    let of_it = headers(&process.image(), OLD);
    let tombstone = of_it.iter().find(|(header, _)| header.kind == Kind::Tombstone).unwrap().1;
    // Either header is enough.
    process.world.rot(OLD, tombstone + 40, 1);
    assert_eq!(process.undelete(&slot, 1), Ok(()));
    process.delete(&slot, id(1)).unwrap();
    let of_it = headers(&process.image(), OLD);
    let tombstone = of_it.iter().rfind(|(header, _)| header.kind == Kind::Tombstone).unwrap().1;
    process.store(&slot, 3, b"later");
    for at in [40, 512 + 40] {
        process.world.rot(OLD, tombstone + at, 1);
    }
    assert_eq!(process.undelete(&slot, 1), Err(NotUndeleted::Damaged));
    assert_eq!(slot.volume().figures().needles, 2);
}

/// Stored and deleted again, or only stored, while the log is being searched: an older version must not come
/// back.
#[test]
fn what_happens_to_the_name_during_the_search_counts() {
    let (mut newest, mut in_use, mut first) = (0, 0, 0);
    for round in 0..80_u64 {
        let (mut process, slot) = begun();
        process.runtime.shuffle(round);
        process.store(&slot, 1, b"first");
        process.delete(&slot, id(1)).unwrap();
        for key in 10..20 {
            process.store(&slot, key, &bytes(key, 1_000_000));
        }
        let (handle, pool) =
            (process.runtime.handle().clone(), process.runtime.handle().pool().clone());
        let (storing, deletes) = (Rc::clone(&slot), round % 2 == 0);
        let delay = round / 2 * 150_000;
        let sleeping = handle.clone();
        handle.spawn(async move {
            sleeping.sleep_until(sleeping.now() + delay).await;
            storing.put(id(1), COOKIE, draft(&pool, b"second"), None).await.unwrap();
            if deletes {
                storing.delete(id(1), COOKIE, None).await.unwrap();
            }
        });
        let undeleting = Rc::clone(&slot);
        let result = process.run(async move {
            let result = undeleted(&undeleting, id(1), COOKIE).await;
            handle.sleep_until(handle.now() + 10 * SECOND).await;
            result
        });
        let got = process.get(&slot, id(1));
        match (result, deletes, got) {
            (Ok(()), true, Ok(got)) if got == b"second" => newest += 1,
            // It was back before the other wrote: that replaced it, and perhaps deleted it.
            (Ok(()), true, Err(GetError::NotFound)) => first += 1,
            (Ok(()), false, Ok(got)) if got == b"second" => first += 1,
            (Err(NotUndeleted::InUse), true, Err(GetError::NotFound)) => in_use += 1,
            (Err(NotUndeleted::InUse), false, Ok(got)) if got == b"second" => in_use += 1,
            (result, _, got) => panic!("round {round}: {result:?}, {got:?}"),
        }
        assert!(slot.volume().figures().needles <= 11);
        slot.expect_rest();
        let (mut again, reopened) = reopened(&process.image(), 0);
        assert_eq!(again.get(&reopened, id(1)), process.get(&slot, id(1)));
        assert_eq!(live(&reopened), live(&slot));
    }
    assert!(newest > 0 && in_use > 0 && first > 0, "{newest} {in_use} {first}");
}
