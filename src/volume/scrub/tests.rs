//! The index against the log: the tests change the index, which nobody else can.

use std::cell::RefCell;
use std::rc::Rc;

use super::needle::Examiner;
use super::owners::live_in;
use super::pass::{Observer, pass};
use super::staged::SettledCommit;
use super::steps::{Interrupted, Steps};
use super::tally::Tally;
use super::{Finding, Flaw, ScrubPlan};
use crate::base::limits::LOG_START;
use crate::base::types::NeedleId;
use crate::runtime::KeyLocks;
use crate::runtime::background::{BackgroundRun, Pace};
use crate::runtime::sim::disk::Image;
use crate::volume::format::{HashPrefix, Loss, Unreadable};
use crate::volume::index::{Location, OffsetSums};
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::{FoundNeedle, WINDOW};
use crate::volume::tests::rig::{COOKIE, Rig, draft, id, location};
use crate::volume::{NewNeedle, Slot};

const CHECKPOINT: &str = "1.0.ckpt";

/// A process with an empty volume, of which passes are made on request.
fn begun() -> (Rig, Rc<Slot>) {
    let (rig, slot) = Rig::with_volume();
    start_scrubs(&rig, &slot);
    (rig, slot)
}

fn reopened(image: &Image) -> (Rig, Rc<Slot>) {
    let mut rig = Rig::new(image);
    let slot = rig.open();
    start_scrubs(&rig, &slot);
    (rig, slot)
}

fn start_scrubs(rig: &Rig, slot: &Rc<Slot>) {
    let turns = Rc::new(KeyLocks::new(&rig.handle()));
    slot.start_scrubs(&ScrubPlan { interval_ns: 0, turns, on_end: Rc::new(|| ()) });
}

/// Makes a pass; returns the offset, id and flaw of each damaged place. With `busy`, other needles are
/// written all the time.
fn scrub(rig: &mut Rig, slot: &Rc<Slot>, busy: bool) -> Vec<(u64, Option<NeedleId>, Flaw)> {
    let (slot, pool, handle) = (Rc::clone(slot), rig.pool.clone(), rig.handle());
    rig.run(async move {
        let passes = slot.scrub_progress().passes;
        slot.request_scrub();
        for n in 0_u64.. {
            if slot.scrub_progress().passes > passes {
                break;
            }
            assert!(n < 100_000, "the scrub does not end");
            match busy {
                true if n % 3 == 0 => drop(slot.delete(id(n / 2 % 60), COOKIE, None).await),
                true => {
                    let draft = draft(&pool, n, 700, None);
                    slot.put(id(n % 60), COOKIE, draft, None).await.unwrap();
                }
                false => handle.sleep_until(handle.now() + 100_000).await,
            }
        }
        let found = slot.found_damage();
        found.iter().map(|it| (it.finding.at.offset, it.finding.id, it.finding.flaw)).collect()
    })
}

fn forget(slot: &Rc<Slot>, n: u64) -> u64 {
    let (at, volume) = (location(slot, n), slot.volume());
    let hash = volume.hasher.hash(id(n));
    assert!(volume.contents.borrow_mut().remove(hash, at.offset));
    at.offset
}

fn invent(slot: &Rc<Slot>, n: u64, at: Location) {
    let volume = slot.volume();
    let hash = volume.hasher.hash(id(n));
    assert!(volume.contents.borrow_mut().insert(hash, at, 0));
}

#[test]
fn needles_that_the_index_lacks_are_found_and_read_from_the_log_after_a_restart() {
    let (mut rig, slot) = begun();
    (0..200).for_each(|n| rig.put(&slot, n));
    (100..150).for_each(|n| rig.put(&slot, n));
    let image = rig.close(&slot);
    let (mut rig, slot) = reopened(&image);
    assert!(slot.volume().figures().checkpoint.opened_from > 65_536, "the checkpoint was used");
    assert_eq!(scrub(&mut rig, &slot, false), []);
    let mut lacking: Vec<_> = [3, 120, 150, 199]
        .map(|n| (forget(&slot, n), Some(id(n)), Flaw::NotIndexed))
        .into_iter()
        .collect();
    lacking.sort_unstable_by_key(|(offset, ..)| *offset);
    assert_eq!(scrub(&mut rig, &slot, false), lacking);
    assert!(!rig.world.names().contains(&CHECKPOINT.to_owned()), "the checkpoint is wrong");
    rig.put(&slot, 500);
    let image = rig.close(&slot);
    assert!(!image.files.contains_key(CHECKPOINT), "the index was wrong");
    let (mut rig, slot) = reopened(&image);
    assert_eq!(scrub(&mut rig, &slot, false), []);
    assert_eq!(slot.volume().figures().needles, 201);
}

