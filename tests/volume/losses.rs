//! Records of what a compaction could not carry over, on the simulated disk: lost objects are unreadable and
//! never absent, and are repaired by a PUT or DELETE, also after restarts with and without a checkpoint.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{EarlierRange, HashPrefix, Loss};
use hayloft::volume::{
    Check, Checkpointing, Damage, DamageSource, DamagedNeedle, DamagedRange, Expected, GetError,
    Hasher, Location, Refusal, Slot, open_read_only,
};

use crate::common::{
    COOKIE, ON_DEMAND, Process, bytes, draft, expected, pool, superblock_with_losses,
};

const FILE: &str = "1.0.vol";
const CHECKPOINT: &str = "1.0.ckpt";
const SIZE: u64 = 1 << 20;
/// Length of the needles that were lost (bytes).
const LEN: u64 = 4096;
/// Number of hash bits that the index of a file of [`SIZE`] keeps.
const BITS: u32 = 42;
const RANGE: EarlierRange = EarlierRange { generation: 3, offset: 70_144, len: 8192 };
const IDS: u64 = 12;

fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 1)
}

fn as_volume(checkpoints: Option<Checkpointing>) -> Expected {
    Expected { hash_bits: None, checkpoints, ..expected() }
}

fn known(n: u64) -> Loss {
    Loss::Object { id: id(n), cookie: COOKIE, len: LEN }
}

fn unidentified(n: u64, bits: u32) -> Loss {
    let leading = Hasher::new(42).hash(id(n)).bits() >> (64 - bits) << (64 - bits);
    Loss::Unidentified { hash: HashPrefix { leading, bits }, len: LEN }
}

fn lost(n: u64) -> GetError {
    GetError::Unreadable(id(n), Damage::Lost(LEN))
}

/// All that can be seen of a volume.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    got: Vec<Result<Vec<u8>, GetError>>,
    heads: Vec<Result<u64, GetError>>,
    walked: Vec<Result<NeedleId, DamagedNeedle>>,
    damage: Vec<DamagedRange>,
    live: u64,
    needles: u64,
}

fn see(process: &mut Process, volume: &Rc<Slot>) -> Seen {
    let got = (0..IDS).map(|n| process.get(volume, id(n))).collect();
    let (figures, damage) = (volume.volume().figures(), volume.volume().damage());
    assert_eq!(figures.damaged, damage.len() as u64);
    let heads = (0..IDS).map(|n| head(process, volume, n)).collect();
    let walked = walk(process, volume);
    Seen { got, heads, walked, damage, live: figures.live, needles: figures.needles }
}

fn head(process: &mut Process, volume: &Rc<Slot>, n: u64) -> Result<u64, GetError> {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let head = volume.head(id(n), COOKIE, |len| pool.alloc(len)).await;
        head.map(|head| head.body_len)
    })
}

fn walk(process: &mut Process, volume: &Rc<Slot>) -> Vec<Result<NeedleId, DamagedNeedle>> {
    let pool = process.runtime.handle().pool().clone();
    let mut walk = volume.volume().walk().unwrap();
    process.run(async move {
        let mut found = Vec::new();
        while let Some(len) = walk.buffer_len() {
            found.push(walk.next(pool.alloc(len).unwrap()).await.map(|live| live.id));
        }
        found
    })
}

/// Asserts that the same can be seen after a kill: by a full read of the log, also without writing to the
/// file, and by the checkpoint if there is one. Returns whether a checkpoint was used.
fn assert_same_after_restart(image: &Image, expected: &Seen, pool: &Pool) -> bool {
    let mut used = false;
    for policy in [None, Some(ON_DEMAND)] {
        let mut process = Process::start(7, image, pool);
        let volume = process.open_as(as_volume(policy)).unwrap();
        assert_eq!(see(&mut process, &volume), *expected, "{policy:?}");
        used |= volume.volume().figures().checkpoint.opened_from > 65_536;
    }
    let mut process = Process::start(7, image, pool);
    let handle = process.runtime.handle().clone();
    let looked = process.run(async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        open_read_only(&handle, DirId(0), &as_volume(None)).await
    });
    let looked = looked.map(Slot::new).unwrap();
    assert_eq!(see(&mut process, &looked), *expected, "opened read-only");
    assert!(process.image() == *image, "looking at the volume changed it");
    used
}

