//! Tests of the policy, with examples and properties.

use proptest::prelude::*;

use super::*;
use crate::base::size::{GIB, MIB};
use crate::node::label::Label;

const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 24 * HOUR;
const NOW: u64 = 20_000 * DAY;

const RULES: PolicyRules = PolicyRules {
    share: 0.5,
    share_when_full: 0.25,
    erase_within_ns: None,
    is_open: true,
    wall_ns: NOW,
};

/// A volume of 1 GiB whose log of 800 MiB is garbage to this part (percent).
fn volume(id: u32, garbage: u64) -> VolumeFigures {
    let dead = 8 * garbage * MIB;
    VolumeFigures {
        id: VolumeId(id),
        disk: 0,
        state: VolumeState::Writable,
        size: GIB,
        live: 800 * MIB - dead,
        dead,
        reclaimable: dead,
        oldest_dead_ns: 0,
        compacted_ns: 0,
        idle_ns: 0,
        is_blocked: false,
    }
}

/// A disk of 100 GiB that is in use to this part (percent).
fn disk(in_use: u64) -> DiskFigures {
    DiskFigures { size: 100 * GIB, free: (100 - in_use) * GIB, room: 0 }
}

fn ids(rules: &PolicyRules, volumes: &[VolumeFigures], in_use: u64) -> Vec<u32> {
    rules.candidates(volumes, &[disk(in_use)]).iter().map(|id| id.0).collect()
}

#[test]
fn enough_garbage_makes_a_volume_a_candidate_and_less_does_when_the_disk_is_full() {
    let volumes: Vec<_> =
        (20..=60).map(|garbage| volume(100 - garbage, u64::from(garbage))).collect();
    let least = |in_use| 100 - ids(&RULES, &volumes, in_use).last().copied().unwrap();
    assert_eq!([0, 50].map(least), [50, 50]);
    assert_eq!([95, 100].map(least), [25, 25]);
    // Halfway between 50 and 95 % in use.
    assert_eq!([72, 73].map(least), [38, 38]);
}

#[test]
fn room_in_volumes_is_not_in_use() {
    let of = |free, room| DiskFigures { size: 100, free, room }.in_use();
    assert!((of(5, 0) - 0.95).abs() < 1e-9);
    assert!((of(5, 45) - 0.5).abs() < 1e-9);
    assert!(of(60, 70).abs() < 1e-9, "measured at different times");
    assert!(DiskFigures::default().in_use().abs() < 1e-9);
}

#[test]
fn small_gain_is_not_worth_a_compaction() {
    // Nothing lives, but only 60 MiB of 1 GiB are used.
    let mut small = volume(1, 100);
    (small.dead, small.reclaimable) = (60 * MIB, 60 * MIB);
    assert_eq!(ids(&RULES, &[small], 99), [0; 0]);
    (small.dead, small.reclaimable) = (64 * MIB, 64 * MIB);
    assert_eq!(ids(&RULES, &[small], 0), [1]);
    // Much is dead, but most of it are tombstones that a compaction keeps.
    let kept = VolumeFigures { reclaimable: 100 * MIB, ..volume(1, 90) };
    assert_eq!(ids(&RULES, &[kept], 0), [0; 0]);
}

#[test]
fn coldest_volume_comes_first() {
    let idle = |id, garbage, idle_ns| VolumeFigures { idle_ns, ..volume(id, garbage) };
    let volumes =
        [idle(1, 90, 5), idle(2, 60, 700), idle(3, 60, 5), idle(4, 55, 60), idle(5, 10, 900)];
    assert_eq!(ids(&RULES, &volumes, 0), [2, 4, 1, 3]);
}

#[test]
fn volumes_that_are_blocked_or_not_sound_are_left_alone() {
    for &state in VolumeState::ALL {
        let one = VolumeFigures { state, ..volume(1, 90) };
        let wanted: &[u32] = if state == VolumeState::Writable { &[1] } else { &[] };
        assert_eq!(ids(&RULES, &[one], 0), wanted, "{state:?}");
    }
    let blocked = VolumeFigures { is_blocked: true, ..volume(1, 90) };
    assert_eq!(ids(&RULES, &[blocked, volume(2, 60)], 0), [2]);
}

#[test]
fn policy_waits_for_its_hours() {
    let closed = PolicyRules { is_open: false, ..RULES };
    assert_eq!(ids(&closed, &[volume(1, 90)], 99), [0; 0]);
}

