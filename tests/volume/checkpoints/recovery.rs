//! Recovery with a checkpoint.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::{self, GetError, NewNeedle, OpenContext, Progress};

use super::{
    BASE, CHECKPOINT, FILE, SIZE, as_volume, checkpoint, id, recovered, small_image, start,
    uses_checkpoint,
};
use crate::common::{COOKIE, ON_DEMAND, bytes, draft, pool, upload};

/// Image after a kill: many needles, all covered by a checkpoint.
fn checkpointed_image() -> Image {
    let pool = pool(16 << 20);
    let mut process = start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    for batch in 0..BASE / 800 {
        let needles = (0..800).map(|n| {
            let draft = draft(&pool, b"at first");
            NewNeedle { id: id(batch * 800 + n), cookie: COOKIE, draft }
        });
        let (needles, volume) = (needles.collect(), Rc::clone(&volume));
        process.run(async move { volume.put_batch(needles, None).await }).unwrap();
    }
    assert!(checkpoint(&mut process, &volume));
    process.image()
}

/// Writes at random, partly concurrently, while checkpoints are written; returns images of crash points.
fn history(seed: u64, base: &Image, hash_bits: Option<u32>, pool: &Pool) -> Vec<Image> {
    let mut process = start(seed, base, pool);
    process.runtime.shuffle(seed | 1);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), hash_bits)).unwrap();
    let crash_points = Rc::new(RefCell::new(Vec::new()));
    let (sink, state) = (Rc::clone(&crash_points), Cell::new(seed ^ 77));
    process.world.on_event(move |snapshot| {
        let mut draws = state.get();
        if split_mix(&mut draws).is_multiple_of(12) {
            let wreck = snapshot.wreck();
            let survivors = split_mix(&mut draws);
            let changes = split_mix(&mut draws) as usize % (wreck.changes() + 1);
            let image = match survivors % 3 {
                0 => snapshot.image(),
                1 => wreck.image(|n| (survivors >> (n % 60)) & 1 == 1, changes),
                _ => wreck.image(|_| survivors & 8 == 0, changes),
            };
            sink.borrow_mut().push(image);
        }
        state.set(draws);
    });
    let left = Rc::new(Cell::new(0));
    for client in 0..6_u64 {
        let (volume, handle, left) =
            (Rc::clone(&volume), process.runtime.handle().clone(), Rc::clone(&left));
        left.set(left.get() + 1);
        let mut state = seed ^ client << 40;
        process.runtime.handle().spawn(async move {
            for step in 0..12 {
                let draw = split_mix(&mut state);
                // Some ids are written repeatedly, others once.
                let few = if draw & 1 == 0 { 8 } else { BASE + 200 };
                let id = id(draw / 16 % few);
                match draw / 2 % 4 {
                    0 => drop(volume.delete(id, COOKIE, None).await),
                    _ if (draw / 8).is_multiple_of(16) => {
                        let (pool, data) = (handle.pool(), bytes(draw, 66_000));
                        let uploaded = upload(&volume, pool, id, &data, &[1 << 16]).await;
                        let (_upload, manifest) = uploaded.unwrap();
                        volume.put(id, COOKIE, manifest, None).await.unwrap();
                    }
                    _ => {
                        let data = bytes(draw, 20 + draw as usize / 64 % 600);
                        let put = volume.put(id, COOKIE, draft(handle.pool(), &data), None);
                        put.await.unwrap();
                    }
                }
                if client == 0 && step % 4 == 1 {
                    volume.volume().checkpoint().await.unwrap();
                }
            }
            left.set(left.get() - 1);
        });
    }
    let handle = process.runtime.handle().clone();
    process.run(async move {
        while left.get() > 0 {
            handle.sleep_until(handle.now() + 100_000).await;
        }
    });
    let mut crash_points = crash_points.take();
    crash_points.push(process.image());
    process.close(&volume);
    crash_points.push(process.image());
    crash_points
}

#[test]
fn recovery_matches_the_log_at_any_crash_point() {
    let pool = pool(16 << 20);
    let base = checkpointed_image();
    let (mut used, mut looked) = (0, 0);
    for seed in 1..=12 {
        for (n, image) in history(seed, &base, None, &pool).iter().enumerate() {
            used += u64::from(uses_checkpoint(
                image,
                None,
                &pool,
                &format!("seed {seed}, crash point {n}"),
            ));
            looked += 1;
        }
    }
    println!("{used} of {looked} starts used a checkpoint");
    assert!(looked > 60 && used == looked, "{used} of {looked}");
}