#[test]
fn entries_that_the_log_lacks_are_found() {
    let (mut rig, slot) = begun();
    (0..200).for_each(|n| rig.put(&slot, n));
    let replaced = location(&slot, 5);
    rig.put(&slot, 5);
    // A needle that was superseded, and the second half of one.
    invent(&slot, 5, replaced);
    let twice = location(&slot, 77);
    let wrong = Location { offset: twice.offset + 512, len: 512 };
    invent(&slot, 900, wrong);
    let expected =
        [(replaced, 5), (wrong, 77)].map(|(at, n)| (at.offset, Some(id(n)), Flaw::NotInLog));
    assert_eq!(scrub(&mut rig, &slot, false), expected);
}

#[test]
fn entry_of_the_wrong_length_is_found() {
    let (mut rig, slot) = begun();
    (0..50).for_each(|n| rig.put(&slot, n));
    let at = location(&slot, 9);
    forget(&slot, 9);
    invent(&slot, 9, Location { len: at.len + 512, ..at });
    // The sums are those of the offsets: it is found where the needle is verified.
    let found = scrub(&mut rig, &slot, false);
    assert_eq!(found, [(at.offset, Some(id(9)), Flaw::NotIndexed)]);
}

#[test]
fn writes_during_the_comparison_are_no_difference() {
    let (mut rig, slot) = begun();
    (0..60).for_each(|n| rig.put(&slot, n));
    (1000..1400).for_each(|n| rig.put(&slot, n));
    let offset = forget(&slot, 1234);
    for round in 0..4 {
        let found = scrub(&mut rig, &slot, true);
        assert_eq!(found, [(offset, Some(id(1234)), Flaw::NotIndexed)], "round {round}");
    }
}

#[test]
fn what_a_damaged_needle_has_superseded_is_no_difference() {
    for flips in [&[30][..], &[30, 1000]] {
        let (mut rig, slot) = begun();
        (0..50).for_each(|n| rig.put(&slot, n));
        rig.put(&slot, 7);
        (60..70).for_each(|n| rig.put(&slot, n));
        let at = location(&slot, 7);
        assert_eq!(at.len, 1024);
        // The header, or header and footer.
        for byte in flips {
            rig.rot(at.offset + byte);
        }
        let found = scrub(&mut rig, &slot, false);
        let owner = (flips.len() == 1).then(|| id(7));
        let header = Flaw::Needle(Unreadable::Header);
        assert_eq!(found, [(at.offset, owner, header)]);
    }
}

#[test]
fn what_was_found_in_a_file_is_forgotten_with_it() {
    let (mut rig, slot) = begun();
    (0..5).for_each(|n| rig.put(&slot, n));
    rig.rot(location(&slot, 3).offset + 300);
    assert_eq!(scrub(&mut rig, &slot, false).len(), 1);
    let (progress, log) = (slot.scrub_progress(), slot.volume().log.tail() - LOG_START);
    assert_eq!((progress.done, progress.total, progress.is_running), (log, log, false));
    slot.scrub.examine_around(location(&slot, 1).offset);
    assert_eq!((slot.found_damage_count(), slot.scrub.suspects.borrow().len()), (1, 1));
    slot.replace(&slot.volume());
    assert_eq!((slot.found_damage_count(), slot.scrub.suspects.borrow().len()), (0, 0));
}

/// Makes a pass over an index whose sums were `noted`. Returns what it finds, as it finds it.
fn found_by_a_pass(rig: &mut Rig, slot: &Rc<Slot>, noted: OffsetSums) -> Vec<Finding> {
    let (handle, volume) = (rig.handle(), slot.volume());
    rig.run(async move {
        let run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let buf = run.buffer(None, usize::try_from(WINDOW).unwrap(), 0).await.unwrap();
        let reader = LogReader::new(&volume, buf, true);
        let mut examiner = Examiner::new(&volume, reader, volume.log.tail());
        let mut steps = Steps { run, is_needed: &|| false, handle: &handle, read: 0, step_from: 0 };
        let found = RefCell::new(Vec::new());
        let on_finding = |finding: &Finding| found.borrow_mut().push(*finding);
        let observer = Observer { on_finding: &on_finding, on_progress: &|_| () };
        pass(&mut examiner, &mut steps, &noted, &observer).await.unwrap();
        found.take()
    })
}

