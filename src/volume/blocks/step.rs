//! Length of a step.

use crate::base::limits::{BLOCK, RESERVE_STEP_MIN, RESERVE_STEPS_MAX, VOLUME_SIZE_MIN};

/// Divides volumes that only tests use into so many steps: their logs are much shorter than
/// [`RESERVE_STEP_MIN`].
const STEPS_OF_SMALL: u64 = 8;

/// Returns the length of a step of a file of `size` bytes: a multiple of a block.
pub fn step_len(size: u64) -> u64 {
    // Only tests use volumes below the smallest size that an operator may create.
    if size < VOLUME_SIZE_MIN {
        (size / STEPS_OF_SMALL / BLOCK * BLOCK).max(BLOCK)
    } else {
        (size / RESERVE_STEPS_MAX).next_multiple_of(BLOCK).max(RESERVE_STEP_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::VOLUME_SIZE_MAX;

    #[test]
    fn step_is_64_mib_or_a_64th_of_the_file_in_whole_blocks() {
        const GIB: u64 = 1 << 30;
        assert_eq!(step_len(VOLUME_SIZE_MIN), 64 << 20);
        assert_eq!(step_len(4 * GIB), 64 << 20);
        assert_eq!(step_len(4 * GIB + BLOCK), (64 << 20) + BLOCK, "rounded up");
        assert_eq!(step_len(100 * GIB), 100 * GIB / 64);
        assert_eq!(step_len(VOLUME_SIZE_MAX), 16 * GIB);
    }

    #[test]
    fn small_files_of_tests_have_steps_in_proportion() {
        assert_eq!(step_len(1 << 20), 128 << 10);
        assert_eq!(step_len((1 << 20) + 5 * BLOCK), 128 << 10, "rounded down");
        assert_eq!(step_len(73_728), 2 * BLOCK);
        assert_eq!(step_len(6 * BLOCK), BLOCK);
    }
}
