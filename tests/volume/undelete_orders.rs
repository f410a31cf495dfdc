//! Orders to take photos back: many with one, one order at a time, long logs.

use std::rc::Rc;

use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    CompactionOrder, GetError, NotUndeleted, Refusal, Slot, UndeleteOrder, UndeleteProgress,
};

use crate::common::{COOKIE, Process, bytes, pool};
use crate::compaction_support::{OLD, compact_as, expected_of, id, order, reopened};
use crate::undelete_support::{
    HOUR, OTHER, SECOND, START, WITHIN, all_ended, begun, live, order_of,
};

type Results = Vec<Result<(), NotUndeleted>>;

fn undelete_all(process: &mut Process, slot: &Rc<Slot>, order: UndeleteOrder) -> Results {
    let slot = Rc::clone(slot);
    process.run(async move {
        slot.begin_undelete(order).expect("no other is under way");
        all_ended(&slot).await
    })
}

/// Bytes of device reads, other than those of requests.
fn reads(slot: &Slot) -> u64 {
    slot.volume().stats().other_reads.get()
}

#[test]
fn many_photos_come_back_with_one_walk_and_each_has_its_own_result() {
    let (mut process, slot) = begun();
    for key in 0..100 {
        process.store(&slot, key, &bytes(key, 30_000));
    }
    process.store(&slot, 200, &bytes(200, 3_000_000));
    for key in (0..50).chain([200]) {
        process.delete(&slot, id(key)).unwrap();
    }
    for key in 1000..1030 {
        process.store(&slot, key, &bytes(key, 500_000));
    }
    let before = reads(&slot);
    let one = order_of(&[(id(49), COOKIE)]);
    assert_eq!(undelete_all(&mut process, &slot, one), [Ok(())]);
    let of_one = reads(&slot) - before;
    let mut photos: Vec<_> = (0..49).map(|key| (id(key), COOKIE)).collect();
    photos.extend([(id(200), COOKIE), (id(49), COOKIE), (id(60), COOKIE), (id(777), COOKIE)]);
    photos[7].1 = OTHER;
    let before = reads(&slot);
    let results = undelete_all(&mut process, &slot, order_of(&photos));
    let of_many = reads(&slot) - before;
    for ((id, _), result) in photos.iter().zip(&results) {
        let expected = match id.key.0 {
            49 | 60 => Err(NotUndeleted::InUse),
            7 | 777 => Err(NotUndeleted::NotFound),
            _ => Ok(()),
        };
        assert_eq!(*result, expected, "{id}");
    }
    for key in 0..100 {
        let expected = if key == 7 { Err(GetError::NotFound) } else { Ok(bytes(key, 30_000)) };
        assert!(process.get(&slot, id(key)) == expected, "{key}");
    }
    assert!(process.get(&slot, id(200)) == Ok(bytes(200, 3_000_000)));
    assert!(of_many < 20 * of_one, "{of_many} reads for 53 photos, {of_one} for one");
    slot.expect_rest();
    let (mut again, reopened) = reopened(&process.image(), 0);
    assert!(again.get(&reopened, id(200)) == Ok(bytes(200, 3_000_000)));
    assert_eq!(live(&reopened), live(&slot));
}

/// An exchange of the file between two photos of an order: the others are looked for in the new one.
#[test]
fn compaction_between_the_photos_of_an_order_ends_none_of_them() {
    let mut exchanged_early = 0;
    for round in 0..12 {
        let (mut process, slot) = begun();
        let photos: Vec<_> = (0..40).map(|key| (id(key), COOKIE)).collect();
        for key in 0..40 {
            process.store(&slot, key, &bytes(key, 50_000));
        }
        // What is deleted now stays in the new file: the compaction carries it over before the deletions.
        let (compacting, deleting, undeleting) =
            (Rc::clone(&slot), Rc::clone(&slot), Rc::clone(&slot));
        let handle = process.runtime.handle().clone();
        let keeps = CompactionOrder { tombstone_keep_ns: u64::MAX, ..order() };
        let ended = process.run(async move {
            for key in 0..40 {
                deleting.delete(id(key), COOKIE, None).await.unwrap();
            }
            undeleting.begin_undelete(order_of(&photos)).unwrap();
            handle.sleep_until(handle.now() + round * 1_500_000).await;
            compacting.compact(&keeps, &|_| Ok(())).await.unwrap();
            let done = undeleting.undelete_progress().unwrap().is_done();
            (all_ended(&undeleting).await, done)
        });
        let (results, was_done) = ended;
        exchanged_early += u32::from(!was_done);
        for (key, result) in (0..40).zip(&results) {
            match result {
                Ok(()) => assert!(process.get(&slot, id(key)) == Ok(bytes(key, 50_000)), "{key}"),
                Err(NotUndeleted::Compacted) => {
                    assert_eq!(process.get(&slot, id(key)), Err(GetError::NotFound), "{key}");
                }
                Err(other) => panic!("round {round}, photo {key}: {other:?}"),
            }
        }
        slot.expect_rest();
    }
    assert!(exchanged_early > 0, "no exchange came between");
    let (mut process, slot) = begun();
    process.store(&slot, 1, b"a photo");
    process.delete(&slot, id(1)).unwrap();
    compact_as(&mut process, &slot, order()).unwrap();
    let gone = undelete_all(&mut process, &slot, order_of(&[(id(1), COOKIE)]));
    assert_ne!(gone, [Ok(())]);
}

