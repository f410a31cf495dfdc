use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::layout::EntryLayout;
use super::layout::{BUCKET_BITS, SECOND};
use super::segment::{BUCKETS_MIN, BUCKETS_STEP, Segment};
use super::{Hasher, IdHash, Index, Location};
use crate::base::limits::UNIT;
use crate::base::types::NeedleId;

const GIB: u64 = 1 << 30;

fn at(unit: u64) -> Location {
    Location { offset: unit * UNIT, len: UNIT * 3 }
}

fn index() -> Index {
    Index::for_volume(100 * GIB)
}

/// Returns a well-distributed hash of a number.
fn hash(n: u64) -> IdHash {
    Hasher::new(1).hash(NeedleId::new(n, 0))
}

fn all(index: &Index, hash: IdHash) -> Vec<u64> {
    let mut units: Vec<u64> = index.candidates(hash).map(|at| at.offset / UNIT).collect();
    units.sort_unstable();
    units
}

#[test]
fn needles_with_equal_hashes_coexist() {
    let hasher = Hasher::with_bits(1, 0);
    let hash = hasher.hash(NeedleId::new(1, 1));
    assert_eq!(hash, hasher.hash(NeedleId::new(2, 2)));
    let mut index = index();
    for unit in [5, 3, 9] {
        assert!(index.insert(hash, at(unit)));
        assert!(!index.insert(hash, at(unit)));
    }
    assert_eq!(index.len(), 3);
    let mut seen = Vec::new();
    let mut below = u64::MAX;
    while let Some(found) = index.newest_below(hash, below) {
        below = found.offset;
        seen.push(found.offset / UNIT);
    }
    assert_eq!(seen, [9, 5, 3]);
    assert_eq!(index.replace(hash, at(5).offset, at(11)), Some(at(5)));
    assert_eq!(index.replace(hash, at(5).offset, at(12)), None);
    assert_eq!(index.remove(hash, at(9).offset), Some(at(9)));
    assert_eq!(index.remove(hash, at(9).offset), None);
    assert_eq!(index.newest_below(hash, u64::MAX), Some(at(11)));
    assert_eq!(index.len(), 2);
}

#[test]
fn seeds_give_different_hashes() {
    let id = NeedleId::new(1, 1);
    assert_ne!(Hasher::new(1).hash(id), Hasher::new(2).hash(id));
}

#[test]
fn hash_of_n_bits_has_at_most_2_to_the_n_values() {
    for (bits, most) in [(0, 1), (1, 2), (3, 8)] {
        let hasher = Hasher::with_bits(1, bits);
        let hashes = (0..1000).map(|n| hasher.hash(NeedleId::new(n, 0)).0);
        assert_eq!(hashes.collect::<HashSet<_>>().len(), most);
    }
    let id = NeedleId::new(7, 7);
    assert_eq!(Hasher::with_bits(1, 64).hash(id), Hasher::new(1).hash(id));
}

#[test]
fn entry_keeps_at_least_35_hash_bits_for_any_volume_size() {
    for (size, bits, depth) in [
        (64 << 10, 42, 0),
        (16 << 20, 42, 0),
        (32 * GIB, 35, 0),
        (100 * GIB, 35, 2),
        (1 << 40, 35, 5),
    ] {
        let layout = EntryLayout::for_volume(size);
        assert!(layout.hash_bits() >= 35);
        assert_eq!((layout.hash_bits(), layout.depth_min), (bits, depth), "{size}");
    }
}

#[test]
fn every_length_and_the_last_offset_are_stored_exactly() {
    for size in [1 << 20, 100 * GIB, 1 << 40] {
        let layout = EntryLayout::for_volume(size);
        for units in 1..4096 {
            let at = Location { offset: size - UNIT, len: units * UNIT };
            let entry = layout.entry(layout.kept(hash(units)), at);
            assert_eq!(layout.location(entry), at);
            assert_eq!(layout.location(entry | SECOND), at);
            assert_eq!(entry & SECOND, 0);
        }
    }
}

