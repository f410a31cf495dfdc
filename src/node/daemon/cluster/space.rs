//! Space of the disks that the master is told of, and that new volumes need.

use crate::node::daemon::manager::ManagerState;

impl ManagerState {
    /// Shows on the board what the creation of volumes leaves for compactions, on a node of a cluster.
    pub(in crate::node::daemon) fn show_reserves(&self) {
        if !self.config.cluster.is_on() {
            return;
        }
        for (position, disk) in self.shared.board.disks.iter().enumerate() {
            disk.reserve_bytes.set(self.reserve(position, disk.size_bytes.get()));
        }
        self.name_own_volumes();
    }

    /// Space of the disk of a data directory that files there have not reserved yet and will (bytes). A node
    /// that belongs to no cluster makes its files with all of their blocks, and needs no such account.
    pub(in crate::node::daemon) fn owed(&self, store: usize) -> u64 {
        if !self.config.cluster.is_on() {
            return 0;
        }
        let volumes = self.shared.board.volumes();
        let there = volumes.iter().filter(|volume| volume.disk_position() == store);
        there.map(|volume| volume.unreserved_bytes.get()).fold(0, u64::saturating_add)
    }
}
