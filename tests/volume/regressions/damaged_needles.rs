//! Needles that are damaged, lost or cannot be read.

use std::rc::Rc;

use hayloft::base::types::{Cookie, NeedleId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{Check, Existing, Expected, GetError, Refusal, Slot, Stored};

use super::{
    EIO, FILE, Got, LOG, SIZE, Values, clean_image, id, ids, sealed_after_tear, small_pool, start,
    zero,
};
use crate::common::{COOKIE, Process, bytes, draft, expected};

/// A needle of one unit lost header and footer with one sector: an older value was returned, or 404.
#[test]
fn lost_sector_hides_no_needle_and_affects_at_most_one() {
    let pool = small_pool();
    let mut process = Process::start(1, &Image::default(), &pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    let mut values = Values::new();
    for (n, len) in [(1, 100), (1, 110), (2, 120), (3, 50), (4, 0), (5, 344), (3, 60)] {
        process.put(&volume, id(n), &bytes(n + len, usize::try_from(len).unwrap())).unwrap();
        let data = bytes(n + len, usize::try_from(len).unwrap());
        values.insert(id(n), Some(data));
    }
    process.delete(&volume, id(2)).unwrap();
    values.insert(id(2), None);
    process.close(&volume);
    let (with_seal, sealed_after_tear) = sealed_after_tear(&pool);
    for (image, values) in [(process.image(), values), (with_seal, sealed_after_tear)] {
        let mut unreadable = 0;
        for sector in (0..usize::try_from(SIZE).unwrap()).step_by(512) {
            let mut damaged = image.clone();
            zero(&mut damaged, sector, 512);
            let (got, ..) = start(3, &damaged, &pool, &ids(&values));
            let mut affected = 0;
            for ((id, value), got) in values.iter().zip(&got) {
                match (got, value) {
                    (Ok(got), Some(value)) if got == value => {}
                    (Err(GetError::NotFound), None) => {}
                    (Err(GetError::Unreadable(..)), Some(_)) => affected += 1,
                    _ => panic!("sector at {sector}: {id} holds {got:?}"),
                }
            }
            assert!(affected <= 1, "sector at {sector}: {affected} needles affected");
            unreadable += affected;
        }
        assert!(unreadable >= 4, "some of the sectors contain headers");
    }
}

/// An open volume whose needle 1 (two units) has a damaged header.
fn with_damaged_header(pool: &Pool) -> (Process, Rc<Slot>) {
    let mut image = clean_image(pool, &[(1, bytes(1, 100)), (2, bytes(2, 100))]);
    image.file(FILE).flip(LOG + 512 + 20, 0);
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    let got = process.get(&volume, id(1));
    assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    (process, volume)
}

fn put_if(
    process: &mut Process,
    volume: &Rc<Slot>,
    cookie: Cookie,
    condition: Option<fn(bool) -> bool>,
) -> Result<Stored, Refusal> {
    let draft = draft(process.runtime.handle().pool(), b"new");
    let volume = Rc::clone(volume);
    process.run(async move {
        let holds = |it: Option<&Existing>| condition.is_none_or(|holds| holds(it.is_some()));
        let check: Check<'_> = condition.map(|_| &holds as _);
        volume.put(id(1), cookie, draft, check).await
    })
}

/// A damaged header hid the cookie: any cookie could replace the needle, and none could delete it.
#[test]
fn cookie_and_conditions_hold_for_a_needle_with_damaged_header() {
    let pool = small_pool();
    let wrong = Cookie(COOKIE.0 ^ 1);
    let (mut process, volume) = with_damaged_header(&pool);
    assert_eq!(process.get_as(&volume, id(1), wrong), Err(GetError::NotFound));
    assert_eq!(put_if(&mut process, &volume, wrong, None), Err(Refusal::Conflict));
    let deleting = Rc::clone(&volume);
    let refused = process.run(async move { deleting.delete(id(1), wrong, None).await });
    assert_eq!(refused, Err(Refusal::NotFound));
    // If-None-Match and If-Match cannot be evaluated.
    let unreadable = Err(Refusal::Unreadable(id(1)));
    assert_eq!(put_if(&mut process, &volume, COOKIE, Some(|there| !there)), unreadable);
    assert_eq!(put_if(&mut process, &volume, COOKIE, Some(|there| there)), unreadable);
    assert!(matches!(process.get(&volume, id(1)), Err(GetError::Unreadable(..))));

    assert!(put_if(&mut process, &volume, COOKIE, None).unwrap().replaced);
    assert_eq!(process.get(&volume, id(1)).unwrap(), b"new");
    process.close(&volume);
    let got = start(3, &process.image(), &pool, &[id(1), id(2)]).0;
    assert_eq!(got, [Ok(b"new".to_vec()), Ok(bytes(2, 100))]);

    let (mut process, volume) = with_damaged_header(&pool);
    process.delete(&volume, id(1)).unwrap();
    assert_eq!(process.get(&volume, id(1)), Err(GetError::NotFound));
    process.close(&volume);
    let got = start(3, &process.image(), &pool, &[id(1), id(2)]).0;
    assert_eq!(got, [Err(GetError::NotFound), Ok(bytes(2, 100))]);
}

/// A conditional DELETE of a needle with a damaged header returned "precondition failed", although the
/// condition cannot be evaluated.
#[test]
fn conditional_delete_of_a_damaged_needle_is_unreadable() {
    let pool = small_pool();
    let etag = xxhash_rust::xxh3::xxh3_64(&bytes(1, 100));
    let (mut process, volume) = with_damaged_header(&pool);
    let deleting = Rc::clone(&volume);
    let refused = process.run(async move {
        let if_match = |it: Option<&Existing>| it.is_some_and(|it| it.etag == etag);
        deleting.delete(id(1), COOKIE, Some(&if_match)).await
    });
    assert_eq!(refused, Err(Refusal::Unreadable(id(1))));
    assert!(matches!(process.get(&volume, id(1)), Err(GetError::Unreadable(..))));
}

/// A PUT while the existing needle could not be read was indexed beside it instead of replacing it: the next
/// DELETE restored the old photo permanently.
#[test]
fn put_is_refused_while_the_existing_needle_cannot_be_read() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 100))]);
    let mut process = Process::start(2, &image, &pool);
    let volume = process.open().unwrap();
    // Reads of header and footer, each tried twice.
    for n in 0..4 {
        process.world.fail(n, Fault::Errno(EIO));
    }
    assert_eq!(process.put(&volume, id(1), b"new"), Err(Refusal::Unreadable(id(1))));
    assert_eq!(process.get(&volume, id(1)), Ok(bytes(1, 100)));
    assert!(process.put(&volume, id(1), b"new").unwrap().replaced);
    assert_eq!(volume.volume().figures().needles, 1);
    process.delete(&volume, id(1)).unwrap();
    assert_eq!(process.get(&volume, id(1)), Err(GetError::NotFound));
    process.close(&volume);
    assert_eq!(start(3, &process.image(), &pool, &[id(1)]).0, [Err(GetError::NotFound)]);
}

