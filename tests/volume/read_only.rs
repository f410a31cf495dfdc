//! Volumes opened read-only on the simulated disk: all needles are found and nothing is changed.

use std::rc::Rc;

use hayloft::base::limits::LOG_START;
use hayloft::base::types::NeedleId;
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    self, Damage, DamagedNeedle, Ending, LiveNeedle, OpenError, Refusal, Slot, SuperblockCopy,
};

use crate::common::{COOKIE, Process, bytes, draft, expected, pool, read_large, tear};

const FILE: &str = "1.0.vol";
const SIZE: u64 = 32 << 20;
const EIO: i32 = 5;

fn open(process: &mut Process) -> Result<Rc<Slot>, OpenError> {
    let handle = process.runtime.handle().clone();
    process.run(async move {
        volume::open_read_only(&handle, DirId(0), &expected()).await.map(Slot::new)
    })
}

/// Content of a key; bodies above 1 MiB are multipart objects.
fn content(key: u64) -> Vec<u8> {
    let lens = [0, 1, 700, 65_536, 65_537, 300_000, 1 << 20, 2_500_000];
    bytes(key, lens[usize::try_from(key).unwrap() % lens.len()])
}

fn put(process: &mut Process, volume: &Rc<Slot>, key: u64) {
    let (id, data) = (NeedleId::new(key, 0), content(key));
    let stored = if data.len() > 1 << 20 {
        process.put_large(volume, id, &data, &[1 << 20])
    } else {
        process.put(volume, id, &data)
    };
    stored.unwrap();
}

/// A volume with keys 0 to 15; the multiples of 3 were replaced, 5 and 10 deleted.
fn filled_image(close: bool) -> Image {
    let mut process = Process::start(1, &Image::default(), &pool(16 << 20));
    process.create(SIZE);
    let volume = process.open().unwrap();
    for key in (0..16).chain((0..16).step_by(3)) {
        put(&mut process, &volume, key);
    }
    for key in [5, 10] {
        process.delete(&volume, NeedleId::new(key, 0)).unwrap();
    }
    if close {
        process.close(&volume);
    }
    process.image()
}

fn live_keys() -> Vec<u64> {
    (0..16).filter(|key| ![5, 10].contains(key)).collect()
}

/// Result of one step of a walk: key and body, or the damaged needle.
type Next = Result<(u64, Vec<u8>), DamagedNeedle>;

/// Walks a volume and reads the whole body of each live needle.
fn walk(process: &mut Process, volume: &Rc<Slot>) -> Vec<Next> {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let mut walk = volume.volume().walk().unwrap();
        let places = walk.places().to_vec();
        assert!(places.is_sorted_by_key(|at| at.offset));
        let mut found = Vec::new();
        while let Some(len) = walk.buffer_len() {
            let next = walk.next(pool.alloc(len).unwrap()).await;
            let at = places[found.len()];
            found.push(match next {
                Ok(LiveNeedle { at: found_at, id, cookie, needle, .. }) => {
                    assert!(found_at == at && cookie.matches(COOKIE));
                    assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
                    let (len, key) = (needle.body_len, id.key.0);
                    if needle.is_large {
                        let read = read_large(&volume, &pool, id, needle, 0..len, 1 << 20).await;
                        Ok((key, read.unwrap()))
                    } else {
                        Ok((key, needle.buf[needle.data.clone()].to_vec()))
                    }
                }
                Err(damaged) => {
                    assert_eq!(damaged.at, at);
                    Err(damaged)
                }
            });
        }
        assert_eq!(found.len(), places.len());
        found
    })
}