#[test]
fn hash_is_recovered_from_an_entry_and_its_bucket() {
    for size in [16 << 20, 100 * GIB, 1 << 40] {
        let layout = EntryLayout::for_volume(size);
        let bits = layout.hash_bits();
        for depth in
            [layout.depth_min, layout.depth_min + 1, layout.depth_min + 9, layout.depth_max()]
        {
            for split in (0..=BUCKETS_MIN).step_by(BUCKETS_STEP) {
                for base in 0..BUCKETS_MIN as u64 {
                    let kept = hash(base << 32 | split as u64).0 >> (64 - bits);
                    let kept = kept >> BUCKET_BITS << BUCKET_BITS | base;
                    let prefix = u32::try_from(kept >> (bits - depth)).unwrap();
                    let mut segment = Segment::new(prefix, depth);
                    segment.split = u16::try_from(split).unwrap();
                    assert!(segment.hashes(&layout).contains(&kept));
                    let entry = layout.entry(kept, at(1));
                    let [first, second] = segment.places(&layout, kept);
                    assert!(first != second && first.max(second) < segment.buckets());
                    assert_eq!(segment.hash(&layout, first, entry), kept);
                    assert_eq!(segment.hash(&layout, second, entry | SECOND), kept);
                    assert_eq!(segment.other(&layout, first, entry), second);
                    assert_eq!(segment.other(&layout, second, entry | SECOND), first);
                }
            }
        }
    }
}

#[test]
fn kept_hashes_have_the_candidates_of_the_ids() {
    for (size, segments_max, count) in
        [(1 << 20, usize::MAX, 10), (100 * GIB, usize::MAX, 60_000), (100 * GIB, 4, 34_000)]
    {
        let mut index = Index::with_segments_max(size, segments_max);
        // A few ids share a hash, so that some of their entries are in the stash.
        let hash_of = |n: u64| if n < 5 { hash(n) } else { hash(n.max(40)) };
        let mut expected = HashMap::new();
        for n in 0..count {
            assert!(index.insert(hash_of(n), at(n + 1)));
            expected.insert((n + 1) * UNIT, hash_of(n));
        }
        let found: Vec<_> = index.hashed_locations().collect();
        assert_eq!(found.len() as u64, count);
        for (kept, at) in found {
            let original = expected.remove(&at.offset).expect("each needle occurs once");
            assert!(all(&index, kept) == all(&index, original));
            assert_eq!(
                kept.bits(),
                original.bits() >> (64 - index.hash_bits()) << (64 - index.hash_bits())
            );
        }
    }
}

#[test]
fn hashes_of_a_prefix_are_all_that_the_index_tells_apart() {
    let (small, large) = (Index::for_volume(16 << 20), Index::for_volume(100 * GIB));
    assert_eq!((small.hash_bits(), large.hash_bits()), (42, 35));
    let leading = hash(1).bits() >> 29 << 29;
    let hashes: Vec<_> = small.hashes_beginning(leading, 35).collect();
    assert_eq!(hashes.iter().map(|hash| hash.bits()).collect::<HashSet<_>>().len(), 128);
    assert!(hashes.iter().all(|hash| hash.bits() >> 29 == leading >> 29));
    assert!(hashes.iter().any(|one| one.bits() >> 22 == hash(1).bits() >> 22));
    // More bits than the index keeps: one hash.
    for (index, bits) in [(&large, 35), (&large, 36), (&large, 64), (&small, 42), (&small, 64)] {
        let leading = hash(1).bits() >> (64 - bits) << (64 - bits);
        let hashes: Vec<_> = index.hashes_beginning(leading, bits).collect();
        assert_eq!(hashes, [IdHash(leading)], "{bits} bits");
    }
}

#[test]
fn any_number_of_equal_hashes_is_kept() {
    for count in [15, 16, 17, 32, 33, 500] {
        let (mut index, same) = (index(), hash(0));
        for unit in 1..=count {
            assert!(index.insert(same, at(unit)));
        }
        let figures = index.figures();
        assert_eq!((figures.overflow, figures.steps), (count.saturating_sub(16), 0));
        assert_eq!(all(&index, same), (1..=count).collect::<Vec<_>>());
        assert!(!index.insert(same, at(count)));
        assert_eq!(index.newest_below(same, at(count).offset), Some(at(count - 1)));
        for unit in 1..=count {
            assert_eq!(index.replace(same, at(unit).offset, at(unit + 1000)), Some(at(unit)));
        }
        assert_eq!(index.locations().count() as u64, count);
        for unit in 1..=count {
            assert_eq!(index.remove(same, at(unit + 1000).offset), Some(at(unit + 1000)));
        }
        assert!(index.is_empty() && all(&index, same).is_empty());
    }
}

