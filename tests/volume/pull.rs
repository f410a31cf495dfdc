//! Copies of a volume on two simulated disks: every object arrives with everything that belongs to it,
//! whatever is cut, killed or compacted meanwhile.

use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{BadExchange, Kind, attributes, decode_header};
use hayloft::volume::{
    CompactionOrder, Expected, GetError, NotPulled, NotStreamed, Pulled, ReadOnlyReason, Refusal,
    Replica, Slot, Superblock, WriteState,
};
use proptest::prelude::*;

use crate::common::{self, COOKIE, Process, bytes, pool};
use crate::compaction_support::{
    Model, OLD, SIZE, compact, compact_as, expected_of, filled, id, order, reopened, started,
};
use crate::pull_support::{
    contents, copy, deletions, pull, pull_as_the_command, put_special, replica, step, store, stream,
};

#[test]
fn copy_has_everything_and_follows_changes_and_deletions() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    let mut model = filled(&mut from, &source);
    put_special(&mut from, &source, 900, u64::MAX / 2);
    let first = pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!(
        (first.objects, first.deletions, first.damaged),
        (model.objects.len() as u64 + 1, 0, 0)
    );
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    assert!(!replica(&copy).has_surplus);
    // Nothing is new.
    let nothing = pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!(nothing, Pulled::default());
    model.put(&mut from, &source, 500, bytes(500, 1_500_000));
    model.put(&mut from, &source, 3, bytes(33, 10));
    model.delete(&mut from, &source, 2);
    model.delete(&mut from, &source, 500);
    let more = pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!((more.objects, more.deletions), (1, 1), "object 500 was never here");
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    // A copy of the copy: deletions are passed on.
    let lineage = copy.volume().lineage();
    assert_ne!(lineage, source.volume().lineage());
    to.close(&copy);
    let image = to.image();
    let (mut to, copy) = reopened(&image, 0);
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    assert_eq!(replica(&copy).source, source.volume().lineage());
    copy.expect_rest();
    from.close(&source);
    to.close(&copy);
}

#[test]
fn copy_takes_no_other_writes_until_it_is_made_writable() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    filled(&mut from, &source);
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!(copy.volume().write_state(), WriteState::ReadOnly(ReadOnlyReason::Replica));
    assert!(!copy.volume().writable());
    assert_eq!(to.put(&copy, id(1), b"other"), Err(Refusal::ReadOnly));
    assert_eq!(to.put(&copy, id(77), b"other"), Err(Refusal::ReadOnly));
    assert_eq!(to.delete(&copy, id(2)), Err(Refusal::ReadOnly));
    assert_eq!(
        to.put_large(&copy, id(78), &bytes(1, 2_000_000), &[1 << 20]),
        Err(Refusal::ReadOnly)
    );
    let setting = Rc::clone(&copy);
    let set = to.run(async move { setting.set_expiry(id(2), COOKIE, Some(1), None).await });
    assert_eq!(set, Err(Refusal::ReadOnly));
    // Nor after a restart and a compaction.
    compact(&mut to, &copy).unwrap();
    assert_eq!(to.put(&copy, id(1), b"other"), Err(Refusal::ReadOnly));
    to.close(&copy);
    let (mut to, copy) = reopened(&to.image(), 1);
    assert_eq!(to.put(&copy, id(1), b"other"), Err(Refusal::ReadOnly));
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    let setting = Rc::clone(&copy);
    to.run(async move { setting.set_read_only(false).await }).unwrap();
    assert_eq!(
        (copy.volume().write_state(), copy.volume().replica()),
        (WriteState::Writable, None)
    );
    to.put(&copy, id(1), b"other").unwrap();
    let pieces = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &copy, &pieces, false), Err(NotPulled::NotReplica));
    to.close(&copy);
    let (mut to, copy) = reopened(&to.image(), 1);
    assert_eq!(to.get(&copy, id(1)).as_deref(), Ok(&b"other"[..]));
    to.put(&copy, id(1), b"again").unwrap();
    to.close(&copy);
    from.close(&source);
}