#[test]
fn recovery_matches_the_log_when_hashes_collide() {
    let pool = pool(16 << 20);
    let mut process = start(1, &Image::default(), &pool);
    process.create(2 << 20);
    let image = process.image();
    let mut used = 0;
    for seed in 1..=60 {
        // Few bits: more needles share a hash than the table has slots for.
        let bits = Some(u32::try_from(seed % 3).unwrap());
        for (n, image) in history(seed, &image, bits, &pool).iter().enumerate() {
            used += u64::from(uses_checkpoint(
                image,
                bits,
                &pool,
                &format!("seed {seed}, crash point {n}"),
            ));
        }
    }
    assert!(used > 200, "{used}");
}

#[test]
fn old_checkpoint_is_used_but_one_newer_than_the_log_is_not() {
    let pool = pool(16 << 20);
    let crash_points = history(31, &checkpointed_image(), None, &pool);
    let last = crash_points.last().unwrap();
    for (n, before) in crash_points.iter().enumerate() {
        let mut image = last.clone();
        image.files.insert(CHECKPOINT.to_owned(), before.files[CHECKPOINT].clone());
        assert!(uses_checkpoint(&image, None, &pool, &format!("of crash point {n}")));
    }
    // A checkpoint newer than the log is discarded.
    let mut discarded = 0;
    for (n, before) in crash_points.iter().enumerate() {
        let mut image = before.clone();
        image.files.insert(CHECKPOINT.to_owned(), last.files[CHECKPOINT].clone());
        discarded +=
            u64::from(!uses_checkpoint(&image, None, &pool, &format!("log of crash point {n}")));
    }
    assert!(discarded > 3, "{discarded}");
}

#[test]
fn clean_stop_leaves_no_log_to_replay() {
    let pool = pool(8 << 20);
    let image = small_image(&pool);
    let (_, figures) = recovered(&image, as_volume(Some(ON_DEMAND), None), &pool);
    assert_eq!((figures.tail, figures.age, figures.discarded), (figures.opened_from, 0, 0));
    assert!(uses_checkpoint(&image, None, &pool, "closed cleanly"));

    // An up-to-date checkpoint is not written again.
    let mut process = start(5, &image, &pool);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    assert!(!checkpoint(&mut process, &volume));
    process.close(&volume);
    assert_eq!(volume.volume().figures().checkpoint.written, 0);
    assert_eq!(process.image().bytes(CHECKPOINT), image.bytes(CHECKPOINT));
}

#[test]
fn damaged_checkpoint_never_overrides_the_log() {
    let pool = pool(8 << 20);
    let image = small_image(&pool);
    let len = image.bytes(CHECKPOINT).len();
    let (from_log, figures) = recovered(&image, as_volume(None, None), &pool);
    assert!(figures.len == 0 && len < 64 << 10, "{len}");
    let mut discarded = 0;
    for byte in (0..len).filter(|byte| byte % 61 == 0 || byte % 4096 < 200) {
        let mut image = image.clone();
        image.file(CHECKPOINT).flip(byte, (byte % 8) as u32);
        let (result, figures) = recovered(&image, as_volume(Some(ON_DEMAND), None), &pool);
        assert_eq!(result, from_log, "byte {byte}");
        discarded += figures.discarded;
    }
    assert!(discarded > 500, "{discarded}");
    for end in (0..len).step_by(4096).chain([1, 511, len - 1]) {
        let mut image = image.clone();
        image.edit(CHECKPOINT, |bytes| bytes.truncate(end));
        let (result, figures) = recovered(&image, as_volume(Some(ON_DEMAND), None), &pool);
        assert_eq!(result, from_log, "truncated to {end}");
        // The space reserved after the last piece may be missing.
        assert!(figures.discarded == 1 || end > 16_384, "truncated to {end}");
    }
}

#[test]
fn recovery_reports_progress() {
    let pool = pool(16 << 20);
    let mut image = checkpointed_image();
    image.files.remove(CHECKPOINT);
    let mut process = start(1, &image, &pool);
    let handle = process.runtime.handle().clone();
    let seen = process.run(async move {
        let seen = RefCell::new(Vec::new());
        let progress = |so_far: Progress| seen.borrow_mut().push(so_far);
        let surroundings = OpenContext {
            progress: &progress,
            checkpoint_queue: None,
            pace: None,
            all_directories: true,
        };
        let expected = as_volume(Some(ON_DEMAND), None);
        let opened = volume::open_with(&handle, DirId(0), &expected, surroundings).await;
        opened.unwrap();
        seen.into_inner()
    });
    assert!(seen.len() > 20 && seen.is_sorted_by_key(|so_far| so_far.done));
    assert!(seen.iter().all(|so_far| so_far.done <= so_far.total));
    let last = seen.last().unwrap();
    assert_eq!(last.done, last.total);
}

