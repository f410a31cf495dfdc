//! Streams of records on the simulated disk: nothing that lives is left out, whatever happens between two
//! pieces, and a position is found again in another generation and after a restart.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hayloft::base::stream_position::StreamPosition;
use hayloft::runtime::op::Op;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{Kind, damaged_digest, decode_header};
use hayloft::volume::{
    CompactionOrder, NotStreamed, Piece, PieceLimits, RecordKind, Slot, StreamRecord,
};

use crate::common::{self, COOKIE, Process, bytes, draft};
use crate::compaction_support::{
    Model, OLD, compact, compact_as, expected_of, filled, id, order, reopened, started,
};

const SMALL: PieceLimits = PieceLimits { records: 3, attributes: 1 << 20, read: 1 << 20 };

fn read(
    process: &mut Process,
    slot: &Rc<Slot>,
    from: StreamPosition,
    deletions: bool,
    limits: PieceLimits,
) -> Result<Piece, NotStreamed> {
    let slot = Rc::clone(slot);
    process.run(async move { slot.read_records(from, deletions, limits).await })
}

/// Reads from a position to the end of the log. Calls `between` before each piece but the first one.
fn read_on(
    process: &mut Process,
    slot: &Rc<Slot>,
    from: StreamPosition,
    limits: PieceLimits,
    mut between: impl FnMut(&mut Process, usize, StreamPosition) -> StreamPosition,
) -> Vec<StreamRecord> {
    let (mut records, mut at) = (Vec::new(), from);
    for pieces in 1.. {
        let piece = read(process, slot, at, false, limits).unwrap();
        assert!(piece.records.len() <= limits.records);
        assert!(piece.next.version >= at.version, "positions rise");
        records.extend(piece.records);
        at = piece.next;
        if piece.is_end {
            break;
        }
        at = between(process, pieces, at);
    }
    records
}

fn read_all(process: &mut Process, slot: &Rc<Slot>, limits: PieceLimits) -> Vec<StreamRecord> {
    read_on(process, slot, StreamPosition::START, limits, |_, _, at| at)
}

fn keys(records: &[StreamRecord]) -> Vec<u64> {
    records.iter().map(|record| record.id.key.0).collect()
}

/// Checks that the records are the objects of a model, each exactly once.
fn expect_objects(records: &[StreamRecord], model: &Model) {
    let lens: BTreeMap<u64, u64> =
        records.iter().map(|record| (record.id.key.0, record.body_len.unwrap())).collect();
    let expected: BTreeMap<u64, u64> =
        model.objects.iter().map(|(key, data)| (*key, data.len() as u64)).collect();
    assert_eq!(lens, expected);
    assert_eq!(records.len(), lens.len(), "each once");
    for record in records {
        assert_eq!(record.kind, RecordKind::Object);
        assert_eq!(record.content_type.as_deref(), Some(&b"image/jpeg"[..]));
        assert_eq!(record.is_large, record.body_len.unwrap() > 1 << 20);
        assert!(record.modified_ns.unwrap() > 0 && record.digest.is_some());
    }
    assert!(records.is_sorted_by(|one, next| one.version < next.version), "versions rise");
}

#[test]
fn stream_has_every_live_object_once_and_deletions_on_request() {
    let (mut process, slot) = started();
    let empty = read(&mut process, &slot, StreamPosition::START, true, SMALL).unwrap();
    assert_eq!((empty.records.len(), empty.is_end), (0, true));
    let model = filled(&mut process, &slot);
    expect_objects(&read_all(&mut process, &slot, SMALL), &model);
    expect_objects(&read_all(&mut process, &slot, PieceLimits::default()), &model);
    let limits = PieceLimits { read: 1 << 30, ..PieceLimits::default() };
    let all = read(&mut process, &slot, StreamPosition::START, true, limits).unwrap();
    assert!(all.is_end);
    let (deletions, objects): (Vec<_>, Vec<_>) =
        all.records.into_iter().partition(|record| record.kind == RecordKind::Deletion);
    assert_eq!(keys(&deletions), [1, 7, 15, 22]);
    assert!(deletions.iter().all(|deletion| deletion.digest.is_none()));
    expect_objects(&objects, &model);
    // Nothing is behind the end until something is written.
    let again = read(&mut process, &slot, all.next, true, SMALL).unwrap();
    assert_eq!((again.records.len(), again.next, again.is_end), (0, all.next, true));
    process.delete(&slot, id(2)).unwrap();
    let more = read(&mut process, &slot, all.next, true, SMALL).unwrap();
    assert_eq!((keys(&more.records), more.is_end), (vec![2], true));
    process.close(&slot);
}