#[test]
fn read_only_copy_takes_nothing_and_one_that_is_made_a_copy_loses_its_own_objects() {
    let ((mut from, source), (mut to, own)) = (started(), copy());
    let setting = Rc::clone(&own);
    to.run(async move { setting.set_read_only(false).await }).unwrap();
    filled(&mut from, &source);
    to.put(&own, id(900), b"only here").unwrap();
    let becoming = Rc::clone(&own);
    to.run(async move { becoming.make_replica().await }).unwrap();
    let setting = Rc::clone(&own);
    to.run(async move { setting.set_read_only(true).await }).unwrap();
    let pieces = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &own, &pieces, false), Err(NotPulled::Refused(Refusal::ReadOnly)));
    let setting = Rc::clone(&own);
    to.run(async move { setting.set_read_only(false).await }).unwrap();
    assert_eq!(own.volume().replica(), None, "made writable, it is its own master");
    let becoming = Rc::clone(&own);
    to.run(async move { becoming.make_replica().await }).unwrap();
    store(&mut to, &own, &pieces, false).unwrap();
    assert!(replica(&own).has_surplus, "what was here may have to go");
    assert_eq!(to.get(&own, id(900)).as_deref(), Ok(&b"only here"[..]));
    from.close(&source);
    to.close(&own);
}

#[test]
fn upload_that_began_before_the_volume_became_a_copy_is_refused() {
    let (mut process, slot) = started();
    let pool = process.runtime.handle().pool().clone();
    let upload = slot.upload(id(1), COOKIE, 100_000).unwrap();
    let part = upload.part(&pool, 65_536).unwrap();
    let (upload, added) = process.add(upload, part);
    added.unwrap();
    let becoming = Rc::clone(&slot);
    process.run(async move { becoming.make_replica().await }).unwrap();
    let part = upload.part(&pool, 100_000 - 65_536).unwrap();
    let (upload, added) = process.add(upload, part);
    assert_eq!(added, Err(Refusal::ReadOnly));
    drop(upload);
    process.close(&slot);
}

#[test]
fn stream_of_another_volume_or_another_position_is_refused() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    filled(&mut from, &source);
    let whole = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    store(&mut to, &copy, &whole, false).unwrap();
    let position = replica(&copy).position;
    assert_eq!(
        store(&mut to, &copy, &whole, false),
        Err(NotPulled::Position(position)),
        "stored twice"
    );
    let later = stream(&mut from, &source, (position + 1, true), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &copy, &later, false), Err(NotPulled::Position(position)), "a gap");
    // Another volume: only from its start, and what was here may have to go.
    let mut other = Process::start(5, &Image::default(), &pool(32 << 20));
    other.create_as(Superblock { hash_seed: 99, ..common::superblock(SIZE) });
    let third = other.open_as(expected_of(0)).unwrap();
    other.put(&third, id(1), b"another volume").unwrap();
    let some = stream(&mut other, &third, (1, true), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &copy, &some, false), Err(NotPulled::OtherSource));
    let all = stream(&mut other, &third, (0, true), usize::MAX).unwrap();
    store(&mut to, &copy, &all, false).unwrap();
    assert!(replica(&copy).has_surplus);
    assert_eq!(replica(&copy).source, third.volume().lineage());
    // Its own records.
    let own = stream(&mut to, &copy, (0, true), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &copy, &own, false), Err(NotPulled::Itself));
    from.close(&source);
    other.close(&third);
    to.close(&copy);
}

