//! Causes of the files of volumes.

use std::collections::BTreeSet;

use hayloft::base::types::VolumeId;

use super::{Causes, Change, ChangeKind};
use crate::node::files::{VolumeFile, of_volume};

impl Causes {
    /// Volumes whose files are open.
    pub fn open_volumes(&self) -> Vec<VolumeId> {
        let open = |volume: &VolumeId| {
            self.metrics.board.volume(*volume).is_some_and(|found| found.state.get().serves())
        };
        self.present().into_iter().filter(open).collect()
    }

    /// Names of the files of the volumes that are open.
    pub fn open_files(&self) -> BTreeSet<String> {
        let current = |volume| self.monitor.current(volume).expect("an open file is monitored");
        self.open_volumes().into_iter().map(|volume| current(volume).name()).collect()
    }

    /// Whether the deletion of the volume was interrupted by a stop.
    fn is_being_deleted(&self, volume: VolumeId) -> bool {
        let is_begun = |change: &Change| {
            let is_deletion = change.volume == volume && change.what == ChangeKind::Delete;
            is_deletion && change.until == u64::MAX
        };
        self.changes.borrow().iter().any(is_begun)
    }

    /// Asserts that each volume has one file and at most the checkpoint of that file, unless something
    /// failed in this life.
    pub fn explain_files(&self) {
        let names = self.world.names();
        for volume in self.present() {
            let current = self.monitor.current(volume);
            let is_beside =
                |name: &&String| VolumeFile::beside(name).is_some_and(|file| file.volume == volume);
            let others: Vec<_> = names.iter().filter(is_beside).collect();
            let allowed = current.map(|file| {
                let name = file.name();
                [name.replace(".vol", ".ckpt"), name]
            });
            let is_allowed = |name: &&&String| allowed.iter().flatten().any(|it| it == **name);
            let is_single =
                others.iter().all(|name| is_allowed(&name)) && of_volume(&names, volume).len() == 1;
            let has_cause = self.is_unopened(volume)
                || self.compactions.is_undecided(volume)
                || self.is_blind(volume)
                || self.is_recovering(Some(volume))
                || self.opening_at_drain.borrow().contains(&volume)
                || self.is_being_deleted(volume);
            assert!(
                is_single || has_cause,
                "no cause for the files {others:?}; the current one is {current:?}: {}",
                self.pending()
            );
        }
    }
}