fn created(pool: &Pool, policy: Option<Checkpointing>) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create_as(superblock_with_losses(SIZE));
    let volume = process.open_as(as_volume(policy)).unwrap();
    (process, volume)
}

fn offset_of(volume: &Rc<Slot>, n: usize) -> u64 {
    volume.volume().walk().unwrap().places()[n].offset
}

/// Needles 0 to 3, of which 2 is then lost as well; 4 was lost, 5 was lost and nothing is known of it.
fn with_losses(pool: &Pool, policy: Option<Checkpointing>) -> (Process, Rc<Slot>) {
    let (mut process, volume) = created(pool, policy);
    for n in 0..4 {
        process.put(&volume, id(n), &bytes(n, 300)).unwrap();
    }
    let superseded = offset_of(&volume, 2);
    let losses = [
        (known(2), superseded),
        (known(4), 0),
        (unidentified(5, BITS), 0),
        (Loss::Range(RANGE), 0),
    ];
    process.record(&volume, &losses).unwrap();
    (process, volume)
}

#[test]
fn lost_objects_are_unreadable_and_never_absent() {
    let pool = pool(16 << 20);
    let (mut process, volume) = with_losses(&pool, Some(ON_DEMAND));
    let seen = see(&mut process, &volume);
    for n in 0..IDS {
        let expected = match n {
            0 | 1 | 3 => Ok(bytes(n, 300)),
            2 | 4 | 5 => Err(lost(n)),
            _ => Err(GetError::NotFound),
        };
        let at = usize::try_from(n).unwrap();
        assert_eq!(seen.heads[at], expected.as_ref().map(|_| 300).map_err(|error| *error));
        assert_eq!(seen.got[at], expected);
    }
    // A wrong cookie reveals nothing, unless the right one is not known.
    for (n, answer) in [(4, GetError::NotFound), (5, lost(5))] {
        assert_eq!(process.get_as(&volume, id(n), Cookie(1)), Err(answer));
    }
    let at = |n: u64| Location { offset: offset_of(&volume, 3) + 1024 * n, len: 1024 };
    let damaged = |n, id| DamagedNeedle { at: at(n), id, damage: Damage::Lost(LEN) };
    let walked = [Ok(id(0)), Ok(id(1)), Ok(id(3))].into_iter().chain([
        Err(damaged(0, Some(id(2)))),
        Err(damaged(1, Some(id(4)))),
        Err(damaged(2, None)),
    ]);
    assert_eq!(seen.walked, walked.collect::<Vec<_>>());
    let range = Location { offset: RANGE.offset, len: RANGE.len };
    let range = DamagedRange { at: range, id: None, source: DamageSource::Generation(3) };
    let losses = [(0, Some(id(2))), (1, Some(id(4))), (2, None)];
    let losses = losses.map(|(n, id)| DamagedRange { at: at(n), id, source: DamageSource::Loss });
    assert_eq!(seen.damage, [&[range], &losses[..]].concat());
    assert_eq!((seen.live, seen.needles), (6 * 1024, 6));
    assert!(!assert_same_after_restart(&process.image(), &seen, &pool));
    volume.expect_rest();
    process.close(&volume);
    assert!(assert_same_after_restart(&process.image(), &seen, &pool));
}