#[test]
fn stashed_entry_moves_to_the_table_when_its_segment_grows() {
    let (mut index, same) = (Index::for_volume(GIB), hash(0));
    for unit in 1..=17 {
        index.insert(same, at(unit));
    }
    assert_eq!(index.figures().overflow, 1);
    index.remove(same, at(1).offset);
    for n in 1..9000 {
        index.insert(hash(n), at(100 + n));
    }
    assert_eq!((index.figures().overflow, index.len()), (0, 16 + 8999));
    assert_eq!(all(&index, same), (2..=17).collect::<Vec<_>>());
}

#[test]
fn similar_hashes_use_bounded_memory_and_steps() {
    // Hashes with equal high bits, in one part of the directory, as if an attacker knew the seed.
    let mut index = index();
    let alike = |n: u64| IdHash(hash(n).0 >> 24);
    for n in 0..60_000 {
        assert!(index.insert(alike(n), at(n + 1)));
    }
    let figures = index.figures();
    assert_eq!(figures.needles, 60_000);
    assert!(figures.memory < 60_000 * 80 + (1 << 20), "{figures:?}");
    assert!(figures.steps < 1000, "{figures:?}");
    for n in 0..60_000 {
        assert!(index.candidates(alike(n)).any(|found| found == at(n + 1)));
    }
}

#[test]
fn no_entry_is_lost_when_the_segment_limit_is_reached() {
    let mut index = Index::with_segments_max(GIB, 1);
    for n in 0..30_000 {
        assert!(index.insert(hash(n), at(n + 1)));
    }
    assert!(index.is_starved());
    assert!(index.figures().overflow > 10_000);
    assert!((0..30_000).all(|n| index.newest_below(hash(n), u64::MAX).is_some()));
    for n in 0..30_000 {
        assert_eq!(index.remove(hash(n), at(n + 1).offset), Some(at(n + 1)));
    }
    assert!(index.is_empty());

    let mut index = Index::with_segments_max(100 * GIB, 0);
    for n in 1..=13 {
        assert!(!index.is_starved() && index.figures().overflow == 0);
        assert!(index.insert(hash(n), at(n)));
    }
    assert!(index.is_starved());
    assert_eq!(index.figures().overflow, 13);
    assert_eq!(index.candidates(hash(1)).collect::<Vec<_>>(), [at(1)]);
}

#[test]
fn index_is_not_starved_any_more_once_there_is_memory() {
    // It lacks memory for its first segments, or for a second one.
    for (size, segments_max, count) in [(100 * GIB, 0, 13), (GIB, 1, 30_000)] {
        let mut index = Index::with_segments_max(size, segments_max);
        (1..=count).for_each(|n| assert!(index.insert(hash(n), at(n))));
        assert!(index.is_starved() && index.is_starved());
        index.table.memory.slots_max = usize::MAX;
        assert!(!index.is_starved());
    }
}

#[test]
fn empty_index_uses_no_memory_and_a_small_one_under_66_kib() {
    let mut index = Index::for_volume(16 << 20);
    assert_eq!((index.memory(), index.candidates(hash(1)).count()), (0, 0));
    index.prefetch(hash(1));
    index.insert(hash(1), at(1));
    index.prefetch(hash(1));
    assert!(index.memory() < 66 << 10);
}

/// An order of ids: its name, and the id at a position.
type Order = (&'static str, fn(u64) -> NeedleId);

/// Orders of ids that some hash tables do not handle well.
fn orders() -> [Order; 5] {
    [
        ("sequential", |n| NeedleId::new(n, 0)),
        ("random", |n| {
            NeedleId::new((n + 1).wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29), 0)
        }),
        ("strided", |n| NeedleId::new(n << 20, 0)),
        ("bit-reversed", |n| NeedleId::new(n.reverse_bits(), 0)),
        ("4 alternates", |n| NeedleId::new(n / 4, (n % 4) as u32)),
    ]
}

