//! Scrubs on the simulated disk: every kind of damage is found, nothing else is reported, and the index is
//! compared with the log.

use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::runtime::sim::fault::Fault;
use hayloft::volume::format::Kind;
use hayloft::volume::{Carried, NewNeedle};

use crate::common::{COOKIE, bytes, draft, pool, tear};
use crate::scrub_support::{self, Scrubbing, scrub, scrub_on_request, wait_for_passes};
use crate::volume_support::{FILE, created, found, id, opened, put_many};

/// Interval of scrubs in tests of the schedule (nanoseconds): a day.
const DAY: u64 = 86_400_000_000_000;

#[test]
fn every_planted_damage_is_found_and_nothing_else() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(128 << 20, &pool);
    put_many(&mut process, &volume, 0..750);
    for n in 0..250 {
        let data = bytes(n, 70_000);
        process.put_large(&volume, id(10_000 + n), &data, &[65_536]).unwrap();
    }
    // What is dead matters to nobody.
    put_many(&mut process, &volume, 2000..2100);
    for n in 2000..2100 {
        process.delete(&volume, id(n)).unwrap();
    }
    let mut expected = BTreeMap::new();
    let mut large = 0;
    for (needle, at) in found(&process.image()) {
        let (offset, len) = (usize::try_from(at.offset).unwrap(), usize::try_from(at.len).unwrap());
        let key = needle.id.key.0;
        let (header, footer) = (offset + 30, offset + len - 20);
        match needle.kind {
            Kind::Data if (2000..2100).contains(&key) => process.world.rot(FILE, offset + 300, 1),
            Kind::Data => {
                let flaw = ["header", "data", "footer"][key as usize % 3];
                let data = offset + needle.layout().data_start;
                let byte = [header, data, footer][key as usize % 3];
                process.world.rot(FILE, byte, 3);
                expected.insert(at.offset, (needle.id, flaw));
            }
            // The second of two parts.
            Kind::Part if needle.data_len < 65_536 => {
                process.world.rot(FILE, header, 0);
                process.world.rot(FILE, footer, 0);
                expected.insert(at.offset, (needle.id, "part"));
                large += 1;
            }
            _ => {}
        }
    }
    assert_eq!((expected.len(), large), (1000, 250));
    let result = scrub(&mut process, &volume);
    let found: BTreeMap<_, _> =
        result.damage.iter().map(|it| (it.offset, (it.id.unwrap(), it.flaw))).collect();
    assert_eq!(found, expected);
    assert!(result.damage.iter().all(|found| !found.is_io));
    assert_eq!((result.scrubbed.findings, result.scrubbed.healed), (1000, 0));
}

#[test]
fn sound_volume_has_no_findings() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    assert_eq!(scrub(&mut process, &volume).damage, [], "an empty volume");
    put_many(&mut process, &volume, 0..300);
    put_many(&mut process, &volume, 100..200);
    for n in 150..250 {
        process.delete(&volume, id(n)).unwrap();
    }
    let large = bytes(7, 300_000);
    process.put_large(&volume, id(1000), &large, &[65_536, 131_072]).unwrap();
    let result = scrub(&mut process, &volume);
    assert_eq!(result.damage, []);
    assert!(result.scrubbed.is_index_compared);
    assert_eq!(result.scrubbed.needles, 200 + 100 + 1, "live needles, tombstones and a manifest");
    assert_eq!(result.scrubbed.parts, 4);
    process.close(&volume);
    let (mut process, volume) = opened(&process.image(), &pool);
    assert_eq!(scrub(&mut process, &volume).damage, [], "after a restart");
}

#[test]
fn dead_needles_are_not_read() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(64 << 20, &pool);
    for n in 0..30 {
        process.put(&volume, id(n), &bytes(n, 1 << 20)).unwrap();
    }
    let all = scrub(&mut process, &volume).scrubbed.bytes_read;
    for n in 0..29 {
        process.delete(&volume, id(n)).unwrap();
    }
    let few = scrub(&mut process, &volume).scrubbed.bytes_read;
    assert!(all > 30 << 20 && few < 6 << 20, "{all} and {few} bytes were read");
}

