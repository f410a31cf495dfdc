//! Photos that expire: absent in every respect from then on, counted as garbage by the day, and dropped by a
//! compaction after the grace, and not earlier.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::limits::UNIT;
use hayloft::base::stream_position::{ExchangeState, StreamPosition};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{HEADER_LEN, Kind, decode_header};
use hayloft::volume::{
    CompactionOrder, Draft, DraftAttributes, Existing, GetError, NewNeedle, PieceLimits, Refusal,
    Slot, Stored, Superblock,
};

use crate::common::{COOKIE, Process, bytes, pool};
use crate::compaction_support::{OLD, compact_as, expected_of, id, order, reopened, started};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3600 * SECOND;
/// Wall clock at the begin of each test: the begin of a day.
const START: u64 = 1_800_000_000 / 86_400 * 86_400 * SECOND;
const OTHER: Cookie = Cookie(COOKIE.0 ^ 7);
const JPEG: &[u8] = b"image/jpeg";

fn begun() -> (Process, Rc<Slot>) {
    let (mut process, slot) = started();
    process.set_wall(START);
    (process, slot)
}

fn expiring(pool: &Pool, data: &[u8], expires_ns: Option<u64>) -> Draft {
    let attributes =
        DraftAttributes { content_type: Some(JPEG), expires_ns, ..DraftAttributes::default() };
    let mut draft = Draft::with_attributes(pool, attributes, data.len() as u64).unwrap();
    draft.data_mut().copy_from_slice(data);
    draft
}

type Condition = fn(Option<&Existing>) -> bool;

impl Process {
    fn put_until(
        &mut self,
        slot: &Rc<Slot>,
        (id, cookie): (NeedleId, Cookie),
        data: &[u8],
        expires_ns: u64,
    ) -> Result<Stored, Refusal> {
        let draft = expiring(self.runtime.handle().pool(), data, Some(expires_ns));
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id, cookie, draft, None).await })
    }

    fn put_if(
        &mut self,
        slot: &Rc<Slot>,
        id: NeedleId,
        check: Condition,
    ) -> Result<Stored, Refusal> {
        let draft = expiring(self.runtime.handle().pool(), b"conditional", None);
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id, OTHER, draft, Some(&check)).await })
    }

    /// Stores a multipart object of four parts that expires.
    fn put_large_until(&mut self, slot: &Rc<Slot>, id: NeedleId, data: &[u8], expires_ns: u64) {
        let (slot, data) = (Rc::clone(slot), data.to_vec());
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let mut upload = slot.upload(id, COOKIE, data.len() as u64).unwrap();
            for part in data.chunks(data.len().div_ceil(4)) {
                let mut draft = upload.part(&pool, part.len() as u64).unwrap();
                draft.data_mut().copy_from_slice(part);
                upload.add(draft).await.unwrap();
                upload.settle().await.unwrap();
            }
            let expires_ns = Some(expires_ns);
            let attributes = DraftAttributes {
                content_type: Some(JPEG),
                expires_ns,
                ..DraftAttributes::default()
            };
            let manifest = upload.finish_with(&pool, attributes).await.unwrap();
            slot.put(id, COOKIE, manifest, None).await.unwrap();
        });
    }

    fn head(&mut self, slot: &Rc<Slot>, id: NeedleId) -> Result<Option<u64>, GetError> {
        let slot = Rc::clone(slot);
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let needle = slot.head(id, COOKIE, |len| pool.alloc(len)).await?;
            assert_eq!(needle.content_type(), Some(JPEG));
            Ok(needle.expires_ns)
        })
    }

    fn assert_absent(&mut self, slot: &Rc<Slot>, id: NeedleId) {
        assert_eq!(self.get(slot, id), Err(GetError::NotFound));
        assert_eq!(self.head(slot, id), Err(GetError::NotFound));
    }
}

fn expired(slot: &Slot) -> u64 {
    slot.volume().figures().expired
}