/// A volume in whose log a search takes several probes.
fn long_log() -> (Process, Rc<Slot>, Model) {
    let (mut process, slot) = started();
    let mut model = Model::default();
    for key in 0..60 {
        let len = usize::try_from(key * 7919 % 500_000).unwrap();
        model.put(&mut process, &slot, key, bytes(key, len));
        if key % 9 == 4 {
            model.put(&mut process, &slot, 1000 + key, bytes(key, 1_200_000));
        }
        if key % 5 == 3 {
            model.delete(&mut process, &slot, key - 2);
        }
    }
    (process, slot, model)
}

#[test]
fn stream_cut_after_any_piece_goes_on_at_its_version() {
    let (mut process, slot, model) = long_log();
    let whole = read_all(&mut process, &slot, SMALL);
    expect_objects(&whole, &model);
    for cut in 1..40 {
        let records =
            read_on(&mut process, &slot, StreamPosition::START, SMALL, |_, pieces, at| {
                if pieces == cut { StreamPosition::after(at.version) } else { at }
            });
        assert_eq!(records, whole, "cut after piece {cut}");
    }
    // Every page, from any version.
    for record in &whole {
        let from = StreamPosition::after(record.version);
        let records = read_on(&mut process, &slot, from, SMALL, |_, _, at| at);
        let rest: Vec<_> = whole.iter().filter(|it| it.version > record.version).cloned().collect();
        assert_eq!(records, rest);
    }
    let future = StreamPosition::after(u64::MAX);
    let none = read(&mut process, &slot, future, true, SMALL).unwrap();
    assert_eq!((none.records.len(), none.next.version, none.is_end), (0, u64::MAX, true));
    process.close(&slot);
}

#[test]
fn search_for_a_position_reads_a_small_part_of_the_log() {
    let (mut process, slot) = started();
    for key in 0..1200 {
        process.put(&slot, id(key), &bytes(key, 45_000)).unwrap();
    }
    let last = read_all(&mut process, &slot, PieceLimits::default()).pop().unwrap();
    let reads = slot.volume().stats().other_reads.get();
    let from = StreamPosition::after(last.version - 1);
    let piece = read(&mut process, &slot, from, false, SMALL).unwrap();
    assert_eq!((keys(&piece.records), piece.is_end), (vec![1199], true));
    let reads = slot.volume().stats().other_reads.get() - reads;
    assert!(reads < 60, "{reads} reads for 55 MiB");
    process.close(&slot);
}

#[test]
fn compaction_between_two_pieces_neither_repeats_nor_hides_an_object() {
    for at_piece in 1..12 {
        let (mut process, slot, mut model) = long_log();
        let mut gone = BTreeSet::new();
        let compacting = Rc::clone(&slot);
        let records =
            read_on(&mut process, &slot, StreamPosition::START, SMALL, |process, pieces, at| {
                if pieces == at_piece {
                    for key in [0, 30, 59] {
                        model.delete(process, &compacting, key);
                        gone.insert(key);
                    }
                    compact(process, &compacting).unwrap();
                }
                at
            });
        let lived: Vec<_> =
            records.iter().filter(|it| !gone.contains(&it.id.key.0)).cloned().collect();
        expect_objects(&lived, &model);
        assert_eq!(slot.volume().generation(), 1);
        process.close(&slot);
    }
}

#[test]
fn digests_are_the_same_after_a_compaction_and_differ_where_an_object_was_replaced() {
    let (mut process, slot, mut model) = long_log();
    let digests = |records: Vec<StreamRecord>| -> BTreeMap<u64, u64> {
        records.iter().map(|it| (it.id.key.0, it.digest.unwrap())).collect()
    };
    let before = digests(read_all(&mut process, &slot, SMALL));
    compact(&mut process, &slot).unwrap();
    assert_eq!(digests(read_all(&mut process, &slot, SMALL)), before);
    model.put(&mut process, &slot, 40, bytes(7, 100));
    let after = digests(read_all(&mut process, &slot, SMALL));
    let differ: Vec<_> = before.keys().filter(|key| before[key] != after[key]).collect();
    assert_eq!((differ, before.len()), (vec![&40], after.len()));
    process.close(&slot);
}

