//! Causes of the states of volumes.

use hayloft::base::types::VolumeId;
use hayloft::node::board::VolumeState as Shown;

use super::{Causes, ChangeKind};

impl Causes {
    pub(super) fn is_fenced(&self, volume: VolumeId, now: u64) -> bool {
        self.changed(Some(volume), 0, now, &[ChangeKind::Fence, ChangeKind::Unplug])
            // Its name was removed, but the removal may not be durable.
            || self.changed(Some(volume), 0, now, &[ChangeKind::Delete])
            || self.monitor.has_refused(volume)
    }

    /// Whether a write to the volume may have failed, or what a start would find is not known.
    pub(super) fn is_poisoned(&self, volume: VolumeId) -> bool {
        let is_unmonitored = self.monitor.has_refused(volume);
        let is_undecided = self.compactions.is_undecided(volume);
        self.failed(volume, true) || is_unmonitored || is_undecided || self.is_blind(volume)
    }

    /// Whether the volume may not be opened.
    pub(super) fn is_unopened(&self, volume: VolumeId) -> bool {
        let is_elsewhere = self.missing.second && self.disk_states.may_be_elsewhere(volume);
        is_elsewhere || self.failed(volume, false)
    }

    /// Asserts that the state of every volume has a cause.
    pub fn explain_states(&self) {
        let now = self.world.now();
        for volume in self.present() {
            let metrics = self.metrics.volume(volume).expect("a volume of this node");
            let state = metrics.board.state.get();
            let on_disk = self.disk_states.of(volume);
            let has_cause = match state {
                Shown::Recovering => false,
                Shown::Writable => on_disk.writable,
                Shown::ReadOnly => {
                    let changed = self.changed(Some(volume), 0, now, &[ChangeKind::ReadOnly]);
                    on_disk.read_only || changed || self.is_suspect(volume)
                }
                Shown::Poisoned => self.is_poisoned(volume),
                // The name of the file is compared with it when it is opened.
                Shown::Lost => self.is_fenced(volume, now) || self.failed(volume, true),
                Shown::Failed => self.is_unopened(volume),
            };
            assert!(
                has_cause,
                "no cause for volume {volume} being {state:?}: {on_disk:?}, changes {:?}, faults {:?}, \
                 file {:?}",
                self.changes.borrow(),
                self.world.met(),
                self.monitor.current(volume),
            );
        }
    }
}
