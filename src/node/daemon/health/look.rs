//! The regular look at the errors of all volumes: which are suspect now, and of which disks more is to be
//! read.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::act::Act;
use super::errors::Errors;
use super::state::{HealthState, SeenVolume};
use crate::base::types::ShardId;
use crate::node::board::{ShownWriteState, VolumeBoard, VolumeState};
use crate::node::daemon::manager::ManagerState;

/// Random needles that a burst reads of all volumes of a disk together.
const BURST_NEEDLES: u64 = 1000;
/// Random needles that it reads of each volume at least.
const BURST_NEEDLES_MIN: u64 = 32;
/// Time from the begin of a burst to the begin of the next one on the same disk at least (nanoseconds).
const BURST_PAUSE_NS: u64 = 20_000_000_000;

impl ManagerState {
    /// Looks at the errors of all volumes, and acts on what is new.
    pub(in crate::node::daemon) async fn look_at_health(self: Rc<Self>) {
        let now = (self.compaction.clock)();
        let volumes = self.shared.board.volumes();
        self.health.observe(&volumes, now.monotonic_ns);
        self.health.plan_bursts(&volumes, now.monotonic_ns);
        self.record_poison(&volumes);
        self.show_suspicions(&volumes, now.wall_ns);
        self.look_at_speed(&volumes, now.monotonic_ns);
        let is_there = |disk: usize, id| {
            let volume = volumes.iter().find(|volume| volume.info.id == id);
            volume.is_some_and(|volume| volume.disk_position() == disk)
        };
        self.health.records.borrow_mut().tidy(is_there);
        for (shard, acts) in self.health.acts(&volumes, now.monotonic_ns) {
            // The orders of the last look may hang in a shard: the next look sees what is still to do.
            if self.health.asking.borrow_mut().insert(shard) {
                let state = Rc::clone(&self);
                self.handle.spawn(async move { state.act_all(shard, acts).await });
            }
        }
    }
}

impl HealthState {
    /// Takes in the errors of all volumes.
    fn observe(&self, volumes: &[Arc<VolumeBoard>], now: u64) {
        let (mut seen_volumes, mut disks) = (self.volumes.borrow_mut(), self.disks.borrow_mut());
        for volume in volumes {
            let (id, health) = (volume.info.id, &volume.health);
            let seen = seen_volumes.entry(id).or_default();
            let all = Errors { hard: health.hard_errors.get(), soft: health.soft_errors.get() };
            let of_device = Errors {
                hard: health.hard_device_errors.get(),
                soft: health.soft_device_errors.get(),
            };
            let new = all.since(seen.all);
            let disk = &mut disks[volume.disk_position()];
            seen.recent.add(new, now);
            disk.recent.add(of_device.since(seen.of_device), now);
            disk.burst_wanted |= !new.is_none();
            if !new.is_none() {
                let Errors { hard, soft } = new;
                tracing::warn!(
                    volume = id.0,
                    "reads failed at {} new places, of which {soft} could be read at the second attempt: the \
                     disk is examined; see the kernel log",
                    hard + soft
                );
            }
            (seen.all, seen.of_device) = (all, of_device);
        }
    }

    /// Plans bursts of reads on the disks that had an error.
    fn plan_bursts(&self, volumes: &[Arc<VolumeBoard>], now: u64) {
        let (mut seen_volumes, mut disks) = (self.volumes.borrow_mut(), self.disks.borrow_mut());
        for (number, disk) in disks.iter_mut().enumerate() {
            let is_pausing =
                disk.burst_at.is_some_and(|at| now.saturating_sub(at) < BURST_PAUSE_NS);
            if !disk.burst_wanted || is_pausing {
                continue;
            }
            disk.burst_wanted = false;
            let there: Vec<_> = volumes
                .iter()
                .filter(|volume| volume.disk_position() == number && volume.state.get().serves())
                .collect();
            if there.iter().all(|volume| volume.health.suspect.get() != 0) {
                continue;
            }
            disk.burst_at = Some(now);
            let bytes: u64 = there.iter().map(|volume| volume.live_bytes.get()).sum();
            for volume in there {
                let share = BURST_NEEDLES.saturating_mul(volume.live_bytes.get()) / bytes.max(1);
                let needles = share.clamp(BURST_NEEDLES_MIN, BURST_NEEDLES);
                let seen = seen_volumes.entry(volume.info.id).or_default();
                seen.burst = Some(u32::try_from(needles).expect("at most 1000"));
            }
        }
    }

    /// Returns what the shards are to do now.
    fn acts(&self, volumes: &[Arc<VolumeBoard>], now: u64) -> BTreeMap<ShardId, Vec<Act>> {
        let (mut seen_volumes, mut disks) = (self.volumes.borrow_mut(), self.disks.borrow_mut());
        let asking = self.asking.borrow();
        let mut all: BTreeMap<ShardId, Vec<Act>> = BTreeMap::new();
        for volume in volumes {
            let (id, shard, disk) = (volume.info.id, volume.info.shard, volume.disk_position());
            let seen: &mut SeenVolume = seen_volumes.entry(id).or_default();
            if asking.contains(&shard) || !volume.state.get().serves() {
                continue;
            }
            let acts = all.entry(shard).or_default();
            if may_become_suspect(volume) {
                let of_disk = || disks[disk].recent.too_many(now).map(|why| why + " of the disk");
                let why = seen.recent.too_many(now).or_else(of_disk);
                acts.extend(why.map(|why| Act::Suspect { id, disk, why }));
            }
            acts.extend(seen.burst.take().map(|needles| Act::Burst { id, needles }));
            if seen.all.hard != seen.recorded {
                seen.recorded = seen.all.hard;
                acts.push(Act::Record { id, disk });
            }
        }
        all.retain(|_, acts| !acts.is_empty());
        all
    }
}

/// Whether a volume takes writes, or would if an operator said so.
fn may_become_suspect(volume: &VolumeBoard) -> bool {
    let is_open = matches!(volume.state.get(), VolumeState::Writable | VolumeState::ReadOnly);
    let states = [ShownWriteState::Writable, ShownWriteState::Full, ShownWriteState::ReadOnly];
    is_open && states.contains(&volume.write_state.get())
}
