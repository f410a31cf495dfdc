//! Errors of reads, reads of random needles, and suspect volumes, in the simulated world.

use std::cell::Cell;
use std::rc::Rc;

use hayloft::runtime::KeyLocks;
use hayloft::runtime::sim::fault::Fault;
use hayloft::volume::{
    FenceReason, GetError, Location, ProbePlan, ReadOnlyReason, Refusal, ScrubPlan, Slot,
    StateError, WriteState,
};
use nix::libc::EIO;

use crate::common::{COOKIE, Process, bytes, draft, pool};
use crate::volume_support::{FILE, created, found, id, opened, put_many};

const SECOND: u64 = 1_000_000_000;

fn errors(volume: &Rc<Slot>) -> [u64; 4] {
    let volume = volume.volume();
    let stats = volume.stats();
    let [hard, soft] = &stats.device_errors;
    [stats.hard_errors.get(), stats.soft_errors.get(), hard.get(), soft.get()]
}

fn probes(volume: &Rc<Slot>) -> u64 {
    volume.volume().stats().probes.get()
}

fn start_probes(volume: &Rc<Slot>, interval_ns: u64) -> Rc<Cell<u64>> {
    let (reads, ends) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let ended = Rc::clone(&ends);
    volume.start_probes(&ProbePlan {
        interval_ns,
        on_read: Rc::new(move |began| {
            let is_begin = began.is_some();
            assert_eq!(reads.replace(u64::from(is_begin)), u64::from(!is_begin), "one at a time");
        }),
        on_end: Rc::new(move || ended.set(ended.get() + 1)),
    });
    ends
}

fn wait(process: &mut Process, ns: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + ns).await });
}

/// The place of the needle with this key.
fn place(process: &Process, key: u64) -> Location {
    let all = found(&process.image());
    all.into_iter().find(|(needle, _)| needle.id.key.0 == key).unwrap().1
}

fn rot_data(process: &Process, key: u64) {
    let at = usize::try_from(place(process, key).offset).unwrap();
    process.world.rot(FILE, at + 128 + 60, 2);
}

#[test]
fn random_needles_are_read_now_and_then_and_what_is_wrong_is_counted() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    let ends = start_probes(&volume, 30 * SECOND);
    wait(&mut process, 100 * SECOND);
    assert_eq!((probes(&volume), errors(&volume)), (0, [0; 4]), "an empty volume");
    assert!((2..=5).contains(&ends.get()), "{}", ends.get());
    put_many(&mut process, &volume, 0..20);
    wait(&mut process, 3000 * SECOND);
    assert!((75..=150).contains(&probes(&volume)), "{}", probes(&volume));
    assert_eq!(errors(&volume), [0; 4]);
    for n in 0..20 {
        rot_data(&process, n);
    }
    wait(&mut process, 100 * SECOND);
    assert_eq!(errors(&volume), [1, 0, 0, 0], "all are within a mebibyte");
}

#[test]
fn parts_of_large_photos_are_read_too() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    process.put_large(&volume, id(1), &bytes(7, 200_000), &[65_536, 65_536]).unwrap();
    let parts: Vec<_> = found(&process.image()).into_iter().map(|(_, at)| at).collect();
    let last = usize::try_from(parts[2].offset).unwrap();
    process.world.wear_out(FILE, last / 512 + 3);
    start_probes(&volume, 30 * SECOND);
    wait(&mut process, 600 * SECOND);
    assert_eq!(errors(&volume), [1, 0, 1, 0]);
}

#[test]
fn damaged_photo_counts_once_however_often_it_is_read() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    rot_data(&process, 7);
    for _ in 0..500 {
        assert!(matches!(process.get(&volume, id(7)), Err(GetError::Unreadable(..))));
    }
    assert_eq!(errors(&volume), [1, 0, 0, 0]);
    // The same of an error of the device.
    let sector = usize::try_from(place(&process, 9).offset / 512).unwrap();
    process.world.wear_out(FILE, sector);
    for _ in 0..100 {
        assert!(process.get(&volume, id(9)).is_err());
    }
    assert_eq!(errors(&volume), [1, 0, 0, 0], "it is near to the first one");
}

#[test]
fn errors_that_go_away_are_soft_and_nobody_sees_them() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    process.world.fail(0, Fault::Errno(EIO));
    assert!(process.get(&volume, id(3)).is_ok());
    assert_eq!(errors(&volume), [0, 1, 0, 1]);
    // No memory in the kernel is no error of the device.
    process.world.fail(0, Fault::Errno(nix::libc::ENOMEM));
    assert!(process.get(&volume, id(3)).is_ok());
    assert_eq!(errors(&volume), [0, 1, 0, 1]);
}