#[test]
fn sectors_that_cannot_be_read_are_told_from_wrong_bytes() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..50);
    let all = found(&process.image());
    let sector = |at: u64| usize::try_from(at / 512).unwrap();
    let (header, data, both) = (all[3].1, all[10].1, all[20].1);
    process.world.wear_out(FILE, sector(header.offset));
    process.world.wear_out(FILE, sector(data.offset) + 1);
    process.world.wear_out(FILE, sector(both.offset));
    process.world.wear_out(FILE, sector(both.offset + both.len) - 1);
    let result = scrub(&mut process, &volume);
    let found: Vec<_> =
        result.damage.iter().map(|it| (it.offset, it.id, it.flaw, it.is_io)).collect();
    let expected = [
        (header.offset, Some(all[3].0.id), "header", true),
        (data.offset, Some(all[10].0.id), "data", true),
        (both.offset, None, "header", true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn records_and_tombstones_are_verified() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..3);
    process.delete(&volume, id(1)).unwrap();
    put_many(&mut process, &volume, 5..8);
    let image = process.image();
    let tombstone = found(&image).into_iter().find(|(needle, _)| needle.kind == Kind::Tombstone);
    let tombstone = tombstone.unwrap().1.offset;
    let record = scrub_support::last_record(&image);
    process.world.rot(FILE, usize::try_from(tombstone).unwrap() + 512 + 30, 2);
    process.world.rot(FILE, usize::try_from(record).unwrap() + 30, 2);
    let result = scrub(&mut process, &volume);
    let found: Vec<_> = result.damage.iter().map(|it| (it.offset, it.flaw)).collect();
    assert_eq!(found, [(tombstone, "header_copy"), (record, "commit_record")]);
}

#[test]
fn error_that_goes_away_is_no_damage() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..50);
    for n in 0..3 {
        // A read returns what is elsewhere, once.
        process.world.fail(n, Fault::Misdirected(9));
        let result = scrub(&mut process, &volume);
        assert_eq!(result.damage, [], "read {n}");
        assert_eq!(result.scrubbed.healed, 1, "read {n}");
    }
    // The data of a long needle has a read of its own.
    let (mut process, volume) = created(16 << 20, &pool);
    process.put(&volume, id(1), &bytes(1, 1 << 20)).unwrap();
    process.world.fail(1, Fault::Misdirected(9));
    let result = scrub(&mut process, &volume);
    assert_eq!((result.damage, result.scrubbed.healed), (vec![], 1));
    // So has a needle behind a long dead one in its commit.
    let (mut process, volume) = created(16 << 20, &pool);
    let needles = [(1, 100_000), (2, 100)].map(|(n, len)| {
        let draft = draft(&pool, &bytes(n, len));
        NewNeedle { id: id(n), cookie: COOKIE, draft }
    });
    let storing = Rc::clone(&volume);
    process.run(async move { storing.put_batch(needles.into(), None).await.unwrap() });
    process.delete(&volume, id(1)).unwrap();
    process.world.fail(1, Fault::Misdirected(9));
    let result = scrub(&mut process, &volume);
    assert_eq!((result.damage, result.scrubbed.healed), (vec![], 1));
}