fn live(slot: &Slot) -> u64 {
    slot.volume().figures().live
}

#[test]
fn expired_photo_is_absent() {
    let (mut process, slot) = begun();
    let at = START + 60 * SECOND;
    process.put_until(&slot, (id(1), COOKIE), b"short-lived", at).unwrap();
    process.put_large_until(&slot, id(2), &bytes(2, 1_500_000), at);
    process.put(&slot, id(3), b"kept").unwrap();
    for key in [1, 2] {
        assert_eq!(process.head(&slot, id(key)), Ok(Some(at)));
    }
    assert_eq!(process.head(&slot, id(3)), Ok(None));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"short-lived");
    process.set_wall(at - SECOND);
    assert_eq!(process.get(&slot, id(2)).unwrap(), bytes(2, 1_500_000));
    process.set_wall(at);
    for key in [1, 2] {
        process.assert_absent(&slot, id(key));
        assert_eq!(process.delete(&slot, id(key)), Err(Refusal::NotFound));
    }
    let commits = slot.volume().stats().commits.get();
    assert_eq!(process.delete_many(&slot, &[1, 2]).unwrap(), [false, false]);
    assert_eq!(slot.volume().stats().commits.get(), commits, "nothing is written for them");
    assert_eq!(process.delete_many(&slot, &[1, 2, 3]).unwrap(), [false, false, true]);
    // A start finds the same, and the clock decides.
    process.close(&slot);
    let (mut process, slot) = reopened(&process.image(), 0);
    process.set_wall(at);
    process.assert_absent(&slot, id(1));
    process.set_wall(at - 2 * SECOND);
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"short-lived");
    assert_eq!(process.head(&slot, id(2)), Ok(Some(at)));
    slot.expect_rest();
}