#[test]
fn known_losses_are_repaired_and_deleted_with_their_cookie() {
    let pool = pool(16 << 20);
    // Also when the first header of the record of needle 4 is damaged.
    for is_damaged in [false, true] {
        let (process, volume) = with_losses(&pool, None);
        let mut image = process.image();
        if is_damaged {
            let at = usize::try_from(offset_of(&volume, 4)).unwrap();
            image.file(FILE).flip(at + 40, 3);
        }
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open_as(as_volume(None)).unwrap();
        let attempt = |process: &mut Process, n: u64, cookie: u64, is_conditional: bool| {
            let (volume, draft) = (Rc::clone(&volume), draft(&pool, b"again"));
            process.run(async move {
                let check: Check<'_> = Some(&|_| true);
                let check = check.filter(|_| is_conditional);
                volume.put(id(n), Cookie(cookie), draft, check).await.map(|stored| stored.replaced)
            })
        };
        let delete = |process: &mut Process, n: u64, cookie: u64| {
            let volume = Rc::clone(&volume);
            process.run(async move { volume.delete(id(n), Cookie(cookie), None).await })
        };
        let damage = volume.volume().damage().len();
        assert_eq!(attempt(&mut process, 4, 1, false), Err(Refusal::Conflict));
        assert_eq!(attempt(&mut process, 4, COOKIE.0, true), Err(Refusal::Unreadable(id(4))));
        assert_eq!(delete(&mut process, 2, 1), Err(Refusal::NotFound));
        assert_eq!(volume.volume().damage().len(), damage);
        assert_eq!(attempt(&mut process, 4, COOKIE.0, false), Ok(true));
        assert_eq!(delete(&mut process, 2, COOKIE.0), Ok(()));
        assert_eq!(volume.volume().damage().len(), damage - 2);
        assert_eq!(process.get(&volume, id(4)).unwrap(), b"again");
        assert_eq!(process.get(&volume, id(2)), Err(GetError::NotFound));
        let seen = see(&mut process, &volume);
        volume.expect_rest();
        assert_same_after_restart(&process.image(), &seen, &pool);
    }
}

#[test]
fn unidentified_loss_hides_no_newer_needle_and_stays() {
    let pool = pool(16 << 20);
    let (mut process, volume) = with_losses(&pool, None);
    assert_eq!(process.delete(&volume, id(5)), Err(Refusal::Unreadable(id(5))));
    assert!(!process.put(&volume, id(5), b"anew").unwrap().replaced, "it may be another object");
    assert_eq!(process.get(&volume, id(5)).unwrap(), b"anew");
    assert!(process.put(&volume, id(5), b"newer").unwrap().replaced);
    let seen = see(&mut process, &volume);
    assert_same_after_restart(&process.image(), &seen, &pool);
    process.delete(&volume, id(5)).unwrap();
    assert_eq!(process.get(&volume, id(5)), Err(lost(5)), "the lost object is still lost");
    let seen = see(&mut process, &volume);
    assert_eq!(seen.damage.len(), 4);
    assert_same_after_restart(&process.image(), &seen, &pool);
    volume.expect_rest();
}

#[test]
fn every_id_that_may_be_the_lost_one_is_unreadable() {
    let pool = pool(16 << 20);
    // The record knows fewer bits than this index keeps: it comes from a larger file.
    let (mut process, volume) = created(&pool, Some(ON_DEMAND));
    process.put(&volume, id(1), &bytes(1, 300)).unwrap();
    process.record(&volume, &[(unidentified(5, 35), 0)]).unwrap();
    assert_eq!(process.get(&volume, id(5)), Err(lost(5)));
    let seen = see(&mut process, &volume);
    assert_eq!((seen.needles, seen.walked.len(), seen.damage.len()), (129, 2, 1));
    process.close(&volume);
    assert!(assert_same_after_restart(&process.image(), &seen, &pool));

    // Of all ids with one hash, those stored later are readable; the others may be the lost object.
    let (mut process, volume) = with_losses(&pool, None);
    process.close(&volume);
    let mut process = Process::start(2, &process.image(), &pool);
    let volume = process.open_as(Expected { hash_bits: Some(0), ..as_volume(None) }).unwrap();
    let hash = HashPrefix { leading: 0, bits: 64 };
    process.record(&volume, &[(Loss::Unidentified { hash, len: LEN }, 0)]).unwrap();
    process.put(&volume, id(9), &bytes(9, 300)).unwrap();
    for n in 0..IDS {
        let expected = if n == 9 { Ok(bytes(9, 300)) } else { Err(lost(n)) };
        assert_eq!(process.get(&volume, id(n)), expected);
    }
}

#[test]
fn known_loss_hides_no_other_id_with_its_hash() {
    let pool = pool(16 << 20);
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create_as(superblock_with_losses(SIZE));
    let volume = process.open_as(Expected { hash_bits: Some(0), ..as_volume(None) }).unwrap();
    process.put(&volume, id(1), &bytes(1, 300)).unwrap();
    process.record(&volume, &[(known(4), 0)]).unwrap();
    process.put(&volume, id(2), &bytes(2, 300)).unwrap();
    assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 300)));
    assert_eq!(process.get(&volume, id(2)), Ok(bytes(2, 300)));
    assert_eq!(process.get(&volume, id(4)), Err(lost(4)));
    assert_eq!(process.get(&volume, id(3)), Err(GetError::NotFound));
}

