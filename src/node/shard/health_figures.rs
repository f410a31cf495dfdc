//! The health of a volume on the board.

use crate::node::board::HealthBoard;
use crate::volume::Slot;

/// Shows the health of a volume on the board.
pub fn show(slot: &Slot, board: &HealthBoard) {
    let volume = slot.volume();
    let stats = volume.stats();
    board.hard_errors.set(stats.hard_errors.get());
    board.soft_errors.set(stats.soft_errors.get());
    let [hard, soft] = &stats.device_errors;
    board.hard_device_errors.set(hard.get());
    board.soft_device_errors.set(soft.get());
    board.probes.set(stats.probes.get());
    board.suspect.set(u64::from(volume.is_suspect()));
}