#[test]
fn checkpoint_of_another_file_is_not_used() {
    let pool = pool(8 << 20);
    let (image, mut foreign) = (small_image(&pool), checkpointed_image());
    foreign.files.insert(CHECKPOINT.to_owned(), image.files[CHECKPOINT].clone());
    assert!(!uses_checkpoint(&foreign, None, &pool, "of a smaller file"));
    // An index with another number of hash bits.
    assert!(!uses_checkpoint(&image, Some(4), &pool, "of another index"));
}

#[test]
fn damage_before_or_after_a_checkpoint_is_found_and_remembered() {
    let pool = pool(8 << 20);
    let mut process = start(1, &small_image(&pool), &pool);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    let front = volume.volume().open_report().end.tail;
    for n in 0..6 {
        process.put(&volume, id(n), &bytes(n + 90, 3000)).unwrap();
    }
    process.delete(&volume, id(2)).unwrap();
    let image = process.image();
    let tail = volume.volume().figures().used - 4096;
    for at in (front..tail).step_by(512) {
        let mut image = image.clone();
        // Damages a needle header or a commit record.
        image.file(FILE).flip(usize::try_from(at).unwrap() + 40, 2);
        assert!(uses_checkpoint(&image, None, &pool, &format!("damage at byte {at}")));
    }
    // Damage found by one recovery stays known when later ones no longer read that part of the log.
    let mut image = image;
    let needle = usize::try_from(front).unwrap() + 512;
    image.edit(FILE, |bytes| bytes[needle..needle + 4096 - 512].fill(7));
    let mut process = start(7, &image, &pool);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    assert!(!volume.volume().damage().is_empty());
    let damage = volume.volume().damage().to_vec();
    process.close(&volume);
    let (after, figures) = recovered(&process.image(), as_volume(Some(ON_DEMAND), None), &pool);
    assert_eq!((after.damage, figures.age), (damage, 0));
}

/// Stores needle 4 while a checkpoint is being written, which therefore records a durable tail beyond what it
/// covers. Returns the offset of the needle's commit and the image that a kill right after it leaves, before
/// any tail hint.
fn image_beyond_checkpoint(pool: &Pool) -> (usize, Image) {
    let mut process = start(1, &small_image(pool), pool);
    let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
    process.put(&volume, id(5), b"before it").unwrap();
    // The first operations of a checkpoint: unlink, create, reserve space, write the header.
    process.world.fail(3, Fault::Stall(50_000_000));
    let (writer, handle) = (Rc::clone(&volume), process.runtime.handle().clone());
    let draft = draft(pool, b"while it is made");
    handle.clone().spawn(async move {
        handle.sleep_until(handle.now() + 10_000_000).await;
        writer.put(id(4), COOKIE, draft, None).await.unwrap();
    });
    let (covers, hints) =
        (volume.volume().open_report().end.tail + 4096, volume.volume().stats().hints.get());
    assert!(checkpoint(&mut process, &volume));
    let figures = volume.volume().figures();
    assert_eq!((figures.checkpoint.tail, figures.used), (covers, covers + 2 * 4096));
    assert_eq!(volume.volume().stats().hints.get(), hints, "no tail hint was written meanwhile");
    (usize::try_from(covers).unwrap(), process.image())
}

/// A checkpoint also records how far the log was durable: whatever is unreadable before that position is
/// damage, not the torn tail of an unacknowledged commit.
#[test]
fn damage_before_checkpoint_tail_is_no_torn_tail() {
    let pool = pool(8 << 20);
    let (commit, image) = image_beyond_checkpoint(&pool);
    assert!(uses_checkpoint(&image, None, &pool, "undamaged"));
    let version = recovered(&image, as_volume(Some(ON_DEMAND), None), &pool).0.version;
    let mut unreadable = 0;
    // The needle occupies the unit after the record.
    for byte in commit + 512..commit + 1024 {
        let mut image = image.clone();
        image.file(FILE).flip(byte, 5);
        let mut process = start(3, &image, &pool);
        let volume = process.open_as(as_volume(Some(ON_DEMAND), None)).unwrap();
        assert_eq!(volume.volume().figures().checkpoint.discarded, 0, "byte {byte}");
        let got = process.get(&volume, id(4));
        match &got {
            // Padding, or the footer, which reads do not need.
            Ok(got) => assert_eq!(got, b"while it is made", "byte {byte}"),
            Err(GetError::Unreadable(..)) => unreadable += 1,
            Err(error) => panic!("byte {byte}: {error}"),
        }
        let end = volume.volume().open_report().end;
        assert_eq!((end.tail, end.version), (commit as u64 + 4096, version), "byte {byte}");
        // The next recovery decides the same.
        process.close(&volume);
        let mut again = start(4, &process.image(), &pool);
        let volume = again.open_as(as_volume(None, None)).unwrap();
        assert_eq!(again.get(&volume, id(4)), got, "byte {byte}");
    }
    assert!(unreadable >= 128, "header, attributes and data: {unreadable}");
}
