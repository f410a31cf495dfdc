//! The space that a compaction needs, and the space of a disk that is kept free for compactions. In bytes.

use crate::base::limits::{LOG_START, TOMBSTONE_RESERVE, TRAILER};
use crate::base::size::MIB;

/// Largest step in which space of a new file is allocated ahead of its log.
const STEP_MAX: u64 = 64 * MIB;
/// Smallest part of a disk that is kept free: one of this many.
const DISK_PART: u64 = 50;
/// Smallest margin beside live bytes: one of this many.
const LIVE_PART: u64 = 20;

/// Free space that the copy of a volume of `size` with `live` bytes needs: these bytes, and a margin of 5 %,
/// at least one step of allocation, for what is written meanwhile, commit records and padding.
pub fn copy_needs(live: u64, size: u64) -> u64 {
    let step = STEP_MAX.min(size / 64);
    live.saturating_add((live / LIVE_PART).max(step))
}

/// Smallest size of a file that can hold `live` bytes and further writes.
pub fn smallest_size(live: u64) -> u64 {
    let fixed = LOG_START + TRAILER + TOMBSTONE_RESERVE + 2 * MIB;
    live.saturating_add(live / LIVE_PART).saturating_add(fixed)
}

/// Free space of a disk of `disk_size` that volume creation leaves: `configured`, or what the copy of the
/// volume that needs the most of them takes, and at least 2 % of the disk. `volumes`: live bytes and size of
/// each volume on it.
pub fn reserve(
    configured: Option<u64>,
    disk_size: u64,
    volumes: impl Iterator<Item = (u64, u64)>,
) -> u64 {
    let of_copies = volumes.map(|(live, size)| copy_needs(live, size)).max().unwrap_or(0);
    configured.unwrap_or(of_copies.max(disk_size / DISK_PART))
}

/// Why a file does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Free space that would be enough.
    pub needed: u64,
    /// Free space that there is.
    pub free: u64,
}

/// The sizes that decide whether a compaction fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopySizes {
    /// Live bytes of the volume.
    pub live: u64,
    /// Size of the old file.
    pub old: u64,
    /// Size of the new file.
    pub new: u64,
    /// Whether the new file is on another disk.
    pub moves: bool,
}

/// Checks that a disk with `free` bytes, of which `reserve` are kept for compactions, has room for a
/// compaction. What lives must fit beside the old file; when that is removed, the new file grows to its whole
/// size.
///
/// # Errors
/// What is lacking.
pub fn check(sizes: CopySizes, free: u64, reserve: u64) -> Result<(), Lack> {
    let CopySizes { live, old, new, moves } = sizes;
    let copy = copy_needs(live, new);
    let growth = if moves { new } else { new.saturating_sub(old) };
    // Only space that stays taken must leave the reserve; the copy is what the reserve is for.
    let grown = if growth == 0 { 0 } else { growth.saturating_add(reserve) };
    let needed = copy.max(grown);
    if free < needed { Err(Lack { needed, free }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::size::GIB;

    #[test]
    fn reserve_is_that_of_the_largest_copy_or_a_part_of_the_disk() {
        let volumes = [(10 * GIB, 100 * GIB), (40 * GIB, 100 * GIB)];
        let disk = 1000 * GIB;
        assert_eq!(reserve(None, disk, volumes.into_iter()), 42 * GIB);
        assert_eq!(reserve(None, 4000 * GIB, volumes.into_iter()), 80 * GIB);
        assert_eq!(reserve(None, disk, std::iter::empty()), 20 * GIB);
        assert_eq!(reserve(Some(3), disk, volumes.into_iter()), 3);
        assert_eq!(reserve(Some(0), disk, volumes.into_iter()), 0);
    }

    #[test]
    fn copy_needs_a_margin_of_a_step_or_a_twentieth() {
        assert_eq!(copy_needs(0, 16 * MIB), MIB / 4);
        assert_eq!(copy_needs(0, 100 * GIB), 64 * MIB);
        assert_eq!(copy_needs(40 * GIB, 100 * GIB), 42 * GIB);
    }

    #[test]
    fn file_that_grows_or_moves_must_leave_the_reserve() {
        let sizes = CopySizes { live: 10 * GIB, old: 20 * GIB, new: 20 * GIB, moves: false };
        let needed = 10 * GIB + GIB / 2;
        assert_eq!(check(sizes, needed, 100 * GIB), Ok(()), "the reserve is for this");
        assert_eq!(check(sizes, needed - 1, 0), Err(Lack { needed, free: needed - 1 }));
        let grows = CopySizes { new: 50 * GIB, ..sizes };
        assert_eq!(check(grows, 31 * GIB, GIB), Ok(()));
        let free = 31 * GIB - 1;
        assert_eq!(check(grows, free, GIB), Err(Lack { needed: 31 * GIB, free }));
        let moves = CopySizes { moves: true, ..sizes };
        assert_eq!(check(moves, 25 * GIB, 5 * GIB), Ok(()));
        assert_eq!(check(moves, 24 * GIB, 5 * GIB).map_err(|lack| lack.needed), Err(25 * GIB));
        let shrinks = CopySizes { new: 12 * GIB, ..sizes };
        assert_eq!(check(shrinks, needed, 100 * GIB), Ok(()));
    }

    proptest! {
        /// The reserve that volume creation leaves is enough to compact each volume of the disk in place.
        #[test]
        fn automatic_reserve_is_enough_for_each_volume(
            volumes in prop::collection::vec((0_u64..1 << 40, 16 * MIB..1 << 40), 1..8),
            disk_size in 0_u64..1 << 44,
        ) {
            let figures = volumes.iter().map(|(live, size)| (*live.min(size), *size));
            let free = reserve(None, disk_size, figures.clone());
            for (live, size) in figures {
                let sizes = CopySizes { live, old: size, new: size, moves: false };
                prop_assert!(check(sizes, free, free).is_ok());
            }
        }

        #[test]
        fn more_free_space_never_hurts(
            live in 0_u64..1 << 40, old in 0_u64..1 << 40, new in 0_u64..1 << 40,
            moves: bool, free in 0_u64..1 << 42, reserve in 0_u64..1 << 40,
        ) {
            let sizes = CopySizes { live, old, new, moves };
            match check(sizes, free, reserve) {
                Ok(()) => prop_assert!(check(sizes, free + 1, reserve).is_ok()),
                Err(lack) => {
                    prop_assert!(lack.free == free && lack.needed > free);
                    prop_assert!(check(sizes, lack.needed, reserve).is_ok());
                }
            }
        }
    }
}