#[test]
#[should_panic(expected = "each photo once")]
fn order_that_names_a_photo_twice_is_a_mistake_of_the_caller() {
    let (mut process, slot) = begun();
    undelete_all(&mut process, &slot, order_of(&[(id(1), COOKIE), (id(1), OTHER)]));
}

#[test]
fn volumes_that_take_no_photo_take_none_back() {
    let (mut process, slot) = begun();
    process.store(&slot, 1, &bytes(1, 100_000));
    process.delete(&slot, id(1)).unwrap();
    let mut filler = 100;
    for len in [1 << 20, 60_000, 3000, 200] {
        while process.put(&slot, id(filler), &bytes(filler, len)).is_ok() {
            filler += 1;
        }
    }
    assert_eq!(process.undelete(&slot, 1), Err(Refusal::Full.into()));
    let closing = Rc::clone(&slot);
    process.run(async move { closing.set_read_only(true).await }).unwrap();
    assert_eq!(process.undelete(&slot, 1), Err(Refusal::ReadOnly.into()));
    assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
    slot.expect_rest();
}

#[test]
fn one_order_at_a_time_and_none_of_a_volume_that_closes() {
    let (mut process, slot) = begun();
    process.store(&slot, 1, b"deleted");
    process.delete(&slot, id(1)).unwrap();
    for key in 10..30 {
        process.store(&slot, key, &bytes(key, 1_000_000));
    }
    assert_eq!(slot.undelete_progress(), None);
    let (undeleting, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    let progress = process.run(async move {
        let begun =
            undeleting.begin_undelete(order_of(&[(id(1), COOKIE), (id(2), COOKIE)])).unwrap();
        assert_eq!(undeleting.begin_undelete(order_of(&[(id(2), COOKIE)])), None);
        handle.sleep_until(handle.now() + 1_000_000).await;
        let UndeleteProgress { operation, photos, total, .. } =
            undeleting.undelete_progress().unwrap();
        assert_eq!((operation, &photos), (begun.operation, &begun.photos));
        assert!(total > 20_000_000);
        undeleting.close().await;
        assert_eq!(undeleting.begin_undelete(order_of(&[(id(1), COOKIE)])), None);
        undeleting.undelete_progress().unwrap()
    });
    let results: Vec<_> = progress.photos.iter().map(|photo| photo.result).collect();
    assert_eq!(results, [Some(Err(NotUndeleted::Stopped)); 2]);
    let (mut process, slot) = reopened(&process.image(), 0);
    process.set_wall(START);
    assert_eq!(slot.undelete_progress(), None);
    assert_eq!(process.undelete(&slot, 1), Ok(()));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"deleted");
}

/// The log is searched in sections of 64 MiB from its end, also over damaged commits.
#[test]
fn long_logs_are_searched_from_the_end() {
    const LONG: u64 = 256 << 20;
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(LONG);
    let slot = process.open_as(expected_of(0)).unwrap();
    process.set_wall(START);
    process.store(&slot, 1, b"first of all");
    process.store(&slot, 2, &bytes(2, 3_000_000));
    process.delete(&slot, id(1)).unwrap();
    process.delete(&slot, id(2)).unwrap();
    process.set_wall(START + HOUR);
    for key in 1000..1200 {
        process.store(&slot, key, &bytes(key % 7, 1_000_000));
    }
    process.store(&slot, 3, b"late");
    process.delete(&slot, id(3)).unwrap();
    let before = reads(&slot);
    assert_eq!(process.undelete(&slot, 3), Ok(()));
    let late = reads(&slot) - before;
    assert_eq!(process.undelete(&slot, 1), Ok(()));
    let early = reads(&slot) - before - late;
    assert!(early > 2 * late, "{late} reads for what was deleted last, {early} for the first");
    // Commit records and the bytes around a border of sections are damaged.
    let image = process.image().bytes(OLD);
    let records = (65_536..image.len() - 4096).step_by(4096);
    let records: Vec<usize> = records.filter(|at| image[*at..].starts_with(b"HAYLCMMT")).collect();
    for record in records[20..].iter().step_by(13) {
        process.world.spoil(OLD, record / 512);
    }
    assert_eq!(process.undelete(&slot, 2), Ok(()));
    assert!(process.get(&slot, id(2)).unwrap() == bytes(2, 3_000_000));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"first of all");
    // Nothing before what is too old is read.
    process.set_wall(START + WITHIN + 2 * SECOND);
    let before = reads(&slot);
    assert_eq!(process.undelete(&slot, 77), Err(NotUndeleted::NotFound));
    let all = reads(&slot) - before;
    process.set_wall(START + HOUR + WITHIN + 2 * SECOND);
    let before = reads(&slot);
    assert_eq!(process.undelete(&slot, 77), Err(NotUndeleted::NotFound));
    let few = reads(&slot) - before;
    assert!(all > 2 * few, "{few} reads, of {all}");
    slot.expect_rest();
}