#[test]
fn entries_that_the_log_lacks_are_reported_once_each_in_the_order_of_the_file() {
    let (mut rig, slot) = begun();
    (0..20).for_each(|n| rig.put(&slot, n));
    let mut expected = Vec::new();
    for n in 0..20 {
        // The second half of a needle, under two names.
        let at = Location { offset: location(&slot, n).offset + 512, len: 512 };
        invent(&slot, 900 + n, at);
        invent(&slot, 950 + n, at);
        expected.push(Finding { at, id: Some(id(n)), flaw: Flaw::NotInLog, is_io: false });
    }
    let noted = slot.volume().contents.borrow().offset_sums().clone();
    assert_eq!(found_by_a_pass(&mut rig, &slot, noted), expected);
}

#[test]
fn difference_of_the_sums_that_no_entry_explains_is_found() {
    let (mut rig, slot) = begun();
    (0..20).for_each(|n| rig.put(&slot, n));
    let mut noted = slot.volume().contents.borrow().offset_sums().clone();
    noted.add(LOG_START + 512);
    let at = Location { offset: LOG_START, len: slot.volume().log.tail() - LOG_START };
    let whole = Finding { at, id: None, flaw: Flaw::Index, is_io: false };
    assert_eq!(found_by_a_pass(&mut rig, &slot, noted), [whole]);
}

#[test]
fn live_needles_of_a_range_are_found_once_each_in_the_order_of_the_log() {
    let (mut rig, slot) = begun();
    (0..60).for_each(|n| rig.put(&slot, n));
    let mut expected: Vec<Location> = (10..50).map(|n| location(&slot, n)).collect();
    let ranges =
        [expected[0].offset..expected[20].offset, expected[20].offset..expected[39].offset + 1];
    // The index has it twice.
    let twice = Location { offset: expected[30].offset + 512, len: 512 };
    invent(&slot, 900, twice);
    invent(&slot, 901, twice);
    expected.insert(31, twice);
    let handle = rig.handle();
    rig.run(async move {
        let run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let mut steps = Steps { run, is_needed: &|| false, handle: &handle, read: 0, step_from: 0 };
        let found = live_in(&slot.volume(), &mut steps, &ranges).await;
        assert_eq!(found, Ok(expected));
    });
}

#[test]
fn search_of_the_index_ends_for_a_compaction() {
    let (mut rig, slot) = begun();
    (0..20).for_each(|n| rig.put(&slot, n));
    let handle = rig.handle();
    rig.run(async move {
        let volume = slot.volume();
        let run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let mut steps = Steps { run, is_needed: &|| true, handle: &handle, read: 0, step_from: 0 };
        let found = live_in(&volume, &mut steps, &[]).await;
        assert_eq!(found, Err(Interrupted::Compacting));
    });
}

/// The second of three needles that fill their commit.
#[test]
fn lost_needle_of_a_full_commit_is_one_damaged_place() {
    let (mut rig, slot) = begun();
    let lens = [(1, 700), (2, 700), (3, 1200)];
    let needles = lens.map(|(n, len)| {
        let draft = draft(&rig.pool, n, len, None);
        NewNeedle { id: id(n), cookie: COOKIE, draft }
    });
    let storing = Rc::clone(&slot);
    rig.run(async move { storing.put_batch(needles.into(), None).await.unwrap() });
    assert_eq!(slot.volume().log.tail(), LOG_START + 4096);
    let at = location(&slot, 2);
    assert_eq!((at.offset, at.len), (LOG_START + 512 + 1024, 1024));
    rig.rot(at.offset + 30);
    rig.rot(at.offset + 1000);
    let header = Flaw::Needle(Unreadable::Header);
    assert_eq!(scrub(&mut rig, &slot, false), [(at.offset, None, header)]);
}

#[test]
fn number_of_places_that_wait_for_their_neighbourhood_is_bounded() {
    let (_rig, slot) = begun();
    for n in 0..100 {
        slot.scrub.examine_around(66_048 + n * 512);
    }
    assert_eq!(slot.scrub.suspects.borrow().len(), 64);
}

#[test]
fn record_of_an_unknown_object_is_in_the_log_as_often_as_in_the_index() {
    let (_rig, slot) = begun();
    let volume = slot.volume();
    // The index keeps more bits of a hash.
    let bits = volume.hasher.hash(id(5)).bits();
    let hash = HashPrefix { leading: bits >> 27 << 27, bits: 37 };
    let at = Location { offset: 66_048, len: 1024 };
    volume.contents.borrow_mut().insert_unidentified(hash, at);
    assert_eq!(volume.figures().needles, 32);
    let header = Loss::Unidentified { hash, len: 4096 }.header(0);
    let (found, mut tally) = (vec![FoundNeedle::Whole(header, at)], Tally::default());
    tally.add(&volume, &SettledCommit { found, ..SettledCommit::default() });
    assert_eq!(&tally.sums, volume.contents.borrow().offset_sums());
}