#[test]
fn stream_that_is_cut_anywhere_counts_up_to_there_and_goes_on() {
    let (mut from, source) = started();
    filled(&mut from, &source);
    let whole = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    let all = contents(&mut from, &source);
    for cut in 1..whole.len() {
        let (mut to, copy) = copy();
        let stored = store(&mut to, &copy, &whole[..cut], false);
        assert_eq!(stored, Err(NotPulled::Bad(BadExchange::Cut)));
        assert_eq!(replica(&copy).position, 0, "only a complete stream moves the position");
        // Killed here, or only cut.
        let (mut to, copy) = match cut % 2 {
            0 => (to, copy),
            _ => reopened(&to.image(), 0),
        };
        let done = store(&mut to, &copy, &whole, false).unwrap();
        assert_eq!(done.objects + done.known, all.len() as u64);
        assert!(cut < 2 || done.known > 0, "what was stored is not stored again");
        assert_eq!(contents(&mut to, &copy), all);
        to.close(&copy);
        copy.expect_rest();
    }
    from.close(&source);
}

#[test]
fn bytes_that_are_not_those_that_were_sent_store_nothing_wrong() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    from.put(&source, id(1), &bytes(1, 3000)).unwrap();
    let whole = stream(&mut from, &source, (0, true), usize::MAX).unwrap().concat();
    for at in (0..whole.len()).step_by(23) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        let stored = store(&mut to, &copy, &[changed], false);
        assert!(matches!(stored, Err(NotPulled::Bad(_))), "byte {at}: {stored:?}");
        assert_eq!(to.get(&copy, id(1)), Err(GetError::NotFound));
    }
    let after = [whole.clone(), b"x".to_vec()];
    assert!(store(&mut to, &copy, &after, false).is_err(), "something follows the end");
    // In pieces of any length.
    let (mut to, copy) = self::copy();
    let bytes: Vec<Vec<u8>> = whole.chunks(7).map(<[u8]>::to_vec).collect();
    store(&mut to, &copy, &bytes, false).unwrap();
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    from.close(&source);
    to.close(&copy);
}

#[test]
fn acknowledged_records_survive_a_power_cut_and_a_position_is_never_ahead_of_them() {
    let (mut from, source) = started();
    filled(&mut from, &source);
    let whole = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    let all = contents(&mut from, &source);
    let (mut to, copy) = copy();
    let images = Rc::new(std::cell::RefCell::new(Vec::new()));
    let taken = Rc::clone(&images);
    to.world.on_event(move |snapshot| {
        let wreck = snapshot.wreck();
        // The power is cut: nothing survives that was not flushed.
        taken.borrow_mut().push(wreck.image(|_| false, 0));
    });
    store(&mut to, &copy, &whole, false).unwrap();
    let images = images.take();
    assert!(images.len() > 20, "{} events", images.len());
    for image in &images {
        let (mut to, copy) = reopened(image, 0);
        let position = replica(&copy).position;
        let later = stream(&mut from, &source, (position, true), usize::MAX).unwrap();
        store(&mut to, &copy, &later, false).unwrap();
        assert_eq!(contents(&mut to, &copy), all, "from position {position} on");
        copy.expect_rest();
        to.close(&copy);
    }
    from.close(&source);
}

#[test]
fn compaction_of_either_side_changes_nothing() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    let mut model = filled(&mut from, &source);
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    let keep = CompactionOrder { tombstone_keep_ns: 1 << 60, ..order() };
    model.delete(&mut from, &source, 4);
    compact_as(&mut from, &source, keep).unwrap();
    compact(&mut to, &copy).unwrap();
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    assert!(!replica(&copy).has_surplus);
    // In the middle of a large body.
    model.put(&mut from, &source, 600, bytes(600, 5_000_000));
    let pieces = stream(&mut from, &source, (replica(&copy).position, true), usize::MAX).unwrap();
    assert!(pieces.len() > 3);
    let begin = Rc::clone(&copy);
    let mut pull = to.run(async move { begin.begin_pull(false).await }).unwrap();
    for (n, piece) in pieces.into_iter().enumerate() {
        if n == 3 {
            compact(&mut to, &copy).unwrap();
        }
        let (back, stored) = step(&mut to, pull, &piece);
        pull = back;
        stored.unwrap();
    }
    to.run(async move { pull.finish().await }).unwrap();
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    from.close(&source);
    to.close(&copy);
    copy.expect_rest();
}