/// An open volume with needle 1 of two units, and the sectors of its header and footer.
fn two_units(pool: &Pool) -> (Process, Rc<Slot>, [usize; 2]) {
    let image = clean_image(pool, &[(1, bytes(1, 300)), (2, bytes(2, 300))]);
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    let header = LOG / 512 + 1;
    (process, volume, [header, header + 1])
}

/// An index entry has the hash of the id, but header and footer are both damaged: GET must not report 404,
/// and DELETE is refused as unreadable.
#[test]
fn needle_without_readable_identity_is_unreadable_not_absent() {
    let pool = small_pool();
    let (mut process, volume, [header, footer]) = two_units(&pool);
    process.world.rot(FILE, header * 512 + 20, 1);
    process.world.rot(FILE, footer * 512 + 500, 1);
    let got = process.get(&volume, id(1));
    assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    assert_eq!(process.delete(&volume, id(1)), Err(Refusal::Unreadable(id(1))));
    // An unconditional write is found first.
    process.put(&volume, id(1), b"new").unwrap();
    assert_eq!(process.get(&volume, id(1)), Ok(b"new".to_vec()));
}

/// Of header and footer, one is damaged and the other cannot be read. The needle may be readable later, so no
/// second one is written.
#[test]
fn damaged_header_with_unreadable_footer_refuses_writes() {
    let pool = small_pool();
    for [damaged, unreadable] in [[0, 1], [1, 0]] {
        let (mut process, volume, sectors) = two_units(&pool);
        process.world.rot(FILE, sectors[damaged] * 512 + if damaged == 0 { 20 } else { 500 }, 1);
        process.world.spoil(FILE, sectors[unreadable]);
        let unreadable = Err(Refusal::Unreadable(id(1)));
        assert_eq!(process.put(&volume, id(1), b"new").map(drop), unreadable);
        assert_eq!(process.delete(&volume, id(1)), unreadable);
        let got = process.get(&volume, id(1));
        assert!(matches!(got, Err(GetError::Unreadable(..))), "{got:?}");
    }
}

