//! Orders to the shards about the health of their volumes, and the end of a suspicion.

use std::rc::Rc;
use std::sync::Arc;

use crate::base::types::{ShardId, VolumeId};
use crate::node::board::VolumeBoard;
use crate::node::control::Refused;
use crate::node::daemon::manager::{ManagerState, refused};
use crate::node::datadir::Suspicion;
use crate::node::shard::{BurstVolume, ClearVolume, ErrorPlaces, ListErrors, SuspectVolume};

/// What a shard is to do with a volume.
pub(super) enum Act {
    /// Read its neighbourhood of the last error, and random needles.
    Burst { id: VolumeId, needles: u32 },
    /// Take no more writes to it, for this reason.
    Suspect { id: VolumeId, disk: usize, why: String },
    /// Report the places of its errors, so that they are recorded.
    Record { id: VolumeId, disk: usize },
}

impl ManagerState {
    /// Has a shard act, one order after the other.
    pub(super) async fn act_all(self: Rc<Self>, shard: ShardId, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Burst { id, needles } => {
                    // A volume that refuses is not open any more.
                    let _ = self.ask(shard, BurstVolume { volume: id, needles }).await;
                }
                Act::Suspect { id, disk, why } => self.suspect(shard, id, disk, why).await,
                Act::Record { id, disk } => {
                    let listed = self.ask(shard, ListErrors { volume: id }).await;
                    if let Ok(ErrorPlaces { incarnation, places }) = listed {
                        self.health.records.borrow_mut().change(disk, id, |health| {
                            health.incarnation = incarnation;
                            health.places =
                                places.iter().map(|place| (place.start, place.end)).collect();
                        });
                    }
                }
            }
        }
        self.health.asking.borrow_mut().remove(&shard);
    }

    async fn suspect(&self, shard: ShardId, id: VolumeId, disk: usize, why: String) {
        let Ok(summary) = self.ask(shard, SuspectVolume { volume: id }).await else { return };
        if summary.write_state.takes_puts() {
            return;
        }
        let path = self.stores[disk].path.display();
        tracing::error!(
            volume = id.0,
            "suspect: {why}. The volume takes no more writes until hayloft volume clear {id}; its photos are \
             served. If the disk of {path} is ill, move the volume to another one (hayloft volume move {id} \
             --disk N)"
        );
        let since = (self.compaction.clock)().wall_ns / 1_000_000_000;
        if let Some(volume) = self.shared.board.volume(id) {
            volume.health.suspect_since_ns.set(since.saturating_mul(1_000_000_000));
        }
        self.health.records.borrow_mut().change(disk, id, |health| {
            health.suspect = Some(Suspicion { since, why });
        });
    }

    /// Shows since when volumes are suspect, and records what a shard has found out before a volume served.
    pub(super) fn show_suspicions(&self, volumes: &[Arc<VolumeBoard>], wall_ns: u64) {
        let mut records = self.health.records.borrow_mut();
        for volume in volumes {
            let (id, disk, board) = (volume.info.id, volume.disk_position(), &volume.health);
            if board.suspect.get() == 0 {
                board.suspect_since_ns.set(0);
                continue;
            }
            let known = records.get(disk, id).and_then(|health| health.suspect.as_ref());
            let since = known.map_or(wall_ns / 1_000_000_000, |suspicion| suspicion.since);
            if known.is_none() {
                let why = "reads failed before the volume served".to_owned();
                records.change(disk, id, |health| {
                    health.suspect = Some(Suspicion { since, why });
                });
            }
            board.suspect_since_ns.set(since.saturating_mul(1_000_000_000));
        }
    }

    /// Ends the suspicion of a volume, on an operator's word.
    ///
    /// # Errors
    /// [`Refused`]: there is no such volume, it is not open, or not suspect.
    pub(in crate::node::daemon) async fn clear(
        self: &Rc<Self>,
        id: VolumeId,
    ) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let cleared = self.ask(shard, ClearVolume { volume: id }).await;
        let was_suspect = cleared.map_err(|error| refused(id, "cleared", error))?;
        if !was_suspect {
            return Err(Refused::Conflict(format!("Volume {id} is not suspect.")));
        }
        if let Some(volume) = self.shared.board.volume(id) {
            let disk = volume.disk_position();
            self.health.clear(id, disk);
            self.health.records.borrow_mut().change(disk, id, |health| {
                health.suspect = None;
                health.poisoned_starts = 0;
            });
        }
        tracing::info!(volume = id.0, "cleared: the volume takes writes again");
        Ok(())
    }
}