#[test]
fn name_of_an_expired_photo_is_free() {
    let (mut process, slot) = begun();
    let at = START + SECOND;
    for key in 1..8 {
        process.put_until(&slot, (id(key), COOKIE), b"first", at).unwrap();
    }
    let taken = process.put_until(&slot, (id(1), OTHER), b"taken", at + DAY);
    assert_eq!(taken, Err(Refusal::Conflict), "not yet");
    process.set_wall(at);
    let stored = process.put_until(&slot, (id(1), OTHER), b"taken", at + DAY).unwrap();
    assert!(!stored.replaced, "as an absent one");
    assert_eq!(process.get_as(&slot, id(1), OTHER).unwrap(), b"taken");
    process.assert_absent(&slot, id(1));
    // Conditions see nothing there.
    let refused = process.put_if(&slot, id(2), |existing| existing.is_some());
    assert_eq!(refused, Err(Refusal::Precondition));
    assert!(!process.put_if(&slot, id(2), |existing| existing.is_none()).unwrap().replaced);
    // A batch, and a large photo.
    let (storing, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    let stored = process.run(async move {
        let draft = |data: &[u8]| expiring(&pool, data, None);
        let needle = |key| NewNeedle { id: id(key), cookie: OTHER, draft: draft(b"in a batch") };
        storing.put_batch(vec![needle(3), needle(4)], None).await.unwrap()
    });
    assert!(stored.iter().all(|stored| !stored.replaced));
    process.put_large_until(&slot, id(5), &bytes(5, 1_200_000), at + DAY);
    // Each of them names the one that it supersedes, which is dead.
    let found = headers(&process.image(), OLD);
    for key in 1..6 {
        let of_key: Vec<_> = found.iter().filter(|(header, _)| header.id == id(key)).collect();
        let of_key: Vec<_> =
            of_key.iter().filter(|(header, _)| header.kind != Kind::Part).collect();
        assert_eq!((of_key.len(), of_key[1].0.previous), (2, of_key[0].1), "{key}");
    }
    let figures = slot.volume().figures();
    assert_eq!(figures.needles, 7);
    slot.expect_rest();
    let (mut process, slot) = reopened(&process.image(), 0);
    process.set_wall(at);
    assert_eq!(slot.volume().figures().live, figures.live);
    assert_eq!(process.get_as(&slot, id(4), OTHER).unwrap(), b"in a batch");
    assert_eq!(process.get(&slot, id(5)).unwrap(), bytes(5, 1_200_000));
    process.assert_absent(&slot, id(6));
}

/// Headers of the needles in a file, with their offsets.
fn headers(image: &Image, name: &str) -> Vec<(hayloft::volume::format::NeedleHeader, u64)> {
    let bytes = image.bytes(name);
    let incarnation = Superblock::decode(&bytes[..4096]).unwrap().incarnation;
    let units = (65_536..bytes.len() as u64).step_by(usize::try_from(UNIT).unwrap());
    let found = units.filter_map(|at| {
        let from = usize::try_from(at).unwrap();
        match decode_header(&bytes[from..from + 512], incarnation, at) {
            Some((header, 0)) => Some((header, at)),
            _ => None,
        }
    });
    found.collect()
}

/// Damage must neither make a photo absent, nor give its name away.
#[test]
fn damage_lets_nothing_expire() {
    let (mut process, slot) = begun();
    process.put_until(&slot, (id(1), COOKIE), b"precious", START + 1000 * DAY).unwrap();
    process.close(&slot);
    let image = process.image();
    let at = usize::try_from(headers(&image, OLD)[0].1).unwrap() + HEADER_LEN;
    for bit in 0..20 * 8 {
        let mut image = image.clone();
        image.file(OLD).flip(at + bit / 8, u32::try_from(bit % 8).unwrap());
        let (mut process, slot) = reopened(&image, 0);
        process.set_wall(START);
        let taken = process.put_until(&slot, (id(1), OTHER), b"taken", START + DAY);
        assert_eq!(taken, Err(Refusal::Conflict), "bit {bit}");
        let got = process.get(&slot, id(1));
        assert!(matches!(got, Err(GetError::Unreadable(..))), "bit {bit}: {got:?}");
    }
}

#[test]
fn bytes_that_expire_are_counted_by_the_day() {
    let (mut process, slot) = begun();
    let len = |slot: &Slot, before: u64| live(slot) - before;
    let before = live(&slot);
    process.put_until(&slot, (id(1), COOKIE), &bytes(1, 5000), START + 10 * SECOND).unwrap();
    let small = len(&slot, before);
    let before = live(&slot);
    process.put_large_until(&slot, id(2), &bytes(2, 1_500_000), START + DAY + 5);
    let large = len(&slot, before);
    assert!(large > 1_500_000, "with its parts");
    process.put(&slot, id(3), &bytes(3, 700)).unwrap();
    for key in 4..8 {
        process.put_until(&slot, (id(key), COOKIE), &bytes(1, 5000), START + DAY).unwrap();
    }
    // Deleted or replaced: not counted any more.
    process.delete(&slot, id(4)).unwrap();
    process.delete_many(&slot, &[5]).unwrap();
    process.put(&slot, id(6), b"for ever").unwrap();
    process.put_until(&slot, (id(7), COOKIE), &bytes(1, 5000), START + 3 * DAY).unwrap();
    let check = |process: &mut Process, slot: &Rc<Slot>| {
        for (now, want) in [
            (START, 0),
            (START + DAY - SECOND, 0),
            (START + DAY, small),
            (START + 2 * DAY, small + large),
            (START + 4 * DAY, small + large + small),
            (START + 900 * DAY, small + large + small),
        ] {
            process.set_wall(now);
            assert_eq!(expired(slot), want, "{now}");
        }
        process.set_wall(START);
    };
    check(&mut process, &slot);
    // From the log alone, and from a checkpoint.
    let (mut process, slot) = reopened(&process.image(), 0);
    check(&mut process, &slot);
    process.close(&slot);
    let (mut process, slot) = reopened(&process.image(), 0);
    assert!(slot.volume().figures().checkpoint.tail > 0, "a checkpoint was read");
    check(&mut process, &slot);
    // Superseded after it has expired.
    process.set_wall(START + 2 * DAY);
    process.put_until(&slot, (id(1), OTHER), b"new", START + 9 * DAY).unwrap();
    assert_eq!(expired(&slot), large);
}

fn drop_before(drop_expired_before_ns: u64) -> CompactionOrder {
    CompactionOrder { drop_expired_before_ns, ..order() }
}

#[test]
fn compaction_drops_what_expired_before_the_grace() {
    let (mut process, slot) = begun();
    // An earlier version that does not expire must not come back.
    process.put(&slot, id(1), b"earlier").unwrap();
    process.put_until(&slot, (id(1), COOKIE), &bytes(1, 9000), START + 10 * SECOND).unwrap();
    process.put_large_until(&slot, id(2), &bytes(2, 1_500_000), START + 10 * SECOND);
    process.put_until(&slot, (id(3), COOKIE), &bytes(3, 9000), START + 12 * SECOND).unwrap();
    process.put_until(&slot, (id(4), COOKIE), &bytes(4, 9000), START + 90 * DAY).unwrap();
    process.put(&slot, id(5), &bytes(5, 9000)).unwrap();
    process.set_wall(START + 9 * DAY);
    // Without a time, and before the first of them.
    for (generation, before) in [(1, 0), (2, START + 9 * SECOND)] {
        let done = compact_as(&mut process, &slot, drop_before(before)).unwrap();
        assert_eq!((done.carried.expired, slot.volume().figures().needles), (0, 5));
        assert_eq!(slot.volume().generation(), generation);
    }
    // The clock was wrong, and is right again: nothing was lost.
    process.set_wall(START);
    assert_eq!(process.get(&slot, id(1)).unwrap(), bytes(1, 9000));
    assert_eq!(process.get(&slot, id(2)).unwrap(), bytes(2, 1_500_000));
    process.set_wall(START + 9 * DAY);
    let done = compact_as(&mut process, &slot, drop_before(START + 11 * SECOND)).unwrap();
    assert_eq!((done.carried.expired, done.carried.needles), (2, 3));
    let figures = slot.volume().figures();
    assert_eq!(figures.needles, 3);
    assert!(figures.live < 40_000, "the parts of the large photo are gone, too: {figures:?}");
    slot.expect_rest();
    let (mut process, slot) = reopened(&process.image(), 3);
    process.set_wall(START);
    for key in [1, 2] {
        process.assert_absent(&slot, id(key));
    }
    for key in [3, 4, 5] {
        assert_eq!(process.get(&slot, id(key)).unwrap(), bytes(key, 9000));
    }
    assert_eq!(live(&slot), figures.live);
    process.set_wall(START + 2 * DAY);
    assert_eq!(expired(&slot), 9728, "what was kept is counted in the new file");
}

/// A photo that a compaction has dropped may be replaced meanwhile, one that it has copied may expire, and
/// the clock may go on or back.
#[test]
fn writes_while_expired_photos_are_dropped_are_kept() {
    for seed in 0..20 {
        let (mut process, slot) = begun();
        for key in 0..40 {
            process.put(&slot, id(key), b"earlier").unwrap();
            let expires_ns = if key % 2 == 0 { START + 10 * SECOND } else { START + 400 * DAY };
            let data = bytes(key, 60_000);
            process.put_until(&slot, (id(key), COOKIE), &data, expires_ns).unwrap();
        }
        process.set_wall(START + 5 * DAY);
        let results = Rc::new(RefCell::new(Vec::new()));
        let world = process.world.clone();
        for n in 0..12_u64 {
            let (slot, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
            let (results, world) = (Rc::clone(&results), world.clone());
            let key = (n * 7 + seed) % 40;
            process.runtime.handle().spawn(async move {
                handle.sleep_until(handle.now() + handle.random() % 20_000_000).await;
                if n == 5 {
                    // Some of what is being written now expires while it is carried over.
                    world.set_wall(START + 500 * DAY);
                }
                let is_short = n % 3 == 0;
                let expires_ns = is_short.then_some(START + 6 * DAY);
                let draft = expiring(handle.pool(), &bytes(900 + n, 3000), expires_ns);
                match slot.put(id(key), COOKIE, draft, None).await {
                    Ok(_) => results.borrow_mut().push((key, n, is_short)),
                    Err(refusal) => panic!("{refusal:?}"),
                }
            });
        }
        compact_as(&mut process, &slot, drop_before(START + 2 * DAY)).unwrap();
        let rest = process.runtime.handle().clone();
        process.run(async move { rest.sleep_until(rest.now() + SECOND).await });
        let mut written = std::collections::BTreeMap::new();
        for (key, n, is_short) in results.take() {
            written.insert(key, (n, is_short));
        }
        let check = |process: &mut Process, slot: &Rc<Slot>| {
            for key in 0..40 {
                let (now, later) = (START + 5 * DAY, START + 600 * DAY);
                for (wall, is_later) in [(now, false), (later, true)] {
                    process.set_wall(wall);
                    let want = match written.get(&key) {
                        Some((_, true)) if is_later => None,
                        Some((n, _)) => Some(bytes(900 + n, 3000)),
                        None if key % 2 == 0 || is_later => None,
                        None => Some(bytes(key, 60_000)),
                    };
                    let got = process.get(slot, id(key)).ok();
                    assert!(got == want, "seed {seed}, photo {key}, later: {is_later}");
                }
            }
            // Not even a clock that went back brings a dropped one back.
            process.set_wall(START);
            for key in (0..40).step_by(2).filter(|key| !written.contains_key(key)) {
                assert_eq!(process.get(slot, id(key)), Err(GetError::NotFound), "seed {seed}");
            }
        };
        check(&mut process, &slot);
        slot.expect_rest();
        let live = live(&slot);
        let (mut process, slot) = reopened(&process.image(), 1);
        assert_eq!(slot.volume().figures().live, live);
        check(&mut process, &slot);
    }
}

#[test]
fn older_checkpoint_without_sums_is_used() {
    // A volume in which nothing expires has a checkpoint without them.
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create(16 << 20);
    let slot = process.open_as(expected_of(0)).unwrap();
    process.put(&slot, id(1), b"for ever").unwrap();
    process.close(&slot);
    let (mut process, slot) = reopened(&process.image(), 0);
    assert!(slot.volume().figures().checkpoint.tail > 0);
    process.set_wall(START);
    process.put_until(&slot, (id(2), COOKIE), b"short", START + 5 * SECOND).unwrap();
    process.set_wall(START + DAY);
    assert_eq!(expired(&slot), 1024);
}

impl Process {
    fn set_expiry(
        &mut self,
        slot: &Rc<Slot>,
        (id, cookie): (NeedleId, Cookie),
        expires_ns: Option<u64>,
    ) -> Result<(), Refusal> {
        let slot = Rc::clone(slot);
        self.run(async move { slot.set_expiry(id, cookie, expires_ns, None).await })
    }
}

#[test]
fn time_of_expiry_is_changed_without_the_data() {
    let (mut process, slot) = begun();
    let lens = [0, 1, 255, 300, 70_000, 1 << 20];
    for (key, len) in (0..).zip(lens) {
        process.put(&slot, id(key), &bytes(key, len)).unwrap();
    }
    let large = bytes(9, 1_500_000);
    process.put_large(&slot, id(9), &large, &[300_000]).unwrap();
    let (before, oldest) = (live(&slot), slot.volume().figures().oldest_dead_ns);
    assert_eq!(oldest, None);
    let commits = slot.volume().stats().commits.get();
    for key in 0..10 {
        let known = key < 6 || key == 9;
        let want = if known { Ok(()) } else { Err(Refusal::NotFound) };
        for expires_ns in [Some(START + DAY), Some(START + DAY), Some(START + 2 * DAY), None] {
            assert_eq!(process.set_expiry(&slot, (id(key), COOKIE), expires_ns), want, "{key}");
            if known {
                assert_eq!(process.head(&slot, id(key)), Ok(expires_ns));
            }
        }
        let other = process.set_expiry(&slot, (id(key), OTHER), Some(START + DAY));
        assert_eq!(other, Err(Refusal::NotFound));
    }
    let written = slot.volume().stats().commits.get() - commits;
    assert_eq!(written, 7 * 3, "nothing is written if nothing changes");
    let check = |process: &mut Process, slot: &Rc<Slot>| {
        for (key, len) in (0..).zip(lens) {
            assert_eq!(process.get(slot, id(key)).unwrap(), bytes(key, len));
        }
        assert!(process.get(slot, id(9)).unwrap() == large);
        assert_eq!((live(slot), slot.volume().figures().needles), (before, 7));
        assert_eq!(expired(slot), 0);
        slot.expect_rest();
    };
    check(&mut process, &slot);
    let figures = slot.volume().figures();
    assert!(figures.dead < 10 << 20, "the parts live on: {figures:?}");
    let (mut again, reopened_slot) = reopened(&process.image(), 0);
    check(&mut again, &reopened_slot);
    process.close(&slot);
    let (mut process, slot) = reopened(&process.image(), 0);
    check(&mut process, &slot);
    compact_as(&mut process, &slot, order()).unwrap();
    check(&mut process, &slot);
    let manifests = headers(&process.image(), "1.1.vol");
    assert!(manifests.iter().all(|(header, _)| !header.keeps_parts), "its parts are copied");
    // Set to a time, it expires, and its bytes are counted.
    process.set_wall(START);
    process.set_expiry(&slot, (id(9), COOKIE), Some(START + DAY)).unwrap();
    process.set_wall(START + 2 * DAY);
    process.assert_absent(&slot, id(9));
    assert!(expired(&slot) > 1_500_000, "with its parts");
    let refused = process.set_expiry(&slot, (id(9), COOKIE), None);
    assert_eq!(refused, Err(Refusal::NotFound), "it has expired");
    let live = live(&slot);
    let (_, slot) = reopened(&process.image(), 1);
    assert_eq!(slot.volume().figures().live, live);
}

/// While an upload to the same name is in progress, a manifest that is appended anew does not name its parts.
#[test]
fn parts_of_an_abandoned_upload_are_dead_since_they_were_written() {
    let (mut process, slot) = begun();
    process.put_large(&slot, id(1), &bytes(1, 600_000), &[300_000]).unwrap();
    let began = process.runtime.handle().wall();
    let (uploading, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
    process.run(async move {
        let mut upload = uploading.upload(id(1), COOKIE, 300_000).unwrap();
        let mut part = upload.part(&pool, 300_000).unwrap();
        part.data_mut().fill(7);
        upload.add(part).await.unwrap();
        upload.settle().await.unwrap();
        let written = uploading.handle().wall();
        let later = uploading.handle().now() + 10 * SECOND;
        uploading.handle().sleep_until(later).await;
        uploading.set_expiry(id(1), COOKIE, Some(START + DAY), None).await.unwrap();
        drop(upload);
        let oldest = uploading.volume().figures().oldest_dead_ns.unwrap();
        assert!((began..=written).contains(&oldest), "not since the manifest was appended anew");
    });
    let oldest = slot.volume().figures().oldest_dead_ns;
    let (_, slot) = reopened(&process.image(), 0);
    assert_eq!(slot.volume().figures().oldest_dead_ns, oldest);
}

#[test]
fn damaged_photo_is_not_appended_anew() {
    let (mut process, slot) = begun();
    process.put(&slot, id(1), &bytes(1, 3000)).unwrap();
    process.close(&slot);
    let image = process.image();
    let (header, at) = headers(&image, OLD)[0];
    let data = usize::try_from(at).unwrap() + header.layout().data_start;
    for byte in [usize::try_from(at).unwrap() + HEADER_LEN, data + 2999] {
        let mut image = image.clone();
        image.file(OLD).flip(byte, 3);
        let (mut process, slot) = reopened(&image, 0);
        process.set_wall(START);
        let refused = process.set_expiry(&slot, (id(1), COOKIE), Some(START + DAY));
        assert_eq!(refused, Err(Refusal::Unreadable(id(1))));
    }
}

#[test]
fn expiry_that_is_changed_while_a_volume_is_compacted_is_kept() {
    for seed in 0..12_u64 {
        let (mut process, slot) = begun();
        for key in 0..10 {
            process.put(&slot, id(key), &bytes(key, 50_000)).unwrap();
        }
        let large = bytes(20, 1_300_000);
        process.put_large(&slot, id(20), &large, &[300_000]).unwrap();
        process.delete(&slot, id(0)).unwrap();
        for (n, key) in (0..).zip([3, 7, 20, 20]) {
            let (slot, handle) = (Rc::clone(&slot), process.runtime.handle().clone());
            process.runtime.handle().spawn(async move {
                let wait = (seed * 3_000_000 + n * 1_700_000) % 30_000_000;
                handle.sleep_until(handle.now() + wait).await;
                let expires_ns = Some(START + DAY + n);
                slot.set_expiry(id(key), COOKIE, expires_ns, None).await.unwrap();
            });
        }
        compact_as(&mut process, &slot, drop_before(START)).unwrap();
        let rest = process.runtime.handle().clone();
        process.run(async move { rest.sleep_until(rest.now() + SECOND).await });
        let check = |process: &mut Process, slot: &Rc<Slot>| {
            process.set_wall(START + SECOND);
            assert_eq!(process.head(slot, id(3)), Ok(Some(START + DAY)));
            assert_eq!(process.head(slot, id(7)), Ok(Some(START + DAY + 1)));
            assert!(matches!(process.head(slot, id(20)), Ok(Some(at)) if at > START + DAY + 1));
            assert!(process.get(slot, id(20)).unwrap() == large, "seed {seed}");
            assert_eq!(slot.volume().figures().needles, 10);
            process.set_wall(START + 3 * DAY);
            assert_eq!(process.get(slot, id(3)), Err(GetError::NotFound));
        };
        check(&mut process, &slot);
        slot.expect_rest();
        let live = live(&slot);
        let (mut process, slot) = reopened(&process.image(), 1);
        check(&mut process, &slot);
        assert_eq!(slot.volume().figures().live, live);
    }
}

#[test]
fn expired_photo_is_in_no_list_and_no_export() {
    let (mut process, slot) = begun();
    process.put_until(&slot, (id(1), COOKIE), b"ends tomorrow", START + DAY).unwrap();
    process.put(&slot, id(2), b"stays").unwrap();
    let listed = |process: &mut Process| {
        let slot = Rc::clone(&slot);
        process.run(async move {
            let (from, limits) = (StreamPosition::START, PieceLimits::default());
            let list = slot.read_records(from, false, limits).await.unwrap();
            let export = slot.read_exchange(ExchangeState::after(0), false).await.unwrap();
            let has = |text: &[u8]| export.bytes.windows(text.len()).any(|part| part == text);
            let found = [has(b"ends tomorrow"), has(b"stays")];
            let records = list.records.iter().map(|it| (it.id.key.0, it.expires_ns));
            (records.collect::<Vec<_>>(), found)
        })
    };
    let both = vec![(1, Some(START + DAY)), (2, None)];
    assert_eq!(listed(&mut process), (both, [true, true]));
    process.set_wall(START + DAY);
    assert_eq!(listed(&mut process), (vec![(2, None)], [false, true]));
}
