//! Whose copy a volume is, on the board.

use crate::node::board::ReplicaBoard;
use crate::volume::Slot;

/// Shows whose copy a volume is on the board.
pub fn show(slot: &Slot, board: &ReplicaBoard) {
    let replica = slot.volume().replica();
    board.is_replica.set(u64::from(replica.is_some()));
    match replica {
        None => board.pulled_ns.set(0),
        Some(_) if board.pulled_ns.get() == 0 => show_pulled(slot, board),
        Some(_) => {}
    }
    let replica = replica.unwrap_or_default();
    board.source.set(replica.source);
    board.position.set(replica.position);
    board.has_surplus.set(u64::from(replica.has_surplus));
}

/// Shows that records of the source were stored now.
pub fn show_pulled(slot: &Slot, board: &ReplicaBoard) {
    board.pulled_ns.set(slot.handle().wall());
}