fn keys(found: &[Next]) -> Vec<u64> {
    let mut keys: Vec<u64> = found.iter().flatten().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

/// Opens an image read-only, walks it and closes it; asserts that nothing was written.
fn walk_image(image: &Image) -> (Rc<Slot>, Vec<Next>) {
    let mut process = Process::start(2, image, &pool(16 << 20));
    let volume = open(&mut process).unwrap();
    let found = walk(&mut process, &volume);
    for (key, data) in found.iter().flatten() {
        assert!(*data == content(*key), "needle {key} has wrong bytes");
    }
    assert!(!volume.volume().writable() && !volume.volume().poisoned());
    process.close(&volume);
    let volume_again = volume.volume();
    let stats = volume_again.stats();
    assert_eq!((stats.durable_writes.get(), stats.hints.get()), (0, 0));
    assert!(process.image() == *image, "the file was changed");
    (volume, found)
}

#[test]
fn walk_returns_every_live_needle_in_file_order() {
    for (close, ending) in [(true, Ending::Closed), (false, Ending::Open)] {
        let image = filled_image(close);
        let (volume, found) = walk_image(&image);
        assert_eq!(keys(&found), live_keys());
        assert!(volume.volume().damage().is_empty());
        let volume = volume.volume();
        let findings = volume.open_report();
        assert!(findings.superblock.is_empty() && !findings.hint_damaged);
        assert_eq!(findings.ending, ending);

        let mut process = Process::start(3, &image, &pool(16 << 20));
        let serving = process.open().unwrap();
        assert_eq!(serving.volume().figures(), volume.figures());
        assert_eq!(serving.volume().open_report(), findings);
        assert_eq!(keys(&walk(&mut process, &serving)), live_keys());
    }
}

#[test]
fn writes_to_a_volume_opened_read_only_are_refused() {
    let mut process = Process::start(2, &filled_image(true), &pool(16 << 20));
    let volume = open(&mut process).unwrap();
    let id = NeedleId::new(1, 0);
    assert_eq!(process.put(&volume, id, b"x").unwrap_err(), Refusal::ReadOnly);
    assert_eq!(process.delete(&volume, id).unwrap_err(), Refusal::ReadOnly);
    assert_eq!(volume.upload(id, COOKIE, 2 << 20).err(), Some(Refusal::ReadOnly));
    let draft = draft(process.runtime.handle().pool(), b"x");
    let putting = Rc::clone(&volume);
    let put = process.run(async move { putting.put_new(draft).await.map(drop) });
    assert_eq!(put, Err(Refusal::ReadOnly));
    assert_eq!(process.get(&volume, id).unwrap(), content(1));
}

#[test]
fn torn_tail_is_reported_and_not_repaired() {
    let (image, pool) = (filled_image(false), pool(16 << 20));
    let puts: Vec<_> = (20..23).map(|key| (NeedleId::new(key, 0), content(key))).collect();
    // Keys 20 and 21 have 65 KiB and 300 KB; only the first `survives` sectors of the commit reach the disk.
    for (kept, seed, survives) in [(0, 100, 1), (1, 5000, 140)] {
        let torn = tear(seed, (FILE, &image), &pool, None, &puts, |sector| sector < survives);
        let (volume, found) = walk_image(&torn);
        assert_eq!(volume.volume().open_report().ending, Ending::Torn { kept });
        assert_eq!(found.len(), live_keys().len() + kept as usize);
        assert!(found.iter().all(Result::is_ok) && volume.volume().damage().is_empty());
        let mut process = Process::start(3, &torn, &pool);
        let serving = process.open().unwrap();
        assert_eq!(serving.volume().figures().needles, volume.volume().figures().needles);
        assert_eq!(serving.volume().open_report(), volume.volume().open_report());
    }
}

#[test]
fn damaged_superblock_copies_and_hints_are_reported_not_repaired() {
    let mut image = filled_image(true);
    let file = image.file(FILE);
    let last = file.len() - 4096;
    for byte in [40, last + 100, 8192 + 30] {
        file.flip(byte, 0);
    }
    let (volume, found) = walk_image(&image);
    let damaged = |offset: usize| SuperblockCopy { offset: offset as u64, outdated: false };
    assert_eq!(volume.volume().open_report().superblock, [damaged(0), damaged(last)]);
    assert!(volume.volume().open_report().hint_damaged);
    assert_eq!(keys(&found), live_keys());
}

#[test]
fn damaged_needle_is_reported_by_id_and_others_are_found() {
    let image = filled_image(true);
    let (volume, _) = walk_image(&image);
    let places: Vec<_> = volume.volume().walk().unwrap().places().to_vec();
    // Damages the header, the attributes, and a byte after the header.
    for (n, at) in places.iter().enumerate() {
        for within in [0, 50, 130] {
            let mut image = image.clone();
            let byte = usize::try_from(at.offset + within).unwrap();
            image.file(FILE).flip(byte, 2);
            let (volume, found) = walk_image(&image);
            let damaged: Vec<_> = found.iter().filter_map(|next| next.as_ref().err()).collect();
            assert_eq!(damaged.len(), 1, "needle {n}, byte {within}");
            assert_eq!(damaged[0].at, *at);
            assert!(matches!(damaged[0].damage, Damage::Checksum(_)));
            let lost = damaged[0].id.expect("header or footer is intact").key.0;
            let others: Vec<u64> = live_keys().into_iter().filter(|key| *key != lost).collect();
            assert_eq!(keys(&found), others);
            let header = volume.volume().damage().iter().any(|place| place.at == *at);
            assert_eq!(header, within < 128, "recovery reads headers");
        }
    }
}

#[test]
fn read_error_damages_only_the_needle_it_hits() {
    let image = filled_image(true);
    let mut process = Process::start(2, &image, &pool(16 << 20));
    let volume = open(&mut process).unwrap();
    // The first read is tried twice, then its first needle alone, then by blocks and by sectors; all of these
    // fail.
    let first = volume.volume().walk().unwrap().places()[0];
    assert!(first.len < 4096 && first.offset > LOG_START, "one block");
    let sectors = first.len / 512;
    for n in 0..2 + 2 + 2 + 2 + 2 * sectors {
        process.world.fail(n, Fault::Errno(EIO));
    }
    let found = walk(&mut process, &volume);
    let damaged: Vec<_> = found.iter().filter_map(|next| next.as_ref().err()).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].at, first);
    assert!(matches!(damaged[0].damage, Damage::Io(_)), "{:?}", damaged[0]);
    assert_eq!(keys(&found).len(), live_keys().len() - 1);
    // Later reads succeed: the error is not remembered.
    assert_eq!(keys(&walk(&mut process, &volume)), live_keys());
}