#[test]
fn checkpoint_while_losses_are_recorded_and_repaired_agrees_with_the_log() {
    let pool = pool(16 << 20);
    let mut used = 0;
    for seed in 1..40 {
        let (mut process, volume) = with_losses(&pool, Some(ON_DEMAND));
        process.runtime.shuffle(seed);
        let (handle, saving) = (process.runtime.handle().clone(), Rc::clone(&volume));
        handle.spawn(async move {
            saving.volume().checkpoint().await.unwrap();
        });
        let (recording, repairing) = (Rc::clone(&volume), Rc::clone(&volume));
        let again = draft(&pool, b"again");
        handle.spawn(async move {
            repairing.put(id(4), COOKIE, again, None).await.unwrap();
            repairing.delete(id(2), COOKIE, None).await.unwrap();
        });
        let waiting = handle.clone();
        process.run(async move {
            waiting.sleep_until(waiting.now() + seed * 50_000).await;
            let range = EarlierRange { generation: 2, ..RANGE };
            let losses = [(known(6), 0), (unidentified(7, BITS), 0), (Loss::Range(range), 0)];
            recording.volume().record_losses(&losses).await.unwrap();
            waiting.sleep_until(waiting.now() + 50_000_000).await;
        });
        let seen = see(&mut process, &volume);
        assert_eq!(seen.damage.len(), 5, "two ranges; needles 5, 6 and 7");
        assert!(process.image().files.contains_key(CHECKPOINT));
        used += usize::from(assert_same_after_restart(&process.image(), &seen, &pool));
    }
    assert!(used > 30, "{used} checkpoints were used");
}

#[test]
fn torn_commit_of_losses_is_decided_once() {
    let pool = pool(16 << 20);
    let (mut process, volume) = created(&pool, None);
    process.put(&volume, id(0), &bytes(0, 300)).unwrap();
    let cut = Rc::new(RefCell::new(None));
    let wrecks = Rc::clone(&cut);
    process.world.on_event(move |snapshot| {
        let wreck = snapshot.wreck();
        if wreck.loose() > 0 {
            *wrecks.borrow_mut() = Some(wreck);
        }
    });
    process.record(&volume, &[(known(4), 0), (unidentified(5, BITS), 0)]).unwrap();
    let wreck = cut.take().expect("a write was in flight");
    assert_eq!(wreck.loose(), 8);
    let absent = Err(GetError::NotFound);
    for survivors in 0_u32..32 {
        // Sector 0 is the record; each of the two records of losses has two sectors, either of which is
        // enough.
        let image = wreck.image(|sector| survivors >> sector & 1 == 1, wreck.changes());
        let mut process = Process::start(2, &image, &pool);
        let volume = process.open_as(as_volume(None)).unwrap();
        let seen = see(&mut process, &volume);
        for (n, sectors) in [(4, 0b110), (5, 0b11000)] {
            let is_kept = survivors & sectors != 0;
            let got = &seen.got[n];
            assert_eq!(*got == absent, !is_kept, "needle {n}, sectors {survivors:#b}: {got:?}");
            assert!(got.is_err());
        }
        assert_eq!(seen.got[0], Ok(bytes(0, 300)));
        assert_same_after_restart(&process.image(), &seen, &pool);
    }
}

#[test]
#[should_panic(expected = "other builds would take the records for damaged needles")]
fn losses_are_recorded_only_in_files_that_say_so() {
    let pool = pool(16 << 20);
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open_as(as_volume(None)).unwrap();
    let _ = process.record(&volume, &[(known(4), 0)]);
}

#[test]
fn feature_of_losses_survives_a_change_of_the_state() {
    let pool = pool(16 << 20);
    let (mut process, volume) = with_losses(&pool, None);
    let seen = see(&mut process, &volume);
    let changing = Rc::clone(&volume);
    process.run(async move { changing.set_read_only(true).await }).unwrap();
    let image = process.image();
    assert_eq!(image.bytes(FILE)[20], 1);
    assert_same_after_restart(&image, &seen, &pool);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open_as(as_volume(None)).unwrap();
    assert_eq!(process.record(&volume, &[(known(6), 0)]), Err(Refusal::ReadOnly));
}