#[test]
fn leftovers_of_torn_commits_are_no_damage() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(1 << 20, &pool);
    put_many(&mut process, &volume, 0..4);
    process.close(&volume);
    let puts: Vec<_> = (10..14).map(|n| (id(n), bytes(n, 1500))).collect();
    // Needles of four sectors each after the record: the second one and the record are lost.
    for (seed, survives) in [
        (1, (|n| !(5..9).contains(&n)) as fn(usize) -> bool),
        (5000, |n| n > 0),
        (10_000, |n| n > 0 && !(5..9).contains(&n)),
        (15_000, |n| n < 5),
    ] {
        let image = tear(seed, (FILE, &process.image()), &pool, None, &puts, survives);
        let (mut process, volume) = opened(&image, &pool);
        put_many(&mut process, &volume, 20..23);
        let result = scrub(&mut process, &volume);
        assert_eq!(result.damage, [], "seed {seed}");
        assert!(result.scrubbed.is_index_compared);
    }
    // The footer of the last needle, which is alone in its sector, is lost: all needles can be read.
    let puts: Vec<_> = (10..14).map(|n| (id(n), bytes(n, 1536 - 128 - 16))).collect();
    let whole = |n| n != 16;
    let image = tear(20_000, (FILE, &process.image()), &pool, None, &puts, whole);
    let (mut process, volume) = opened(&image, &pool);
    for n in 10..14 {
        assert_eq!(process.get(&volume, id(n)).unwrap(), puts[n as usize - 10].1);
    }
    put_many(&mut process, &volume, 20..23);
    assert_eq!(scrub(&mut process, &volume).damage, [], "the footer did not arrive");
}

#[test]
fn neighbourhood_of_an_error_is_read_at_once() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(64 << 20, &pool);
    for n in 0..40 {
        process.put(&volume, id(n), &bytes(n, 1 << 20)).unwrap();
    }
    let all = found(&process.image());
    let damaged = [18, 20, 23, 39];
    for n in damaged {
        let (needle, at) = &all[n];
        let byte = usize::try_from(at.offset).unwrap() + needle.layout().data_start;
        process.world.rot(FILE, byte, 0);
    }
    // Header and footer: only the index knows it.
    let at = all[22].1;
    for byte in [at.offset + 30, at.offset + at.len - 20] {
        process.world.rot(FILE, usize::try_from(byte).unwrap(), 0);
    }
    scrub_on_request(&volume, &process);
    process.get(&volume, id(20)).unwrap_err();
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 1_000_000_000).await });
    let found: Vec<_> = volume.found_damage().iter().map(|found| found.finding.id).collect();
    let known = |n| Some(id(n));
    assert_eq!(found, [known(18), known(20), None, known(23)], "the last one is too far away");
    assert_eq!(volume.scrub_progress().neighbourhoods, 1);
    // A popular damaged photo causes nothing more.
    for _ in 0..100 {
        process.get(&volume, id(20)).unwrap_err();
    }
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 30_000_000_000).await });
    assert_eq!(volume.scrub_progress().neighbourhoods, 1);
    process.close(&volume);
}

#[test]
fn damage_that_is_replaced_is_listed_no_more() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    let (needle, at) = found(&process.image())[7];
    process.world.rot(FILE, usize::try_from(at.offset).unwrap() + needle.layout().data_start, 1);
    scrub_on_request(&volume, &process);
    assert_eq!(scrub(&mut process, &volume).damage.len(), 1);
    process.put(&volume, needle.id, b"again").unwrap();
    assert_eq!(volume.found_damage_count(), 1, "until the next pass");
    assert_eq!(scrub(&mut process, &volume).damage, []);
}