#[test]
fn needle_uses_at_most_9_bytes_for_any_order_of_ids() {
    for (order, name) in orders() {
        let count = if order == "sequential" { 2_000_000 } else { 500_000 };
        let (mut index, hasher) = (index(), Hasher::new(7));
        let (mut worst, mut sum, mut samples) = (0.0_f64, 0.0, 0);
        for n in 0..count {
            assert!(index.insert(hasher.hash(name(n)), at(n + 1)));
            if n >= 250_000 && n % 2500 == 0 {
                let bytes = index.memory() as f64 / index.len() as f64;
                (worst, sum, samples) = (worst.max(bytes), sum + bytes, samples + 1);
            }
        }
        let mean = sum / f64::from(samples);
        assert!(worst <= 9.0 && mean <= 8.75, "{order}: {worst:.3} at worst, {mean:.3} on average");
        let figures = index.figures();
        assert_eq!((figures.needles, figures.overflow), (count, 0), "{order}");
        assert!(figures.step_max < 8700, "{order}: {figures:?}");
        for n in (0..count).step_by(7) {
            assert!(
                index.candidates(hasher.hash(name(n))).any(|found| found == at(n + 1)),
                "{order}"
            );
        }
    }
}

#[test]
fn all_entries_are_found_after_each_growth_step() {
    let mut index = Index::for_volume(GIB);
    let mut steps = 0;
    for n in 0..40_000 {
        index.insert(hash(n), at(n + 1));
        if index.figures().steps == steps {
            continue;
        }
        steps = index.figures().steps;
        assert!((0..=n).all(|n| index.candidates(hash(n)).any(|found| found == at(n + 1))));
        let units: HashSet<u64> = index.locations().map(|at| at.offset / UNIT).collect();
        assert_eq!(units.len() as u64, n + 1);
    }
    assert!(steps > 50);
}

#[test]
fn segment_does_not_grow_for_equal_hashes_however_full_it_is() {
    let mut index = Index::for_volume(GIB);
    (1..=7300).for_each(|n| assert!(index.insert(hash(n), at(n))));
    assert_eq!((index.figures().slots, index.figures().overflow), (8192, 0));
    (1..=40).for_each(|n| assert!(index.insert(hash(0), at(10_000 + n))));
    let figures = index.figures();
    assert_eq!((figures.steps, figures.slots), (0, 8192));
    assert!(figures.overflow >= 24, "two buckets hold at most 16: {figures:?}");
}

#[test]
fn memory_of_an_index_is_that_of_all_its_parts() {
    let mut index = Index::for_volume(GIB);
    (1..=20).for_each(|unit| assert!(index.insert(hash(0), at(unit))));
    let table = &index.table;
    let lists = [table.directory.capacity() * 4, table.segments.capacity() * size_of::<Segment>()];
    let bitmaps = table.open.capacity() * 8 + table.open.len() * (BUCKETS_MIN / 4 + 16);
    let stash = 4 * 48;
    let wanted = BUCKETS_MIN * 64 + table.memory.overhead() + lists[0] + lists[1] + bitmaps + stash;
    assert_eq!(index.memory(), wanted);
    assert!(table.memory.overhead() > 0 && lists.iter().all(|len| *len > 0));
}

#[test]
fn directory_takes_no_more_memory_than_it_needs_and_the_list_of_segments_hardly_more() {
    let mut index = Index::for_volume(GIB);
    for n in 0..80_000 {
        index.insert(hash(n), at(n + 1));
        let (directory, segments) = (&index.table.directory, &index.table.segments);
        assert!(directory.capacity() <= directory.len().max(4), "{n}: {}", directory.capacity());
        let most = (segments.len() + segments.len() / 8 + 1).max(4);
        assert!(segments.capacity() <= most, "{n}: {}", segments.capacity());
        assert!(index.table.open.capacity() <= most, "{n}: {}", index.table.open.capacity());
    }
    assert!(index.table.directory.len() > 4 && index.table.segments.len() > 4);
}

#[test]
fn index_stays_dense_under_writes_and_deletes() {
    let mut index = Index::for_volume(100 * GIB);
    for n in 0..100_000 {
        index.insert(hash(n), at(n + 1));
    }
    for n in 0..300_000 {
        assert_eq!(index.remove(hash(n), at(n + 1).offset), Some(at(n + 1)));
        index.insert(hash(n + 100_000), at(n + 100_001));
    }
    let figures = index.figures();
    assert_eq!((figures.needles, figures.overflow), (100_000, 0));
    assert!(figures.memory < 100_000 * 95 / 10, "{figures:?}");
}

