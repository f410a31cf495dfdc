//! What the master is to be told, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::announced::Announced;
use crate::base::types::VolumeId;

/// Interval between two full lists.
pub(super) const FULL_EVERY: Duration = Duration::from_secs(5);

/// What the master is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// All volumes.
    Full,
    /// These volumes are new, and these are gone.
    Changes {
        /// New volumes.
        new: Vec<Announced>,
        /// Volumes that are gone.
        gone: Vec<Announced>,
    },
}

/// What the master of one stream has been told.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    told: BTreeMap<VolumeId, Announced>,
    /// When the next full list is due; `None`: at once.
    next_full: Option<Instant>,
}

impl Announcements {
    /// Makes a full list due at once.
    pub(super) fn want_full(&mut self) {
        self.next_full = None;
    }

    /// Returns what is due, now that these are the volumes, and records that it was told.
    pub(super) fn due(&mut self, volumes: &[Announced], now: Instant) -> Due {
        let is_full_due = self.next_full.is_none_or(|next| now >= next);
        if is_full_due || self.has_changed(volumes) {
            self.next_full = Some(now + FULL_EVERY);
            self.told = volumes.iter().map(|volume| (volume.id, volume.clone())).collect();
            return Due::Full;
        }
        let is_there = |id: &VolumeId| volumes.iter().any(|volume| volume.id == *id);
        let gone: Vec<Announced> =
            self.told.extract_if(.., |id, _| !is_there(id)).map(|(_, volume)| volume).collect();
        let is_new = |volume: &&Announced| !self.told.contains_key(&volume.id);
        let new: Vec<Announced> = volumes.iter().filter(is_new).cloned().collect();
        self.told.extend(new.iter().map(|volume| (volume.id, volume.clone())));
        match new.is_empty() && gone.is_empty() {
            true => Due::Nothing,
            false => Due::Changes { new, gone },
        }
    }

    /// Whether a volume that the master knows is another one now, for instance read-only. Only a full list
    /// can say that.
    fn has_changed(&self, volumes: &[Announced]) -> bool {
        let is_other =
            |volume: &Announced| self.told.get(&volume.id).is_some_and(|it| it != volume);
        volumes.iter().any(is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cluster::{Collection, ReplicaPlacement};

    fn volume(id: u32) -> Announced {
        Announced {
            id: VolumeId(id),
            collection: Collection::default(),
            placement: ReplicaPlacement(0),
            ttl: None,
            is_read_only: false,
            takes_deletes: true,
            disk: 0,
        }
    }

    #[test]
    fn full_list_comes_first_and_every_five_seconds() {
        let (mut told, begin) = (Announcements::default(), Instant::now());
        let after = |ms| begin + Duration::from_millis(ms);
        let volumes = [volume(1)];
        assert_eq!(told.due(&volumes, begin), Due::Full);
        for ms in [0, 4999] {
            assert_eq!(told.due(&volumes, after(ms)), Due::Nothing);
        }
        assert_eq!(told.due(&volumes, after(5000)), Due::Full);
        assert_eq!(told.due(&volumes, after(9999)), Due::Nothing);
        told.want_full();
        assert_eq!(told.due(&volumes, after(9999)), Due::Full);
        assert_eq!(told.due(&volumes, after(14_998)), Due::Nothing, "five seconds after that one");
    }

    #[test]
    fn new_and_gone_volumes_are_told_at_once_and_once() {
        let (mut told, now) = (Announcements::default(), Instant::now());
        told.due(&[volume(1), volume(2)], now);
        let due = told.due(&[volume(2), volume(3), volume(4)], now);
        assert_eq!(due, Due::Changes { new: vec![volume(3), volume(4)], gone: vec![volume(1)] });
        assert_eq!(told.due(&[volume(2), volume(3), volume(4)], now), Due::Nothing);
        let due = told.due(&[], now);
        assert_eq!(due, Due::Changes { new: vec![], gone: vec![volume(2), volume(3), volume(4)] });
    }

    #[test]
    fn changed_volume_makes_a_full_list_due_at_once() {
        let (mut told, now) = (Announcements::default(), Instant::now());
        told.due(&[volume(1)], now);
        let changes: [fn(&mut Announced); 4] = [
            |it| it.is_read_only = true,
            |it| it.takes_deletes = false,
            |it| it.placement = ReplicaPlacement(1),
            |it| it.disk = 1,
        ];
        let mut changed = volume(1);
        for change in changes {
            change(&mut changed);
            assert_eq!(told.due(&[changed.clone(), volume(2)], now), Due::Full);
            assert_eq!(told.due(&[changed.clone(), volume(2)], now), Due::Nothing);
        }
    }
}