#[test]
fn behind_the_horizon_a_copy_is_incomplete_until_it_is_said_to_be_complete() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    let mut model = filled(&mut from, &source);
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    model.delete(&mut from, &source, 2);
    model.put(&mut from, &source, 700, bytes(7, 70));
    compact(&mut from, &source).unwrap();
    let behind = pull((&mut from, &source), (&mut to, &copy));
    assert!(matches!(behind, Err(NotStreamed::Behind(_))), "{behind:?}");
    let position = replica(&copy).position;
    let pieces = stream(&mut from, &source, (position, false), usize::MAX).unwrap();
    assert_eq!(store(&mut to, &copy, &pieces, false).unwrap().objects, 1);
    assert!(replica(&copy).has_surplus, "deletions were missing");
    assert!(replica(&copy).position > position);
    // Further records do not make it complete.
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert!(replica(&copy).has_surplus);
    // Nor does a restart.
    to.close(&copy);
    let (mut to, copy) = reopened(&to.image(), 0);
    assert!(replica(&copy).has_surplus);
    // The client has found out what is too much.
    let surplus = deletions(source.volume().lineage(), replica(&copy).position, &[2, 12345]);
    let done = store(&mut to, &copy, &[surplus], true).unwrap();
    assert_eq!((done.deletions, replica(&copy).has_surplus), (1, false));
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    from.close(&source);
    to.close(&copy);
}

#[test]
fn pull_is_superseded_dropped_and_ended_by_a_close_without_a_trace() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    let mut model = Model::default();
    model.put(&mut from, &source, 1, bytes(1, 5_000_000));
    let pieces = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    let begin = |to: &mut Process| {
        let slot = Rc::clone(&copy);
        to.run(async move { slot.begin_pull(false).await }).unwrap()
    };
    let first = begin(&mut to);
    let (first, stored) = step(&mut to, first, &pieces[0]);
    stored.unwrap();
    let (first, stored) = step(&mut to, first, &pieces[1]);
    stored.unwrap();
    let second = begin(&mut to);
    let (first, stored) = step(&mut to, first, &pieces[2]);
    assert_eq!(stored, Err(NotPulled::Superseded));
    drop(first);
    copy.expect_no_uploads();
    let (second, stored) = step(&mut to, second, &pieces[0]);
    stored.unwrap();
    let (second, stored) = step(&mut to, second, &pieces[1]);
    stored.unwrap();
    drop(second);
    copy.expect_no_uploads();
    let third = begin(&mut to);
    let (third, stored) = step(&mut to, third, &pieces[0]);
    stored.unwrap();
    let (third, stored) = step(&mut to, third, &pieces[1]);
    stored.unwrap();
    to.close(&copy);
    let (third, stored) = step(&mut to, third, &pieces[2]);
    assert_eq!(stored, Err(NotPulled::Closing));
    drop(third);
    copy.expect_rest();
    from.close(&source);
}

#[test]
fn copy_that_is_too_small_or_suspect_says_so_and_keeps_what_it_has() {
    let (mut from, source) = started();
    filled(&mut from, &source);
    let pieces = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
    let mut to = Process::start(7, &Image::default(), &pool(32 << 20));
    to.create_as(Superblock {
        hash_seed: 43,
        replica: Some(Replica::default()),
        ..common::superblock(4 << 20)
    });
    let small = to.open_as(expected_of(0)).unwrap();
    assert_eq!(store(&mut to, &small, &pieces, false), Err(NotPulled::Refused(Refusal::Full)));
    assert!(small.volume().figures().needles > 0);
    assert_eq!(replica(&small).position, 0);
    small.expect_no_uploads();
    to.close(&small);
    let (mut to, copy) = copy();
    copy.volume().suspect();
    let refused = store(&mut to, &copy, &pieces, false);
    assert_eq!(refused, Err(NotPulled::Refused(Refusal::Suspect)));
    to.close(&copy);
    from.close(&source);
}

