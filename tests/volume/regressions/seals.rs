//! Torn commits and their seals.

use hayloft::base::types::NeedleId;
use hayloft::volume::GetError;

use super::{FILE, Got, clean_image, id, ids, seal, sealed_after_tear, small_pool, start, zero};
use crate::common::{bytes, tear};

/// The seal did not identify which of two torn commits with the same sequence it kept needles of: a needle of
/// the older one, at the same offset and with the same ordinal, was taken for kept.
#[test]
fn remains_of_an_older_torn_commit_are_not_taken_for_kept_needles() {
    let pool = small_pool();
    let clean = clean_image(&pool, &[(1, bytes(1, 100)), (5, bytes(5, 90))]);
    let ids = [1, 5, 8, 7, 20, 21].map(id);
    let gone = Err(GetError::NotFound);
    let values = [(1, 100), (5, 90), (8, 120)].map(|(n, len)| Ok(bytes(n, len)));
    let expected = [&values[..], &[gone.clone(), gone.clone(), gone]].concat();
    // Of the older commit, the header of its second needle remains, in sector 3.
    let puts = [(id(20), bytes(20, 110)), (id(21), bytes(21, 600))];
    let image = tear(1000, (FILE, &clean), &pool, None, &puts, |sector| sector == 3);
    // Of the younger commit, the second needle survives and the record does not.
    let puts = [(id(7), bytes(7, 1700)), (id(8), bytes(8, 120))];
    let image = tear(5000, (FILE, &image), &pool, None, &puts, |sector| [5, 6].contains(&sector));
    let (got, damage, image) = start(3, &image, &pool, &ids);
    assert_eq!((got, damage), (expected.clone(), 0));
    let (got, damage, _) = start(4, &image, &pool, &ids);
    assert_eq!((got, damage), (expected, 0), "the second recovery gives the same result");
}

/// One flipped bit in a seal brought the needles back that it had dropped, as damaged ones.
#[test]
fn bit_flip_in_a_seal_does_not_restore_dropped_needles() {
    let pool = small_pool();
    let (image, values) = sealed_after_tear(&pool);
    let at = seal(&image);
    let wanted: Vec<Got> = values.values().map(|value| Ok(value.clone().unwrap())).collect();
    for byte in at..at + 1024 {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged.file(FILE).flip(byte, bit);
            let (got, damage, _) = start(3, &damaged, &pool, &ids(&values));
            assert_eq!((got, damage), (wanted.clone(), 0), "byte {byte} bit {bit}");
        }
    }
}

/// The loss of a needle that a seal had kept was not reported.
#[test]
fn loss_of_a_needle_kept_by_a_seal_is_reported() {
    let pool = small_pool();
    let (image, values) = sealed_after_tear(&pool);
    let wanted: Vec<Got> = values.values().map(|value| Ok(value.clone().unwrap())).collect();
    assert_eq!(start(3, &image, &pool, &ids(&values)).1, 0);
    // The torn commit is the one before the seal: record, two units dropped, two units kept.
    let kept = seal(&image) - 4096 + 3 * 512;
    let mut gone = image.clone();
    zero(&mut gone, kept, 1024);
    let (got, damage, _) = start(3, &gone, &pool, &ids(&values));
    assert!(damage > 0);
    for (n, id) in ids(&values).iter().enumerate() {
        if *id == NeedleId::new(2, 0) {
            assert!(got[n].is_err());
        } else {
            assert_eq!(got[n], wanted[n]);
        }
    }
    // The same if the record of the torn commit is lost, too.
    zero(&mut gone, seal(&image) - 4096, 512);
    assert!(start(3, &gone, &pool, &ids(&values)).1 > 0);
}

/// A header remaining from an older torn commit overlapped a kept needle of the younger one, and the scan
/// skipped both.
#[test]
fn remains_of_an_older_torn_commit_do_not_hide_a_kept_needle() {
    let pool = small_pool();
    let clean = clean_image(&pool, &[(1, bytes(1, 100)), (5, bytes(5, 90))]);
    let ids = [1, 5, 8, 7, 20, 21].map(id);
    let gone = Err(GetError::NotFound);
    let values = [(1, 100), (5, 90), (8, 120)].map(|(n, len)| Ok(bytes(n, len)));
    let expected = [&values[..], &[gone.clone(), gone.clone(), gone]].concat();
    // Of the older commit, the header of its second needle remains, in sector 3: of a needle of two units,
    // and of one that overlaps the whole kept needle.
    for older in [600, 1000] {
        let puts = [(id(20), bytes(20, 110)), (id(21), bytes(21, older))];
        let image = tear(1000, (FILE, &clean), &pool, None, &puts, |sector| sector == 3);
        // Of the younger commit, the second needle survives and the record does not.
        let puts = [(id(7), bytes(7, 1200)), (id(8), bytes(8, 120))];
        let survives = |sector| [4, 5].contains(&sector);
        let image = tear(5000, (FILE, &image), &pool, None, &puts, survives);
        let (got, damage, image) = start(3, &image, &pool, &ids);
        assert_eq!((got, damage), (expected.clone(), 0));
        let (got, damage, _) = start(4, &image, &pool, &ids);
        assert_eq!((got, damage), (expected.clone(), 0), "second recovery, {older} bytes");
    }
}