#[test]
fn wrong_bytes_are_read_again_before_a_request_fails() {
    let pool = pool(16 << 20);
    for read in [ReadKind::Get, ReadKind::Write, ReadKind::Body, ReadKind::Probe] {
        let (mut process, volume) = created(16 << 20, &pool);
        process.put(&volume, id(1), &bytes(1, 3000)).unwrap();
        process.put_large(&volume, id(2), &bytes(2, 100_000), &[65_536]).unwrap();
        // The read goes to another place of the file, which has other bytes.
        let next = u64::from(matches!(read, ReadKind::Body));
        process.world.fail(next, Fault::Misdirected(-1));
        match read {
            ReadKind::Get => drop(process.get(&volume, id(1)).unwrap()),
            ReadKind::Write => process.delete(&volume, id(1)).unwrap(),
            ReadKind::Body => assert_eq!(process.get(&volume, id(2)), Ok(bytes(2, 100_000))),
            ReadKind::Probe => {
                start_probes(&volume, 0);
                volume.request_burst(1);
                wait(&mut process, SECOND / 2);
            }
        }
        assert_eq!(errors(&volume), [0, 1, 0, 0], "{read:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum ReadKind {
    Get,
    Write,
    Body,
    Probe,
}

#[test]
fn burst_reads_the_neighbourhood_of_the_error_and_random_needles() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(64 << 20, &pool);
    for n in 0..40 {
        process.put(&volume, id(n), &bytes(n, 1_000_000)).unwrap();
    }
    let turns = Rc::new(KeyLocks::new(process.runtime.handle()));
    volume.start_scrubs(&ScrubPlan { interval_ns: 0, turns, on_end: Rc::new(|| ()) });
    let ends = start_probes(&volume, 0);
    wait(&mut process, 100 * SECOND);
    assert_eq!((probes(&volume), ends.get()), (0, 0), "only on request");
    for n in [3, 11, 30] {
        rot_data(&process, n);
    }
    // An error without an answer to a request, so that only the burst can lead to its neighbourhood.
    let last = place(&process, 3);
    volume.volume().expect_rest();
    assert!(process.get(&volume, id(3)).is_err());
    assert_eq!(errors(&volume)[0], 1);
    volume.request_burst(1000);
    wait(&mut process, 30 * SECOND);
    assert_eq!((probes(&volume), ends.get()), (1000, 1));
    assert_eq!(errors(&volume), [3, 0, 0, 0], "all were found, since {last:?}");
    assert!(volume.scrub_progress().neighbourhoods >= 1);
}

#[test]
fn burst_ends_after_twenty_seconds_on_a_slow_disk() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    let ends = start_probes(&volume, 0);
    process.world.fail_from(0, Fault::Stall(SECOND));
    volume.request_burst(1000);
    wait(&mut process, 25 * SECOND);
    assert_eq!(ends.get(), 1);
    assert!((15..=21).contains(&probes(&volume)), "{}", probes(&volume));
}

#[test]
fn suspect_volume_serves_reads_and_takes_no_writes_until_it_is_cleared() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    // A write that was admitted before is acknowledged.
    let (slot, new) = (Rc::clone(&volume), draft(&pool, &bytes(100, 500)));
    let admitted = process.run(async move {
        let put = slot.put(id(100), COOKIE, new, None);
        let (suspect, handle) = (Rc::clone(&slot), slot.handle().clone());
        let later = async move {
            handle.yield_now().await;
            suspect.volume().suspect();
        };
        hayloft::runtime::join(put, later).await.0
    });
    assert!(admitted.is_ok(), "{admitted:?}");
    assert_eq!(volume.volume().write_state(), WriteState::Fenced(FenceReason::Suspect));
    assert_eq!(process.put(&volume, id(101), b"x"), Err(Refusal::Suspect));
    assert_eq!(process.delete(&volume, id(3)), Err(Refusal::Suspect));
    let slot = Rc::clone(&volume);
    let set = process.run(async move { slot.set_read_only(true).await });
    assert_eq!(set, Err(StateError::Suspect));
    assert!(process.get(&volume, id(3)).is_ok() && process.get(&volume, id(100)).is_ok());
    assert!(volume.volume().clear() && !volume.volume().clear());
    assert_eq!(volume.volume().write_state(), WriteState::Writable);
    process.put(&volume, id(101), b"x").unwrap();
    volume.volume().suspect();
    process.close(&volume);
    let (mut process, volume) = opened(&process.image(), &pool);
    assert!(process.get(&volume, id(101)).is_ok(), "it was closed as any volume is");
    let slot = Rc::clone(&volume);
    process.run(async move { slot.set_read_only(true).await }).unwrap();
    volume.volume().suspect();
    assert_eq!(process.put(&volume, id(102), b"x"), Err(Refusal::ReadOnly));
    assert!(volume.volume().clear());
    let read_only = WriteState::ReadOnly(ReadOnlyReason::Operator);
    assert_eq!(volume.volume().write_state(), read_only, "as the operator had set it");
}

#[test]
fn places_that_are_known_from_an_earlier_start_do_not_count() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    for n in 0..8 {
        process.put(&volume, id(n), &bytes(n, 1_000_000)).unwrap();
    }
    for n in [1, 4, 7] {
        rot_data(&process, n);
        assert!(process.get(&volume, id(n)).is_err());
    }
    let places = volume.volume().error_places();
    assert_eq!((errors(&volume)[0], places.len()), (3, 3));
    process.close(&volume);
    let (mut process, volume) = opened(&process.image(), &pool);
    volume.volume().recall_errors(Some(&places[..2]));
    for n in [1, 4, 7] {
        assert!(process.get(&volume, id(n)).is_err());
    }
    assert_eq!(errors(&volume)[0], 1, "the one that is new");
    assert_eq!(volume.volume().error_places(), places);
}