#[test]
fn copy_without_memory_for_its_index_takes_changes_and_nothing_new() {
    let (mut from, source) = started();
    let mut to = Process::start(7, &Image::default(), &pool(32 << 20));
    to.create_as(Superblock {
        hash_seed: 43,
        incarnation: 9,
        replica: Some(Replica::default()),
        ..common::superblock(SIZE)
    });
    let starved = Expected { segments_max: Some(0), ..expected_of(0) };
    let copy = to.open_as(starved).unwrap();
    let mut follow = |from: &mut Process| {
        let position = replica(&copy).position;
        let pieces = stream(from, &source, (position, true), usize::MAX).unwrap();
        store(&mut to, &copy, &pieces, false)
    };
    // A dozen entries need no table yet.
    for key in 0..13 {
        from.put(&source, id(key), &bytes(key, 100)).unwrap();
    }
    assert_eq!(follow(&mut from).unwrap().objects, 13);
    from.put(&source, id(5), &bytes(50, 100)).unwrap();
    assert_eq!(follow(&mut from).unwrap().objects, 1);
    from.put(&source, id(13), &bytes(13, 100)).unwrap();
    assert_eq!(follow(&mut from), Err(NotPulled::Refused(Refusal::Full)));
    assert_eq!(to.get(&copy, id(5)), Ok(bytes(50, 100)));
}

#[test]
fn damaged_object_of_the_source_leaves_what_is_here() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    from.put(&source, id(1), &bytes(1, 3000)).unwrap();
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    let image = from.image().bytes(OLD);
    let incarnation = source.volume().incarnation();
    let at = (65_536..image.len()).step_by(512).find(|&at| {
        let header = decode_header(&image[at..], incarnation, at as u64);
        header.is_some_and(|(header, _)| header.kind == Kind::Data)
    });
    from.world.rot(OLD, at.unwrap() + 1000, 1);
    let (mut to, third) = {
        to.close(&copy);
        let (mut third, slot) = self::copy();
        let pieces = stream(&mut from, &source, (0, true), usize::MAX).unwrap();
        let done = store(&mut third, &slot, &pieces, false).unwrap();
        assert_eq!((done.objects, done.damaged), (0, 1));
        (third, slot)
    };
    assert_eq!(to.get(&third, id(1)), Err(GetError::NotFound));
    to.close(&third);
    from.close(&source);
}

/// The source is asked what it certainly has not. As long as bytes of its log belong to no known object, that
/// is nothing: any object may have been there.
#[test]
fn object_that_may_have_been_in_damaged_bytes_of_the_source_is_not_absent() {
    let (mut from, source) = started();
    for key in 1..4 {
        from.put(&source, id(key), &bytes(key, 3000)).unwrap();
    }
    let absent = |from: &mut Process, slot: &Rc<Slot>| {
        let asked = Rc::clone(slot);
        from.run(async move { asked.absent(&[id(1), id(2), id(9)]).await }).unwrap()
    };
    assert_eq!(absent(&mut from, &source), [id(9)]);
    let place = source.volume().walk().unwrap().places()[1];
    let [from_byte, to_byte] = [place.offset, place.offset + place.len].map(|at| at as usize);
    from.world.rot(OLD, from_byte + 20, 1);
    from.world.rot(OLD, to_byte - 12, 1);
    // As after a kill: there is no checkpoint, so that the start reads the log.
    let (mut from, source) = reopened(&from.image(), 0);
    assert!(source.volume().damage().iter().any(|damaged| damaged.id.is_none()));
    assert_eq!(from.get(&source, id(2)), Err(GetError::NotFound));
    assert_eq!(absent(&mut from, &source), []);
}