#[test]
fn old_dead_bytes_are_erased_in_time_whatever_the_garbage_is() {
    let rules = PolicyRules { erase_within_ns: Some(40 * DAY), ..RULES };
    let dead = |id, days: u64| VolumeFigures { oldest_dead_ns: NOW - days * DAY, ..volume(id, 1) };
    assert_eq!(ids(&RULES, &[dead(1, 1000)], 0), [0; 0], "no limit");
    assert_eq!(ids(&rules, &[dead(1, 30)], 0), [0; 0], "three quarters have not passed");
    let volumes = [volume(7, 90), dead(1, 31), dead(2, 50), dead(3, 0), volume(4, 1)];
    assert_eq!(ids(&rules, &volumes, 0), [2, 1, 7], "the oldest first, then garbage");
    assert!(volumes.map(|volume| rules.is_overdue(&volume)) == [false, false, true, false, false]);
    // Outside of its hours only those that are overdue.
    let closed = PolicyRules { is_open: false, ..rules };
    assert_eq!(ids(&closed, &volumes, 0), [2]);
    let read_only = VolumeFigures { state: VolumeState::ReadOnly, ..dead(1, 31) };
    assert_eq!(ids(&rules, &[read_only], 0), [1], "the promise holds for it, too");
    let failed = VolumeFigures { state: VolumeState::Failed, ..dead(1, 31) };
    assert_eq!(ids(&rules, &[failed], 0), [0; 0]);
    // What is still there after a compaction is no reason for another one.
    let kept = VolumeFigures { compacted_ns: NOW - 5 * DAY, ..dead(1, 50) };
    assert_eq!(ids(&rules, &[kept], 0), [0; 0]);
    assert!(rules.is_overdue(&kept), "but it is reported");
    // A clock that was set back makes nothing old.
    let future = VolumeFigures { oldest_dead_ns: NOW + DAY, ..volume(1, 1) };
    assert_eq!(ids(&rules, &[future], 0), [0; 0]);
}

fn any_volume(id: u32) -> impl Strategy<Value = VolumeFigures> {
    let states = prop::sample::select(VolumeState::ALL);
    let sizes = (0..GIB, 0..GIB, 0..GIB);
    let times = (0..NOW + DAY, 0..NOW, 0..DAY);
    (states, sizes, times, 0_usize..3, prop::bool::weighted(0.2)).prop_map(
        move |(
            state,
            (live, dead, kept),
            (oldest_dead_ns, compacted_ns, idle_ns),
            disk,
            is_blocked,
        )| {
            VolumeFigures {
                id: VolumeId(id),
                disk,
                state,
                size: GIB,
                live,
                dead,
                reclaimable: dead.saturating_sub(kept),
                oldest_dead_ns,
                compacted_ns,
                idle_ns,
                is_blocked,
            }
        },
    )
}

fn any_volumes() -> impl Strategy<Value = Vec<VolumeFigures>> {
    (0_u32..12).prop_flat_map(|count| (0..count).map(any_volume).collect::<Vec<_>>())
}

fn any_rules() -> impl Strategy<Value = PolicyRules> {
    let within = prop::option::of(HOUR..100 * DAY);
    (0.05..0.95, 0.05..0.95, within, any::<bool>()).prop_map(|(a, b, erase_within_ns, is_open)| {
        let (share, share_when_full) = (f64::max(a, b), f64::min(a, b));
        PolicyRules { share, share_when_full, erase_within_ns, is_open, wall_ns: NOW }
    })
}

proptest! {
    #[test]
    fn threshold_falls_between_the_two_shares(rules in any_rules(), a in 0.0..1.0, b in 0.0..1.0) {
        let (less, more) = (f64::min(a, b), f64::max(a, b));
        let (high, low) = (rules.threshold(less), rules.threshold(more));
        prop_assert!(low <= high + 1e-9);
        prop_assert!(rules.share_when_full - 1e-9 <= low && high <= rules.share + 1e-9);
    }

    #[test]
    fn candidates_are_sound_unblocked_and_named_once(rules in any_rules(), volumes in any_volumes()) {
        let disks = [disk(10), disk(70), disk(99)];
        let found = rules.candidates(&volumes, &disks);
        for (n, id) in found.iter().enumerate() {
            prop_assert!(!found[..n].contains(id));
            let volume = volumes.iter().find(|volume| volume.id == *id).unwrap();
            prop_assert!(!volume.is_blocked && volume.state.serves());
        }
        // Overdue volumes come first, and none is forgotten unless a compaction could not help.
        for volume in volumes.iter().filter(|volume| rules.is_overdue(volume)) {
            let is_sound = matches!(volume.state, VolumeState::Writable | VolumeState::ReadOnly);
            let helps = volume.oldest_dead_ns > volume.compacted_ns;
            if is_sound && !volume.is_blocked && helps {
                prop_assert!(found.contains(&volume.id));
            }
        }
    }

    #[test]
    fn more_garbage_or_a_fuller_disk_never_drops_a_candidate(
        rules in any_rules(), volumes in any_volumes(), in_use in 0_u64..100, more in 0..GIB,
    ) {
        let found = rules.candidates(&volumes, &[disk(in_use); 3]);
        let fuller = rules.candidates(&volumes, &[disk(in_use + 1); 3]);
        let mut dirtier = volumes.clone();
        for volume in &mut dirtier {
            volume.dead += more;
            volume.reclaimable += more;
        }
        let dirtier = rules.candidates(&dirtier, &[disk(in_use); 3]);
        for id in found {
            prop_assert!(fuller.contains(&id) && dirtier.contains(&id));
        }
    }

    #[test]
    fn order_does_not_depend_on_that_of_the_input(rules in any_rules(), volumes in any_volumes()) {
        let disks = [disk(60); 3];
        let mut reversed = volumes.clone();
        reversed.reverse();
        prop_assert_eq!(rules.candidates(&volumes, &disks), rules.candidates(&reversed, &disks));
    }
}