#[test]
fn passes_are_made_when_they_are_due_and_recorded_if_they_find_nothing() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..20);
    let created_ns = volume.volume().verified_ns();
    process.world.set_wall(created_ns + 1);
    Scrubbing::every(DAY).start(&volume, &process);
    wait_for_passes(&mut process, &volume, 1);
    let first = volume.volume().verified_ns();
    assert!(first > created_ns && first <= created_ns + DAY + DAY / 24, "{first}");
    wait_for_passes(&mut process, &volume, 2);
    let second = volume.volume().verified_ns();
    assert!(second.abs_diff(first + DAY) < DAY / 24, "{second} after {first}");
    process.close(&volume);
    // After a restart the next one is due a day after the last one.
    let (mut process, volume) = opened(&process.image(), &pool);
    assert_eq!(volume.volume().verified_ns(), second);
    process.world.set_wall(second + DAY / 2);
    Scrubbing::every(DAY).start(&volume, &process);
    let (needle, at) = found(&process.image())[7];
    process.world.rot(FILE, usize::try_from(at.offset).unwrap() + needle.layout().data_start, 1);
    wait_for_passes(&mut process, &volume, 1);
    let began = volume.scrub_progress().last_began_ns;
    assert!(began.abs_diff(second + DAY) < DAY / 24, "{began} after {second}");
    assert_eq!(volume.volume().verified_ns(), second, "damage was found");
    process.close(&volume);
}

#[test]
fn pass_is_made_within_a_minute_when_the_clock_is_set_forward() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..3);
    process.world.set_wall(volume.volume().verified_ns() + 1);
    Scrubbing::every(DAY).start(&volume, &process);
    wait_for_passes(&mut process, &volume, 1);
    process.world.set_wall(volume.scrub_progress().last_began_ns + 2 * DAY);
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + 61_000_000_000).await });
    assert_eq!(volume.scrub_progress().passes, 2);
}

#[test]
fn compaction_interrupts_a_scrub_which_is_made_afterwards() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(64 << 20, &pool);
    for n in 0..40 {
        process.put(&volume, id(n), &bytes(n, 1 << 20)).unwrap();
    }
    for n in 0..20 {
        process.delete(&volume, id(n)).unwrap();
    }
    scrub_on_request(&volume, &process);
    volume.request_scrub();
    let (slot, handle) = (Rc::clone(&volume), process.runtime.handle().clone());
    let carried: Carried = process.run(async move {
        while !slot.scrub_progress().is_running {
            handle.sleep_until(handle.now() + 100_000).await;
        }
        let order = scrub_support::order(slot.volume().figures().size);
        slot.compact(&order, &|_| Ok(())).await.unwrap().carried
    });
    assert_eq!(carried.needles, 20);
    let progress = volume.scrub_progress();
    assert_eq!((progress.passes, progress.is_running), (0, false), "it gave way");
    wait_for_passes(&mut process, &volume, 1);
    assert_eq!(volume.volume().generation(), 1);
    assert_eq!(volume.scrub_progress().last.needles, 20);
    assert_eq!(volume.found_damage(), []);
    process.close(&volume);
}

#[test]
fn writes_go_on_during_a_scrub() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(64 << 20, &pool);
    put_many(&mut process, &volume, 0..500);
    scrub_on_request(&volume, &process);
    for round in 0..5 {
        volume.request_scrub();
        let (slot, pool) = (Rc::clone(&volume), pool.clone());
        let handle = process.runtime.handle().clone();
        process.run(async move {
            let passes = slot.scrub_progress().passes;
            let mut n = 0;
            while slot.scrub_progress().passes == passes {
                let key = id((n * 7 + round) % 600);
                n += 1;
                match n % 3 {
                    0 => drop(slot.delete(key, COOKIE, None).await),
                    _ => drop(slot.put(key, COOKIE, draft(&pool, &bytes(n, 3000)), None).await),
                }
                handle.yield_now().await;
            }
        });
        assert_eq!(volume.found_damage(), [], "round {round}");
    }
    process.close(&volume);
}

#[test]
fn read_errors_during_a_scrub_end_nothing() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(16 << 20, &pool);
    put_many(&mut process, &volume, 0..100);
    scrub_on_request(&volume, &process);
    process.world.fail_from(1, Fault::Errno(nix::libc::EIO));
    volume.request_scrub();
    wait_for_passes(&mut process, &volume, 1);
    assert!(volume.found_damage().iter().all(|found| found.finding.is_io));
    assert!(volume.found_damage_count() > 0);
}