/// Of two needles with the hash of the id, one cannot be read and the other not be identified. The unreadable
/// one may be the needle itself, so no second one is written.
#[test]
fn unreadable_candidate_refuses_writes_beside_a_lost_one() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 300)), (2, bytes(2, 300))]);
    // The newer one is read first; each is lost in turn.
    for [lost, unreadable] in [[1, 2], [2, 1]] {
        let mut process = Process::start(2, &image, &pool);
        let expected = Expected { hash_bits: Some(0), ..expected() };
        let volume = process.open_as(expected).unwrap();
        let sectors = |n: usize| [1, 2].map(|unit| LOG / 512 + (n - 1) * 8 + unit);
        let [header, footer] = sectors(lost);
        process.world.rot(FILE, header * 512 + 20, 1);
        process.world.rot(FILE, footer * 512 + 500, 1);
        sectors(unreadable).into_iter().for_each(|sector| process.world.spoil(FILE, sector));
        let refused = Err(Refusal::Unreadable(id(3)));
        assert_eq!(process.put(&volume, id(3), b"new").map(drop), refused, "{lost} is lost");
    }
}

/// After a read error, every id with the hash of the needle was answered as damaged; so was it for HEAD after
/// damage of a header.
#[test]
fn lost_sector_of_a_needle_hides_no_other_with_the_same_hash() {
    let pool = small_pool();
    let stored = [1, 2, 3, 4].map(id);
    let absent = [101, 102, 103, 104].map(id);
    // Longer than what a HEAD reads.
    let image = clean_image(&pool, &stored.map(|id| (id.key.0, bytes(id.key.0, 6000))));
    let mut unreadable = 0;
    for (sector, is_flipped) in (LOG / 512..LOG / 512 + 80).flat_map(|n| [(n, false), (n, true)]) {
        let mut process = Process::start(3, &image, &pool);
        let volume = process.open().unwrap();
        match is_flipped {
            true => process.world.rot(FILE, sector * 512 + 20, 1),
            false => process.world.wear_out(FILE, sector),
        }
        let mut affected = [0; 2];
        for id in stored {
            let got = [process.get(&volume, id), head(&mut process, &volume, id, COOKIE)];
            for (got, affected) in got.into_iter().zip(&mut affected) {
                match got {
                    Err(GetError::Unreadable(..)) => *affected += 1,
                    got => assert!(got.is_ok(), "sector {sector}, {is_flipped}: {id} {got:?}"),
                }
            }
        }
        assert!(affected.iter().all(|n| *n <= 1), "sector {sector}, {is_flipped}: {affected:?}");
        unreadable += affected[0];
        for id in absent {
            let got = [process.get(&volume, id), head(&mut process, &volume, id, COOKIE)];
            let gone = [(); 2].map(|()| Err(GetError::NotFound));
            assert_eq!(got, gone, "sector {sector}, {is_flipped}: {id}");
        }
    }
    assert!(unreadable > 80, "{unreadable}");
}

/// A wrong cookie was answered as the right one when data was damaged or could not be read, which showed that
/// the object exists.
#[test]
fn damaged_data_reveals_nothing_to_a_wrong_cookie() {
    let pool = small_pool();
    let image = clean_image(&pool, &[(1, bytes(1, 6000))]);
    let wrong = Cookie(COOKIE.0 ^ 1);
    for (sector, is_flipped) in
        (LOG / 512 + 1..LOG / 512 + 15).flat_map(|n| [(n, false), (n, true)])
    {
        let mut process = Process::start(3, &image, &pool);
        let volume = process.open().unwrap();
        match is_flipped {
            true => process.world.rot(FILE, sector * 512 + 20, 1),
            false => process.world.wear_out(FILE, sector),
        }
        let got =
            [process.get_as(&volume, id(1), wrong), head(&mut process, &volume, id(1), wrong)];
        let gone = [(); 2].map(|()| Err(GetError::NotFound));
        assert_eq!(got, gone, "sector {sector}, {is_flipped}");
    }
}

fn head(process: &mut Process, volume: &Rc<Slot>, id: NeedleId, cookie: Cookie) -> Got {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    let head = async move { volume.head(id, cookie, |len| pool.alloc(len)).await };
    process.run(head).map(|_| Vec::new())
}