#[test]
fn compaction_during_a_piece_hides_nothing() {
    let (mut during, mut pauses) = (0, Vec::new());
    for pause in 0..60u64 {
        let (mut process, slot, model) = long_log();
        let (compacting, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
        let is_done = Rc::new(Cell::new(false));
        let done = Rc::clone(&is_done);
        process.runtime.handle().spawn(async move {
            compacting.compact(&order(), &|_| Ok(())).await.unwrap();
            done.set(true);
        });
        let reading = Rc::clone(&slot);
        let (records, swaps) = process.run(async move {
            handle.sleep_until(handle.now() + pause * 3_000_000).await;
            let (mut records, mut at, mut swaps) = (Vec::new(), StreamPosition::START, 0);
            loop {
                let before = reading.volume().generation();
                let piece = reading.read_records(at, false, SMALL).await.unwrap();
                swaps += usize::from(reading.volume().generation() != before);
                records.extend(piece.records);
                at = piece.next;
                if piece.is_end && is_done.get() {
                    return (records, swaps);
                }
                if piece.is_end {
                    handle.sleep_until(handle.now() + 1_000_000).await;
                }
            }
        });
        expect_objects(&records, &model);
        during += swaps;
        pauses.push(swaps);
        process.close(&slot);
    }
    assert!(during > 3, "the file was replaced during too few pieces: {pauses:?}");
}

#[test]
fn objects_that_live_all_the_time_are_listed_whatever_is_written_meanwhile() {
    for seed in 0..12 {
        let (mut process, slot, mut model) = long_log();
        let mut random = seed;
        let mut touched = BTreeSet::new();
        let lived: BTreeSet<u64> = model.objects.keys().copied().collect();
        let writing = Rc::clone(&slot);
        let mut left = 40;
        let records =
            read_on(&mut process, &slot, StreamPosition::START, SMALL, |process, _, at| {
                let (what, key) = (split_mix(&mut random) % 8, split_mix(&mut random) % 60);
                if left > 0 {
                    left -= 1;
                    match what {
                        0 if model.objects.contains_key(&key) => {
                            model.delete(process, &writing, key);
                        }
                        1..4 => model.put(process, &writing, key, bytes(key, 70_000)),
                        4 if left % 4 == 0 => {
                            compact(process, &writing).map(drop).unwrap();
                        }
                        _ => return at,
                    }
                    touched.insert(key);
                }
                if split_mix(&mut random).is_multiple_of(3) {
                    return StreamPosition::after(at.version);
                }
                at
            });
        let mut versions = BTreeMap::<u64, Vec<u64>>::new();
        for record in &records {
            versions.entry(record.id.key.0).or_default().push(record.version);
        }
        for key in lived.intersection(&model.objects.keys().copied().collect()) {
            let Some(versions) = versions.get(key) else {
                panic!("seed {seed}: object {key} is missing");
            };
            assert!(versions.is_sorted_by(|one, next| one < next), "each version once");
            assert!(touched.contains(key) || versions.len() == 1, "once if nothing was written");
        }
        process.close(&slot);
    }
}

#[test]
fn position_survives_a_restart() {
    let (mut process, slot, model) = long_log();
    let whole = read_all(&mut process, &slot, SMALL);
    let mut at = StreamPosition::START;
    let mut records = Vec::new();
    let image = process.image();
    process.close(&slot);
    for seed in 0.. {
        let (mut process, slot) = reopened(&image, 0);
        let piece = read(&mut process, &slot, at, false, SMALL).unwrap();
        records.extend(piece.records);
        at = StreamPosition::after(piece.next.version);
        process.close(&slot);
        if piece.is_end {
            break;
        }
        assert!(seed < 100);
    }
    assert_eq!(records, whole);
    expect_objects(&records, &model);
}

#[test]
fn deletions_below_the_horizon_are_refused_and_kept_ones_are_found() {
    let (mut process, slot, mut model) = long_log();
    let half = whole_half(&mut process, &slot);
    model.delete(&mut process, &slot, 59);
    let keep = CompactionOrder { tombstone_keep_ns: 1 << 60, ..order() };
    compact_as(&mut process, &slot, keep).unwrap();
    let limits = PieceLimits { read: 1 << 30, ..PieceLimits::default() };
    let kept = read(&mut process, &slot, half, true, limits).unwrap();
    let deleted: Vec<_> =
        kept.records.iter().filter(|it| it.kind == RecordKind::Deletion).cloned().collect();
    assert!(keys(&deleted).contains(&59), "{deleted:?}");
    compact(&mut process, &slot).unwrap();
    let from = slot.volume().history_from();
    assert!(from > half.version);
    let refused = read(&mut process, &slot, half, true, SMALL);
    assert_eq!(refused, Err(NotStreamed::Behind(from)));
    let place = StreamPosition::after(half.version);
    assert_eq!(read(&mut process, &slot, place, true, SMALL), Err(NotStreamed::Behind(from)));
    // Objects are complete, and so are deletions for whoever knows everything before, or nothing.
    for (at, deletions) in [(half, false), (StreamPosition::START, true)] {
        assert!(read(&mut process, &slot, at, deletions, SMALL).is_ok());
    }
    let at = StreamPosition::after(from - 1);
    let piece = read(&mut process, &slot, at, true, SMALL).unwrap();
    assert_eq!((piece.records.len(), piece.is_end), (0, true));
    process.close(&slot);
}

/// A position in the middle of the log.
fn whole_half(process: &mut Process, slot: &Rc<Slot>) -> StreamPosition {
    let records = read_all(process, slot, SMALL);
    let middle = &records[records.len() / 2];
    StreamPosition::after(middle.version)
}

#[test]
fn damaged_objects_are_listed_as_such() {
    let (mut process, slot, model) = long_log();
    let image = process.image().bytes(OLD);
    let incarnation = common::superblock(0).incarnation;
    let mut wanted = BTreeMap::from([(10, "header"), (20, "attributes"), (40, "data")]);
    for at in (65_536..image.len() - 4096).step_by(512) {
        let Some((header, 0)) = decode_header(&image[at..], incarnation, at as u64) else {
            continue;
        };
        if header.kind != Kind::Data {
            continue;
        }
        match wanted.remove(&header.id.key.0) {
            Some("header") => process.world.rot(OLD, at + 30, 1),
            Some("attributes") => process.world.rot(OLD, at + 130, 1),
            Some(_) => process.world.rot(OLD, at + header.layout().data_start, 1),
            None => {}
        }
    }
    let records = read_all(&mut process, &slot, SMALL);
    assert_eq!(keys(&records).len(), model.objects.len());
    let damaged: Vec<_> = records.iter().filter(|it| it.kind == RecordKind::Damaged).collect();
    let seen: Vec<_> = damaged.iter().map(|it| (it.id.key.0, it.body_len.is_some())).collect();
    assert_eq!(seen, [(10, false), (20, true)], "the data is not read");
    assert_eq!(damaged[0].version, 0);
    let digests: Vec<_> = damaged.iter().map(|it| it.digest).collect();
    assert_eq!(digests, [10, 20].map(|key| Some(damaged_digest(id(key)))));
    process.close(&slot);
}

#[test]
fn closing_ends_a_piece_and_no_further_one_begins() {
    let (mut process, slot, _) = long_log();
    let (reading, result) = (Rc::clone(&slot), Rc::new(RefCell::new(None)));
    let told = Rc::clone(&result);
    process.runtime.handle().spawn(async move {
        let limits = PieceLimits { read: u64::MAX, records: usize::MAX, attributes: usize::MAX };
        let read = reading.read_records(StreamPosition::START, false, limits).await;
        told.replace(Some(read.map(|piece| piece.is_end)));
    });
    let (closing, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
    process.run(async move {
        handle.sleep_until(handle.now() + 1_000_000).await;
        closing.close().await;
    });
    assert_eq!(result.take(), Some(Err(NotStreamed::Closing)));
    let read = read(&mut process, &slot, StreamPosition::START, false, SMALL);
    assert_eq!(read, Err(NotStreamed::Closing));
}

#[test]
fn piece_needs_a_buffer_and_keeps_none() {
    let (mut process, slot, model) = long_log();
    let pool = process.runtime.handle().pool().clone();
    let free = pool.used();
    let taken: Vec<_> = std::iter::from_fn(|| pool.alloc(1 << 20)).collect();
    let refused = read(&mut process, &slot, StreamPosition::START, false, SMALL);
    assert_eq!(refused, Err(NotStreamed::NoBuffer));
    drop(taken);
    let piece = read(&mut process, &slot, StreamPosition::START, false, SMALL).unwrap();
    assert_eq!(pool.used(), free, "a stream holds no buffer between two pieces");
    let records = read_on(&mut process, &slot, piece.next, SMALL, |_, _, at| at);
    assert_eq!(piece.records.len() + records.len(), model.objects.len());
    process.close(&slot);
}

/// A volume with object 1, a torn commit of objects 10 to 13 without the lost units, and object 20.
fn torn(is_lost: impl Fn(usize) -> bool) -> (Process, Rc<Slot>) {
    let (mut process, slot) = started();
    process.put(&slot, id(1), &bytes(1, 3000)).unwrap();
    process.close(&slot);
    let puts: Vec<_> = (10..14).map(|n| (id(n), bytes(n, 1500))).collect();
    let pool = common::pool(32 << 20);
    let torn = common::tear(1, (OLD, &process.image()), &pool, None, &puts, |n| !is_lost(n));
    let mut process = Process::start(3, &torn, &pool);
    let slot = process.open_as(expected_of(0)).unwrap();
    let draft = draft(&pool, &bytes(5, 100));
    let writing = Rc::clone(&slot);
    process.run(async move { writing.put(id(20), COOKIE, draft, None).await }).unwrap();
    (process, slot)
}

#[test]
fn needles_of_a_torn_commit_that_do_not_count_are_not_listed() {
    // The second needle and the footer of the first are lost.
    let (mut process, slot) = torn(|n| (5..9).contains(&n));
    let records = read_all(&mut process, &slot, SMALL);
    for key in [10, 11, 12, 13] {
        let is_there = process.get(&slot, id(key)).is_ok();
        assert_eq!(keys(&records).contains(&key), is_there, "object {key}");
    }
    assert!(keys(&records).ends_with(&[20]) && keys(&records).starts_with(&[1]));
    process.close(&slot);
}

/// Keys of the needles in the last commit of a volume file, and their offsets in it (units).
fn last_commit(bytes: &[u8]) -> Vec<(u64, usize)> {
    let mut starts = (65_536..bytes.len() - 4096).step_by(4096);
    let start = starts.rfind(|&at| bytes[at..].starts_with(b"HAYLCMMT")).expect("a commit");
    let (mut at, mut needles) = (start + 512, Vec::new());
    let incarnation = common::superblock(0).incarnation;
    while let Some((header, 0)) = decode_header(&bytes[at..], incarnation, at as u64) {
        needles.push((header.id.key.0, (at - start) / 512));
        at += header.layout().len;
    }
    needles
}

/// A volume whose last commit was torn: puts of 10 and 20, deletion of 1 and 2. The record of the deletion
/// of 2 did not arrive, so that neither of the two deletions counts.
fn torn_deletion() -> Image {
    let (mut process, slot) = started();
    for key in [1, 2] {
        process.put(&slot, id(key), &bytes(key, 3000)).unwrap();
    }
    process.close(&slot);
    let image = process.image();
    for seed in 0..3000 {
        let pool = common::pool(32 << 20);
        let mut process = Process::start(seed, &image, &pool);
        let slot = process.open_as(expected_of(0)).unwrap();
        let cut = Rc::new(RefCell::new(None));
        let wrecks = Rc::clone(&cut);
        process.world.on_event(move |snapshot| {
            let wreck = snapshot.wreck();
            if wreck.loose() > 0 {
                *wrecks.borrow_mut() = Some(wreck);
            }
        });
        let handle = process.runtime.handle().clone();
        // The commit of the first put is in flight while the others join the next one.
        for (key, delay) in [(9, 0), (10, 1), (20, 1), (1, 1)] {
            let (slot, waiting, pool) = (Rc::clone(&slot), handle.clone(), pool.clone());
            handle.spawn(async move {
                for _ in 0..delay {
                    waiting.submit(Op::OpenDir { path: "data".into() }).await;
                }
                if key == 1 {
                    slot.delete_all(&[1, 2].map(|key| (id(key), COOKIE)), None).await.unwrap();
                } else {
                    slot.put(id(key), COOKIE, draft(&pool, &bytes(key, 100)), None).await.unwrap();
                }
            });
        }
        process.run(async move { handle.sleep_until(handle.now() + 5_000_000).await });
        let wreck = cut.take().expect("something was written");
        let needles = last_commit(&wreck.image(|_| true, wreck.changes()).bytes(OLD));
        if needles.iter().map(|(key, _)| *key).eq([10, 20, 1, 2]) {
            return wreck.image(|unit| unit < needles[3].1, wreck.changes());
        }
    }
    panic!("in no run do these needles share a commit");
}

#[test]
fn piece_that_begins_inside_a_torn_commit_lists_what_counts() {
    let torn = torn_deletion();
    let mut process = Process::start(3, &torn, &common::pool(32 << 20));
    let slot = process.open_as(expected_of(0)).unwrap();
    process.put(&slot, id(30), &bytes(30, 100)).unwrap();
    for records in [1, 100] {
        let limits = PieceLimits { records, ..SMALL };
        let (mut records, mut at) = (Vec::new(), StreamPosition::START);
        loop {
            let piece = read(&mut process, &slot, at, true, limits).unwrap();
            records.extend(piece.records);
            at = piece.next;
            if piece.is_end {
                break;
            }
        }
        assert!(records.iter().all(|record| record.kind == RecordKind::Object), "{records:?}");
        assert_eq!(keys(&records), [1, 2, 9, 10, 20, 30]);
    }
    process.close(&slot);
}
