//! Size of a volume of the cluster, and how many more of them fit. In bytes.

use crate::base::limits::{VOLUME_SIZE_MAX, VOLUME_SIZE_MIN};
use crate::base::size::MIB;
use crate::node::board::{Board, DiskState};

/// Smallest room in a file beyond the size at which the master takes the volume for full. It hands out ids of
/// photos for up to one heartbeat longer, and those that it has handed out are still stored.
const SLACK_MIN: u64 = 256 * MIB;
/// That room as a part of the size: one of this many.
const SLACK_PART: u64 = 20;

/// Size of the file of a volume that the master takes for full at `limit` bytes.
pub(super) fn file_size(limit: u64) -> u64 {
    let limit = limit.min(VOLUME_SIZE_MAX);
    let size = limit.saturating_add((limit / SLACK_PART).max(SLACK_MIN));
    size.next_multiple_of(MIB).clamp(VOLUME_SIZE_MIN, VOLUME_SIZE_MAX)
}

/// Number of further files of `size` bytes that fit on the disks, if each of the files that exist gets all of
/// its blocks, and what is kept for compactions stays free.
pub(super) fn free_slots(board: &Board, size: u64) -> u64 {
    let volumes = board.volumes();
    let slots = board.disks.iter().enumerate().map(|(position, disk)| {
        if disk.state.get() != DiskState::Ok {
            return 0;
        }
        let there = volumes.iter().filter(|volume| volume.disk_position() == position);
        let owed = there.map(|volume| volume.unreserved_bytes.get()).fold(0, u64::saturating_add);
        let taken = owed.saturating_add(disk.reserve_bytes.get());
        disk.free_bytes.get().saturating_sub(taken) / size
    });
    slots.sum()
}

/// Number of volumes of the cluster that the node can have in all: those that it has, and those that fit. At
/// most `most`, if there is such a bound.
pub(super) fn volumes_max(there: usize, free: u64, most: Option<u32>) -> u32 {
    let all = u32::try_from(free.saturating_add(there as u64)).unwrap_or(u32::MAX);
    most.map_or(all, |most| all.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::size::GIB;
    use crate::base::types::{ShardId, VolumeId};
    use crate::node::board::{DiskBoard, VolumeInfo, VolumeState};

    #[test]
    fn file_has_room_beyond_the_limit_of_the_master() {
        assert_eq!(file_size(256 * MIB), 512 * MIB);
        assert_eq!(file_size(30_000 * MIB), 31_500 * MIB);
        assert_eq!(file_size(30_000 * MIB + 1), 31_501 * MIB, "in whole MiB");
        assert_eq!(file_size(0), SLACK_MIN);
        assert_eq!(file_size(1024 * GIB), VOLUME_SIZE_MAX);
        assert_eq!(file_size(u64::MAX), VOLUME_SIZE_MAX);
    }

    #[test]
    fn slots_leave_what_existing_files_and_compactions_need() {
        let disks = ["/a", "/b", "/c"].map(|path| DiskBoard::new(path, DiskState::Ok));
        let board = Board::new(&[], disks.into());
        assert_eq!(free_slots(&board, 10), 0, "the reserves are not known");
        for disk in &board.disks {
            disk.free_bytes.set(100);
            disk.reserve_bytes.set(15);
        }
        assert_eq!(free_slots(&board, 10), 8 * 3);
        board.disks[2].state.set(DiskState::Failed);
        assert_eq!(free_slots(&board, 10), 8 * 2);
        for (id, disk, owed) in [(1, 0, 20), (2, 0, 30), (3, 1, u64::MAX), (4, 1, 1)] {
            let (id, shard) = (VolumeId(id), ShardId::from_index(0));
            let info = VolumeInfo { id, shard, disk, durable: true };
            board.register_volume(info, VolumeState::Writable).unreserved_bytes.set(owed);
        }
        assert_eq!(free_slots(&board, 10), 3, "the second disk owes more than it has");
        assert_eq!(free_slots(&board, 36), 0);
    }

    #[test]
    fn volumes_there_count_and_a_bound_holds() {
        assert_eq!(volumes_max(3, 4, None), 7);
        assert_eq!(volumes_max(3, 4, Some(5)), 5);
        assert_eq!(volumes_max(3, 4, Some(9)), 7);
        assert_eq!(volumes_max(3, u64::MAX, None), u32::MAX);
    }
}
