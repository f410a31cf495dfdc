//! The scrubs of a volume on the board.

use crate::node::board::ScrubBoard;
use crate::volume::Slot;

/// Shows the scrubs of a volume on the board.
pub fn show(slot: &Slot, board: &ScrubBoard) {
    let progress = slot.scrub_progress();
    board.is_requested.set(u64::from(slot.is_scrub_requested()));
    board.done_bytes.set(progress.done);
    board.to_do_bytes.set(progress.total);
    board.is_running.set(u64::from(progress.is_running));
    board.damage.set(slot.found_damage_count());
    board.verified_ns.set(slot.volume().verified_ns());
    let last = progress.last;
    board.last_began_ns.set(progress.last_began_ns);
    board.last_read_bytes.set(last.bytes_read);
    board.last_needles.set(last.needles);
    board.last_parts.set(last.parts);
    board.last_healed.set(last.healed);
    board.is_index_compared.set(u64::from(last.is_index_compared));
    // Last: whoever sees that a pass has ended sees its result.
    board.passes.set(progress.passes);
}