/// What happens between two pulls.
#[derive(Clone, Debug)]
enum Change {
    Put(u64, usize),
    Delete(u64),
    Expire(u64, u64),
    CompactSource(bool),
    CompactCopy,
    KillCopy,
    KillSource,
    Pull,
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u64..12, 0usize..5000).prop_map(|(key, len)| Change::Put(key, len)),
        1 => (0u64..12).prop_map(|key| Change::Put(key, 1_300_000)),
        3 => (0u64..12).prop_map(Change::Delete),
        1 => (0u64..12, 1u64..5).prop_map(|(key, n)| Change::Expire(key, (1 << 62) + n)),
        1 => any::<bool>().prop_map(Change::CompactSource),
        1 => Just(Change::CompactCopy),
        1 => Just(Change::KillCopy),
        1 => Just(Change::KillSource),
        2 => Just(Change::Pull),
        2 => (1usize..4).prop_map(Change::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn copy_is_equal_after_any_history(changes in prop::collection::vec(change(), 1..40)) {
        let ((mut from, mut source), (mut to, mut copy)) = (started(), copy());
        for change in changes {
            match change {
                Change::Put(key, len) if len > 1 << 20 => {
                    from.put_large(&source, id(key), &bytes(key, len), &[400_000]).unwrap();
                }
                Change::Put(key, len) => {
                    from.put(&source, id(key), &bytes(key + 50, len)).unwrap();
                }
                Change::Delete(key) => drop(from.delete(&source, id(key))),
                Change::Expire(key, at) => {
                    let slot = Rc::clone(&source);
                    let set = async move { slot.set_expiry(id(key), COOKIE, Some(at), None).await };
                    let _ = from.run(set);
                }
                Change::CompactSource(keep) => {
                    let tombstone_keep_ns = if keep { 1 << 60 } else { 0 };
                    let order = CompactionOrder { tombstone_keep_ns, ..order() };
                    compact_as(&mut from, &source, order).unwrap();
                }
                Change::CompactCopy => drop(compact(&mut to, &copy).unwrap()),
                Change::KillCopy => {
                    (to, copy) = reopened(&to.image(), copy.volume().generation());
                }
                Change::KillSource => {
                    (from, source) = reopened(&from.image(), source.volume().generation());
                }
                Change::Pull => {
                    pull_as_the_command((&mut from, &source), (&mut to, &copy), usize::MAX);
                    prop_assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
                }
                Change::Cut(pieces) => {
                    pull_as_the_command((&mut from, &source), (&mut to, &copy), pieces);
                }
            }
        }
        pull_as_the_command((&mut from, &source), (&mut to, &copy), usize::MAX);
        prop_assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
        for (id, ..) in contents(&mut to, &copy) {
            prop_assert_eq!(to.get(&copy, id), from.get(&source, id));
        }
        copy.expect_rest();
    }
}

#[test]
fn attributes_arrive_as_they_are_stored() {
    let ((mut from, source), (mut to, copy)) = (started(), copy());
    put_special(&mut from, &source, 5, 1 << 62);
    pull((&mut from, &source), (&mut to, &copy)).unwrap();
    let all = contents(&mut to, &copy);
    let [(found, cookie, modified_ns, stored, ..)] = &all[..] else { panic!("{all:?}") };
    assert_eq!((*found, *cookie), (NeedleId::new(5, 7), 0xfeed));
    assert_eq!(*modified_ns, 1_000_000_000_000_000_123);
    assert_eq!(attributes(stored).count(), 2);
    // Another time of expiry, everything else the same: it is no longer known.
    let slot = Rc::clone(&source);
    let set = async move {
        slot.set_expiry(NeedleId::new(5, 7), Cookie(0xfeed), Some((1 << 62) + 1), None).await
    };
    from.run(set).unwrap();
    let done = pull((&mut from, &source), (&mut to, &copy)).unwrap();
    assert_eq!((done.objects, done.known), (1, 0));
    assert_eq!(contents(&mut to, &copy), contents(&mut from, &source));
    from.close(&source);
    to.close(&copy);
}
