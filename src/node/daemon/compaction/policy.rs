//! The policy: which volumes the daemon compacts by itself, and in which order. Pure functions of figures.

use std::cmp::Reverse;

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;

/// Part of a disk in use up to which a volume needs the full share of garbage.
const RELAXED: f64 = 0.5;
/// Part of a disk in use from which on the smallest share is enough.
const TIGHT: f64 = 0.95;
/// The garbage of a volume must be at least one of this many parts of its size: less is not worth a new file.
const GAIN_PART: u64 = 16;

/// Settings of the policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyRules {
    /// Share of garbage that is enough while at most half of the disk is in use, 0 to 1.
    pub share: f64,
    /// Share of garbage that is enough when the disk is nearly full; at most `share`.
    pub share_when_full: f64,
    /// Time within which dead bytes must be removed (nanoseconds).
    pub erase_within_ns: Option<u64>,
    /// Whether the time of day is one at which compactions may begin.
    pub is_open: bool,
    /// Wall clock (nanoseconds since 1970).
    pub wall_ns: u64,
}

/// Figures of a volume. In bytes unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeFigures {
    /// Volume id.
    pub id: VolumeId,
    /// Position of its data directory in the list of disks.
    pub disk: usize,
    /// State.
    pub state: VolumeState,
    /// Size of the file.
    pub size: u64,
    /// Live bytes.
    pub live: u64,
    /// Dead bytes, with those that a compaction would not remove.
    pub dead: u64,
    /// Dead bytes that a compaction would remove.
    pub reclaimable: u64,
    /// Wall clock of the oldest death in the file (nanoseconds since 1970); 0 if there is none or it is not
    /// known.
    pub oldest_dead_ns: u64,
    /// Wall clock at the begin of its last compaction that was completed (nanoseconds since 1970); 0 if there
    /// was none.
    pub compacted_ns: u64,
    /// Time since the last write (nanoseconds).
    pub idle_ns: u64,
    /// Whether it must not be compacted now: it is being compacted or changed, or a compaction failed
    /// recently.
    pub is_blocked: bool,
}

/// Figures of a disk (bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Size of the file system.
    pub size: u64,
    /// Free space of it.
    pub free: u64,
    /// Room for photos in the volumes on it.
    pub room: u64,
}

impl DiskFigures {
    /// Part of the disk that is in use, 0 to 1. Space that a volume has allocated and still takes photos in
    /// is not in use.
    pub fn in_use(self) -> f64 {
        let left = self.free.saturating_add(self.room).min(self.size);
        if self.size == 0 { 0.0 } else { 1.0 - left as f64 / self.size as f64 }
    }
}

impl PolicyRules {
    /// Share of garbage at which a volume on a disk is compacted: falls linearly from `share` to
    /// `share_when_full` while the disk fills from half to 95 %.
    pub fn threshold(&self, in_use: f64) -> f64 {
        let part = ((in_use - RELAXED) / (TIGHT - RELAXED)).clamp(0.0, 1.0);
        self.share + (self.share_when_full - self.share) * part
    }

    /// Whether bytes of a volume have been dead for longer than permitted.
    pub fn is_overdue(&self, volume: &VolumeFigures) -> bool {
        self.erase_within_ns.is_some_and(|within| self.dead_for_ns(volume) > within)
    }

    /// Time since the oldest death in a volume (nanoseconds); 0 if nothing is dead, or it is not known.
    fn dead_for_ns(&self, volume: &VolumeFigures) -> u64 {
        match volume.oldest_dead_ns {
            0 => 0,
            oldest => self.wall_ns.saturating_sub(oldest),
        }
    }

    /// Whether a volume must be compacted now to remove dead bytes in time: three quarters of the time have
    /// passed. Bytes that outlived a compaction are not a reason for another one.
    fn must_erase(&self, volume: &VolumeFigures) -> bool {
        let within = self.erase_within_ns.filter(|_| !chosen(Sabotage::IgnoreEraseWithin));
        let Some(within) = within else { return false };
        volume.oldest_dead_ns > volume.compacted_ns
            && self.dead_for_ns(volume) > within / 4 * 3
            && (self.is_open || self.is_overdue(volume))
    }

    /// Whether a volume has enough garbage. A volume that was made read-only stays as it is.
    fn has_garbage(&self, volume: &VolumeFigures, disk: DiskFigures) -> bool {
        let log = volume.live.saturating_add(volume.dead);
        self.is_open
            && volume.state == VolumeState::Writable
            && volume.reclaimable > 0
            && volume.reclaimable >= volume.size / GAIN_PART
            && volume.reclaimable as f64 >= self.threshold(disk.in_use()) * log as f64
    }

    /// Returns the volumes to compact, the first one first: those that must erase bytes by the age of these,
    /// then those with much garbage, the coldest first. Volumes that do not serve, or take no writes because
    /// of a fault, are left alone.
    pub fn candidates(&self, volumes: &[VolumeFigures], disks: &[DiskFigures]) -> Vec<VolumeId> {
        let is_sound = |state| matches!(state, VolumeState::Writable | VolumeState::ReadOnly);
        let sound = volumes.iter().filter(|volume| !volume.is_blocked && is_sound(volume.state));
        let (mut erase, mut garbage): (Vec<&VolumeFigures>, Vec<_>) =
            sound.partition(|volume| self.must_erase(volume));
        erase.sort_by_key(|volume| (volume.oldest_dead_ns, volume.id));
        let disk = |volume: &VolumeFigures| disks.get(volume.disk).copied().unwrap_or_default();
        garbage.retain(|volume| self.has_garbage(volume, disk(volume)));
        garbage.sort_by_key(|volume| {
            let idle_ns = if chosen(Sabotage::HotFirst) { 0 } else { volume.idle_ns };
            (Reverse(idle_ns), Reverse(volume.reclaimable), volume.id)
        });
        erase.into_iter().chain(garbage).map(|volume| volume.id).collect()
    }
}

#[cfg(test)]
mod tests;