#[derive(Clone, Debug)]
enum Act {
    Insert(u64, u64),
    Replace(u64, u64, u64),
    Remove(u64, u64),
    /// Inserts this number of needles with different hashes.
    Fill(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (key, unit) = (0..40_u64, 1..30_u64);
    let act = prop_oneof![
        8 => (key.clone(), unit.clone()).prop_map(|(key, unit)| Act::Insert(key, unit)),
        2 => (key.clone(), unit.clone(), unit.clone()).prop_map(|(key, a, b)| Act::Replace(key, a, b)),
        3 => (key, unit).prop_map(|(key, unit)| Act::Remove(key, unit)),
        1 => (1..3000_u64).prop_map(Act::Fill),
    ];
    proptest::collection::vec(act, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn index_behaves_like_a_model_multimap(
        acts in acts(),
        bits in prop_oneof![Just(0_u32), Just(2), Just(12), Just(64)],
        segments_max in prop_oneof![Just(1_usize), Just(usize::MAX)],
    ) {
        let hasher = Hasher::with_bits(3, bits);
        let hash = |key: u64| hasher.hash(NeedleId::new(key, 0));
        let mut index = Index::with_segments_max(GIB, segments_max);
        let mut model: HashMap<u64, HashSet<u64>> = HashMap::new();
        let mut filled = 1000;
        let insert = |index: &mut Index, model: &mut HashMap<u64, HashSet<u64>>, key, unit| {
            let new = model.entry(hash(key).0).or_default().insert(unit);
            assert_eq!(index.insert(hash(key), at(unit)), new);
        };
        for act in acts {
            match act {
                Act::Insert(key, unit) => insert(&mut index, &mut model, key, unit),
                Act::Replace(key, old, new) => {
                    let units = model.entry(hash(key).0).or_default();
                    if old == new || units.contains(&new) {
                        continue;
                    }
                    let there = units.remove(&old);
                    if there {
                        units.insert(new);
                    }
                    let replaced = index.replace(hash(key), at(old).offset, at(new));
                    prop_assert_eq!(replaced, there.then_some(at(old)));
                }
                Act::Remove(key, unit) => {
                    let there = model.entry(hash(key).0).or_default().remove(&unit);
                    prop_assert_eq!(index.remove(hash(key), at(unit).offset), there.then_some(at(unit)));
                }
                Act::Fill(count) => {
                    let count = if bits < 12 { count.min(40) } else { count };
                    for n in filled..filled + count {
                        insert(&mut index, &mut model, n, n);
                    }
                    filled += count;
                }
            }
        }
        prop_assert_eq!(index.len(), model.values().map(HashSet::len).sum::<usize>());
        prop_assert_eq!(index.locations().count(), index.len());
        for (hash, units) in &model {
            let found: HashSet<u64> =
                index.candidates(IdHash(*hash)).map(|at| at.offset / UNIT).collect();
            prop_assert!(found.is_superset(units));
            // Hashes that differ only in bits that are not kept are rare, except with few bits.
            if bits != 64 {
                prop_assert_eq!(&found, units);
            }
            let newest = index.newest_below(IdHash(*hash), u64::MAX);
            prop_assert_eq!(newest.map(|at| at.offset / UNIT), found.iter().max().copied());
        }
    }
}

/// Saves an index and restores it to a new one. `between` changes the saved index between the steps.
fn saved(from: &mut Index, size: u64, mut between: impl FnMut(&mut Index)) -> Option<Index> {
    let mut saved = Index::for_volume(size);
    let mut stash = Vec::new();
    let mut behind = None;
    loop {
        let page: Vec<_> = from.stash(behind, 7).collect();
        let Some((last, _)) = page.last() else { break };
        behind = Some(*last);
        stash.extend(page.into_iter().map(|(_, pair)| pair));
        between(from);
    }
    let (mut at, mut end, mut len) = (0, 0, 0);
    while let Some(part) = from.saved_segment(at) {
        let buckets: Vec<_> = part.buckets().collect();
        let (next, extent) =
            saved.restore_segment(at, part.prefix, part.depth, buckets.into_iter())?;
        assert_eq!(next, part.next);
        (at, end, len) = (next, extent.end.max(end), len + extent.len);
        between(from);
    }
    if !saved.finish_restore(at) {
        return None;
    }
    let reach = saved.locations().map(|at| at.offset + at.len).max().unwrap_or(0);
    assert_eq!((end, len), (reach, saved.locations().map(|at| at.len).sum()));
    for (hash, entry) in stash {
        saved.restore_stashed(hash, entry);
    }
    Some(saved)
}

#[test]
fn restored_index_equals_the_saved_one() {
    for (size, count) in [(GIB, 0), (GIB, 1), (GIB, 20_000), (GIB, 60_000), (1024 * GIB, 200_000)] {
        let mut index = Index::for_volume(size);
        let alike = Hasher::with_bits(1, 0).hash(NeedleId::new(0, 0));
        for n in 0..count {
            index.insert(hash(n), at(n + 200));
            if n < 100 {
                index.insert(alike, at(n + 1));
            }
        }
        let mut copy = saved(&mut index, size, |_| ()).expect("it fits");
        assert_eq!(copy.len(), index.len());
        assert_eq!(copy.table.directory.capacity(), copy.table.directory.len());
        for n in 0..count {
            assert_eq!(all(&copy, hash(n)), all(&index, hash(n)));
        }
        assert_eq!(all(&copy, alike), all(&index, alike));
        // The restored index continues to work like the original.
        for n in 0..count {
            assert!(copy.insert(hash(n + count), at(n + count + 200)));
            assert!(n % 3 > 0 || copy.remove(hash(n), at(n + 200).offset).is_some());
        }
        for n in 0..count {
            assert!(copy.contains(hash(n + count), at(n + count + 200).offset));
            assert_eq!(copy.contains(hash(n), at(n + 200).offset), n % 3 > 0);
        }
    }
}

#[test]
fn entries_before_a_save_are_saved_despite_later_inserts() {
    let size = 1024 * GIB;
    let mut index = Index::for_volume(size);
    let alike = |n| Hasher::with_bits(n, 2).hash(NeedleId::new(n, 0));
    let before = 60_000;
    for n in 0..before {
        index.insert(hash(n), at(n + 1));
    }
    for n in 0..300 {
        index.insert(alike(n), at(before + n + 1));
    }
    let mut next = before + 1000;
    let copy = saved(&mut index, size, |index| {
        // Kicks, steps and splits in front of and behind what is being saved. Entries with equal hashes
        // move from the stash to the table when others are removed.
        for _ in 0..4000 {
            index.insert(hash(next), at(next));
            next += 1;
        }
    });
    let copy = copy.expect("it fits");
    assert!(index.figures().steps > 100 && next > before + 100_000);
    for n in 0..before {
        assert!(copy.contains(hash(n), at(n + 1).offset), "{n}");
    }
    for n in 0..300 {
        assert!(copy.contains(alike(n), at(before + n + 1).offset), "{n}");
    }
}

#[test]
fn directory_that_is_too_long_for_the_number_of_segments_is_not_restored() {
    // Depths of the segments, in the order of their hashes. The directory has 1024 entries: at most 64 for
    // each segment and one more.
    for (first, is_sound) in [(&[3, 3, 3, 4, 4][..], true), (&[3, 3, 3, 3], false)] {
        let mut index = Index::for_volume(GIB);
        let mut from = 0;
        for depth in [first, &[2, 3, 4, 5, 6, 7, 8, 9, 10, 10]].concat() {
            let prefix = u32::try_from(from >> (index.hash_bits() - depth)).unwrap();
            let empty = std::iter::repeat_n([0; 8], BUCKETS_MIN);
            from = index.restore_segment(from, prefix, depth, empty).expect("it fits").0;
        }
        assert_eq!(index.finish_restore(from), is_sound);
    }
}

#[test]
fn inconsistent_segments_are_not_restored() {
    let mut index = Index::for_volume(1024 * GIB);
    for n in 0..50_000 {
        index.insert(hash(n), at(n + 1));
    }
    let part = |from| {
        let part = index.saved_segment(from).unwrap();
        (part.prefix, part.depth, part.next, part.buckets().collect::<Vec<_>>())
    };
    let (prefix, depth, next, buckets) = part(0);
    let mut other = Index::for_volume(1024 * GIB);
    let mut put = |from, prefix, depth, buckets: &[_]| {
        other.restore_segment(from, prefix, depth, buckets.iter().copied()).is_some()
    };
    assert!(!put(0, prefix, depth + 60, &buckets));
    assert!(!put(0, prefix + 1, depth, &buckets));
    assert!(!put(0, prefix, depth, &buckets[1..]));
    assert!(!put(next, prefix, depth, &buckets));
    assert!(put(0, prefix, depth, &buckets));
    assert!(!other.finish_restore(next), "the rest is missing");
    // Buckets from an index with another layout.
    let mut smaller = Index::for_volume(GIB);
    assert!(smaller.restore_segment(0, 0, 0, buckets[..64].iter().copied()).is_none());
}
